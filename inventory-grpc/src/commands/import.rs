//! `import`: levels and units' settings from a file.
//!
//! First the whole file is checked; if any row is bad, nothing is sent. Then the settings are written, then the levels,
//! each in calls of many rows; a call is applied as a whole or not at all. The idempotency keys of the levels' calls
//! come from the file's content, so the same file sets no level twice, and an interrupted import continues where it
//! stopped. Settings have no such key: they are written each time.

mod compare;

use std::error::Error;
use std::io::Read;
use std::path::Path;

use inventory_core::store::Open;
use inventory_program::{Out, tell};
use inventory_proto::v1;
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::rows::{BadRow, Row, Rows, read};
use super::{Connection, progress, signed};
use crate::config::{Format, Import};

/// Levels of one call: as many as a call may have.
const LEVELS_PER_CALL: usize = 1_000;
/// Units of one call. Fewer than a call may have, because a unit with long options, SKU and name takes some 4 kB.
const UNITS_PER_CALL: usize = 500;
/// Bad rows that are printed.
const BAD_ROWS_PRINTED_MAX: usize = 1_000;

/// Some rows are bad. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("nothing was imported; bad rows: {0}")]
struct BadRows(usize);

/// The server refused a call.
#[derive(Debug, thiserror::Error)]
#[error("{at}{message}; {done}", at = .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
struct RefusedRow {
    /// The line that it is about, if the server said so.
    line: Option<u64>,
    message: String,
    /// What was imported before.
    done: String,
}

/// Imports a file, or prints what it would change.
pub async fn import(settings: Import) -> Result<(), Box<dyn Error>> {
    let Import { upstream, file, format, dry_run, again } = settings;
    let content = content(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let rows = match read(Format::of(format, Some(&file)), &content) {
        Ok(rows) => rows,
        Err(bad) => {
            for BadRow { line, reason } in bad.iter().take(BAD_ROWS_PRINTED_MAX) {
                tell(format_args!("line {line}: {reason}"));
            }
            return Err(BadRows(bad.len()).into());
        }
    };
    let connection = Connection::open(&upstream, Open::Migrate).await?;
    let (site_id, mut out) = (&upstream.remote.site_id, Out::default());
    let done = match dry_run {
        true => compare::compare(&connection, site_id, &rows, &mut out).await,
        false => write(&connection, site_id, &rows, &name_of(&content, again), &mut out).await,
    };
    connection.close().await?;
    done
}

fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut content = Vec::new();
        std::io::stdin().lock().read_to_end(&mut content)?;
        return Ok(content);
    }
    std::fs::read(file)
}

/// The import's name in its idempotency keys: the same for the same content, unless it is to be done again.
fn name_of(content: &[u8], again: bool) -> String {
    let name: String = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if again { format!("{name}-{}", Uuid::new_v4().simple()) } else { name }
}

/// Writes the settings, then the levels, and prints what was changed.
async fn write(
    connection: &Connection,
    site_id: &str,
    rows: &Rows,
    name: &str,
    out: &mut Out,
) -> Result<(), Box<dyn Error>> {
    let bar = progress((rows.units.len() + rows.levels.len()) as u64, "importing");
    let Rows { count, levels, units } = rows;
    let mut client = connection.stock();
    for (index, part) in units.chunks(UNITS_PER_CALL).enumerate() {
        let requests = part.iter().map(|row| row.message.clone()).collect();
        let request = v1::BatchUpdateUnitsRequest { site_id: site_id.to_owned(), requests };
        let answer = client.batch_update_units(signed(request)).await;
        answer.map_err(|status| {
            let done = index * UNITS_PER_CALL;
            refused(&status, part, format!("settings of {done} units were written before, and no level was set"))
        })?;
        bar.inc(part.len() as u64);
    }
    let (mut changed, mut before) = (0, 0);
    for (index, part) in levels.chunks(LEVELS_PER_CALL).enumerate() {
        let request = v1::SetStockRequest {
            site_id: site_id.to_owned(),
            items: part.iter().map(|row| row.message.clone()).collect(),
            request_id: format!("import-{name}-{index}"),
            reason: v1::Reason::Unspecified.into(),
            note: format!("import {name}"),
        };
        let answer = client.set_stock(signed(request)).await.map_err(|status| {
            let done = index * LEVELS_PER_CALL;
            refused(&status, part, format!("{done} levels were imported before"))
        })?;
        let v1::SetStockResponse { sequence: _, levels: set, repeated_request } = answer.into_inner();
        match repeated_request {
            true => before += part.len(),
            false => changed += set.len(),
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    let same = levels.len() - changed - before;
    out.line(format_args!("{count} rows: {changed} levels changed, {same} were so already, {before} imported before"))?;
    if !units.is_empty() {
        out.line(format_args!("settings of {} units written", units.len()))?;
    }
    if before > 0 {
        out.line("levels that were imported before are not set again; --again sets them once more")?;
    }
    Ok(())
}

/// The error of a call, with the line of the row that it is about.
fn refused<T>(status: &Status, rows: &[Row<T>], done: String) -> RefusedRow {
    let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
    let index = violation.as_ref().and_then(|violation| {
        let (_, rest) = violation.field.split_once('[')?;
        rest.split_once(']')?.0.parse::<usize>().ok()
    });
    let line = index.and_then(|index| rows.get(index)).map(|row| row.line);
    RefusedRow { line, message: status.message().to_owned(), done }
}
