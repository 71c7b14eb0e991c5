//! `stock`: shows, sets and adjusts levels by hand.
//!
//! A write has an idempotency key. If it is not known whether the write was applied, the error says so, and with which
//! key to ask again.

mod page;

use std::error::Error;

use inventory_core::model::limits;
use inventory_proto::{UnitRef, v1};

use self::page::{Columns, JsonList};
use super::json;
use super::print::{print, unless_closed};
use super::session::{Session, new_key};
use crate::config::by_hand::{Adjust, Change, Place, Set, Show, Stock};

/// Levels of a page: as many as there may be.
const PAGE_ROWS: i32 = limits::PAGE_ROWS_MAX as i32;

/// Runs one of the commands.
pub async fn stock(command: Stock) -> Result<(), Box<dyn Error>> {
    unless_closed(match command {
        Stock::Show(settings) => show(settings).await,
        Stock::Set(settings) => set(settings).await,
        Stock::Adjust(settings) => adjust(settings).await,
    })
}

/// Prints page by page, so that a large site takes little memory.
async fn show(settings: Show) -> Result<(), Box<dyn Error>> {
    let Show { unit, location_id, below, ask } = settings;
    let session = Session::open(&ask).await?;
    let mut request = v1::ListStockRequest {
        site_id: session.site_id.clone(),
        page_size: PAGE_ROWS,
        location_id: location_id.unwrap_or_default(),
        below,
        ..Default::default()
    };
    match unit.as_ref().map(|unit| unit.unit.clone()) {
        None => {}
        // All variants of the item.
        Some(UnitRef::CatalogReference(reference)) if reference.options.is_none() => {
            (request.app_id, request.catalog_item_id) = (reference.app_id, reference.catalog_item_id);
        }
        Some(unit) => request.unit = Some(unit.into()),
    }
    let (mut client, mut count) = (session.connection.stock(), 0_usize);
    let (mut columns, mut list) = (Columns::default(), JsonList::default());
    loop {
        let answer = client.list_stock(session.read(request.clone())).await;
        let v1::ListStockResponse { stock, next_page_token } =
            answer.map_err(|status| session.not_read(&status, unit.as_ref()))?.into_inner();
        if ask.json {
            print(&list.rows(&stock)?)?;
        } else {
            print(&columns.rows(&stock))?;
        }
        count = count.saturating_add(stock.len());
        if next_page_token.is_empty() {
            break;
        }
        request.page_token = next_page_token;
    }
    match (ask.json, count) {
        (true, _) => print("]}\n"),
        (false, 0) => print(&format!("no level of the site {} is like this\n", session.site_id)),
        (false, _) => Ok(()),
    }
}

async fn set(settings: Set) -> Result<(), Box<dyn Error>> {
    let Set { place, level, change, ask } = settings;
    let session = Session::open(&ask).await?;
    let Place { unit, location_id } = place;
    let Written { reason, note, key } = written(change);
    let item = v1::SetStockItem {
        unit: Some(unit.unit.clone().into()),
        location_id: location_id.unwrap_or_default(),
        available: level,
        ..Default::default()
    };
    let (site_id, request_id) = (session.site_id.clone(), key.clone());
    let request = v1::SetStockRequest { site_id, items: vec![item], request_id, reason, note };
    let answer = session.connection.stock().set_stock(session.write(request)).await;
    let answer = answer.map_err(|status| session.not_written(&status, &unit, &key))?.into_inner();
    if ask.json {
        return print_written(&format!("{}\n", json::of(&answer)?), &key);
    }
    let v1::SetStockResponse { sequence, levels, repeated_request } = answer;
    print_written(&page::changed(&unit.typed, levels.first(), sequence, repeated_request), &key)
}

async fn adjust(settings: Adjust) -> Result<(), Box<dyn Error>> {
    let Adjust { place, delta, change, ask } = settings;
    let session = Session::open(&ask).await?;
    let Place { unit, location_id } = place;
    let Written { reason, note, key } = written(change);
    let (of_unit, location_id) = (unit.unit.clone().into(), location_id.unwrap_or_default());
    let item = v1::AdjustStockItem { unit: Some(of_unit), location_id, delta };
    let (site_id, request_id) = (session.site_id.clone(), key.clone());
    let request = v1::AdjustStockRequest { site_id, items: vec![item], request_id, reason, note };
    let answer = session.connection.stock().adjust_stock(session.write(request)).await;
    let answer = answer.map_err(|status| session.not_written(&status, &unit, &key))?.into_inner();
    if ask.json {
        return print_written(&format!("{}\n", json::of(&answer)?), &key);
    }
    let v1::AdjustStockResponse { sequence, levels, repeated_request } = answer;
    print_written(&page::changed(&unit.typed, levels.first(), sequence, repeated_request), &key)
}

/// Prints what a write with this key did. If that fails, it is done all the same.
fn print_written(text: &str, key: &str) -> Result<(), Box<dyn Error>> {
    unless_closed(print(text))
        .map_err(|error| format!("{error}; the change is made, under the idempotency key {key}").into())
}

/// What goes with a write.
struct Written {
    reason: i32,
    note: String,
    key: String,
}

fn written(change: Change) -> Written {
    let Change { reason, note, idempotency_key } = change;
    let key = idempotency_key.unwrap_or_else(new_key);
    Written { reason: reason.unwrap_or_default().into(), note: note.unwrap_or_default(), key }
}
