//! `AvailabilityService`: takes stock for orders and gives it back.

use inventory_core::engine::Engine;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_server::AvailabilityService;
use tonic::{Request, Response, Status};

use super::{Applied, call, write};
use crate::decode;

/// The service.
pub(crate) struct Availability {
    /// Decides and commits.
    pub(crate) engine: Engine,
}

#[tonic::async_trait]
impl AvailabilityService for Availability {
    async fn decrement_availability(
        &self,
        request: Request<v1::DecrementAvailabilityRequest>,
    ) -> Result<Response<v1::DecrementAvailabilityResponse>, Status> {
        let (call, message) = call(request)?;
        let applied = write(&self.engine, &call, message, decode::decrement).await?;
        let Applied { sequence, levels, replayed: repeated_request } = applied;
        Ok(Response::new(v1::DecrementAvailabilityResponse { sequence, levels, repeated_request }))
    }

    async fn increment_availability(
        &self,
        request: Request<v1::IncrementAvailabilityRequest>,
    ) -> Result<Response<v1::IncrementAvailabilityResponse>, Status> {
        let (call, message) = call(request)?;
        let applied = write(&self.engine, &call, message, decode::increment).await?;
        let Applied { sequence, levels, replayed: repeated_request } = applied;
        Ok(Response::new(v1::IncrementAvailabilityResponse { sequence, levels, repeated_request }))
    }
}
