//! Files of rows, for the fuzz targets: read as an import reads them, and written as an export writes them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use inventory_proto::{UnitRef, json, v1};
use serde_json::{Value, json};

use super::output::Output;
use super::rows::{self, COLUMNS};
use crate::config::Format;

/// The rows of a file, as an import sends them.
#[derive(Debug, PartialEq)]
pub struct File {
    /// The levels to set.
    pub levels: Vec<v1::SetStockItem>,
    /// The settings to change.
    pub units: Vec<v1::UpdateUnitRequest>,
}

/// Reads a file. Fails with the line and the reason of each bad row.
pub fn read_file(format: Format, content: &[u8]) -> Result<File, Vec<(u64, String)>> {
    match rows::read(format, content) {
        Ok(rows::Rows { count: _, levels, units }) => Ok(File {
            levels: levels.into_iter().map(|row| row.message).collect(),
            units: units.into_iter().map(|row| row.message).collect(),
        }),
        Err(bad) => Err(bad.into_iter().map(|row| (row.line, row.reason)).collect()),
    }
}

/// Writes a file: a row for each level, and one for each unit.
pub fn write_file(format: Format, file: &File) -> io::Result<Vec<u8>> {
    let written = Written::default();
    let new = Output::over(Box::new(written.clone()), format, &COLUMNS);
    let mut output = new.map_err(|error| io::Error::other(error.to_string()))?;
    let levels = file.levels.iter().map(|level| {
        let settings = v1::UpdateUnitRequest { unit: level.unit.clone().map(renamed), ..Default::default() };
        row(&level.location_id, json!(level.available), settings)
    });
    let units = file.units.iter().map(|unit| row("", Value::Null, unit.clone()));
    for row in levels.chain(units) {
        output.row(&row).map_err(|error| io::Error::other(error.to_string()))?;
    }
    output.finish()?;
    Ok(written.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// The name of a unit, in the other message.
fn renamed(unit: v1::set_stock_item::Unit) -> v1::update_unit_request::Unit {
    UnitRef::from(unit).into()
}

/// The cells of a row.
fn row(location_id: &str, available: Value, settings: v1::UpdateUnitRequest) -> [Value; COLUMNS.len()] {
    let tracking = match settings.tracking() {
        v1::Tracking::Unspecified => Value::Null,
        tracking => json!(tracking.as_str_name()),
    };
    let (reference, sku) = match settings.unit.map(UnitRef::from) {
        Some(UnitRef::CatalogReference(reference)) => (reference, settings.new_sku),
        Some(UnitRef::Sku(sku)) => (v1::CatalogReference::default(), Some(sku)),
        None => (v1::CatalogReference::default(), None),
    };
    // The options come from JSON, so every number can be told in it.
    let options = reference.options.and_then(|options| json::to_json(options).ok());
    let time = |time: Option<prost_types::Timestamp>| time.map_or(Value::Null, |time| json!(time.to_string()));
    [
        json!(reference.app_id),
        json!(reference.catalog_item_id),
        json!(options),
        json!(location_id),
        available,
        json!(sku),
        json!(settings.name),
        tracking,
        json!(settings.backorder_limit),
        json!(settings.counts_subscriptions),
        time(settings.sell_from),
        time(settings.sell_until),
    ]
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
