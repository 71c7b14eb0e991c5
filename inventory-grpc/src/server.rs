//! The server: every service on one listener, with health and reflection.
//!
//! It answers until it is told to stop. Then it says that it is not ready, takes no new call, ends the streams that
//! watch a ledger, reads no more of streams of calls, finishes what is under way, and commits what is queued. When the
//! time for that is over, it cuts the connections that are left, and leaves a commit that hangs without an answer.
//!
//! Beside the services, tasks prune the outcomes of old requests, read the tokens, and look for the commits of other
//! servers. A server for others also has tasks that look whether the writers can commit, report that as its health, log
//! the ends of failures, and keep the gauges current.

use std::sync::Arc;
use std::time::Duration;

use inventory_core::engine::clock::Clock;
use inventory_core::engine::health::Health;
use inventory_core::engine::{Engine, Patience};
use inventory_core::model::error::{Error, Failed};
use inventory_core::model::limits;
use inventory_core::store::Store;
use inventory_program::drain::Stop;
use inventory_program::listen::{CallLayer, Listener, Open, Protocol};
use inventory_program::with_causes;
use inventory_proto::DESCRIPTORS;
use inventory_proto::v1::availability_service_server::AvailabilityServiceServer;
use inventory_proto::v1::ledger_service_server::LedgerServiceServer;
use inventory_proto::v1::site_service_server::SiteServiceServer;
use inventory_proto::v1::stock_service_server::StockServiceServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::access::{AccessLayer, Anonymous, OwnToken, Tokens};
use crate::calls::SeenLayer;
use crate::gauges;
use crate::large::LargeAnswers;
use crate::receive::ReceiveLayer;
use crate::services::availability::Availability;
use crate::services::ledger::Ledger;
use crate::services::site::Sites;
use crate::services::stock::Stock;
use crate::services::verify::Verifications;
use crate::services::watch::{Commits, look_for_commits};
use crate::status::{self, Paths, of_error};

/// The names that the health service knows: the whole server, and each service.
const SERVICES: [&str; 5] = [
    "",
    AvailabilityServiceServer::<Availability>::NAME,
    StockServiceServer::<Stock>::NAME,
    LedgerServiceServer::<Ledger>::NAME,
    SiteServiceServer::<Sites>::NAME,
];
/// A connection that is silent for this long is asked for a sign of life, so that half-sent requests are gone soon.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(8);
/// Time for that sign.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// Bytes of messages that a connection may have sent and the server has not read.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Calls under way on one connection. The caller's next ones wait on its side. Each watch of a ledger is one.
///
/// h2 ends a connection that has many small DATA frames unread: each counts what it lacks to 256 bytes, and together
/// they may lack half of the window. Most clients send a call's message as one frame, so with this bound no number of
/// calls ends a connection.
const STREAMS_MAX: u32 = CONNECTION_WINDOW_BYTES / 2 / 256;
/// Calls of one connection that were given up before the server came to them. When many deadlines pass at once, a
/// caller may give up all of its calls; one more is an attack, and ends the connection.
const RESETS_MAX: usize = STREAMS_MAX as usize;
/// Bytes of a call's metadata.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// How often outcomes of old requests are looked for.
const PRUNE_EVERY: Duration = Duration::from_micros(limits::PRUNE_EVERY_MICROS.unsigned_abs());

/// How long after the end of the time to drain a server waits for what ends by itself then.
const CUT_TIME: Duration = Duration::from_millis(500);

/// How a server works. By default it keeps all outcomes, uses the machine's clock, and serves others.
#[derive(Clone)]
pub struct Options {
    /// How long outcomes of requests are kept. `None` keeps them all.
    pub retention: Option<Duration>,
    /// The time of each batch. Outcomes grow old by the time that passes on it without a jump.
    pub clock: Clock,
    /// When a writer that hangs is replaced.
    pub patience: Patience,
    /// Whether this is a server for others, not one that a command runs for itself. It tells what it is and does: it
    /// finds out, and says as its health, what its writers can do, for which it commits something small each second if
    /// there is nothing else to commit; it keeps its gauges current, and logs refusals and the ends of failures.
    pub serves_others: bool,
    /// Whether calls without a token are accepted although there are tokens, or although the port is not on loopback.
    pub allow_anonymous: bool,
    /// Whether callers can ask for the descriptors by reflection.
    pub reflection: bool,
    /// A token for callers inside of this process. It asks nobody else for one.
    pub own_token: Option<OwnToken>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: None,
            clock: Clock::system(),
            patience: Patience::default(),
            serves_others: true,
            allow_anonymous: false,
            reflection: true,
            own_token: None,
        }
    }
}

/// Why a server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC transport failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors for reflection cannot be read.
    #[error("the descriptors for reflection cannot be read")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A writer's thread cannot be started, or the listener has no address.
    #[error("the system refused a thread or a port")]
    Thread(#[from] std::io::Error),
}

