//! `AvailabilityService`: takes stock for orders and gives it back.

use std::sync::Arc;

use inventory_core::engine::Engine;
use inventory_program::listen::CallerInfo;
use inventory_program::memory::Memory;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_server::AvailabilityService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::changes::Changes;
use super::{Applied, call, write};
use crate::access::Access;
use crate::calls::StreamCalls;
use crate::decode::{self, caller};

/// The service.
pub(crate) struct Availability {
    /// Decides and commits.
    pub(crate) engine: Engine,
    /// Of all messages under way.
    pub(crate) memory: Memory,
    /// Sees the calls of streams.
    pub(crate) calls: Arc<StreamCalls>,
    /// Cancelled when the server stops. Streams then read no more, and end.
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl AvailabilityService for Availability {
    type ChangeAvailabilityStream = Changes;

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

    async fn change_availability(
        &self,
        request: Request<Streaming<v1::ChangeAvailabilityRequest>>,
    ) -> Result<Response<Changes>, Status> {
        let (metadata, extensions, calls) = request.into_parts();
        let access = Access::of(&extensions)?;
        let author = caller(&metadata, &access)?.author;
        Ok(Response::new(Changes::new(self, calls, access, author, extensions.get::<CallerInfo>().cloned())))
    }
}
