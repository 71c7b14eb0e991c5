//! A stand-in for Wix: a caller with the key, the app and the site for which it signs.

use jsonwebtoken::EncodingKey;
use serde_json::Value;

use super::{Answered, Call, Caller, Piece, Unanswered};
use crate::convert::Method;
use crate::signing::Times;

/// Pieces of an item that no order gets as long as the level is lower. Items of a request have at most so many.
pub const UNFILLABLE: i64 = 100_000;

/// A caller that signs.
pub struct Simulator {
    /// The client of the adapter.
    pub caller: Caller,
    /// The key that signs.
    pub key: EncodingKey,
    /// The app that tokens are for.
    pub app_id: String,
    /// The site.
    pub site_id: String,
    /// The app id of the catalog.
    pub catalog_app_id: String,
}

/// Who signs a token, for whom, and when.
pub struct Signature<'a> {
    /// The key.
    pub key: &'a EncodingKey,
    /// The app.
    pub app_id: &'a str,
    /// The times.
    pub times: Times,
}

/// A call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// No answer came.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// It cannot be signed.
    #[error("the call cannot be signed: {0}")]
    NotSigned(String),
}

impl Simulator {
    /// A call for the simulator's site about a new order.
    pub fn call(&self, method: Method, pieces: &[(&str, i64)]) -> Call {
        let piece = |(item, quantity): &(&str, i64)| Piece { item: (*item).to_owned(), quantity: *quantity };
        Call::new(method, &self.site_id, &self.catalog_app_id, pieces.iter().map(piece).collect())
    }

    /// The signature that the adapter should believe.
    pub fn signature(&self) -> Signature<'_> {
        Signature { key: &self.key, app_id: &self.app_id, times: Times::now() }
    }

    /// Sends a call as Wix would.
    pub async fn send(&self, call: &Call) -> Result<Answered, NotSent> {
        self.send_signed(call, self.signature()).await
    }

    /// Sends a call with any signature.
    pub async fn send_signed(&self, call: &Call, signature: Signature<'_>) -> Result<Answered, NotSent> {
        let Signature { key, app_id, times } = signature;
        let token = call.token(key, app_id, times).map_err(|error| NotSent::NotSigned(error.to_string()))?;
        Ok(self.caller.post(call.method, token).await?)
    }

    /// An order that cannot be filled, so that nothing changes and the refusal tells the levels.
    pub fn question(&self, items: &[&str]) -> Call {
        let pieces: Vec<_> = items.iter().map(|item| (*item, UNFILLABLE)).collect();
        self.call(Method::Decrement, &pieces)
    }
}

/// The level of each item that a refusal lists, with the item's id. Empty if the body is no refusal of the adapter.
pub fn levels_told(body: &str) -> Vec<(String, i64)> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let shortages = body["applicationError"]["data"]["shortages"].as_array().cloned().unwrap_or_default();
    let level = |shortage: &Value| {
        let item = shortage["catalogReference"]["catalogItemId"].as_str()?.to_owned();
        Some((item, shortage["available"].as_i64()?))
    };
    shortages.iter().filter_map(level).collect()
}
