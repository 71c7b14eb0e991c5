//! The services of `inventory.v1`: decode, ask the core, encode.

pub mod availability;
pub mod ledger;
pub mod site;
pub mod stock;

use inventory_core::command::Command;
use inventory_core::engine::Engine;
use inventory_core::outcome::{LevelAfter, Outcome, Verdict};
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::{decode, status};

/// An applied outcome: sequence, levels, and whether it is a repeat.
struct Applied {
    sequence: i64,
    levels: Vec<LevelAfter>,
    repeated: bool,
}

/// Has a command carried out, and turns a refusal into its status: a caller who forgets to look
/// at an answer must not take a refusal for success.
async fn carry_out(engine: &Engine, command: Command, metadata: &MetadataMap) -> Result<Applied, Status> {
    let outcome = engine.submit(command, decode::deadline(metadata)).await.map_err(status::of_error)?;
    let Outcome { site: _, sequence, repeated, verdict } = outcome;
    match verdict {
        Verdict::Applied(levels) => Ok(Applied { sequence, levels, repeated }),
        Verdict::Refused(refusal) => Err(status::of_refusal(refusal)),
    }
}
