//! `export`: stock or the ledger as a file, in an order that does not change.
//!
//! It reads page by page while the site goes on, so it is no snapshot of the whole site: a row is as it was when its
//! page was read. Exported stock can be imported again: into an empty site it gives the same levels and the same units.

mod stock;

use std::error::Error;

use indicatif::ProgressBar;
use inventory_core::model::limits;
use inventory_core::store::Open;
use inventory_program::tell;
use inventory_proto::{json, v1};
use serde_json::{Value, json};

use super::output::Output;
use super::print::unless_closed;
use super::rows::COLUMNS;
use super::{Connection, existing_site, progress, sentence, signed};
use crate::config::{Export, Format, What};

/// The columns of a file of the ledger. Those of an archive begin with the site.
pub(super) const LEDGER: [&str; 17] = [
    "sequence",
    "record_time",
    "app_id",
    "catalog_item_id",
    "options",
    "location_id",
    "delta",
    "level_after",
    "kind",
    "reason",
    "order_id",
    "request_id",
    "actor",
    "note",
    "asked_delta",
    "marks",
    "on_behalf_of",
];
/// Rows of a page: as many as there may be.
const PAGE_ROWS: i32 = limits::PAGE_ROWS_MAX as i32;

/// Exports stock or the ledger.
pub async fn export(settings: Export) -> Result<(), Box<dyn Error>> {
    let connection = Connection::open(&settings.upstream, Open::ReadOnly).await?;
    let written = write(&connection, settings).await;
    connection.close().await?;
    unless_closed(written)
}

async fn write(connection: &Connection, settings: Export) -> Result<(), Box<dyn Error>> {
    let Export { what, upstream, output, format } = settings;
    let columns: &[&str] = match what {
        What::Stock => &COLUMNS,
        What::Ledger => &LEDGER,
    };
    let mut file = Output::create(output.as_deref(), Format::of(format, output.as_deref()), columns)?;
    let bar = progress(0, "exporting");
    match what {
        What::Stock => stock::export(connection, &upstream.remote.site_id, &mut file, &bar).await?,
        What::Ledger => ledger(connection, upstream.remote.site_id, &mut file, &bar).await?,
    }
    file.finish()?;
    bar.finish_and_clear();
    Ok(())
}

async fn ledger(
    connection: &Connection,
    site_id: String,
    file: &mut Output<'_>,
    bar: &ProgressBar,
) -> Result<(), Box<dyn Error>> {
    existing_site(connection, &site_id).await?;
    let mut client = connection.ledger();
    let mut request = v1::ListEntriesRequest { site_id, page_size: PAGE_ROWS, ..Default::default() };
    loop {
        let page = client.list_entries(signed(request.clone())).await.map_err(sentence)?.into_inner();
        let v1::ListEntriesResponse { entries, next_page_token, archived_sequence } = page;
        if archived_sequence > 0 && request.page_token.is_empty() {
            tell(format_args!("the entries up to {archived_sequence} are archived, and not in this file"));
        }
        for entry in entries {
            file.row(&ledger_row(entry))?;
            bar.inc(1);
        }
        if next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = next_page_token;
    }
}

pub(super) fn ledger_row(entry: v1::Entry) -> [Value; LEDGER.len()] {
    let (kind, reason) = (entry.kind().as_str_name(), entry.reason().as_str_name());
    let marks: Vec<&str> = entry.marks().map(|mark| mark.as_str_name()).collect();
    let time = entry.record_time.map(|time| time.to_string()).unwrap_or_default();
    let [app_id, item_id, options] = reference(entry.catalog_reference);
    [
        json!(entry.sequence),
        json!(time),
        app_id,
        item_id,
        options,
        json!(entry.location_id),
        json!(entry.delta),
        json!(entry.level_after),
        json!(kind),
        json!(reason),
        json!(entry.order_id),
        json!(entry.request_id),
        json!(entry.actor),
        json!(entry.note),
        json!(entry.asked_delta),
        json!(marks.join(" ")),
        json!(entry.on_behalf_of),
    ]
}

/// App id, item id and options. No options are null.
fn reference(reference: Option<v1::CatalogReference>) -> [Value; 3] {
    let v1::CatalogReference { app_id, catalog_item_id, options, options_json: _ } = reference.unwrap_or_default();
    let options = options.and_then(|options| json::to_json(options).ok()).filter(|options| !options.is_empty());
    [Value::String(app_id), Value::String(catalog_item_id), options.map_or(Value::Null, Value::Object)]
}
