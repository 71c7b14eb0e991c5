//! `why`: a level explained on one page.

mod page;

use std::error::Error;

use inventory_proto::v1;

use super::json;
use super::print::{print, unless_closed};
use super::session::Session;
use crate::config::by_hand::{Moment, Place, Why};

/// Levels at other locations that are listed.
const ELSEWHERE_MAX: i32 = 20;

/// Prints why a level is what it is.
pub async fn why(settings: Why) -> Result<(), Box<dyn Error>> {
    unless_closed(explain(settings).await)
}

async fn explain(settings: Why) -> Result<(), Box<dyn Error>> {
    let Why { place: Place { unit, location_id }, at, ask } = settings;
    let session = Session::open(&ask).await?;
    let (site_id, location_id) = (session.site_id.clone(), location_id.unwrap_or_default());
    let (at_sequence, at_time) = match at {
        None => (0, None),
        Some(Moment::Sequence(sequence)) => (sequence, None),
        Some(Moment::Time(time)) => (0, Some(time)),
    };
    let request = v1::ExplainLevelRequest {
        site_id: site_id.clone(),
        unit: Some(unit.unit.clone().into()),
        location_id: location_id.clone(),
        at_sequence,
        at_time,
        at_least_sequence: 0,
    };
    let answer = session.connection.ledger().explain_level(session.read(request)).await;
    let explained = answer.map_err(|status| session.not_read(&status, Some(&unit)))?.into_inner();
    if ask.json {
        return print(&format!("{}\n", json::of(&explained)?));
    }
    // Levels are listed by the id of the default location, if it has one. Entries show it too, but all of them may be
    // archived.
    let location_id = if location_id.is_empty() {
        session.site().await?.unwrap_or_default().default_location_id
    } else {
        location_id
    };
    let mut elsewhere = Vec::new();
    // The list is of now, so it says nothing about another moment.
    if at.is_none() {
        let unit_of_list = Some(unit.unit.clone().into());
        let request =
            v1::ListStockRequest { site_id, unit: unit_of_list, page_size: ELSEWHERE_MAX, ..Default::default() };
        let answer = session.connection.stock().list_stock(session.read(request)).await;
        elsewhere = answer.map_err(|status| session.not_read(&status, Some(&unit)))?.into_inner().stock;
    }
    print(&page::page(&unit.typed, &location_id, at, &explained, &elsewhere))
}
