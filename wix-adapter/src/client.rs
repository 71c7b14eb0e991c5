//! Calls the gRPC server: one deadline for a call and all of its retries, and the same idempotency key in each.
//!
//! A retry is safe because of the key: the server applies it once and answers a replay from its record. Whether the
//! change was applied is known only from an answer of the server, so every other end of a call stays unknown here.

use std::time::{Duration, Instant};

use inventory_program::{Reloaded, trace};
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::{ACTOR_METADATA, Bearer, MAX_DETAIL_BYTES_METADATA};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tracing::{Instrument, Span};

use crate::convert::Call;
use crate::measure;

/// Time for a call and its retries. A plugin that Wix calls in the same checkout must answer within 3 seconds
/// (documented for Additional Fees, unknown for this plugin).
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(2_200);
/// The pause before the first retry. It doubles with each retry.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Bytes of error details that the server may send. They hold the shortages of 300 items, so `data` lists them all.
const DETAIL_BYTES_MAX: u32 = 1024 * 1024;
/// Bytes of the headers of an answer. The details travel in one of them as base64, which is 4/3 as large.
const HEADER_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// Time for a new connection, and for a health check.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// Bytes left for the message of an error and the other headers.
const OTHER_HEADER_BYTES: u32 = 64 * 1024;
const _: () = assert!(DETAIL_BYTES_MAX.div_ceil(3) * 4 + OTHER_HEADER_BYTES <= HEADER_BYTES_MAX);

/// A client of the gRPC server. Cheap to clone: clones share one connection.
#[derive(Clone)]
pub struct Upstream {
    availability: AvailabilityServiceClient<Channel>,
    health: HealthClient<Channel>,
    bearer: Reloaded<Bearer>,
}

/// The settings of a connection to the server. Every channel needs them.
pub fn settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
}

impl Upstream {
    /// A client of the server at `endpoint`, without TLS and token. It connects at the first call and reconnects
    /// whenever the connection is lost.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::over(settings(endpoint).connect_lazy())
    }

    /// A client that uses `channel`, which has the [`settings`], without a token.
    pub fn over(channel: Channel) -> Self {
        let availability = AvailabilityServiceClient::new(channel.clone());
        Self { availability, health: HealthClient::new(channel), bearer: Reloaded::fixed(Bearer::NONE) }
    }

    /// The client with a token. Each attempt of a call sends the token that is current then.
    #[must_use]
    pub fn with_token(self, bearer: Reloaded<Bearer>) -> Self {
        Self { bearer, ..self }
    }

    /// Sends the call and retries it until the server decides, or until [`ANSWER_TIME_MAX`] is over. The error is the
    /// last status.
    pub async fn submit(&self, call: &Call) -> Result<(), Status> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let mut pause = RETRY_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = tokio::time::timeout(left, self.attempt(call, left)).await;
            let status = match attempt {
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
    async fn attempt(&self, call: &Call, left: Duration) -> Result<(), Status> {
        let (mut client, bearer) = (self.availability.clone(), self.bearer.current());
        let name = match call {
            Call::Decrement(_) => "inventory.v1.AvailabilityService/DecrementAvailability",
            Call::Increment(_) => "inventory.v1.AvailabilityService/IncrementAvailability",
        };
        let span = tracing::debug_span!(
            target: "traces",
            "attempt",
            otel.name = name,
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.method = name,
        );
        let attempt = async {
            match call {
                Call::Decrement(message) => {
                    client.decrement_availability(request(message.clone(), left, &bearer)).await.map(|_| ())
                }
                Call::Increment(message) => {
                    client.increment_availability(request(message.clone(), left, &bearer)).await.map(|_| ())
                }
            }
        };
        let result = attempt.instrument(span.clone()).await;
        if result.as_ref().is_err_and(|status| !is_refusal(status.code())) {
            trace::failed(&span, "the call failed");
        }
        result
    }

    /// Whether the server reports that it can serve. False if it does not answer in time.
    pub async fn is_ready(&self) -> bool {
        let check = HealthCheckRequest { service: String::new() };
        let mut client = self.health.clone();
        let answer = tokio::time::timeout(CONNECT_TIME_MAX, client.check(check)).await;
        matches!(answer, Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving)
    }
}

fn request<T>(message: T, left: Duration, bearer: &Bearer) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    let metadata = request.metadata_mut();
    bearer.sign(metadata);
    metadata.insert(ACTOR_METADATA, MetadataValue::from_static("wix"));
    metadata.insert(MAX_DETAIL_BYTES_METADATA, MetadataValue::from(DETAIL_BYTES_MAX));
    trace::inject(&Span::current(), metadata.as_mut());
    request
}

/// The name of the code if a retry may help. UNKNOWN and CANCELLED are how a connection that breaks during a call shows
/// itself.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_carries_actor_deadline_and_detail_bound() {
        let request = request((), Duration::from_millis(1_500), &Bearer::NONE);
        let value = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value(ACTOR_METADATA), Some("wix"));
        assert_eq!(value(MAX_DETAIL_BYTES_METADATA), Some("1048576"));
        assert!(value("grpc-timeout").is_some());
    }
}
