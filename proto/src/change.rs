//! The two calls that a stream of calls carries.

use crate::v1::change_availability_request::Change;
use crate::v1::{DecrementAvailabilityRequest, IncrementAvailabilityRequest};

impl From<DecrementAvailabilityRequest> for Change {
    fn from(request: DecrementAvailabilityRequest) -> Self {
        Self::Decrement(request)
    }
}

impl From<IncrementAvailabilityRequest> for Change {
    fn from(request: IncrementAvailabilityRequest) -> Self {
        Self::Increment(request)
    }
}
