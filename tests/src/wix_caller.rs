//! Calls the adapter as Wix does.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::test_keys;

/// The app that test tokens are for.
pub const APP_ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// The catalog whose items tests speak of.
pub const CATALOG: &str = "cccccccc-0000-4000-8000-000000000001";

/// A client of the adapter that signs as Wix.
#[derive(Clone)]
pub struct WixCaller {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    key: EncodingKey,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The body, `null` where it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub text: String,
    /// The header `retry-after`.
    pub retry_after: Option<String>,
}

impl WixCaller {
    /// A caller of the adapter at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, address, key: test_keys::signing_key(test_keys::app_key()) }
    }

    /// Signs `data` and posts it.
    pub async fn call(&self, method: &str, data: Value) -> Answered {
        self.post(&format!("/v1/{method}"), self.token(data)).await
    }

    /// A token that carries `data`, as Wix would sign it.
    pub fn token(&self, data: Value) -> String {
        self.sign(claims(data))
    }

    /// A token of any claims.
    pub fn sign(&self, claims: Value) -> String {
        sign(Algorithm::RS256, &self.key, &claims)
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: String) -> Answered {
        self.send(Method::POST, path, body.into_bytes()).await.expect("the adapter answers")
    }

    /// Sends anything; an error is a broken connection.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Answered, hyper_util::client::legacy::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = self.client.request(request).await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answered { status, body: serde_json::from_str(&text).unwrap_or_default(), text, retry_after })
    }
}

/// A compact token of `claims`.
pub fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).expect("a token can be signed")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The claims of a good token that carries `data`.
pub fn claims(data: Value) -> Value {
    json!({"data": data, "aud": APP_ID, "iss": "wix.com", "iat": now(), "exp": now() + 300})
}

/// An item of the tests' catalog.
pub fn item(id: &str, quantity: i64) -> Value {
    let reference = json!({"catalogItemId": id, "appId": CATALOG});
    json!({"catalogReference": reference, "quantity": quantity, "subscriptionItem": false})
}

/// One piece of an item of the tests' catalog, with options.
pub fn item_with(id: &str, options: Value) -> Value {
    json!({"catalogReference": {"catalogItemId": id, "appId": CATALOG, "options": options}, "quantity": 1})
}

/// The data of a decrement or increment with a request id and an order of its own.
pub fn order(site: &str, items: Value) -> Value {
    json!({
        "request": {
            "items": items, "restrictInventoryValue": true, "orderId": Uuid::new_v4(), "reason": "ORDER_PLACED",
        },
        "metadata": {
            "requestId": Uuid::new_v4(), "instanceId": site, "currency": "USD", "languages": ["en-US"],
            "identity": {"identityType": "MEMBER", "memberId": Uuid::new_v4()}, "appExtensionType": "ECOM_INVENTORY",
        },
    })
}
