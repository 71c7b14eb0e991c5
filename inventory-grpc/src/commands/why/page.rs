//! The page that explains a level.

use inventory_proto::v1;

use crate::commands::page::{
    ACTION_WIDTH, BOLD, DIM, RED, YELLOW, action, at_location, count, details, moved, plain, sales_window, signed,
    styled, when,
};
use crate::config::by_hand::Moment;
use crate::config::unit_name::{of_reference, of_sku};

/// Orders that are listed. The server lists up to 100; a page for people shows the largest.
const ORDERS_MAX: usize = 10;
/// Characters of a column of numbers.
const NUMBER_WIDTH: usize = 8;

/// The page. `location` is the id of the level's location, empty for a default location without one. `listed` has the
/// unit's levels now, at any location.
pub(super) fn page(
    typed: &str,
    location: &str,
    at: Option<Moment>,
    explained: &v1::ExplainLevelResponse,
    listed: &[v1::Stock],
) -> String {
    let unit = explained.unit.clone().unwrap_or_default();
    let mut lines = head(typed, location, at, explained, &unit);
    lines.extend(made(explained));
    lines.extend(held(explained));
    lines.extend(last_entries(explained));
    lines.extend(elsewhere(listed, location));
    lines.push(String::new());
    lines.push(styled(BOLD, "How it is counted"));
    lines.extend(rules(&unit).into_iter().map(|rule| format!("  {rule}")));
    lines.join("\n") + "\n"
}

/// The number, then what it is the number of.
fn head(
    typed: &str,
    location: &str,
    at: Option<Moment>,
    explained: &v1::ExplainLevelResponse,
    unit: &v1::Unit,
) -> Vec<String> {
    let names = unit.catalog_reference.as_ref().map(of_reference).unwrap_or_default();
    let name = if unit.sku.is_empty() { names.clone() } else { of_sku(&unit.sku) };
    let available = explained.available;
    let number = styled(if available < 0 { RED.bold() } else { BOLD }, &available.to_string());
    let state = match unit.tracking() {
        v1::Tracking::Unspecified | v1::Tracking::Quantity => format!("{number} available"),
        v1::Tracking::Status if available > 0 => format!("in stock (level {number})"),
        v1::Tracking::Status => format!("out of stock (level {number})"),
        v1::Tracking::Untracked => format!("never short, because it is untracked (level {number})"),
    };
    let moment = match at {
        None => String::new(),
        Some(Moment::Sequence(sequence)) => format!(" after entry {sequence}"),
        Some(Moment::Time(time)) => format!(" at {} UTC", when(Some(time))),
    };
    let mut about = vec![plain(&unit.name)];
    // The headline shows one of its names.
    about.push(if name == names { String::new() } else { plain(&names) });
    about.push(at_location(location));
    about.push(match explained.sequence {
        0 => "no entry".to_owned(),
        sequence => format!("last entry #{sequence}"),
    });
    about.retain(|part| !part.is_empty());
    let shown = if name.is_empty() { typed } else { &name };
    vec![format!("{}: {state}{moment}", styled(BOLD, &plain(shown))), styled(DIM, &format!("  {}", about.join(", ")))]
}

/// What made the number: it is the sum of these lines.
fn made(explained: &v1::ExplainLevelResponse) -> Vec<String> {
    let v1::ExplainLevelResponse { available, available_before, explained_entries, sums, archived_sequence, .. } =
        explained;
    let mut lines = vec![String::new(), styled(BOLD, &format!("What made it {available}"))];
    if sums.is_empty() && *available_before == 0 {
        lines.push("  nothing: no entry has changed it, so it is 0".to_owned());
        return lines;
    }
    let line = |number: &str, what: &str, entries: &str| {
        format!("{number:>NUMBER_WIDTH$}  {what:<ACTION_WIDTH$}  {entries}").trim_end().to_owned()
    };
    if *available_before != 0 {
        let last = count(*explained_entries, "entry", "entries");
        let older = match (archived_sequence, explained_entries) {
            (0, _) => format!("before the last {last}"),
            (archived, 0) => format!("archived, up to #{archived}"),
            (archived, _) => format!("before the last {last}; archived up to #{archived}"),
        };
        lines.push(line(&available_before.to_string(), &older, ""));
    }
    for sum in sums {
        let what = action(sum.kind(), sum.reason());
        lines.push(line(&signed(sum.delta), &what, &styled(DIM, &count(sum.entries, "entry", "entries"))));
    }
    lines.push(line(&format!("= {available}"), "", ""));
    lines
}

