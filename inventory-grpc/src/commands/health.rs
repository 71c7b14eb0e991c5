//! `health`: asks a running server whether it can serve. It is the health check of a container, which holds no other
//! program that could ask.

use std::error::Error;
use std::time::Duration;

use inventory_program::Out;
use inventory_program::tls::GrpcUpstream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Seconds for the connection and the answer.
const SECONDS_MAX: u64 = 3;

/// Prints `ready` if the writers of the server can commit. Otherwise the error says what is wrong.
pub async fn health(server: GrpcUpstream) -> Result<(), Box<dyn Error>> {
    let uri = server.grpc_upstream.uri().clone();
    let asked = tokio::time::timeout(Duration::from_secs(SECONDS_MAX), ask(server)).await;
    match asked.map_err(|_| format!("{uri}: no answer within {SECONDS_MAX} seconds"))?? {
        ServingStatus::Serving => Ok(Out::default().line("ready")?),
        ServingStatus::NotServing | ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            let why = "it starts or stops, or its writers cannot commit; its log says why";
            Err(format!("{uri}: the server is not ready: {why}").into())
        }
    }
}

async fn ask(server: GrpcUpstream) -> Result<ServingStatus, Box<dyn Error>> {
    let channel = server.connect(|endpoint| endpoint).await?;
    // The empty name stands for the whole server.
    let check = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(check).await;
    let uri = server.grpc_upstream.uri();
    let answer = answer.map_err(|status| format!("{uri}: the server's health is not known: {}", status.message()))?;
    Ok(answer.into_inner().status())
}
