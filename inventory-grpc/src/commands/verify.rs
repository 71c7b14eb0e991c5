//! `verify`: compares every level of a site with the sum of its entries, and prints the differences.
//!
//! Exits with 1 if a level still differs at the end. Repairs only with `--repair`.

use std::error::Error;

use inventory_core::store::Open;
use inventory_program::Out;
use inventory_proto::v1;

use super::page::{at_location, plain};
use super::{Connection, progress, sentence, signed};
use crate::config::Verify;
use crate::config::unit_name::of_reference;

/// Levels differ from the ledger.
#[derive(Debug, thiserror::Error)]
#[error("{0} levels differ from the sum of their entries; --repair sets them to it")]
struct Differ(i64);

/// Verifies a site.
pub async fn verify(settings: Verify) -> Result<(), Box<dyn Error>> {
    let Verify { upstream, repair } = settings;
    let connection = Connection::open(&upstream, if repair { Open::AsIs } else { Open::ReadOnly }).await?;
    let result = ask(&connection, upstream.remote.site_id, repair).await;
    connection.close().await?;
    let v1::VerifySiteResponse {
        entries,
        entries_expected: _,
        levels,
        done: _,
        differences,
        difference_count,
        archived_sequence,
    } = result?;
    // The exit code tells whether a level differs, also if nobody reads which one.
    let mut out = Out::default();
    out.line(format_args!("{entries} entries, {levels} levels: {difference_count} differ"))?;
    if archived_sequence > 0 {
        let sums = "the sums begin with the levels as of then";
        out.line(format_args!("the entries up to {archived_sequence} are archived: {sums}"))?;
    }
    let repaired_count = differences.iter().filter(|difference| difference.repaired).count();
    for difference in differences {
        let v1::LevelDifference { catalog_reference, location_id, available, recomputed, repaired, .. } = difference;
        // As a person types it, so that `why` can be asked about it.
        let unit = plain(&catalog_reference.as_ref().map(of_reference).unwrap_or_default());
        let place = at_location(&location_id);
        let repaired = if repaired { "; repaired" } else { "" };
        out.line(format_args!("{unit} {place}: is {available}, its entries come to {recomputed}{repaired}"))?;
    }
    match difference_count - i64::try_from(repaired_count).unwrap_or(i64::MAX) {
        0 => Ok(()),
        left => Err(Differ(left).into()),
    }
}

/// Returns the last message, which holds the result.
async fn ask(connection: &Connection, site_id: String, repair: bool) -> Result<v1::VerifySiteResponse, Box<dyn Error>> {
    let request = signed(v1::VerifySiteRequest { site_id, repair });
    let mut messages = connection.ledger().verify_site(request).await.map_err(sentence)?.into_inner();
    let bar = progress(0, "adding up");
    let mut result = None;
    while let Some(message) = messages.message().await.map_err(sentence)? {
        bar.set_length(u64::try_from(message.entries_expected).unwrap_or_default());
        bar.set_position(u64::try_from(message.entries).unwrap_or_default());
        result = message.done.then_some(message);
    }
    bar.finish_and_clear();
    result.ok_or_else(|| "the server ended the stream without a result; run the command again".into())
}