/// Who holds pieces.
fn held(explained: &v1::ExplainLevelResponse) -> Vec<String> {
    let v1::ExplainLevelResponse { orders, order_count, .. } = explained;
    let mut lines = vec![String::new(), styled(BOLD, "Orders that hold it")];
    if orders.is_empty() {
        lines.push("  none".to_owned());
    }
    for order in orders.iter().take(ORDERS_MAX) {
        let more = if order.net < 0 { styled(YELLOW, "  gave back more than it took") } else { String::new() };
        lines.push(format!("{:>NUMBER_WIDTH$}  {}{more}", order.net, plain(&order.order_id)));
    }
    let shown = i64::try_from(orders.len().min(ORDERS_MAX)).unwrap_or(i64::MAX);
    let left = order_count.saturating_sub(shown);
    if left > 0 {
        lines.push(format!("{:>NUMBER_WIDTH$}  {}", "...", count(left, "more order", "more orders")));
    }
    if explained.archived_sequence > 0 {
        lines.push("  orders of archived entries are not listed; `order ORDER_ID` shows one".to_owned());
    }
    lines
}

fn last_entries(explained: &v1::ExplainLevelResponse) -> Vec<String> {
    if explained.entries.is_empty() {
        return Vec::new();
    }
    let actions: Vec<String> = explained.entries.iter().map(|entry| action(entry.kind(), entry.reason())).collect();
    let width = actions.iter().map(String::len).max().unwrap_or_default();
    let mut lines = vec![String::new(), styled(BOLD, "Last entries, newest first; times in UTC")];
    for (entry, action) in explained.entries.iter().zip(actions) {
        let line = format!("  {}  {action:<width$}  {}", moved(entry), details(entry, true));
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// The levels of the unit at other locations.
fn elsewhere(listed: &[v1::Stock], location: &str) -> Vec<String> {
    let others: Vec<&v1::Stock> = listed.iter().filter(|stock| stock.location_id != location).collect();
    if others.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), styled(BOLD, "At other locations (--location-id)")];
    for stock in others {
        lines.push(format!("{:>NUMBER_WIDTH$}  {}", stock.available, at_location(&stock.location_id)));
    }
    lines
}

