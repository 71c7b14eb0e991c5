//! `AvailabilityService`.

use inventory_core::engine::Engine;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_server::AvailabilityService;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::decode;
use crate::services::{Applied, carry_out};

/// Takes stock for orders and gives it back.
pub struct Availability {
    /// What carries commands out.
    pub engine: Engine,
}

#[tonic::async_trait]
impl AvailabilityService for Availability {
    async fn decrement_availability(
        &self,
        request: Request<v1::DecrementAvailabilityRequest>,
    ) -> Result<Response<v1::DecrementAvailabilityResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("decrement", site.id = %message.site_id, order.id = %message.order_id);
        let command = decode::decrement(message, decode::actor(&metadata)?)?;
        let Applied { sequence, levels, repeated } =
            carry_out(&self.engine, command, &metadata).instrument(span).await?;
        Ok(Response::new(v1::DecrementAvailabilityResponse { sequence, levels, repeated_request: repeated }))
    }

    async fn increment_availability(
        &self,
        request: Request<v1::IncrementAvailabilityRequest>,
    ) -> Result<Response<v1::IncrementAvailabilityResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let span = tracing::info_span!("increment", site.id = %message.site_id, order.id = %message.order_id);
        let command = decode::increment(message, decode::actor(&metadata)?)?;
        let Applied { sequence, levels, repeated } =
            carry_out(&self.engine, command, &metadata).instrument(span).await?;
        Ok(Response::new(v1::IncrementAvailabilityResponse { sequence, levels, repeated_request: repeated }))
    }
}
