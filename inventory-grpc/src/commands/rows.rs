//! Rows of stock, as files hold them.
//!
//! The whole file is checked before anything is sent: every row by the server's own decoders, and the rows against each
//! other. Two rows must not name the same level, and rows of one unit must agree on its settings. What only the site's
//! settings can tell, such as two sets of options that identify the same unit, is left to the server.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use inventory_proto::v1;

use crate::config::Format;

/// The columns of a file of stock, in the order in which they are written.
pub(super) const COLUMNS: [&str; 12] = [
    "app_id",
    "catalog_item_id",
    "options",
    "location_id",
    "available",
    "sku",
    "name",
    "tracking",
    "backorder_limit",
    "counts_subscriptions",
    "sell_from",
    "sell_until",
];

/// A file that is within all bounds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// The number of rows.
    pub(super) count: usize,
    /// The levels to set, in the order of the file.
    pub(super) levels: Vec<Row<v1::SetStockItem>>,
    /// The settings to change: one request for each unit, in the order of the file. They name no site.
    pub(super) units: Vec<Row<v1::UpdateUnitRequest>>,
}

/// What a row asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row<T> {
    /// The row's line, from 1.
    pub(super) line: u64,
    /// The message that asks for it.
    pub(super) message: T,
}

/// A row that cannot be imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Its line, from 1.
    pub(super) line: u64,
    /// What is wrong, by the columns' names.
    pub(super) reason: String,
}

/// Reads a whole file. Fails with all bad rows, in the order of the file.
pub(super) fn read(format: Format, content: &[u8]) -> Result<Rows, Vec<BadRow>> {
    let parsed = match format {
        Format::Csv => parse::csv(content),
        Format::Ndjson => parse::ndjson(content),
    };
    check::check(parsed)
}
