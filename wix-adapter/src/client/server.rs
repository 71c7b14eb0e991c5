//! One gRPC server: its connection, its stream of calls, and whether it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use inventory_program::{Reloaded, trace};
use inventory_proto::Bearer;
use inventory_proto::shared_call::SharedCall;
use inventory_proto::v1::ChangeAvailabilityRequest;
use inventory_proto::v1::change_availability_request::Change;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tracing::Instrument;

use super::choose::{Candidate, hash};
use super::stream::Calls;

/// One of the servers.
pub(super) struct Server {
    /// `HOST:PORT`, as it was configured.
    pub(super) name: String,
    hash: u64,
    channel: Channel,
    calls: Calls,
    /// False while it is known that it does not serve. Only `watch` changes it.
    serves: AtomicBool,
}

impl Server {
    /// A server that is taken to serve until the opposite is known.
    pub(super) fn new(name: String, channel: Channel, bearer: Reloaded<Bearer>) -> Self {
        let (hash, calls) = (hash(&name), Calls::new(channel.clone(), bearer));
        Self { name, hash, channel, calls, serves: AtomicBool::new(true) }
    }

    /// What the choice must know of it.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate { name: self.hash, serves: self.serves() }
    }

    /// Whether it serves, as far as is known.
    pub(super) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    /// Says whether it serves.
    pub(super) fn set_serves(&self, serves: bool) {
        self.serves.store(serves, Ordering::Relaxed);
    }

    /// Gives up what it has not answered. Each of these calls ends with UNAVAILABLE.
    pub(super) fn give_up_calls(&self) {
        self.calls.give_up(&Status::unavailable("the server does not answer"));
    }

    /// Calls once. `site` is the [`hash`] of the call's site. The server has until `deadline`. The call has a span of
    /// its own while traces are sent.
    pub(super) async fn call(&self, site: u64, change: &Arc<Change>, deadline: Instant) -> Result<(), Status> {
        let mut call = SharedCall { change: Arc::clone(change), head: ChangeAvailabilityRequest::default() };
        if trace::only_traced(()).is_none() {
            return self.calls.call(site, call, deadline).await;
        }
        let name = match **change {
            Change::Increment(_) => "inventory.v1.AvailabilityService/IncrementAvailability",
            Change::Decrement(_) => "inventory.v1.AvailabilityService/DecrementAvailability",
        };
        let span = tracing::debug_span!(
            target: "traces",
            "attempt",
            otel.name = name,
            otel.kind = "client",
            rpc.system = "grpc",
            rpc.method = name,
            server.address = self.name,
        );
        call.head.traceparent = trace::parent(&span);
        let mut unanswered = Unanswered(Some(&span));
        let result = self.calls.call(site, call, deadline).instrument(span.clone()).await;
        unanswered.0 = None;
        if result.as_ref().is_err_and(|status| !is_refusal(status.code())) {
            trace::failed(&span, "the call failed");
        }
        result
    }

    /// Follows what the server reports of its health. Returns the first report, and the later ones.
    pub(super) async fn health(&self) -> Result<(ServingStatus, Streaming<HealthCheckResponse>), Status> {
        let mut reports = HealthClient::new(self.channel.clone()).watch(whole_server()).await?.into_inner();
        let first = reports.message().await?;
        let first = first.ok_or_else(|| Status::unavailable("the server has ended the report of its health"))?;
        Ok((first.status(), reports))
    }

    /// Whether the server reports now that it can serve. False if it does not answer within `time`.
    pub(super) async fn is_ready(&self, time: Duration) -> bool {
        let mut client = HealthClient::new(self.channel.clone());
        let answer = tokio::time::timeout(time, client.check(whole_server())).await;
        matches!(answer, Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving)
    }
}

/// The empty name stands for the whole server.
fn whole_server() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

/// Marks the span of a call that is given up, because the time for its answer is over.
struct Unanswered<'a>(Option<&'a tracing::Span>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(span) = self.0 {
            trace::failed(span, "the server did not answer in time");
        }
    }
}

/// Whether the server refused the call, and nothing is wrong with it.
fn is_refusal(code: Code) -> bool {
    matches!(code, Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists)
}
