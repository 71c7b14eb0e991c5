//! The gRPC side: deadline, and retry under the same key.

use std::time::{Duration, Instant};

use inventory_proto::ACTOR_METADATA;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::convert::Call;

/// How long a call may take in all. A plugin called in the same checkout must answer Wix within
/// 3 seconds (documented for Additional Fees; unknown for this one).
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(2_200);
/// The pause before the first retry; it doubles with each.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Bytes of an answer's headers: a refusal's details travel in one, and may name 300 short levels with
/// variants of 2,000 bytes, in base64.
const HEADER_BYTES_MAX: u32 = 2 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(500);

/// The server, as the adapter sees it. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    availability: AvailabilityServiceClient<Channel>,
    health: HealthClient<Channel>,
}

impl Upstream {
    /// Will connect to `endpoint` when first used, and again whenever the connection is lost.
    pub fn new(endpoint: Endpoint) -> Self {
        let channel = endpoint
            .connect_timeout(CONNECT_TIME_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .connect_lazy();
        Self { availability: AvailabilityServiceClient::new(channel.clone()), health: HealthClient::new(channel) }
    }

    /// Has the call carried out. What is certain to have changed nothing, or can be asked again
    /// under the same key, is asked again until the deadline.
    pub async fn carry_out(&self, call: &Call) -> Result<(), Status> {
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let mut pause = RETRY_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let attempt = tokio::time::timeout(left, self.attempt(call, left)).await;
            let status = match attempt {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if !may_retry(&status) || Instant::now() + pause >= deadline {
                return Err(status);
            }
            tracing::debug!(code = ?status.code(), "asking again under the same key");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn attempt(&self, call: &Call, left: Duration) -> Result<(), Status> {
        let mut client = self.availability.clone();
        match call {
            Call::Decrement(message) => client.decrement_availability(request(message.clone(), left)).await.map(|_| ()),
            Call::Increment(message) => client.increment_availability(request(message.clone(), left)).await.map(|_| ()),
        }
    }

    /// Whether the server says that it can serve.
    pub async fn is_ready(&self) -> bool {
        let check = HealthCheckRequest { service: String::new() };
        let mut client = self.health.clone();
        let answer = tokio::time::timeout(CONNECT_TIME_MAX, client.check(check)).await;
        matches!(answer, Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving)
    }
}

fn request<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static("wix"));
    request
}

/// Every call carries a request key, so asking again is safe; these codes say that it may help.
/// `UNKNOWN` and `CANCELLED` are how a connection that breaks during a call shows itself.
fn may_retry(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted => true,
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
        | Code::Unauthenticated => false,
    }
}
