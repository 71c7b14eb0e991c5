//! `export stock`: one row for every level, and one for every unit without levels, with the unit's settings.
//!
//! The default location is written as an empty `location_id`, so that its levels are imported at the default location
//! of any site, whatever id that has there.
//!
//! A row has the settings of the unit itself, not those that come from its catalog or are built in, so an imported unit
//! inherits them again. A unit that was never stocked gets no level of 0: an import would stock it, and a unit that its
//! catalog sells until it is stocked would be refused from then on. A stocked unit without levels gets a level of 0, so
//! that an import stocks it too. A row that would carry nothing is left out.
//!
//! The server lists units and levels in the same order, so the two lists are merged as they are read. A unit that is
//! created in between may be missing from the list of units; the rows of its levels then have the settings that are
//! never inherited: SKU, name and sales window.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::error::Error;

use indicatif::ProgressBar;
use inventory_core::model::catalog::{CatalogReference, Unit};
use inventory_proto::{json, v1};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Status;

use super::{PAGE_ROWS, reference};
use crate::commands::output::Output;
use crate::commands::rows::COLUMNS;
use crate::commands::{Connection, existing_site, sentence, signed};

/// The index of `location_id` among the columns.
const LOCATION: usize = 3;
/// The index of `available`, the first column that can be imported.
const AVAILABLE: usize = 4;

/// Writes the rows of a site.
pub(super) async fn export(
    connection: &Connection,
    site_id: &str,
    file: &mut Output<'_>,
    bar: &ProgressBar,
) -> Result<(), Box<dyn Error>> {
    let v1::Site { default_location_id, .. } = existing_site(connection, site_id).await?;
    let (mut unit_client, mut level_client) = (connection.stock(), connection.stock());
    let units = Listed::new(async |page_token| {
        let request = v1::ListUnitsRequest {
            site_id: site_id.to_owned(),
            page_size: PAGE_ROWS,
            page_token,
            ..Default::default()
        };
        let page = unit_client.list_units(signed(request)).await?.into_inner();
        Ok((page.units, page.next_page_token))
    });
    let levels = Listed::new(async |page_token| {
        let request = v1::ListStockRequest {
            site_id: site_id.to_owned(),
            page_size: PAGE_ROWS,
            page_token,
            ..Default::default()
        };
        let page = level_client.list_stock(signed(request)).await?.into_inner();
        Ok((page.stock, page.next_page_token))
    });
    merge(units, levels, |mut row| {
        bar.inc(1);
        if row[LOCATION].as_str() == Some(&default_location_id) {
            row[LOCATION] = Value::String(String::new());
        }
        file.row(&row)
    })
    .await
}

type Row = [Value; COLUMNS.len()];

async fn merge(
    mut units: Listed<v1::Unit, impl AsyncFnMut(String) -> ListedPage<v1::Unit>>,
    mut levels: Listed<v1::Stock, impl AsyncFnMut(String) -> ListedPage<v1::Stock>>,
    mut write: impl FnMut(Row) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut unit = units.next().await.map_err(sentence)?;
    let mut level = levels.next().await.map_err(sentence)?;
    let mut has_levels = false;
    loop {
        let order = match (&unit, &level) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(unit), Some(level)) => key(&unit.catalog_reference)?.cmp(&key(&level.catalog_reference)?),
        };
        match order {
            Ordering::Less => {
                if let Some(unit) = unit.take().filter(|_| !has_levels) {
                    // Setting a level that was never used to 0 makes no level, but stocks the unit.
                    let available = if unit.stocked { json!(0) } else { Value::Null };
                    let row = row(String::new(), available, Settings::of_unit(unit));
                    if carries(&row) {
                        write(row)?;
                    }
                }
                has_levels = false;
                unit = units.next().await.map_err(sentence)?;
            }
            Ordering::Equal | Ordering::Greater => {
                if let Some(level) = level.take() {
                    let (location_id, available) = (level.location_id.clone(), level.available);
                    let (settings, stocked) = match unit.as_ref().filter(|_| order.is_eq()) {
                        Some(unit) => (Settings::of_unit(unit.clone()), unit.stocked),
                        None => {
                            let stocked = may_be_stocked(&level);
                            (Settings::of_level(level), stocked)
                        }
                    };
                    if stocked || available != 0 {
                        write(row(location_id, json!(available), settings))?;
                        has_levels = has_levels || order.is_eq();
                    }
                }
                level = levels.next().await.map_err(sentence)?;
            }
        }
    }
}

/// Whether a unit that is not in the list of units may have been stocked. One that is tracked is assumed to be: it was
/// stocked, or a level of 0 means the same for it.
fn may_be_stocked(level: &v1::Stock) -> bool {
    level.tracking() != v1::Tracking::Untracked
}

/// Whether a row carries a level or a setting.
fn carries(row: &Row) -> bool {
    row[AVAILABLE..].iter().any(|value| !value.is_null())
}

