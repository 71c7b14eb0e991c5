//! The page of an order.

use inventory_core::model::limits;
use inventory_proto::v1;

use crate::commands::names::Names;
use crate::commands::page::{
    ACTION_WIDTH, BOLD, DIM, RED, YELLOW, action, at_location, by, count, details, moved, plain, styled, when,
};

/// Characters of a column of numbers.
const NUMBER_WIDTH: usize = 8;

/// The page.
pub(super) fn page(order_id: &str, order: &v1::GetOrderResponse, names: &Names) -> String {
    let v1::GetOrderResponse { lines: levels, entries, calls, next_page_token: _, entry_count, archived_sequence } =
        order;
    let held: i64 = levels.iter().fold(0, |sum, line| sum.saturating_add(line.net));
    let number = styled(if held < 0 { RED.bold() } else { BOLD }, &count(held, "piece", "pieces"));
    let mut lines = vec![format!("order {}: holds {number}", plain(order_id))];
    if !levels.is_empty() {
        lines.push(String::new());
        lines.push(styled(BOLD, "What it holds: taken less returned"));
        lines.extend(levels.iter().map(|level| line(level, names)));
    }
    lines.push(String::new());
    lines.push(styled(BOLD, "Its calls, oldest first; times in UTC"));
    for one in calls {
        lines.extend(call(one, entries, names));
    }
    if i64::try_from(calls.len()).is_ok_and(|calls| calls >= limits::ORDER_CALLS_MAX) {
        lines.push(format!("  only its first {} calls are listed", limits::ORDER_CALLS_MAX));
    }
    let listed = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    if listed < *entry_count {
        lines.push(format!("  {listed} of its {entry_count} entries are listed"));
    }
    if *archived_sequence > 0 {
        lines.push(format!("  earlier calls and entries, up to #{archived_sequence}, are archived"));
    }
    lines.join("\n") + "\n"
}

/// What the order did to one level.
fn line(line: &v1::OrderLine, names: &Names) -> String {
    let v1::OrderLine { catalog_reference, location_id, taken, returned, net } = line;
    let more = if *net < 0 { styled(YELLOW, "  gave back more than it took") } else { String::new() };
    let unit = names.name(catalog_reference);
    let place = if location_id.is_empty() { String::new() } else { format!(" {}", at_location(location_id)) };
    format!("{net:>NUMBER_WIDTH$}  = {taken} - {returned}  {unit}{place}{more}")
}

/// A call, then its entries or what it lacked.
fn call(call: &v1::OrderCall, entries: &[v1::Entry], names: &Names) -> Vec<String> {
    let outcome = match call.outcome() {
        v1::CallOutcome::Unspecified | v1::CallOutcome::Applied => "applied".to_owned(),
        v1::CallOutcome::Suppressed => styled(YELLOW, "suppressed: a duplicate, nothing was changed"),
        v1::CallOutcome::Refused => styled(RED, &format!("refused: {}, nothing was changed", plain(&call.refusal))),
    };
    let action = action(call.kind(), call.reason());
    let author = by(&call.actor, &call.on_behalf_of);
    let about = styled(DIM, format!("{author}  key {}", plain(&call.request_id)).trim_start());
    let mut lines = vec![format!("  {}  {action:<ACTION_WIDTH$}  {outcome}  {about}", when(call.record_time))];
    let made = entries.iter().filter(|entry| call.change_sequence > 0 && entry.change_sequence == call.change_sequence);
    lines.extend(made.map(|entry| entry_line(entry, names)));
    for shortage in &call.shortages {
        lines.push(format!("      {}", short(shortage, names)));
    }
    let listed = i32::try_from(call.shortages.len()).unwrap_or(i32::MAX);
    let left = call.shortage_count.saturating_sub(listed);
    if left > 0 {
        lines.push(format!("      and {}", count(i64::from(left), "more level", "more levels")));
    }
    lines
}

/// An entry below its call, which has told when, why and by whom.
fn entry_line(entry: &v1::Entry, names: &Names) -> String {
    let told = v1::Entry { actor: String::new(), on_behalf_of: String::new(), ..entry.clone() };
    let place =
        if entry.location_id.is_empty() { String::new() } else { format!(" {}", at_location(&entry.location_id)) };
    let unit = names.name(&entry.catalog_reference);
    format!("  {}  {unit}{place}  {}", moved(entry), details(&told, false)).trim_end().to_owned()
}

