//! Calls the adapter as Wix does.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::{Method, Request};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::history::History;
use crate::test_keys;

/// The app that test tokens are for.
pub const APP_ID: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// The catalog of the tests' units.
pub const CATALOG: &str = "cccccccc-0000-4000-8000-000000000001";

/// A client of the adapter that signs its calls as Wix does.
#[derive(Clone)]
pub struct WixCaller {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    key: EncodingKey,
    history: Option<History>,
}

/// The answer of the adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The body as JSON; null if it is not JSON.
    pub body: Value,
    /// The body as text.
    pub text: String,
    /// The header `retry-after`.
    pub retry_after: Option<String>,
}

impl Answered {
    /// A field of the error's `data`, such as `shortages`; null if it is missing.
    pub fn error_data(&self, name: &str) -> &Value {
        &self.body["applicationError"]["data"][name]
    }

    /// The number of shortages that a refusal lists; `None` if it has no such list.
    pub fn shortage_count(&self) -> Option<usize> {
        self.error_data("shortages").as_array().map(Vec::len)
    }
}

impl WixCaller {
    /// A caller of the adapter at `address`.
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, address, key: test_keys::signing_key(test_keys::app_key()), history: None }
    }

    /// The same caller, whose calls are recorded from now on: those of [`WixCaller::call`] and [`WixCaller::try_call`].
    pub fn recording(self, history: &History) -> Self {
        Self { history: Some(history.clone()), ..self }
    }

    /// Signs `data` and posts it to a method of the plugin. Panics if no answer comes.
    pub async fn call(&self, method: &str, data: Value) -> Answered {
        self.try_call(method, data).await.expect("the adapter answers")
    }

    /// The same. The error is a broken connection, which leaves the call without an answer.
    pub async fn try_call(&self, method: &str, data: Value) -> Result<Answered, hyper_util::client::legacy::Error> {
        let recorded = self.history.as_ref().map(|history| (history, history.begin_wix(method, &data)));
        let answer = self.send(Method::POST, &format!("/v1/{method}"), self.token(data).into_bytes()).await?;
        if let Some((history, call)) = recorded {
            history.end_wix(call, &answer);
        }
        Ok(answer)
    }

    /// Sends the same call until the answer is not 503, as Wix does; at most 100 times. Panics if no answer comes, or
    /// if all answers are 503.
    pub async fn until_served(&self, method: &str, data: &Value) -> Answered {
        for _ in 0..100 {
            let answer = self.call(method, data.clone()).await;
            if answer.status != 503 {
                return answer;
            }
        }
        panic!("the service still answers 503 after 100 calls");
    }

    /// A token that carries `data`, as Wix would sign it.
    pub fn token(&self, data: Value) -> String {
        self.sign(claims(data))
    }

    /// A token that carries any claims, signed with the tests' key.
    pub fn sign(&self, claims: Value) -> String {
        sign(Algorithm::RS256, &self.key, &claims)
    }

    /// Posts a body. Panics if no answer comes.
    pub async fn post(&self, path: &str, body: String) -> Answered {
        self.send(Method::POST, path, body.into_bytes()).await.expect("the adapter answers")
    }

    /// The status of a GET. Panics if no answer comes.
    pub async fn get(&self, path: &str) -> u16 {
        self.send(Method::GET, path, Vec::new()).await.expect("the adapter answers").status
    }

    /// What the program says of itself, if the address is that of its metrics. Panics if no answer comes.
    pub async fn metrics(&self) -> String {
        let answer = self.send(Method::GET, "/metrics", Vec::new()).await.expect("the port of the metrics is open");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// Sends any request. The error is a broken connection.
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
            .expect("the request is valid");
        let answer = self.client.request(request).await?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answered { status, body: serde_json::from_str(&text).unwrap_or_default(), text, retry_after })
    }
}

/// A compact JWT that carries `claims`.
pub fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).expect("a token can be signed")
}

/// A token whose header and claims are these texts, which need not be what Rust would write. It is signed with RS256,
/// whatever the header says.
pub fn sign_texts(header: &str, claims: &str, key: &EncodingKey) -> String {
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, Algorithm::RS256).expect("the key can sign");
    format!("{message}.{signature}")
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs()
}

/// The claims of a valid token that carries `data`.
pub fn claims(data: Value) -> Value {
    json!({"data": data, "aud": APP_ID, "iss": "wix.com", "iat": now(), "exp": now() + 300})
}

/// An item of an order: a unit of the tests' catalog and a quantity.
pub fn item(id: &str, quantity: i64) -> Value {
    item_of(CATALOG, id, quantity)
}

/// An item of an order: a unit of a catalog and a quantity.
pub fn item_of(app_id: &str, id: &str, quantity: i64) -> Value {
    let reference = json!({"catalogItemId": id, "appId": app_id});
    json!({"catalogReference": reference, "quantity": quantity, "subscriptionItem": false})
}

/// An item of an order: one piece of a unit with options.
pub fn item_with(id: &str, options: Value) -> Value {
    json!({"catalogReference": {"catalogItemId": id, "appId": CATALOG, "options": options}, "quantity": 1})
}

/// The data of a decrement or an increment, for a new order and with a new request id.
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

/// The same call with a new request id, so that it is not a replay.
pub fn with_new_request_id(mut data: Value) -> Value {
    data["metadata"]["requestId"] = json!(Uuid::new_v4());
    data
}

/// The order id in the data of a call.
pub fn order_id(data: &Value) -> &str {
    data["request"]["orderId"].as_str().expect("the order id is text")
}