/// The place of a unit in the server's lists: bytes of app id, item id and canonical options.
fn key(reference: &Option<v1::CatalogReference>) -> Result<(String, String, String), Box<dyn Error>> {
    let v1::CatalogReference { app_id, catalog_item_id, options, options_json: _ } =
        reference.clone().unwrap_or_default();
    let unreadable = || format!("the server sent a unit that cannot be read: {app_id}/{catalog_item_id}");
    let options = json::to_json(options.unwrap_or_default()).map_err(|_| unreadable())?;
    // An answer holds only options that identify the unit.
    let keys: Vec<String> = options.keys().cloned().collect();
    let reference = CatalogReference::new(&app_id, &catalog_item_id, options).map_err(|_| unreadable())?;
    let Unit { app_id, item_id, variant } = Unit::of(&reference, Some(&keys)).map_err(|_| unreadable())?;
    Ok((app_id, item_id, variant.as_str().to_owned()))
}

/// The columns of a row that are about its unit. A setting that the unit does not have itself is null.
struct Settings {
    reference: Option<v1::CatalogReference>,
    sku: String,
    name: String,
    tracking: Value,
    backorder_limit: Value,
    counts_subscriptions: Value,
    sell_from: Option<Timestamp>,
    sell_until: Option<Timestamp>,
}

impl Settings {
    fn of_unit(unit: v1::Unit) -> Self {
        let own = |source: v1::SettingSource, value: Value| match source {
            v1::SettingSource::Unit => value,
            v1::SettingSource::Unspecified | v1::SettingSource::Catalog | v1::SettingSource::BuiltIn => Value::Null,
        };
        let name_of_tracking = unit.tracking().as_str_name();
        let short_name = name_of_tracking.strip_prefix("TRACKING_").unwrap_or(name_of_tracking);
        let tracking = own(unit.tracking_source(), json!(short_name));
        let backorder_limit = own(unit.backorder_limit_source(), json!(unit.backorder_limit));
        let counts_subscriptions = own(unit.counts_subscriptions_source(), json!(unit.counts_subscriptions));
        let v1::Unit { catalog_reference: reference, sku, name, sell_from, sell_until, .. } = unit;
        Self { reference, sku, name, tracking, backorder_limit, counts_subscriptions, sell_from, sell_until }
    }

    /// A level does not show where its unit's settings come from.
    fn of_level(level: v1::Stock) -> Self {
        let v1::Stock { catalog_reference: reference, sku, name, sell_from, sell_until, .. } = level;
        let [tracking, backorder_limit, counts_subscriptions] = [Value::Null, Value::Null, Value::Null];
        Self { reference, sku, name, tracking, backorder_limit, counts_subscriptions, sell_from, sell_until }
    }
}

fn row(location_id: String, available: Value, settings: Settings) -> Row {
    let Settings {
        reference: named,
        sku,
        name,
        tracking,
        backorder_limit,
        counts_subscriptions,
        sell_from,
        sell_until,
    } = settings;
    let [app_id, item_id, options] = reference(named);
    let text = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    let time = |time: Option<Timestamp>| time.map_or(Value::Null, |time| Value::String(time.to_string()));
    [
        app_id,
        item_id,
        options,
        Value::String(location_id),
        available,
        text(sku),
        text(name),
        tracking,
        backorder_limit,
        counts_subscriptions,
        time(sell_from),
        time(sell_until),
    ]
}

/// The rows of a page and the token of the next one, which is empty after the last.
type ListedPage<T> = Result<(Vec<T>, String), Status>;

/// The rows of a list call, one by one. Asks for a page when the one before is used up.
struct Listed<T, F> {
    list: F,
    /// The token of the next page; `None` after the last.
    next: Option<String>,
    rows: VecDeque<T>,
}

impl<T, F: AsyncFnMut(String) -> ListedPage<T>> Listed<T, F> {
    fn new(list: F) -> Self {
        Self { list, next: Some(String::new()), rows: VecDeque::new() }
    }

