//! Tokens for tests, and calls of any method by its path.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use inventory_core::engine::clock::Clock;
use inventory_core::engine::tokens;
use inventory_core::model::access::{Author, Scope, Token, TokenHash, TokenName};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::store::{DatabaseUrl, Open, Store};
use inventory_grpc::access::new_token;
use inventory_proto::Bearer;
use prost::Message;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How long a test waits for what servers do within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A token to create. The default is good for all sites, and does not expire.
#[derive(Default)]
pub struct New<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it permits.
    pub scopes: &'a [Scope],
    /// The sites that it is good for.
    pub sites: &'a [&'a str],
    /// When it expires: microseconds since 1970.
    pub expires_at: Option<i64>,
}

impl New<'_> {
    /// Creates it in a database that has the schema. Returns its text.
    pub fn create(self, url: &DatabaseUrl) -> String {
        let Self { name, scopes, sites, expires_at } = self;
        let mut sites: Vec<SiteId> =
            sites.iter().map(|site| SiteId::from_uuid(parse_guid(site).expect("a GUID"))).collect();
        sites.sort_unstable();
        let name = TokenName::new(name).expect("the name is in bounds");
        let scopes = scopes.iter().copied().collect();
        let token = Token { name, scopes, sites, created_at: 0, expires_at, revoked_at: None };
        let text = new_token().expect("the system has random numbers");
        let store = Store::open(url.clone(), Open::AsIs).expect("the database opens");
        let written = tokens::create(&store, &TokenHash::of(&text), &token, &Author::default(), 0);
        written.expect("the token can be created");
        text
    }
}

/// Revokes a token.
pub fn revoke(url: &DatabaseUrl, name: &str) {
    let store = Store::open(url.clone(), Open::AsIs).expect("the database opens");
    let name = TokenName::new(name).expect("the name is in bounds");
    tokens::revoke(&store, &name, &Author::default(), Clock::system().now()).expect("the token can be revoked");
}

/// A caller with this token.
pub fn bearer(text: &str) -> Bearer {
    Bearer::new(text).expect("the text is a token")
}

/// A connection to the gRPC server at this address.
pub fn channel_to(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("the URL is valid").connect_lazy()
}

/// A request that carries a token and metadata.
pub fn signed<T>(message: T, bearer: &Bearer, metadata: &[(&'static str, &'static str)]) -> Request<T> {
    let mut request = Request::new(message);
    bearer.sign(request.metadata_mut());
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, MetadataValue::from_static(value));
    }
    request
}

/// Calls any method by its path. Returns how the answer begins.
pub async fn call<M>(channel: Channel, bearer: &Bearer, path: &str, message: M) -> Result<(), Status>
where
    M: Message + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("the server answers");
    let mut request = Request::new(message);
    bearer.sign(request.metadata_mut());
    let path = PathAndQuery::try_from(path).expect("the path is valid");
    // Every answer can be read as a stream, and none has to be read to its end.
    let codec = tonic_prost::ProstCodec::<M, ()>::default();
    client.server_streaming(request, path, codec).await.map(drop)
}

/// The code with which `call` ends. OK if it succeeds.
pub fn code_of(result: &Result<(), Status>) -> Code {
    result.as_ref().err().map_or(Code::Ok, Status::code)
}

/// Calls until the result is as wanted. Panics if that takes too long.
pub async fn until<T, F: Future<Output = T>>(mut call: impl FnMut() -> F, mut wanted: impl FnMut(&T) -> bool) -> T {
    let reached = async {
        loop {
            let result = call().await;
            if wanted(&result) {
                return result;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the server follows within seconds")
}

/// Calls GetSite with this token until the server accepts it, whether or not the site exists.
pub async fn until_known(channel: Channel, text: &str) {
    let bearer = bearer(text);
    let accepted = |result: &Result<(), Status>| code_of(result) != Code::Unauthenticated;
    let _ = until(|| call(channel.clone(), &bearer, GET_SITE, ()), accepted).await;
}

/// A method that reads.
pub const GET_SITE: &str = "/inventory.v1.SiteService/GetSite";
