//! `export stock`: one row for every level, and one for every unit without levels, with the unit's settings.
//!
//! The default location is written as an empty `location_id`, so that its levels are imported at the default location
//! of any site, whatever id that has there.
//!
//! The server lists units and levels in the same order, so the two lists are merged as they are read. A unit that is
//! created in between may be missing from the list of units; the rows of its levels then have the settings that a level
//! shows, and no `counts_subscriptions`.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::error::Error;

use indicatif::ProgressBar;
use inventory_core::model::catalog::{CatalogReference, Unit};
use inventory_proto::{json, v1};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::{PAGE_ROWS, reference};
use crate::commands::output::Output;
use crate::commands::rows::COLUMNS;
use crate::commands::{Connection, sentence, signed};

/// The index of `location_id` among the columns.
const LOCATION: usize = 3;

/// Writes the rows of a site.
pub(super) async fn export(
    connection: &Connection,
    site_id: &str,
    file: &mut Output<'_>,
    bar: &ProgressBar,
) -> Result<(), Box<dyn Error>> {
    let default_location_id = default_location_id(connection, site_id).await.map_err(sentence)?;
    let (mut unit_client, mut level_client) = (connection.stock(), connection.stock());
    let units = Listed::new(async |page_token| {
        let request = v1::ListUnitsRequest {
            site_id: site_id.to_owned(),
            page_size: PAGE_ROWS,
            page_token,
            at_least_sequence: 0,
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

/// The id of the site's default location; empty if it has none.
async fn default_location_id(connection: &Connection, site_id: &str) -> Result<String, Status> {
    let request = v1::GetSiteRequest { site_id: site_id.to_owned() };
    match connection.sites().get_site(signed(request)).await {
        Ok(answer) => Ok(answer.into_inner().site.unwrap_or_default().default_location_id),
        Err(status) if status.code() == Code::NotFound => Ok(String::new()),
        Err(status) => Err(status),
    }
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
                    write(row(String::new(), Value::Null, Settings::of_unit(unit)))?;
                }
                has_levels = false;
                unit = units.next().await.map_err(sentence)?;
            }
            Ordering::Equal | Ordering::Greater => {
                if let Some(level) = level.take() {
                    let (location_id, available) = (level.location_id.clone(), json!(level.available));
                    let settings = match &unit {
                        Some(unit) if order.is_eq() => Settings::of_unit(unit.clone()),
                        Some(_) | None => Settings::of_level(level),
                    };
                    write(row(location_id, available, settings))?;
                }
                has_levels = has_levels || order.is_eq();
                level = levels.next().await.map_err(sentence)?;
            }
        }
    }
}

/// The place of a unit in the server's lists: bytes of app id, item id and canonical options.
fn key(reference: &Option<v1::CatalogReference>) -> Result<(String, String, String), Box<dyn Error>> {
    let v1::CatalogReference { app_id, catalog_item_id, options } = reference.clone().unwrap_or_default();
    let unreadable = || format!("the server sent a unit that cannot be read: {app_id}/{catalog_item_id}");
    let options = json::to_json(options.unwrap_or_default()).map_err(|_| unreadable())?;
    // An answer holds only options that identify the unit.
    let keys: Vec<String> = options.keys().cloned().collect();
    let reference = CatalogReference::new(&app_id, &catalog_item_id, options).map_err(|_| unreadable())?;
    let Unit { app_id, item_id, variant } = Unit::of(&reference, Some(&keys)).map_err(|_| unreadable())?;
    Ok((app_id, item_id, variant.as_str().to_owned()))
}

/// The columns of a row that are about its unit.
struct Settings {
    reference: Option<v1::CatalogReference>,
    sku: String,
    name: String,
    tracking: v1::Tracking,
    backorder_limit: i64,
    counts_subscriptions: Option<bool>,
}

impl Settings {
    fn of_unit(unit: v1::Unit) -> Self {
        let tracking = unit.tracking();
        let v1::Unit { catalog_reference, sku, name, tracking: _, backorder_limit, counts_subscriptions } = unit;
        let counts_subscriptions = Some(counts_subscriptions);
        Self { reference: catalog_reference, sku, name, tracking, backorder_limit, counts_subscriptions }
    }

    fn of_level(level: v1::Stock) -> Self {
        let tracking = level.tracking();
        let v1::Stock { catalog_reference, sku, name, backorder_limit, .. } = level;
        Self { reference: catalog_reference, sku, name, tracking, backorder_limit, counts_subscriptions: None }
    }
}

fn row(location_id: String, available: Value, settings: Settings) -> Row {
    let Settings { reference: named, sku, name, tracking, backorder_limit, counts_subscriptions } = settings;
    let [app_id, item_id, options] = reference(named);
    let text = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    let name_of_tracking = tracking.as_str_name();
    let tracking = name_of_tracking.strip_prefix("TRACKING_").unwrap_or(name_of_tracking);
    [
        app_id,
        item_id,
        options,
        Value::String(location_id),
        available,
        text(sku),
        text(name),
        json!(tracking),
        json!(backorder_limit),
        counts_subscriptions.map_or(Value::Null, Value::Bool),
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
        Some(v1::CatalogReference { app_id: "app".into(), catalog_item_id: id.into(), options })
    }

    fn unit(id: &str, size: &str) -> v1::Unit {
        let tracking = v1::Tracking::Status.into();
        v1::Unit { catalog_reference: reference(id, size), sku: format!("{id}{size}"), tracking, ..Default::default() }
    }

    fn level(id: &str, size: &str, available: i64) -> v1::Stock {
        v1::Stock { catalog_reference: reference(id, size), available, ..Default::default() }
    }

    /// Pages of one row each.
    fn listed<T: Clone>(rows: Vec<T>) -> Listed<T, impl AsyncFnMut(String) -> ListedPage<T>> {
        Listed::new(async move |token: String| {
            let index: usize = token.parse().unwrap_or_default();
            let next = if index + 1 < rows.len() { (index + 1).to_string() } else { String::new() };
            Ok((rows.get(index).cloned().into_iter().collect(), next))
        })
    }

    #[tokio::test]
    async fn a_unit_without_levels_has_a_row_and_a_level_without_unit_too() {
        let units = vec![unit("a", ""), unit("a", "M"), unit("b", ""), unit("d", "")];
        let levels =
            vec![level("a", "", 1), level("a", "", 2), level("a", "L", 3), level("b", "", 4), level("c", "", 5)];
        let mut rows = Vec::new();
        let write = |row: Row| {
            rows.push((row[1].clone(), row[2].clone(), row[4].clone(), row[5].clone(), row[9].clone()));
            Ok(())
        };
        merge(listed(units), listed(levels), write).await.expect("merged");
        let row = |id: &str, size: &str, available: Value, sku: Value| {
            let options = if size.is_empty() { Value::Null } else { json!({ "size": size }) };
            let counts = if sku.is_null() { Value::Null } else { json!(false) };
            (json!(id), options, available, sku, counts)
        };
        let expected = [
            row("a", "", json!(1), json!("a")),
            row("a", "", json!(2), json!("a")),
            row("a", "L", json!(3), Value::Null),
            row("a", "M", Value::Null, json!("aM")),
            row("b", "", json!(4), json!("b")),
            row("c", "", json!(5), Value::Null),
            row("d", "", Value::Null, json!("d")),
        ];
        assert_eq!(rows, expected);
    }
}