    async fn next(&mut self) -> Result<Option<T>, Status> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let Some(token) = self.next.take() else { return Ok(None) };
            let (rows, next) = (self.list)(token).await?;
            self.rows = rows.into();
            self.next = Some(next).filter(|next| !next.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(id: &str, size: &str) -> Option<v1::CatalogReference> {
        let kind = Some(prost_types::value::Kind::StringValue(size.into()));
        let fields = [("size".to_owned(), prost_types::Value { kind })].into();
        let options = (!size.is_empty()).then_some(prost_types::Struct { fields });
        Some(v1::CatalogReference { app_id: "app".into(), catalog_item_id: id.into(), options, ..Default::default() })
    }

    fn unit(id: &str, size: &str) -> v1::Unit {
        v1::Unit { catalog_reference: reference(id, size), sku: format!("{id}{size}"), stocked: true, ..unset() }
    }

    /// A unit that has nothing itself.
    fn unset() -> v1::Unit {
        let built_in = v1::SettingSource::BuiltIn.into();
        v1::Unit {
            tracking: v1::Tracking::Quantity.into(),
            counts_subscriptions: true,
            tracking_source: built_in,
            backorder_limit_source: v1::SettingSource::Catalog.into(),
            counts_subscriptions_source: built_in,
            ..Default::default()
        }
    }

    fn level(id: &str, size: &str, available: i64) -> v1::Stock {
        let tracking = v1::Tracking::Quantity.into();
        v1::Stock { catalog_reference: reference(id, size), available, tracking, ..Default::default() }
    }

    /// Pages of one row each.
    fn listed<T: Clone>(rows: Vec<T>) -> Listed<T, impl AsyncFnMut(String) -> ListedPage<T>> {
        Listed::new(async move |token: String| {
            let index: usize = token.parse().unwrap_or_default();
            let next = if index + 1 < rows.len() { (index + 1).to_string() } else { String::new() };
            Ok((rows.get(index).cloned().into_iter().collect(), next))
        })
    }

    async fn merged(units: Vec<v1::Unit>, levels: Vec<v1::Stock>) -> Vec<Row> {
        let mut rows = Vec::new();
        let write = |row: Row| {
            rows.push(row);
            Ok(())
        };
        merge(listed(units), listed(levels), write).await.expect("merged");
        rows
    }

    /// Item, options, level and SKU of each row.
    fn summary(rows: &[Row]) -> Vec<[Value; 4]> {
        rows.iter().map(|row| [1, 2, 4, 5].map(|column| row[column].clone())).collect()
    }

    #[tokio::test]
    async fn a_unit_without_levels_has_a_row_and_a_level_without_unit_too() {
        let units = vec![unit("a", ""), unit("a", "M"), unit("b", ""), unit("d", "")];
        let levels =
            vec![level("a", "", 1), level("a", "", 0), level("a", "L", 3), level("b", "", 4), level("c", "", 0)];
        let row = |id: &str, size: &str, available: Value, sku: Value| {
            let options = if size.is_empty() { Value::Null } else { json!({ "size": size }) };
            [json!(id), options, available, sku]
        };
        let expected = [
            row("a", "", json!(1), json!("a")),
            row("a", "", json!(0), json!("a")),
            row("a", "L", json!(3), Value::Null),
            row("a", "M", json!(0), json!("aM")),
            row("b", "", json!(4), json!("b")),
            row("c", "", json!(0), Value::Null),
            row("d", "", json!(0), json!("d")),
        ];
        assert_eq!(summary(&merged(units, levels).await), expected);
    }

    #[tokio::test]
    async fn a_unit_that_was_never_stocked_gets_no_level_of_0() {
        let unstocked = |id: &str, sku: &str| v1::Unit {
            catalog_reference: reference(id, ""),
            sku: sku.to_owned(),
            stocked: false,
            ..unset()
        };
        let at = |location_id: &str, level: v1::Stock| v1::Stock { location_id: location_id.to_owned(), ..level };
        let untracked = |level: v1::Stock| v1::Stock { tracking: v1::Tracking::Untracked.into(), ..level };
        let units = vec![unstocked("a", ""), unstocked("b", "B"), unstocked("c", "C"), unstocked("d", "D")];
        let levels = vec![
            level("a", "", 0),
            at("here", level("b", "", 0)),
            at("here", level("c", "", 0)),
            at("there", level("c", "", -2)),
            untracked(level("x", "", 0)),
            untracked(level("y", "", 1)),
        ];
        let rows = merged(units, levels).await;
        let expected = [
            [json!("b"), Value::Null, Value::Null, json!("B")],
            [json!("c"), Value::Null, json!(-2), json!("C")],
            [json!("d"), Value::Null, Value::Null, json!("D")],
            [json!("y"), Value::Null, json!(1), Value::Null],
        ];
        assert_eq!(summary(&rows), expected);
        let locations: Vec<&Value> = rows.iter().map(|row| &row[LOCATION]).collect();
        assert_eq!(locations, ["", "there", "", ""], "a row without a level names no location");
    }

    #[tokio::test]
    async fn only_settings_of_the_unit_itself_are_written() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 500_000_000 });
        let window = v1::Unit { sell_from: at(0), sell_until: at(1), ..unit("a", "") };
        let own = v1::SettingSource::Unit.into();
        let all = v1::Unit {
            tracking: v1::Tracking::Untracked.into(),
            tracking_source: own,
            backorder_limit_source: own,
            counts_subscriptions_source: own,
            ..unit("b", "")
        };
        let rows = merged(vec![window, all], Vec::new()).await;
        let settings: Vec<&[Value]> = rows.iter().map(|row| &row[7..]).collect();
        let first = json!([null, null, null, "1970-01-01T00:00:00.500Z", "1970-01-01T00:00:01.500Z"]);
        let second = json!(["UNTRACKED", 0, true, null, null]);
        assert_eq!(json!(settings), json!([first, second]));
    }
}
