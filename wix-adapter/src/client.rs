//! Calls the gRPC server: one deadline for a call and all of its retries, and the same idempotency key in each.
//!
//! All calls travel on one stream (`stream`). A retry is safe because of the key: the server applies it once, and
//! answers a replay from its record. Whether the change was applied is known only from an answer of the server, so
//! every other end of a call stays unknown here.

mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use inventory_program::{Reloaded, trace};
use inventory_proto::Bearer;
use inventory_proto::v1::ChangeAvailabilityRequest;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::change_availability_request::Change;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tracing::Instrument;

use self::stream::Calls;
use crate::measure;

/// Time for a call and its retries. A plugin that Wix calls in the same checkout must answer within 3 seconds
/// (documented for Additional Fees, unknown for this plugin).
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(2_200);
/// The pause before the first retry. It doubles with each retry.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Time for a new connection, and for a health check.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// Bytes that may be on their way on the stream, and on the connection, before the receiver has taken them. So many
/// calls fit that none waits for a window.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// A client of the gRPC server. Cheap to clone: clones share one connection.
#[derive(Clone)]
pub struct Upstream {
    channel: Channel,
    calls: Arc<Calls>,
}

/// The settings of a connection to the server. Every channel needs them.
pub fn settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

impl Upstream {
    /// A client of the server at `endpoint`, without TLS and token. It connects at the first call and reconnects
    /// whenever the connection is lost.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::over(settings(endpoint).connect_lazy())
    }

    /// A client that uses `channel`, which has the [`settings`], without a token.
    pub fn over(channel: Channel) -> Self {
        Self::signed(channel, Reloaded::fixed(Bearer::NONE))
    }

    /// The client with a token. After a change of the token, calls travel on a new stream.
    #[must_use]
    pub fn with_token(self, bearer: Reloaded<Bearer>) -> Self {
        Self::signed(self.channel, bearer)
    }

    fn signed(channel: Channel, bearer: Reloaded<Bearer>) -> Self {
        let calls = Calls::new(AvailabilityServiceClient::new(channel.clone()), bearer);
        Self { channel, calls: Arc::new(calls) }
    }

    /// Sends the call and retries it until the server decides, or until the deadline. The error is the last status.
    pub async fn submit(&self, change: Change, deadline: Instant) -> Result<(), Status> {
        let mut pause = RETRY_PAUSE;
        let mut call = ChangeAvailabilityRequest { change: Some(change), ..Default::default() };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            call.timeout = prost_types::Duration::try_from(left).ok();
            let status = match tokio::time::timeout(left, self.attempt(&mut call)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("the server did not answer in time"),
            };
            let Some(label) = retry_after(status.code()).filter(|_| Instant::now() + pause < deadline) else {
                return Err(status);
            };
            measure::retried(label);
            tracing::debug!(code = ?status.code(), "retrying with the same idempotency key");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Calls once. The call has a span of its own while traces are sent.
    async fn attempt(&self, call: &mut ChangeAvailabilityRequest) -> Result<(), Status> {
        if trace::only_traced(()).is_none() {
            return self.calls.call(call).await;
        }
        let name = match &call.change {
            Some(Change::Increment(_)) => "inventory.v1.AvailabilityService/IncrementAvailability",
            Some(Change::Decrement(_)) | None => "inventory.v1.AvailabilityService/DecrementAvailability",
        };
        let span = tracing::debug_span!(
            target: "traces",
            "attempt",
            otel.name = name,
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.method = name,
        );
        call.traceparent = trace::parent(&span);
        let result = self.calls.call(call).instrument(span.clone()).await;
        if result.as_ref().is_err_and(|status| !is_refusal(status.code())) {
            trace::failed(&span, "the call failed");
        }
        result
    }

    /// Whether the server reports that it can serve. False if it does not answer in time.
    pub async fn is_ready(&self) -> bool {
        let check = HealthCheckRequest { service: String::new() };
        let mut client = HealthClient::new(self.channel.clone());
        let answer = tokio::time::timeout(CONNECT_TIME_MAX, client.check(check)).await;
        matches!(answer, Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving)
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

/// Whether the server refused the call, and nothing is wrong with it.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists)
}
