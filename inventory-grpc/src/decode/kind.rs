//! How units are counted, as a request says it: of one unit, or of all units of a catalog.

use inventory_core::model::kind::{Tracking, Unstocked};
use inventory_core::model::limits;
use inventory_proto::v1;

use crate::decode::fields::{Checked, Fields};
use crate::violation::At;

impl Fields {
    /// A tracking; `None` if the field is unset.
    pub(crate) fn tracking(&mut self, at: At, number: i32) -> Checked<Option<Tracking>> {
        match v1::Tracking::try_from(number) {
            Ok(v1::Tracking::Unspecified) => Ok(None),
            Ok(v1::Tracking::Quantity) => Ok(Some(Tracking::Quantity)),
            Ok(v1::Tracking::Status) => Ok(Some(Tracking::Status)),
            Ok(v1::Tracking::Untracked) => Ok(Some(Tracking::Untracked)),
            Err(_) => self.bad(at, "tracking", "is not a tracking of this version"),
        }
    }

    /// A backorder limit; `None` if the field is unset.
    pub(crate) fn backorder_limit(&mut self, at: At, limit: Option<i64>) -> Checked<Option<i64>> {
        match limit {
            Some(limit) if !(0..=limits::BACKORDER_LIMIT_MAX).contains(&limit) => {
                self.bad(at, "backorder_limit", format_args!("must be 0 to {}", limits::BACKORDER_LIMIT_MAX))
            }
            limit => Ok(limit),
        }
    }

    /// A policy for units that were never stocked; `None` if the field is unset.
    pub(crate) fn unstocked(&mut self, at: At, number: i32) -> Checked<Option<Unstocked>> {
        match v1::Unstocked::try_from(number) {
            Ok(v1::Unstocked::Unspecified) => Ok(None),
            Ok(v1::Unstocked::Refuse) => Ok(Some(Unstocked::Refuse)),
            Ok(v1::Unstocked::Sell) => Ok(Some(Unstocked::Sell)),
            Err(_) => self.bad(at, "unstocked", super::UNKNOWN_POLICY),
        }
    }
}