/// Serves on `listener` until `stop` closes it, and returns after everything is finished or cut.
pub async fn serve(
    listener: impl Into<Listener>,
    store: Store,
    options: Options,
    stop: impl Into<Stop>,
) -> Result<(), ServeError> {
    let stop = stop.into();
    let Options { retention, clock, patience, serves_others, allow_anonymous, reflection, own_token } = options;
    let listener = listener.into();
    let anonymous = match (allow_anonymous, listener.local_addr()?.ip().is_loopback()) {
        (true, _) => Anonymous::Allowed,
        (false, true) => Anonymous::WithoutTokens,
        (false, false) => Anonymous::Refused,
    };
    let reader = Tokens::read(&store, own_token, anonymous, clock.clone()).await;
    let access = AccessLayer::new(reader.tokens(), reflection);
    let engine = Engine::start_with(&store, clock, patience)?;
    let commits = Commits::new(engine.feed().clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    // Dropping the set ends its tasks.
    let mut tasks = JoinSet::new();
    if let Some(retention) = retention {
        tasks.spawn(prune(engine.clone(), retention));
    }
    if serves_others {
        tasks.spawn({
            let engine = engine.clone();
            async move { engine.monitor().await }
        });
        tasks.spawn(report_health(health, engine.health(), stop.clone()));
        tasks.spawn(status::tell_ends());
        tasks.spawn(gauges::keep_current(engine.clone(), store.clone()));
    }
    tasks.spawn(reader.follow(store.clone()));
    tasks.spawn(look_for_commits(store.clone(), commits.clone()));
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let stopping = CancellationToken::new();
    let seen = SeenLayer::new(serves_others);
    let receive = ReceiveLayer::new(overloaded);
    let availability = Availability {
        engine: engine.clone(),
        memory: receive.memory(),
        calls: Arc::new(seen.stream_calls()),
        stopping: stopping.clone(),
    };
    let closing = {
        let (stop, stopping) = (stop.clone(), stopping.clone());
        async move {
            stop.closing().await;
            stopping.cancel();
        }
    };
    let connections = listener.connections(Protocol::Http2);
    let open = connections.open();
    let answers = LargeAnswers::new();
    let ledger = Ledger {
        store: store.clone(),
        answers: answers.clone(),
        engine: engine.clone(),
        commits,
        verifications: Verifications::new(),
        stopping,
    };
    let stock = Stock { engine: engine.clone(), store: store.clone(), answers: answers.clone() };
    let serving = Server::builder()
        .layer(seen)
        .layer(CallLayer::new(overloaded))
        .layer(receive)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .layer(access)
        .add_service(health_service)
        .add_optional_service(reflection.then(|| descriptors().build_v1()).transpose()?)
        .add_optional_service(reflection.then(|| descriptors().build_v1alpha()).transpose()?)
        .add_service(AvailabilityServiceServer::new(availability))
        .add_service(StockServiceServer::new(stock))
        .add_service(LedgerServiceServer::new(ledger))
        .add_service(SiteServiceServer::new(Sites { engine: engine.clone(), store, answers }))
        .serve_with_incoming_shutdown(connections, closing);
    let served = until_cut(serving, &stop, &open).await;
    drop(tasks);
    let cut = async {
        stop.cutting().await;
        tokio::time::sleep(CUT_TIME).await;
    };
    tokio::select! {
        () = engine.drain() => {}
        () = cut => tracing::warn!(
            "the time to drain is over: a writer has not finished its commit; what it holds was not answered"
        ),
    }
    served
}

/// Serves until all connections are closed, or cut.
async fn until_cut(
    serving: impl Future<Output = Result<(), tonic::transport::Error>>,
    stop: &Stop,
    open: &Open,
) -> Result<(), ServeError> {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => return Ok(served?),
        () = stop.cutting() => open.cut(),
    }
    match tokio::time::timeout(CUT_TIME, serving).await {
        Ok(served) => Ok(served?),
        Err(_) => Ok(()),
    }
}

/// The answer to a call too many.
fn overloaded() -> http::Response<Body> {
    of_error(Error::Failed(Failed::Overloaded), Paths::ITEMS).into_http()
}

/// Forgets the outcomes of requests that are older than `retention`. Never ends.
async fn prune(engine: Engine, retention: Duration) {
    let mut every = tokio::time::interval(PRUNE_EVERY);
    loop {
        every.tick().await;
        if let Err(error) = engine.prune(retention).await {
            tracing::warn!(
                error = with_causes(&error),
                "outcomes of old requests were not pruned; trying again in an hour"
            );
        }
    }
}

/// Keeps the health of every service, and of the whole server (the empty name), in step with what the writers can do.
/// Logs each change once, with its cause. When the server stops, no service is ready, and the streams that watch the
/// health get that change.
async fn report_health(reporter: HealthReporter, health: watch::Receiver<Health>, stop: Stop) {
    tokio::select! {
        () = follow_health(&reporter, health) => return,
        () = stop.unready() => {}
    }
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
    stop.closing().await;
    for service in SERVICES {
        // Ends the streams that watch it.
        reporter.clone().clear_service_status(service).await;
    }
}

async fn follow_health(reporter: &HealthReporter, mut health: watch::Receiver<Health>) {
    loop {
        let now = health.borrow_and_update().clone();
        let status = match &now {
            Health::Ready => ServingStatus::Serving,
            Health::Starting | Health::NotReady(_) => ServingStatus::NotServing,
        };
        for service in SERVICES {
            reporter.set_service_status(service, status).await;
        }
        match &now {
            Health::Starting => {}
            Health::Ready => tracing::info!("ready: the writers can commit"),
            Health::NotReady(why) => {
                tracing::error!(error = with_causes(why), "not ready: the writers cannot commit");
            }
        }
        if health.changed().await.is_err() {
            return;
        }
    }
}
