//! Checks the rows of a file, each by itself and all against each other, and makes the messages that import them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use inventory_core::model::kind::SalesWindow;
use inventory_core::model::unit::UnitSelector;
use inventory_proto::{UnitRef, json, v1};
use prost_types::Timestamp;

use super::parse::{Parsed, Values};
use super::{BadRow, Row, Rows};
use crate::decode::{Fields, time_in_text};
use crate::encode::timestamp;
use crate::violation::{At, Violation};

/// A row that is within bounds by itself.
struct Checked {
    line: u64,
    /// The unit as the row names it.
    unit: UnitRef,
    /// The same, in a form that is equal for equal names.
    key: String,
    level: Option<Level>,
    /// The settings. Names no unit.
    settings: v1::UpdateUnitRequest,
}

struct Level {
    location_id: String,
    available: i64,
}

/// Checks a whole file. Fails with all bad rows, in the order of the file.
pub(super) fn check(parsed: Vec<Parsed>) -> Result<Rows, Vec<BadRow>> {
    let count = parsed.len();
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    for (line, values) in parsed {
        match values.and_then(|values| row(line, values)) {
            Ok(row) => rows.push(row),
            Err(reason) => bad.push(BadRow { line, reason }),
        }
    }
    let mut file = File::default();
    // First the SKUs, so that a row may name a unit by the SKU that a later row gives it.
    rows.retain(|row| file.take_sku(row).map_err(|reason| bad.push(BadRow { line: row.line, reason })).is_ok());
    for row in rows {
        let line = row.line;
        if let Err(reason) = file.take(row) {
            bad.push(BadRow { line, reason });
        }
    }
    if bad.is_empty() {
        return Ok(Rows { count, ..file.rows });
    }
    bad.sort_by_key(|bad| bad.line);
    Err(bad)
}

/// Checks a row by itself, as the server will check it.
fn row(line: u64, values: Values) -> Result<Checked, String> {
    let Values {
        app_id,
        catalog_item_id,
        options,
        location_id,
        available,
        sku,
        name,
        tracking,
        backorder_limit,
        counts_subscriptions,
        sell_from,
        sell_until,
    } = values;
    let (app_id, catalog_item_id) = (app_id.unwrap_or_default(), catalog_item_id.unwrap_or_default());
    let [sku, name, tracking, sell_from, sell_until] =
        [sku, name, tracking, sell_from, sell_until].map(|text| text.filter(|text| !text.is_empty()));
    let (unit, new_sku) = match (app_id.is_empty() && catalog_item_id.is_empty(), sku) {
        (false, sku) => {
            let options = options.map(json::from_json);
            let read = options.clone().and_then(|options| json::read_struct(options).ok()).unwrap_or_default();
            if let Some(key) = read.unreadable.first() {
                return Err(format!("options: {key:?} is nested too deeply, or is too long"));
            }
            (
                UnitRef::CatalogReference(v1::CatalogReference {
                    app_id,
                    catalog_item_id,
                    options,
                    options_json: String::new(),
                }),
                sku,
            )
        }
        (true, Some(_)) if options.is_some() => return Err("options: needs app_id and catalog_item_id".to_owned()),
        (true, Some(sku)) => (UnitRef::Sku(sku), None),
        (true, None) => return Err("names no unit: it lacks app_id and catalog_item_id, or sku".to_owned()),
    };
    let tracking = tracking.map_or(Ok(v1::Tracking::Unspecified), |text| tracking_of(&text))?;
    let settings = v1::UpdateUnitRequest {
        site_id: String::new(),
        unit: None,
        new_sku,
        name,
        tracking: tracking.into(),
        backorder_limit,
        counts_subscriptions,
        sell_from: sell_from.map(|text| time_of("sell_from", &text)).transpose()?,
        sell_until: sell_until.map(|text| time_of("sell_until", &text)).transpose()?,
        reset_mask: None,
    };
    let location_id = location_id.unwrap_or_default();
    let mut fields = Fields::default();
    let asked = v1::UpdateUnitRequest { unit: Some(unit.clone().into()), ..settings.clone() };
    let selector = fields.unit_change(At::REQUEST, asked);
    let location = fields.location(At::REQUEST, "location_id", &location_id);
    let (Ok((selector, change)), Ok(location)) = (selector, location) else {
        return Err(reasons(fields.into_listed()));
    };
    let window = SalesWindow { from: change.sell_from.flatten(), until: change.sell_until.flatten() };
    if !window.opens() {
        return Err("sell_until: must be after sell_from".to_owned());
    }
    // Whole microseconds, as the server keeps them, so that rows and units can be compared.
    let SalesWindow { from, until } = window;
    let settings =
        v1::UpdateUnitRequest { sell_from: from.map(timestamp), sell_until: until.map(timestamp), ..settings };
    let level = match available {
        Some(available) => {
            let location_id = location.map(|id| id.to_string()).unwrap_or_default();
            Some(Level { location_id, available })
        }
        None if !location_id.is_empty() => return Err("available: is required beside a location_id".to_owned()),
        None if settings == v1::UpdateUnitRequest::default() => {
            return Err("available: is required in a row without settings".to_owned());
        }
        None => None,
    };
    Ok(Checked { line, unit, key: key(&selector), level, settings })
}

/// Equal for selectors that are equal.
fn key(selector: &UnitSelector) -> String {
    format!("{selector:?}")
}

