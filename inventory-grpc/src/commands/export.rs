//! `export`: stock or the ledger, in an order that does not change.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use inventory_core::limits;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{json, v1};
use serde_json::{Map, Value, json};

use crate::commands::rows::COLUMNS;
use crate::commands::{ANSWER_BYTES_MAX, Connection, progress, signed};
use crate::config::{Export, Format, What};

/// The columns of the ledger.
const LEDGER: [&str; 16] = [
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
];

/// Exports what was asked for.
pub async fn export(settings: Export) -> Result<(), Box<dyn Error>> {
    let Export { what, upstream, output, format } = settings;
    let connection = Connection::open(&upstream).await?;
    let to: Box<dyn Write> = match &output {
        Some(path) => {
            let told = |error| format!("{}: {error}", path.display());
            Box::new(File::create(path).map_err(told)?)
        }
        None => Box::new(std::io::stdout()),
    };
    let columns: &[&str] = match what {
        What::Stock => &COLUMNS,
        What::Ledger => &LEDGER,
    };
    let mut out = Output::new(Format::of(format, output.as_deref()), columns, to)?;
    let bar = progress(0, "exporting");
    match what {
        What::Stock => stock(&connection, upstream.site_id, &mut out, &bar).await?,
        What::Ledger => ledger(&connection, upstream.site_id, &mut out, &bar).await?,
    }
    out.finish()?;
    bar.finish_and_clear();
    connection.close().await
}

async fn stock(
    connection: &Connection,
    site_id: String,
    out: &mut Output<'_>,
    bar: &indicatif::ProgressBar,
) -> Result<(), Box<dyn Error>> {
    let mut client = StockServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut request = v1::ListStockRequest { site_id, page_size: PAGE, ..Default::default() };
    loop {
        let page = client.list_stock(signed(request.clone())).await.map_err(|status| status.message().to_owned())?;
        let v1::ListStockResponse { stock, next_page_token } = page.into_inner();
        for row in stock {
            bar.inc(1);
            let (app_id, item_id, options) = named(row.catalog_reference);
            out.row(&[app_id, item_id, options, Value::String(row.location_id), json!(row.available)])?;
        }
        if next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = next_page_token;
    }
}

async fn ledger(
    connection: &Connection,
    site_id: String,
    out: &mut Output<'_>,
    bar: &indicatif::ProgressBar,
) -> Result<(), Box<dyn Error>> {
    let mut client = LedgerServiceClient::new(connection.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut request = v1::ListEntriesRequest { site_id, page_size: PAGE, ..Default::default() };
    loop {
        let page = client.list_entries(signed(request.clone())).await.map_err(|status| status.message().to_owned())?;
        let v1::ListEntriesResponse { entries, next_page_token } = page.into_inner();
        for entry in entries {
            bar.inc(1);
            let (kind, reason) = (entry.kind().as_str_name(), entry.reason().as_str_name());
            let marks: Vec<&str> = entry.marks().map(|mark| mark.as_str_name()).collect();
            let time = entry.record_time.map(|time| time.to_string()).unwrap_or_default();
            let (app_id, item_id, options) = named(entry.catalog_reference);
            out.row(&[
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
            ])?;
        }
        if next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = next_page_token;
    }
}

/// Rows of a page: as many as there may be.
const PAGE: i32 = limits::PAGE_ROWS_MAX as i32;

/// App id, item id and options; options that there are none of are null.
fn named(reference: Option<v1::CatalogReference>) -> (Value, Value, Value) {
    let v1::CatalogReference { app_id, catalog_item_id, options } = reference.unwrap_or_default();
    let options = options.and_then(|options| json::to_json(options).ok()).filter(|options| !options.is_empty());
    (Value::String(app_id), Value::String(catalog_item_id), options.map_or(Value::Null, Value::Object))
}

/// A file in either form.
enum Output<'a> {
    Csv(Box<csv::Writer<Box<dyn Write>>>),
    Ndjson(&'a [&'a str], BufWriter<Box<dyn Write>>),
}

impl<'a> Output<'a> {
    fn new(format: Format, columns: &'a [&'a str], to: Box<dyn Write>) -> Result<Self, Box<dyn Error>> {
        Ok(match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(to);
                writer.write_record(columns)?;
                Self::Csv(Box::new(writer))
            }
            Format::Ndjson => Self::Ndjson(columns, BufWriter::new(to)),
        })
    }

    /// Writes a row, a value for each column.
    fn row(&mut self, values: &[Value]) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Csv(writer) => {
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
                };
                writer.write_record(values.iter().map(text))?;
            }
            Self::Ndjson(columns, to) => {
                let said = columns.iter().zip(values).filter(|(_, value)| !value.is_null());
                let object: Map<String, Value> =
                    said.map(|(column, value)| ((*column).to_owned(), value.clone())).collect();
                writeln!(to, "{}", Value::Object(object))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Ndjson(_, mut to) => to.flush(),
        }
    }
}
