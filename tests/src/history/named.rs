//! Calls that name their units and orders by texts: those of Wix, of streams, and of a world.

use inventory_proto::v1;
use inventory_proto::v1::change_availability_request::Change;
use inventory_proto::v1::item::Unit;
use serde_json::Value;
use tonic::Status;

use super::clients::{Said, said, unit_name};
use super::{Asked, Call, History, Seen};
use crate::model::{Answer, Request, Shortage, Target, Why};
use crate::wix_caller::{Answered, order_id};

impl History {
    /// Records that a call of Wix begins: the data of a decrement, or of an increment, of plain items.
    pub(crate) fn begin_wix(&self, method: &str, data: &Value) -> Call {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (request, metadata) = (&data["request"], &data["metadata"]);
        let site = text(&metadata["instanceId"]);
        let line = |line: &Value| {
            let unit = text(&line["catalogReference"]["catalogItemId"]);
            let quantity = line["quantity"].as_i64().expect("a number");
            (self.item(&site, &unit, line["locationId"].is_string()), quantity, line["subscriptionItem"] == true)
        };
        let lines = request["items"].as_array().expect("a list").iter().map(line).collect();
        let order = self.order(&site, order_id(data));
        let placed = ["ORDER_PLACED", "ORDER_PAID"].contains(&request["reason"].as_str().unwrap_or_default());
        let asked = match method {
            "decrement" => Request::Decrement(lines, request["restrictInventoryValue"] != false, order, placed),
            _ => Request::Increment(lines, order),
        };
        let key = self.key(&site, &format!("wix:{method}:{}", text(&metadata["requestId"])));
        self.begin(&site, Asked::Write(key, asked))
    }

    /// Records the answer to a call of Wix.
    pub(crate) fn end_wix(&self, call: Call, answer: &Answered) {
        let reason = answer.error_data("reason").as_str().unwrap_or_default();
        match (answer.status, reason) {
            (200, _) => call.end(Seen::Applied(None)),
            (428, "INSUFFICIENT_STOCK") => {
                let number = |value: &Value| value.as_i64().expect("a number");
                let shortage = |short: &Value| {
                    let unit = short["catalogReference"]["catalogItemId"].as_str().expect("a text");
                    Shortage {
                        item: self.item(&call.site, unit, short["locationId"].is_string()),
                        asked: number(&short["asked"]),
                        available: number(&short["available"]),
                        short: number(&short["short"]),
                        why: Why::InsufficientStock,
                    }
                };
                let shortages = answer.error_data("shortages").as_array().expect("a list").iter();
                let shortages = shortages.map(shortage).collect();
                call.answered(Answer::Short(shortages));
            }
            (428, "REQUEST_ID_REUSED") => call.answered(Answer::KeyReused),
            (401 | 404 | 405 | 413 | 428, _) => call.not_done(),
            _ => {}
        }
    }

    /// Records that levels are set, each of a unit at the default location.
    pub(crate) fn begin_set(&self, site: &str, key: &str, levels: &[(&str, i64)]) -> Call {
        let target = |(unit, level): &(&str, i64)| Target {
            item: self.item(site, unit, false),
            level: *level,
            expected: None,
            expected_revision: None,
            as_of: None,
        };
        let targets = levels.iter().map(target).collect();
        self.begin(site, Asked::Write(self.key(site, key), Request::Set(targets)))
    }

    /// Records that a level is read, at the default location.
    pub(crate) fn begin_level(&self, site: &str, unit: &str) -> Call {
        self.begin(site, Asked::Level(self.item(site, unit, false), 0))
    }

    /// Records that a call of a stream begins.
    pub(crate) fn begin_change(&self, change: &Change) -> Call {
        let lines = |site: &str, items: &[v1::Item]| -> Vec<crate::model::Line> {
            let line = |item: &v1::Item| {
                let Some(Unit::CatalogReference(reference)) = &item.unit else { panic!("a history knows no SKUs") };
                let unit = unit_name(Some(reference));
                (self.item(site, unit, !item.location_id.is_empty()), item.quantity, item.subscription_item)
            };
            items.iter().map(line).collect()
        };
        let (site, key, request) = match change {
            Change::Decrement(call) => {
                let placed = [v1::Reason::OrderPlaced, v1::Reason::OrderPaid].contains(&call.reason());
                let (lines, order) = (lines(&call.site_id, &call.items), self.order(&call.site_id, &call.order_id));
                let restricted = call.restrict_inventory_value.unwrap_or(true);
                (&call.site_id, &call.request_id, Request::Decrement(lines, restricted, order, placed))
            }
            Change::Increment(call) => {
                let (lines, order) = (lines(&call.site_id, &call.items), self.order(&call.site_id, &call.order_id));
                (&call.site_id, &call.request_id, Request::Increment(lines, order))
            }
        };
        self.begin(site, Asked::Write(self.key(site, key), request))
    }

    /// Records the answer to a call of a stream.
    pub(crate) fn end_change(&self, call: Call, result: &Result<v1::AppliedChange, Status>) {
        match result {
            Ok(applied) => call.answered(Answer::Applied(applied.sequence)),
            Err(status) => match said(self, &call.site, status) {
                Said::Refused(answer) => call.answered(answer),
                Said::NotDone => call.not_done(),
                Said::Unknown => {}
            },
        }
    }
}
