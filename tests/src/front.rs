//! A web server before the adapter, as a proxy is one, that does to calls what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

/// A call that came in.
pub struct Came<'a> {
    /// Its number, from 0.
    pub number: usize,
    /// Its path.
    pub path: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// What happens to a call.
pub enum Act {
    /// It goes to the adapter, under its own path.
    Forward,
    /// It goes to the adapter, under this path.
    ForwardTo(String),
    /// This body goes to the adapter in its place.
    ForwardAs(String),
    /// It goes to the adapter, whose answer comes back after this time.
    ForwardSlowly(Duration),
    /// It goes to the adapter, whose answer is lost: this status comes back, with this body.
    ForwardThen(u16, &'static str),
    /// It goes to the adapter, and nothing ever comes back.
    ForwardThenSilence,
    /// This status comes back, with this body.
    Answer(u16, String),
}

struct Shared {
    adapter: SocketAddr,
    act: Box<dyn Fn(&Came<'_>) -> Act + Send + Sync>,
    date: Option<HeaderValue>,
    calls: AtomicUsize,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Starts a front before an adapter. Returns its address. It ends with the test.
pub async fn front(adapter: SocketAddr, act: impl Fn(&Came<'_>) -> Act + Send + Sync + 'static) -> SocketAddr {
    front_at(adapter, None, act).await
}

/// The same, with this header `Date` in every answer.
pub async fn front_at(
    adapter: SocketAddr,
    date: Option<&str>,
    act: impl Fn(&Came<'_>) -> Act + Send + Sync + 'static,
) -> SocketAddr {
    let date = date.map(|date| HeaderValue::from_str(date).expect("a date is a good header"));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let shared = Shared { adapter, act: Box::new(act), date, calls: AtomicUsize::new(0), client };
    let router = Router::new().fallback(handle).with_state(Arc::new(shared));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.expect("the body arrives").to_bytes();
    let number = shared.calls.fetch_add(1, Ordering::Relaxed);
    let mut answer = match (shared.act)(&Came { number, path: &path, body: &body }) {
        Act::Forward => forward(&shared, &path, body).await,
        Act::ForwardTo(path) => forward(&shared, &path, body).await,
        Act::ForwardAs(body) => forward(&shared, &path, Bytes::from(body)).await,
        Act::ForwardSlowly(time) => {
            let answer = forward(&shared, &path, body).await;
            tokio::time::sleep(time).await;
            answer
        }
        Act::ForwardThen(status, text) => {
            forward(&shared, &path, body).await;
            answered(status, text.to_owned())
        }
        Act::ForwardThenSilence => {
            forward(&shared, &path, body).await;
            std::future::pending().await
        }
        Act::Answer(status, text) => answered(status, text),
    };
    if let Some(date) = &shared.date {
        answer.headers_mut().insert(header::DATE, date.clone());
    }
    answer
}

async fn forward(shared: &Shared, path: &str, body: Bytes) -> Response {
    let url = format!("http://{}{path}", shared.adapter);
    let request = Request::post(url).body(Full::new(body)).expect("the request is valid");
    let answer = shared.client.request(request).await.expect("the adapter answers");
    answer.map(Body::new)
}

fn answered(status: u16, text: String) -> Response {
    Response::builder().status(status).body(Body::from(text)).expect("the answer is valid")
}
