//! `import`: levels from a file.

use std::error::Error;
use std::io::Read;
use std::path::Path;

use inventory_proto::v1;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use sha2::{Digest, Sha256};
use tonic::transport::Channel;
use tonic_types::StatusExt;
use uuid::Uuid;

use crate::commands::rows::{BadRow, Row, read};
use crate::commands::{Connection, progress, signed};
use crate::config::{Format, Import};

/// Rows of one call: what a call may hold.
const ROWS: usize = 1_000;
/// Bad rows that are told one by one.
const BAD_ROWS_TOLD: usize = 1_000;

/// Some rows are bad; nothing was imported.
#[derive(Debug, thiserror::Error)]
#[error("nothing was imported; bad rows: {0}")]
struct BadRows(usize);

/// A row that the server refused.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {message}; the {done} rows before it are imported")]
struct RefusedRow {
    line: u64,
    message: String,
    done: usize,
}

/// Imports a file, or tells what it would change.
pub async fn import(settings: Import) -> Result<(), Box<dyn Error>> {
    let Import { upstream, file, format, dry_run, again } = settings;
    let content = content(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let (rows, bad) = read(Format::of(format, Some(&file)), &content);
    for BadRow { line, reason } in bad.iter().take(BAD_ROWS_TOLD) {
        eprintln!("line {line}: {reason}");
    }
    if !bad.is_empty() {
        return Err(BadRows(bad.len()).into());
    }
    let connection = Connection::open(&upstream).await?;
    let client = StockServiceClient::new(connection.channel.clone());
    let site = upstream.site_id;
    let done = match dry_run {
        true => compare(client, site, &rows).await,
        false => set(client, site, &rows, &name_of(&content, again)).await,
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

/// The import's name, which comes from what the file says: so what was imported before is recognized, and is
/// not done again, unless it is to be.
fn name_of(content: &[u8], again: bool) -> String {
    let name: String = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if again { format!("{name}-{}", Uuid::new_v4().simple()) } else { name }
}

/// Sets the levels, call by call, each named by the import and its place in it.
async fn set(
    mut client: StockServiceClient<Channel>,
    site_id: String,
    rows: &[Row],
    name: &str,
) -> Result<(), Box<dyn Error>> {
    let bar = progress(rows.len() as u64, "importing");
    let (mut changed, mut before) = (0, 0);
    for (index, part) in rows.chunks(ROWS).enumerate() {
        let items = part.iter().map(|row| row.item.clone()).collect();
        let request_id = format!("import-{name}-{index}");
        let note = format!("import {name}");
        let request = v1::SetStockRequest { site_id: site_id.clone(), items, request_id, note, ..Default::default() };
        let answer = client.set_stock(signed(request)).await.map_err(|status| told(&status, part, index * ROWS))?;
        let answer = answer.into_inner();
        if answer.repeated_request {
            before += part.len();
        } else {
            changed += answer.levels.len();
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    let as_they_were = rows.len() - changed - before;
    println!("{} rows: {changed} levels changed, {as_they_were} were so already, {before} imported before", rows.len());
    if before > 0 {
        println!("what was imported before is not done again; --again sets those levels once more");
    }
    Ok(())
}

/// Tells what an import would change.
async fn compare(mut client: StockServiceClient<Channel>, site_id: String, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let bar = progress(rows.len() as u64, "comparing");
    let (mut new, mut changed, mut pieces) = (0_usize, 0_usize, 0_i128);
    for (index, part) in rows.chunks(ROWS).enumerate() {
        let item = |row: &Row| v1::BatchGetStockItem {
            catalog_reference: row.item.catalog_reference.clone(),
            location_id: row.item.location_id.clone(),
            ..Default::default()
        };
        let request = v1::BatchGetStockRequest {
            site_id: site_id.clone(),
            items: part.iter().map(item).collect(),
            ..Default::default()
        };
        let answer =
            client.batch_get_stock(signed(request)).await.map_err(|status| told(&status, part, index * ROWS))?;
        for (stock, row) in answer.into_inner().stock.iter().zip(part) {
            let delta = i128::from(row.item.available) - i128::from(stock.available);
            pieces += delta;
            match (stock.revision, delta) {
                (_, 0) => {}
                (0, _) => new += 1,
                (_, _) => changed += 1,
            }
        }
        bar.inc(part.len() as u64);
    }
    bar.finish_and_clear();
    let same = rows.len() - new - changed;
    println!("{} rows: {new} levels would be new, {changed} would change, {same} are so already", rows.len());
    println!(
        "{pieces:+} pieces in all; nothing was changed. What this very file has set before would not be set again"
    );
    Ok(())
}

/// A refusal, by the line that it is about.
fn told(status: &tonic::Status, rows: &[Row], done: usize) -> Box<dyn Error> {
    let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
    let index = violation.as_ref().and_then(|violation| violation.field.strip_prefix("items["));
    let index = index.and_then(|rest| rest.split(']').next()).and_then(|index| index.parse::<usize>().ok());
    match index.and_then(|index| rows.get(index)) {
        Some(row) => RefusedRow { line: row.line, message: status.message().to_owned(), done }.into(),
        None => format!("{}; the {done} rows before are imported", status.message()).into(),
    }
}