/// Why a level was refused.
fn short(shortage: &v1::Shortage, names: &Names) -> String {
    let v1::Shortage { catalog_reference, location_id, asked, available, short, reason: _ } = shortage;
    let unit = names.name(catalog_reference);
    let place = if location_id.is_empty() { String::new() } else { format!(" {}", at_location(location_id)) };
    match shortage.reason() {
        v1::ShortageReason::Unspecified | v1::ShortageReason::InsufficientStock => {
            format!("{unit}{place}: short by {short}, because {asked} were asked for and {available} were available")
        }
        v1::ShortageReason::NotOnSaleYet => format!("{unit}{place}: was not on sale yet"),
        v1::ShortageReason::NoLongerOnSale => format!("{unit}{place}: was no longer on sale"),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use prost_types::Timestamp;

    use super::*;

    fn reference(item: &str) -> Option<v1::CatalogReference> {
        let (app_id, catalog_item_id) = ("app".to_owned(), item.to_owned());
        Some(v1::CatalogReference { app_id, catalog_item_id, ..Default::default() })
    }

    #[test]
    fn an_order_is_told_call_by_call() {
        let record_time = Some(Timestamp { seconds: 0, nanos: 0 });
        let entry = |sequence, change_sequence, delta, level_after| v1::Entry {
            sequence,
            change_sequence,
            delta,
            asked_delta: delta,
            level_after,
            actor: "wix".into(),
            catalog_reference: reference("mug"),
            record_time,
            ..Default::default()
        };
        let call = |kind: v1::Kind, reason: v1::Reason, key: &str, change_sequence| v1::OrderCall {
            kind: kind.into(),
            reason: reason.into(),
            request_id: key.into(),
            actor: "wix".into(),
            record_time,
            outcome: v1::CallOutcome::Applied.into(),
            change_sequence,
            ..Default::default()
        };
        let refused = v1::OrderCall {
            outcome: v1::CallOutcome::Refused.into(),
            refusal: "INSUFFICIENT_STOCK".into(),
            shortage_count: 3,
            shortages: vec![
                v1::Shortage {
                    catalog_reference: reference("mug"),
                    asked: 9,
                    available: 3,
                    short: 6,
                    ..Default::default()
                },
                v1::Shortage {
                    catalog_reference: reference("yoga"),
                    location_id: "here".into(),
                    reason: v1::ShortageReason::NoLongerOnSale.into(),
                    ..Default::default()
                },
            ],
            ..call(v1::Kind::Decrement, v1::Reason::OrderPaid, "r2", 0)
        };
        let suppressed = v1::OrderCall {
            outcome: v1::CallOutcome::Suppressed.into(),
            ..call(v1::Kind::Decrement, v1::Reason::OrderPlaced, "r3", 0)
        };
        let over = v1::Entry { marks: vec![2], location_id: "here".into(), ..entry(7, 7, 3, 6) };
        let order = v1::GetOrderResponse {
            lines: vec![
                v1::OrderLine {
                    catalog_reference: reference("mug"),
                    taken: 2,
                    returned: 0,
                    net: 2,
                    ..Default::default()
                },
                v1::OrderLine {
                    catalog_reference: reference("mug"),
                    location_id: "here".into(),
                    taken: 0,
                    returned: 3,
                    net: -3,
                },
            ],
            entries: vec![entry(5, 5, -2, 3), over],
            calls: vec![
                call(v1::Kind::Decrement, v1::Reason::OrderPlaced, "r1", 5),
                refused,
                suppressed,
                call(v1::Kind::Increment, v1::Reason::OrderRefunded, "r4", 7),
            ],
            entry_count: 3,
            ..Default::default()
        };
        let expected = [
            "order o: holds -1 pieces",
            "",
            "What it holds: taken less returned",
            "       2  = 2 - 0  app/mug",
            "      -3  = 0 - 3  app/mug at here  gave back more than it took",
            "",
            "Its calls, oldest first; times in UTC",
            "  1970-01-01 00:00:00  decrement, order placed    applied  by wix  key r1",
            "      #5  1970-01-01 00:00:00      -2 -> 3      app/mug",
            "  1970-01-01 00:00:00  decrement, order paid      refused: INSUFFICIENT_STOCK, nothing was changed  \
             by wix  key r2",
            "      app/mug: short by 6, because 9 were asked for and 3 were available",
            "      app/yoga at here: was no longer on sale",
            "      and 1 more level",
            "  1970-01-01 00:00:00  decrement, order placed    suppressed: a duplicate, nothing was changed  \
             by wix  key r3",
            "  1970-01-01 00:00:00  increment, order refunded  applied  by wix  key r4",
            "      #7  1970-01-01 00:00:00      +3 -> 6      app/mug at here  over-return",
            "  2 of its 3 entries are listed",
        ];
        assert_eq!(strip_str(&page("o", &order, &Names::default())).to_string(), expected.join("\n") + "\n");
    }
}
