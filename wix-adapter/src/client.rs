//! Calls the gRPC servers: one deadline for a call and all of its retries, and the same idempotency key in each.
//!
//! There may be several servers on one database. `choose` says which of them gets a call, and `watch` which of them
//! serve. A call that one server does not answer is sent to the next one at once. All calls to a server travel on one
//! stream (`stream`).
//!
//! A retry is safe because of the key: the database has one record of it, so whichever server gets the key again
//! answers a replay from the record. Whether the change was applied is known only from an answer of a server, so every
//! other end of a call stays unknown here.

mod choose;
mod room;
mod server;
mod stream;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use inventory_program::Reloaded;
use inventory_proto::Bearer;
use inventory_proto::v1::change_availability_request::Change;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use self::choose::{choose, hash};
use self::server::Server;
use crate::measure;

/// Time for a call and its retries. A plugin that Wix calls in the same checkout must answer within 3 seconds
/// (documented for Additional Fees, unknown for this plugin).
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(2_200);
/// The pause before a retry if no other server can be asked at once. It doubles with each such retry.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Time for a new connection, and for a health check.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);
/// A connection on which nothing has arrived for so long is asked for a sign of life.
const SIGN_OF_LIFE_AFTER: Duration = Duration::from_millis(300);
/// Time for that sign. Together with the time before, a server that hangs is left within a second, and there is time to
/// ask another one.
const SIGN_OF_LIFE_TIME: Duration = Duration::from_millis(600);

/// Bytes that may be on their way on the stream, and on the connection, before the receiver has taken them. So many
/// calls fit that none waits for a window.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// A client of the gRPC servers. Cheap to clone: clones share the connections.
#[derive(Clone)]
pub struct Upstreams {
    servers: Arc<[Server]>,
    /// The tasks that watch the servers. They end with the last client.
    _watches: Arc<JoinSet<()>>,
}

/// The settings of a connection to a server. Every channel needs them.
pub fn settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SIGN_OF_LIFE_AFTER)
        .keep_alive_timeout(SIGN_OF_LIFE_TIME)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

impl Upstreams {
    /// A client of one server, without TLS and token. Must be called inside the runtime.
    pub fn one(endpoint: Endpoint) -> Self {
        let name = endpoint.uri().authority().map(ToString::to_string).unwrap_or_default();
        Self::over(vec![(name, settings(endpoint).connect_lazy())], Reloaded::fixed(Bearer::NONE))
    }

    /// A client of servers on one database, each with its name and a channel that has the [`settings`]. It connects
    /// again whenever a connection is lost. After a change of the token, calls travel on new streams. Must be called
    /// inside the runtime.
    pub fn over(servers: Vec<(String, Channel)>, bearer: Reloaded<Bearer>) -> Self {
        let server = |(name, channel)| Server::new(name, channel, bearer.clone());
        Self::watched(servers.into_iter().map(server).collect())
    }

    /// A client of the server in this process, which nobody has to watch: it lives as long as the adapter.
    pub fn in_process(channel: Channel, bearer: Reloaded<Bearer>) -> Self {
        let server = Server::new("in this process".to_owned(), channel, bearer);
        Self { servers: Arc::new([server]), _watches: Arc::default() }
    }

    fn watched(servers: Arc<[Server]>) -> Self {
        let watches = servers.iter().enumerate().map(|(index, server)| {
            let measures = measure::UpstreamMeasures::new(&server.name);
            watch::watch(Arc::clone(&servers), index, measures)
        });
        let watches = Arc::new(watches.collect());
        Self { servers, _watches: watches }
    }

    /// Sends the call, and retries it until a server decides it, or until there is no time for another retry. The error
    /// is the last status. Whoever calls gives up at the deadline: nothing here has a timer of its own.
    pub async fn submit(&self, change: Change, deadline: Instant) -> Result<(), Status> {
        let site = hash(match &change {
            Change::Decrement(order) => &order.site_id,
            Change::Increment(order) => &order.site_id,
        });
        let change = Arc::new(change);
        let (mut tried, mut pause) = (Vec::new(), RETRY_PAUSE);
        loop {
            let Some((index, server)) = self.choose(site, &tried) else {
                return Err(Status::unavailable("no gRPC server is configured"));
            };
            let status = match server.call(site, &change, deadline).await {
                Ok(()) => return Ok(()),
                Err(status) => status,
            };
            tried.push(index);
            let another = self.choose(site, &tried).is_some_and(|(_, server)| server.serves());
            let wait = if another { Duration::ZERO } else { pause };
            let Some(label) = retry_after(status.code()).filter(|_| Instant::now() + wait < deadline) else {
                return Err(status);
            };
            measure::retried(label);
            tracing::debug!(server = server.name, code = ?status.code(), "retrying with the same idempotency key");
            if !another {
                tokio::time::sleep(wait).await;
                pause *= 2;
                // A server that hangs would cost much of the time, so it is asked only if none serves.
                if tried.len() == self.servers.len() || self.servers.iter().any(Server::serves) {
                    tried.clear();
                }
            }
        }
    }

    /// The server for a call of a site, among those that have not failed it yet.
    fn choose(&self, site: u64, tried: &[usize]) -> Option<(usize, &Server)> {
        let index = choose(site, self.servers.iter().map(Server::candidate), tried)?;
        Some((index, self.servers.get(index)?))
    }

    /// Whether a server reports that it can serve. False if none does so in time.
    pub async fn is_ready(&self) -> bool {
        let asked = self.servers.iter().map(|server| server.is_ready(CONNECT_TIME_MAX));
        let mut answers: FuturesUnordered<_> = asked.collect();
        while let Some(is_ready) = answers.next().await {
            if is_ready {
                return true;
            }
        }
        false
    }
}

/// The name of the code if a retry may help. A stream that broke is UNAVAILABLE.
fn retry_after(code: Code) -> Option<&'static str> {
    match code {
        Code::Unavailable => Some("UNAVAILABLE"),
        Code::Unknown => Some("UNKNOWN"),
        Code::Cancelled => Some("CANCELLED"),
        Code::Aborted => Some("ABORTED"),
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the documents promise. And there is time to connect to another one.
    #[test]
    fn a_server_that_hangs_is_left_within_a_second() {
        let left_after = SIGN_OF_LIFE_AFTER + SIGN_OF_LIFE_TIME;
        assert!(left_after < Duration::from_secs(1), "{left_after:?}");
        assert!(left_after + CONNECT_TIME_MAX < ANSWER_TIME_MAX, "{left_after:?}");
    }
}
