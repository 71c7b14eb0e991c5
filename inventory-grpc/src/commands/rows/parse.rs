//! Splits a file into rows, and rows into values. Knows both formats and no bounds.
//!
//! In CSV an empty cell, and in NDJSON an absent, null or empty value, means that nothing is said. CSV text is taken
//! exactly as it stands, spaces included, because a SKU may have them; other cells may have spaces around them.

use csv::{ByteRecord, StringRecord};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::COLUMNS;

/// The values of a row.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Values {
    pub(super) app_id: Option<String>,
    pub(super) catalog_item_id: Option<String>,
    pub(super) options: Option<Map<String, Value>>,
    pub(super) location_id: Option<String>,
    pub(super) available: Option<i64>,
    pub(super) sku: Option<String>,
    pub(super) name: Option<String>,
    pub(super) tracking: Option<String>,
    pub(super) backorder_limit: Option<i64>,
    pub(super) counts_subscriptions: Option<bool>,
    pub(super) sell_from: Option<String>,
    pub(super) sell_until: Option<String>,
}

/// A row with its line, or what is wrong with it.
pub(super) type Parsed = (u64, Result<Values, String>);

/// Reads NDJSON. Empty lines are no rows.
pub(super) fn ndjson(content: &[u8]) -> Vec<Parsed> {
    let row = |(line, text): (u64, &[u8])| (line, serde_json::from_slice(text).map_err(|error| error.to_string()));
    (1..).zip(content.split(|byte| *byte == b'\n')).filter(|(_, text)| !text.trim_ascii().is_empty()).map(row).collect()
}

/// Reads CSV with a header. A bad header is one bad row.
pub(super) fn csv(content: &[u8]) -> Vec<Parsed> {
    // Spreadsheets like to begin with a byte order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(content);
    let header = match reader.headers().map_err(|error| error.to_string()).and_then(known) {
        Ok(header) => header,
        Err(reason) => return vec![(1, Err(reason))],
    };
    let row = |record: csv::Result<ByteRecord>| match record {
        Ok(record) => {
            let line = record.position().map_or(0, csv::Position::line);
            (
                line,
                StringRecord::from_byte_record(record).map_err(|_| NOT_UTF8.into()).and_then(|r| values(&header, &r)),
            )
        }
        Err(error) => (error.position().map_or(0, csv::Position::line), Err(error.to_string())),
    };
    reader.into_byte_records().map(row).collect()
}

const NOT_UTF8: &str = "is not UTF-8 text";

/// Checks that the header can name units and something to import of them.
fn known(header: &StringRecord) -> Result<StringRecord, String> {
    if let Some(unknown) = header.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(format!("the header names {unknown:?}; the known names are {}", COLUMNS.join(", ")));
    }
    let count = |name: &str| header.iter().filter(|own| *own == name).count();
    if let Some(name) = COLUMNS.iter().find(|name| count(name) > 1) {
        return Err(format!("the header names {name} twice"));
    }
    let has = |name: &str| count(name) == 1;
    let by_catalog = has("app_id") && has("catalog_item_id");
    if !by_catalog && !has("sku") {
        return Err("the header names no unit: it lacks app_id and catalog_item_id, or sku".to_owned());
    }
    let settings = ["name", "tracking", "backorder_limit", "counts_subscriptions", "sell_from", "sell_until"];
    let has_setting = settings.into_iter().any(has) || (by_catalog && has("sku"));
    if !has("available") && !has_setting {
        return Err("the header names nothing to import: it lacks available, or a setting".to_owned());
    }
    Ok(header.clone())
}

fn values(header: &StringRecord, record: &StringRecord) -> Result<Values, String> {
    let text = |name: &str| header.iter().zip(record).find(|(own, _)| *own == name).map(|(_, cell)| cell.to_owned());
    let cell = |name: &str| text(name).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty());
    let number = |name: &str| {
        let parse =
            |cell: String| cell.parse().map_err(|_| format!("{name}: {cell:?} is not a whole number of 64 bits"));
        cell(name).map(parse).transpose()
    };
    let options =
        |cell: String| serde_json::from_str(&cell).map_err(|error| format!("options: is not a JSON object: {error}"));
    let flag = |cell: String| match cell.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("counts_subscriptions: {cell:?} is neither true nor false")),
    };
    Ok(Values {
        app_id: text("app_id"),
        catalog_item_id: text("catalog_item_id"),
        options: cell("options").map(options).transpose()?,
        location_id: cell("location_id"),
        available: number("available")?,
        sku: text("sku"),
        name: text("name"),
        tracking: cell("tracking"),
        backorder_limit: number("backorder_limit")?,
        counts_subscriptions: cell("counts_subscriptions").map(flag).transpose()?,
        sell_from: cell("sell_from"),
        sell_until: cell("sell_until"),
    })
}
