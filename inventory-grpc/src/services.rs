//! The services of `inventory.v1`. A method decodes its request, asks the core once, and encodes the answer.
//!
//! A write goes to the engine and is answered after it is durable. A read is one `Store::read`, so all of its answer
//! comes from one snapshot. No method decides anything about stock.

pub(crate) mod availability;
pub(crate) mod ledger;
pub(crate) mod site;
pub(crate) mod stock;
mod stream;
mod verify;
pub(crate) mod watch;

use inventory_core::engine::Engine;
use inventory_core::model::command::Command;
use inventory_core::model::outcome::{Outcome, Verdict};
use inventory_proto::v1;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::decode::{Caller, caller};
use crate::encode;
use crate::status::{Paths, of_error, of_refusal};

/// The answer to an applied command.
struct Applied {
    /// The site's sequence number after it.
    sequence: i64,
    /// The levels that got an entry.
    levels: Vec<v1::Level>,
    /// Whether it is a replay.
    replayed: bool,
}

/// Decodes a write, submits it, and returns what was applied. A refusal becomes a status, so a caller that forgets to
/// look cannot take it for success.
async fn write<M>(
    engine: &Engine,
    metadata: &MetadataMap,
    message: M,
    decode: fn(M, String) -> Result<Command, Status>,
) -> Result<Applied, Status> {
    let Caller { actor, deadline, detail_bytes } = caller(metadata)?;
    let command = decode(message, actor)?;
    let outcome = engine.submit(command, deadline).await.map_err(|error| of_error(error, Paths::ITEMS))?;
    // The engine has counted the findings.
    let Outcome { site: _, default_location, sequence, replayed, verdict, findings: _ } = outcome;
    match verdict {
        Verdict::Applied(levels) => {
            let levels = levels.into_iter().map(|level| encode::level(level, default_location)).collect();
            Ok(Applied { sequence, levels, replayed })
        }
        Verdict::Refused(refusal) => Err(of_refusal(refusal, default_location, detail_bytes)),
    }
}
