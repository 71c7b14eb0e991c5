//! `order`: what an order holds, and the history of its calls.

mod page;

use std::error::Error;

use inventory_core::model::limits;
use inventory_proto::v1;

use super::json;
use super::names::Names;
use super::print::{print, unless_closed};
use super::session::{Session, reason_of};
use crate::config::by_hand::Order;

/// Lines of a page: as many as there may be.
const PAGE_ROWS: i32 = limits::PAGE_ROWS_MAX as i32;

/// Prints an order.
pub async fn order(settings: Order) -> Result<(), Box<dyn Error>> {
    unless_closed(show(settings).await)
}

async fn show(settings: Order) -> Result<(), Box<dyn Error>> {
    let Order { order_id, ask } = settings;
    let session = Session::open(&ask).await?;
    let order = read(&session, &order_id).await?;
    if ask.json {
        return print(&format!("{}\n", json::of(&order)?));
    }
    let of_lines = order.lines.iter().map(|line| &line.catalog_reference);
    let of_calls = order.calls.iter().flat_map(|call| &call.shortages).map(|shortage| &shortage.catalog_reference);
    let names = Names::of(&session, of_lines.chain(of_calls)).await;
    print(&page::page(&order_id, &order, &names))
}

/// The order with the lines of all pages.
async fn read(session: &Session, order_id: &str) -> Result<v1::GetOrderResponse, Box<dyn Error>> {
    let (site_id, order_id) = (session.site_id.clone(), order_id.to_owned());
    let mut request = v1::GetOrderRequest { site_id, order_id, page_size: PAGE_ROWS, ..Default::default() };
    let mut order: Option<v1::GetOrderResponse> = None;
    let mut client = session.connection.ledger();
    loop {
        let answer = client.get_order(session.read(request.clone())).await;
        let page = answer.map_err(|status| match reason_of(&status).as_deref() {
            Some("ORDER_NOT_FOUND") => {
                let (order, site) = (&request.order_id, &request.site_id);
                format!("ORDER_ID: nothing is recorded for the order {order} of the site {site}").into()
            }
            Some(_) | None => session.not_read(&status, None),
        })?;
        let mut page = page.into_inner();
        request.page_token = std::mem::take(&mut page.next_page_token);
        let order = match &mut order {
            // Calls and entries stand on the first page.
            Some(order) => {
                order.lines.append(&mut page.lines);
                order
            }
            None => order.insert(page),
        };
        if request.page_token.is_empty() {
            return Ok(std::mem::take(order));
        }
    }
}