/// The settings in force now, and where they come from.
fn rules(unit: &v1::Unit) -> Vec<String> {
    let source = |source: v1::SettingSource| match source {
        v1::SettingSource::Unspecified => "",
        v1::SettingSource::Unit => " (set for the unit)",
        v1::SettingSource::Catalog => " (set for its catalog)",
        v1::SettingSource::BuiltIn => " (built in)",
    };
    let tracking = source(unit.tracking_source());
    let mut rules = Vec::new();
    match unit.tracking() {
        v1::Tracking::Unspecified | v1::Tracking::Quantity => {
            rules.push(format!("by quantity{tracking}"));
            let down_to = unit.backorder_limit.saturating_neg();
            rules.push(format!("orders may take it down to {down_to}{}", source(unit.backorder_limit_source())));
        }
        v1::Tracking::Status => {
            rules.push(format!("by status{tracking}: in stock or not; orders are recorded and take nothing"));
        }
        v1::Tracking::Untracked => {
            rules.push(format!("not at all{tracking}: never short; orders are recorded and take nothing"));
        }
    }
    if !unit.counts_subscriptions {
        rules.push(format!("subscriptions take nothing{}", source(unit.counts_subscriptions_source())));
    }
    let window = sales_window(unit.sell_from, unit.sell_until);
    if !window.is_empty() {
        rules.push(window);
    }
    if !unit.stocked {
        rules.push("never stocked: no set, no adjustment and no import has named it".to_owned());
    }
    rules
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use prost_types::Timestamp;

    use super::*;

    fn mug() -> v1::Unit {
        let (app_id, catalog_item_id) = ("app".to_owned(), "mug".to_owned());
        let built_in = v1::SettingSource::BuiltIn.into();
        v1::Unit {
            catalog_reference: Some(v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }),
            sku: "MUG-W".into(),
            name: "Mug, white".into(),
            tracking: v1::Tracking::Quantity.into(),
            backorder_limit: 10,
            counts_subscriptions: true,
            tracking_source: built_in,
            backorder_limit_source: v1::SettingSource::Unit.into(),
            counts_subscriptions_source: built_in,
            stocked: true,
            ..Default::default()
        }
    }

    fn shown(at: Option<Moment>, explained: &v1::ExplainLevelResponse, listed: &[v1::Stock]) -> String {
        strip_str(&page("MUG-W", "", at, explained, listed)).to_string()
    }

    fn told(lines: &[&str]) -> String {
        lines.join("\n") + "\n"
    }

    #[test]
    fn the_page_says_what_made_the_number() {
        let sum = |kind: v1::Kind, reason: v1::Reason, entries, delta| v1::ExplainedSum {
            kind: kind.into(),
            reason: reason.into(),
            entries,
            delta,
        };
        let entry = |sequence, kind: v1::Kind, reason: v1::Reason, delta, level_after| v1::Entry {
            sequence,
            kind: kind.into(),
            reason: reason.into(),
            delta,
            asked_delta: delta,
            level_after,
            record_time: Some(Timestamp { seconds: 0, nanos: 0 }),
            ..Default::default()
        };
        let holding = |order: &str, net| v1::OrderHolding { order_id: order.into(), net };
        let mut orders = vec![holding("o1", 6), holding("o2", -1)];
        orders.extend((3..=12).map(|order| holding(&format!("o{order}"), 1)));
        let explained = v1::ExplainLevelResponse {
            available: 3,
            sequence: 42,
            available_before: 2,
            explained_entries: 10_000,
            sums: vec![
                sum(v1::Kind::Adjust, v1::Reason::Received, 1, 12),
                sum(v1::Kind::Decrement, v1::Reason::OrderPlaced, 9_998, -10),
                sum(v1::Kind::Set, v1::Reason::Unspecified, 1, -1),
            ],
            orders,
            order_count: 15,
            entries: vec![
                v1::Entry {
                    order_id: "o1".into(),
                    actor: "wix".into(),
                    ..entry(42, v1::Kind::Decrement, v1::Reason::OrderPlaced, -2, 3)
                },
                v1::Entry { note: "delivery 4711".into(), ..entry(41, v1::Kind::Adjust, v1::Reason::Received, 12, 5) },
            ],
            unit: Some(mug()),
            archived_sequence: 17,
        };
        let listed = [
            v1::Stock { available: 3, ..Default::default() },
            v1::Stock { available: 7, location_id: "here".into(), ..Default::default() },
        ];
        let expected = [
            "MUG-W: 3 available",
            "  Mug, white, app/mug, at the default location, last entry #42",
            "",
            "What made it 3",
            "       2  before the last 10000 entries; archived up to #17",
            "     +12  adjust, received           1 entry",
            "     -10  decrement, order placed    9998 entries",
            "      -1  set                        1 entry",
            "     = 3",
            "",
            "Orders that hold it",
            "       6  o1",
            "      -1  o2  gave back more than it took",
            "       1  o3",
            "       1  o4",
            "       1  o5",
            "       1  o6",
            "       1  o7",
            "       1  o8",
            "       1  o9",
            "       1  o10",
            "     ...  5 more orders",
            "  orders of archived entries are not listed; `order ORDER_ID` shows one",
            "",
            "Last entries, newest first; times in UTC",
            "     #42  1970-01-01 00:00:00      -2 -> 3      decrement, order placed  order o1  by wix",
            "     #41  1970-01-01 00:00:00     +12 -> 5      adjust, received         \"delivery 4711\"",
            "",
            "At other locations (--location-id)",
            "       7  at here",
            "",
            "How it is counted",
            "  by quantity (built in)",
            "  orders may take it down to -10 (set for the unit)",
        ];
        assert_eq!(shown(None, &explained, &listed), told(&expected));
        let then = shown(Some(Moment::Sequence(42)), &explained, &[]);
        assert!(then.starts_with("MUG-W: 3 available after entry 42\n"), "{then}");
        let then = shown(Some(Moment::Time(Timestamp::default())), &explained, &[]);
        assert!(then.starts_with("MUG-W: 3 available at 1970-01-01 00:00:00 UTC\n"), "{then}");
    }

    #[test]
    fn a_level_without_entries_is_0_because_nothing_changed_it() {
        let unit = v1::Unit { sku: String::new(), name: String::new(), stocked: false, backorder_limit: 0, ..mug() };
        let explained = v1::ExplainLevelResponse { unit: Some(unit), ..Default::default() };
        let expected = [
            "app/mug: 0 available",
            "  at the default location, no entry",
            "",
            "What made it 0",
            "  nothing: no entry has changed it, so it is 0",
            "",
            "Orders that hold it",
            "  none",
            "",
            "How it is counted",
            "  by quantity (built in)",
            "  orders may take it down to 0 (set for the unit)",
            "  never stocked: no set, no adjustment and no import has named it",
        ];
        assert_eq!(shown(None, &explained, &[]), told(&expected));
    }

    #[test]
    fn archived_entries_made_what_the_others_began_with() {
        let rows =
            [(0, "       2  archived, up to #17\n"), (1, "       2  before the last 1 entry; archived up to #17\n")];
        for (explained_entries, line) in rows {
            let (available, available_before, archived_sequence) = (2, 2, 17);
            let explained = v1::ExplainLevelResponse {
                available,
                available_before,
                archived_sequence,
                explained_entries,
                ..Default::default()
            };
            let page = shown(None, &explained, &[]);
            assert!(page.contains(line), "{page}");
        }
    }

    #[test]
    fn how_a_unit_is_counted_is_said_first() {
        let tracked = |tracking: v1::Tracking| v1::Unit { tracking: tracking.into(), ..mug() };
        let rows = [
            (v1::Tracking::Status, 1, "in stock (level 1)", "by status (built in): in stock or not; "),
            (v1::Tracking::Status, 0, "out of stock (level 0)", "by status (built in): in stock or not; "),
            (v1::Tracking::Untracked, -3, "never short, because it is untracked (level -3)", "not at all (built in): "),
        ];
        for (tracking, available, state, rule) in rows {
            let explained = v1::ExplainLevelResponse { available, unit: Some(tracked(tracking)), ..Default::default() };
            let page = shown(None, &explained, &[]);
            assert!(page.starts_with(&format!("MUG-W: {state}\n")) && page.contains(&format!("  {rule}")), "{page}");
        }
        let catalog = v1::SettingSource::Catalog.into();
        let unit = v1::Unit { counts_subscriptions: false, counts_subscriptions_source: catalog, ..mug() };
        let unit = v1::Unit { sell_until: Some(Timestamp::default()), ..unit };
        let page = shown(None, &v1::ExplainLevelResponse { unit: Some(unit), ..Default::default() }, &[]);
        let rules = "  subscriptions take nothing (set for its catalog)\n  on sale until 1970-01-01 00:00:00 UTC\n";
        assert!(page.ends_with(rules), "{page}");
    }
}
