//! Calls an adapter as Wix does, for `wix-adapter send` and `rehearse`: one POST, one answer, no retry.

mod call;
mod simulator;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use inventory_program::tls::{BadWebServer, WebServer};
use inventory_program::with_causes;

pub use self::call::{Call, Options, Piece};
pub use self::simulator::{NotSent, Signature, Simulator, UNFILLABLE, levels_told};
use crate::convert::Method;

/// Time for a call. Wix waits for 3 seconds; a person also wants to know what comes later.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A client of one adapter. It keeps connections open, as Wix may.
#[derive(Clone)]
pub struct Caller {
    client: Client<WebServer, Full<Bytes>>,
    url: Uri,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
    /// By how many seconds the server's clock is ahead of ours, by the header `Date`; negative if it is behind.
    pub clock_ahead: Option<i64>,
    /// The time from the first byte sent to the last one received, a new connection included.
    pub took: Duration,
}

/// No answer came. Whether the call was applied is unknown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unanswered {
    /// There is no connection, or it broke.
    #[error("no adapter answers at {url}; start one, or name another with --url: {cause}")]
    NotReached {
        /// The URL of the call.
        url: String,
        /// The causes.
        cause: String,
    },
    /// It takes too long.
    #[error("{url} did not answer within {} seconds", ANSWER_TIME_MAX.as_secs())]
    TooLate {
        /// The URL of the call.
        url: String,
    },
}

impl Caller {
    /// A caller of the adapter at `url`. `ca` is the file of the authorities for https; without it the system's count.
    /// Must be called inside the runtime.
    pub fn new(url: &Uri, ca: Option<&Path>) -> Result<Self, BadWebServer> {
        let client = Client::builder(TokioExecutor::new()).build(WebServer::new(url, ca)?);
        Ok(Self { client, url: url.clone() })
    }

    /// The URL of a call: Wix appends its path to the deployment URI.
    pub fn url_of(&self, method: Method) -> String {
        let path = self.url.path().trim_end_matches('/');
        let (scheme, authority) = (self.url.scheme_str().unwrap_or_default(), self.url.authority());
        let authority = authority.map(ToString::to_string).unwrap_or_default();
        let query = self.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{authority}{path}/v1/{}{query}", method.name())
    }

    /// Posts a body to a method of the plugin.
    pub async fn post(&self, method: Method, body: String) -> Result<Answered, Unanswered> {
        let url = self.url_of(method);
        let not_reached = |cause: String| Unanswered::NotReached { url: url.clone(), cause };
        let request = Request::post(&url).header("content-type", "text/plain").body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| not_reached(error.to_string()))?;
        let started = Instant::now();
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| not_reached(with_causes(&error)))?;
            let status = answer.status().as_u16();
            let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
            let clock_ahead = date.and_then(|date| httpdate::parse_http_date(date).ok()).map(seconds_ahead);
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| not_reached(with_causes(error.as_ref())))?.to_bytes();
            Ok((status, clock_ahead, String::from_utf8_lossy(&body).into_owned()))
        };
        let (status, clock_ahead, body) = match tokio::time::timeout(ANSWER_TIME_MAX, exchange).await {
            Ok(answered) => answered?,
            Err(_) => return Err(Unanswered::TooLate { url }),
        };
        Ok(Answered { status, body, clock_ahead, took: started.elapsed() })
    }
}

/// How many seconds a time is ahead of the clock of this machine.
fn seconds_ahead(time: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::now()) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).saturating_neg(),
    }
}

/// The form of `--url`.
pub(crate) fn url(text: &str) -> Result<Uri, String> {
    let is_web = |uri: &Uri| {
        ["http", "https"].map(Some).contains(&uri.scheme_str()) && uri.host().is_some_and(|host| !host.is_empty())
    };
    let uri = text.parse().ok().filter(is_web);
    uri.ok_or_else(|| "must be https://HOST or http://HOST, with a port and a path if they are needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_path_of_a_call_is_appended_to_the_url() {
        let rows = [
            ("http://a", "http://a/v1/decrement"),
            ("http://a:81/", "http://a:81/v1/decrement"),
            ("http://a/shop//", "http://a/shop/v1/decrement"),
            ("http://[::1]:8080/x?key=1", "http://[::1]:8080/x/v1/decrement?key=1"),
        ];
        for (given, expected) in rows {
            let caller = Caller::new(&url(given).expect("a URL"), None).expect("a web server");
            assert_eq!(caller.url_of(Method::Decrement), expected);
        }
        for bad in ["", "a", "127.0.0.1:8080", "ftp://a", "http://", "/v1", "a b"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
