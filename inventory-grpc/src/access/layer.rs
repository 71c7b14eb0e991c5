//! The layer that checks every call. It reads the path and the metadata, and nothing of the message.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use inventory_core::model::access::{Token, TokenHash};
use inventory_program::listen::CallerInfo;
use inventory_proto::TOKEN_PREFIX;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

use super::{Access, Holder, OPEN, REFLECTION, Refused, TOKEN_CHARS, Tokens, scope_of};

/// Checks every call of the services behind it.
#[derive(Clone)]
pub(crate) struct AccessLayer {
    /// The tokens.
    pub(crate) tokens: Tokens,
    /// Whether reflection is served.
    pub(crate) reflection: bool,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Checked { inner, layer: self.clone() }
    }
}

/// Services whose calls are checked.
#[derive(Clone)]
pub(crate) struct Checked<S> {
    inner: S,
    layer: AccessLayer,
}

impl<S, B> Service<Request<B>> for Checked<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        match self.layer.check(path, request.headers()) {
            Ok(access) => {
                if let Some(caller) = request.extensions().get::<CallerInfo>().filter(|_| scope_of(path).is_some()) {
                    caller.accept();
                }
                request.extensions_mut().insert(access);
                Either::Left(self.inner.call(request))
            }
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

impl AccessLayer {
    /// A layer that knows these tokens. Without `reflection`, nobody may ask for the contract.
    pub(crate) fn new(tokens: Tokens, reflection: bool) -> Self {
        super::describe();
        Self { tokens, reflection }
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<Access, Status> {
        let Some(scope) = scope_of(path) else {
            // The services themselves answer to what does not concern tokens.
            let open = path.starts_with(OPEN) || self.reflection && path.starts_with(REFLECTION);
            return if open { Ok(Access::Anonymous(None)) } else { Err(Status::unimplemented("")) };
        };
        let refuse = |refused: Refused, token: Option<&Token>| Err(refused.status(token));
        let Some(text) = bearer(headers) else {
            return match self.tokens.anonymous() {
                Ok(()) => Ok(Access::Anonymous(Some(self.tokens.clone()))),
                Err(refused) => refuse(refused, None),
            };
        };
        if text.len() != TOKEN_CHARS {
            return refuse(Refused::Unknown, None);
        }
        let hash = TokenHash::of(text);
        match self.tokens.find(&hash) {
            Ok(token) if token.scopes.has(scope) => {
                Ok(Access::Holder(Holder { token, hash, tokens: self.tokens.clone() }))
            }
            Ok(token) => refuse(Refused::Scope, Some(&token)),
            Err(refused) => refuse(refused, None),
        }
    }
}

/// The token of a call. Other credentials, which a proxy may add, are no token.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let text = text.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && text.starts_with(TOKEN_PREFIX)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_tokens_are_tokens() {
        let rows = [
            ("Bearer inv_x", Some("inv_x")),
            ("bearer  inv_x", Some("inv_x")),
            ("Bearer x", None),
            ("Basic inv_x", None),
            ("inv_x", None),
            ("", None),
        ];
        for (value, token) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("ASCII"));
            assert_eq!(bearer(&headers), token, "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
