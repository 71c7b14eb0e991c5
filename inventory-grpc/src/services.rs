//! The services of `inventory.v1`: decode, ask the core, encode.

pub mod availability;
pub mod ledger;
pub mod site;
pub mod stock;
mod stream;
mod verify;
mod watch;

use std::time::{Duration, Instant};

use inventory_core::command::Command;
use inventory_core::engine::Engine;
use inventory_core::ids::SiteId;
use inventory_core::outcome::{Outcome, Verdict};
use inventory_core::store::Store;
use inventory_proto::v1;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::{decode, encode, status};

/// How long a read waits for books that have the entry it names, and how often it looks.
const REACH_TIME_MAX: Duration = Duration::from_secs(2);
const REACH_EVERY: Duration = Duration::from_millis(20);

/// Waits until the books have an entry: those of a replica may lag behind what a caller has seen.
async fn reached(store: &Store, site: SiteId, sequence: i64) -> Result<(), Status> {
    decode::not_negative(sequence, "at_least_sequence")?;
    if sequence == 0 {
        return Ok(());
    }
    let until = Instant::now() + REACH_TIME_MAX;
    loop {
        let now = store.sequence(site).await.map_err(status::of_error)?;
        if now >= sequence {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(status::not_reached(now, sequence));
        }
        tokio::time::sleep(REACH_EVERY).await;
    }
}

/// An applied outcome: sequence, levels, and whether it is a repeat.
struct Applied {
    sequence: i64,
    levels: Vec<v1::Level>,
    repeated: bool,
}

/// Has a command carried out, and turns a refusal into its status: a caller who forgets to look
/// at an answer must not take a refusal for success.
async fn carry_out(engine: &Engine, command: Command, metadata: &MetadataMap) -> Result<Applied, Status> {
    let outcome = engine.submit(command, decode::deadline(metadata)).await.map_err(status::of_error)?;
    let Outcome { site: _, sequence, repeated, verdict, noticed: _ } = outcome;
    match verdict {
        Verdict::Applied(levels) => {
            let levels = levels.into_iter().map(encode::level).collect();
            Ok(Applied { sequence, levels, repeated })
        }
        Verdict::Refused(refusal) => Err(status::of_refusal(refusal)),
    }
}