fn tracking_of(text: &str) -> Result<v1::Tracking, String> {
    let name = text.to_ascii_uppercase();
    match name.strip_prefix("TRACKING_").unwrap_or(&name) {
        "QUANTITY" => Ok(v1::Tracking::Quantity),
        "STATUS" => Ok(v1::Tracking::Status),
        "UNTRACKED" => Ok(v1::Tracking::Untracked),
        _ => Err(format!("tracking: {text:?} is none of QUANTITY, STATUS and UNTRACKED")),
    }
}

fn time_of(column: &str, text: &str) -> Result<Timestamp, String> {
    time_in_text(text).ok_or_else(|| {
        format!("{column}: {text:?} is not a time such as 2026-11-24T18:00:00Z or 2026-11-24T19:00:00.5+01:00")
    })
}

/// What the decoders found, by the columns' names.
fn reasons(violations: Vec<Violation>) -> String {
    let reason = |Violation { field, description }| {
        let column = match field.as_str() {
            "new_sku" => "sku",
            field => field.trim_start_matches("catalog_reference."),
        };
        format!("{column}: {description}")
    };
    violations.into_iter().map(reason).collect::<Vec<_>>().join("; ")
}

/// What the rows so far ask for.
#[derive(Default)]
struct File {
    rows: Rows,
    /// The SKUs that rows give to units: the unit, its key, and the row's line.
    skus: HashMap<String, (UnitRef, String, u64)>,
    /// The line of each level's row, by the unit's key and the location.
    levels: HashMap<(String, String), u64>,
    /// The place of each unit in `rows.units`, by the unit's key.
    units: HashMap<String, usize>,
}

impl File {
    /// Notes the SKU that a row gives to its unit. Fails if another row gives it to another unit.
    fn take_sku(&mut self, row: &Checked) -> Result<(), String> {
        let Some(sku) = row.settings.new_sku.clone() else { return Ok(()) };
        match self.skus.entry(sku) {
            Entry::Vacant(free) => {
                free.insert((row.unit.clone(), row.key.clone(), row.line));
                Ok(())
            }
            Entry::Occupied(given) => match given.get() {
                (_, key, _) if *key == row.key => Ok(()),
                (_, _, line) => Err(format!("sku: line {line} gives it to another unit")),
            },
        }
    }

    /// Adds what a row asks for. Fails if it contradicts an earlier row.
    fn take(&mut self, row: Checked) -> Result<(), String> {
        let Checked { line, mut unit, mut key, level, settings } = row;
        if let UnitRef::Sku(sku) = &unit
            && let Some((named, named_key, _)) = self.skus.get(sku)
        {
            (unit, key) = (named.clone(), named_key.clone());
        }
        if let Some(Level { location_id, available }) = level {
            match self.levels.entry((key.clone(), location_id.clone())) {
                Entry::Vacant(free) => free.insert(line),
                Entry::Occupied(first) => return Err(format!("names the same level as line {}", first.get())),
            };
            let unit = Some(unit.clone().into());
            let message = v1::SetStockItem { unit, location_id, available, ..Default::default() };
            self.rows.levels.push(Row { line, message });
        }
        if settings == v1::UpdateUnitRequest::default() {
            return Ok(());
        }
        match self.units.entry(key) {
            Entry::Vacant(free) => {
                free.insert(self.rows.units.len());
                let message = v1::UpdateUnitRequest { unit: Some(unit.into()), ..settings };
                self.rows.units.push(Row { line, message });
                Ok(())
            }
            Entry::Occupied(place) => {
                let Row { line, message } = &mut self.rows.units[*place.get()];
                merge(message, settings)
                    .map_err(|column| format!("{column}: line {line} has another for the same unit"))
            }
        }
    }
}

/// Adds settings of the same unit. Fails with the column in which they differ.
fn merge(into: &mut v1::UpdateUnitRequest, settings: v1::UpdateUnitRequest) -> Result<(), &'static str> {
    let v1::UpdateUnitRequest {
        site_id: _,
        unit: _,
        new_sku,
        name,
        tracking,
        backorder_limit,
        counts_subscriptions,
        sell_from,
        sell_until,
        reset_mask: _,
    } = settings;
    both(&mut into.new_sku, new_sku).ok_or("sku")?;
    both(&mut into.name, name).ok_or("name")?;
    both(&mut into.backorder_limit, backorder_limit).ok_or("backorder_limit")?;
    both(&mut into.counts_subscriptions, counts_subscriptions).ok_or("counts_subscriptions")?;
    both(&mut into.sell_from, sell_from).ok_or("sell_from")?;
    both(&mut into.sell_until, sell_until).ok_or("sell_until")?;
    let mut own = Some(into.tracking).filter(|tracking| *tracking != 0);
    both(&mut own, Some(tracking).filter(|tracking| *tracking != 0)).ok_or("tracking")?;
    into.tracking = own.unwrap_or_default();
    Ok(())
}

/// Takes over a value. `None` if there is another one already.
fn both<T: PartialEq>(own: &mut Option<T>, other: Option<T>) -> Option<()> {
    match (&own, other) {
        (_, None) => Some(()),
        (None, other) => {
            *own = other;
            Some(())
        }
        (Some(one), Some(other)) => (*one == other).then_some(()),
    }
}
