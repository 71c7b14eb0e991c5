//! How pages for people look: words, columns and colours. Pure functions.
//!
//! A text of the server cannot move the cursor: `plain` takes its control characters away. Colours are always written
//! here; `print` keeps them on a terminal only.

use anstyle::{AnsiColor, Style};
use inventory_proto::v1;
use prost_types::Timestamp;

/// Numbers that matter.
pub(super) const BOLD: Style = Style::new().bold();
/// What only some readers need.
pub(super) const DIM: Style = Style::new().dimmed();
/// Below zero, or refused.
pub(super) const RED: Style = AnsiColor::Red.on_default();
/// Findings of the rules.
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Characters of a column of sequence numbers, of changes, and of levels.
const SEQUENCE_WIDTH: usize = 6;
const DELTA_WIDTH: usize = 6;
const LEVEL_WIDTH: usize = 5;
/// Characters of the longest usual action: `increment, order refunded`.
pub(super) const ACTION_WIDTH: usize = 25;

/// A text in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The text without control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A number with its sign: +2, -2, 0.
pub(super) fn signed(number: i64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:+}") }
}

/// `1 entry`, `2 entries`.
pub(super) fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A time to the second, in UTC: `2026-11-28 15:02:11`.
pub(super) fn when(time: Option<Timestamp>) -> String {
    let text = time.map(|time| time.to_string()).unwrap_or_default();
    text.chars().take(19).collect::<String>().replace('T', " ")
}

/// What was done, and why: `adjust, damaged`.
pub(super) fn action(kind: v1::Kind, reason: v1::Reason) -> String {
    let kind = word(kind.as_str_name(), "KIND_");
    match reason {
        v1::Reason::Unspecified => kind,
        reason => format!("{kind}, {}", word(reason.as_str_name(), "REASON_")),
    }
}

/// The name of an enumeration's value as a word.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', " ")
}

/// A location: empty for the default one.
pub(super) fn at_location(location_id: &str) -> String {
    if location_id.is_empty() { "at the default location".to_owned() } else { format!("at {}", plain(location_id)) }
}

/// A mark in words.
fn mark(mark: v1::Mark) -> &'static str {
    match mark {
        v1::Mark::Unspecified => "a mark that this version does not know",
        v1::Mark::SuspectedRepeat => "suspected duplicate",
        v1::Mark::OverReturn => "over-return",
        v1::Mark::OutsideSalesWindow => "outside of the sales window",
    }
}

/// `by wix`, `by erp for ann`; empty if nobody is named.
pub(super) fn by(actor: &str, on_behalf_of: &str) -> String {
    match (actor, on_behalf_of) {
        ("", "") => String::new(),
        (actor, "") => format!("by {}", plain(actor)),
        (actor, person) => format!("by {} for {}", plain(actor), plain(person)),
    }
}

/// The first columns of an entry: sequence number, time, change and level.
pub(super) fn moved(entry: &v1::Entry) -> String {
    let sequence = format!("{:>SEQUENCE_WIDTH$}", format!("#{}", entry.sequence));
    let level = format!("{:<LEVEL_WIDTH$}", entry.level_after);
    let level = if entry.level_after < 0 { styled(RED, &level) } else { level };
    format!("{sequence}  {}  {:>DELTA_WIDTH$} -> {level}", when(entry.record_time), signed(entry.delta))
}

/// What else there is to say about an entry; parts are separated by two spaces.
pub(super) fn details(entry: &v1::Entry, with_order: bool) -> String {
    let mut parts = Vec::new();
    if with_order && !entry.order_id.is_empty() {
        parts.push(format!("order {}", plain(&entry.order_id)));
    }
    parts.push(styled_unless_empty(&by(&entry.actor, &entry.on_behalf_of)));
    if !entry.note.is_empty() {
        parts.push(format!("\"{}\"", plain(&entry.note)));
    }
    if entry.asked_delta != entry.delta {
        parts.push(format!("asked {}", signed(entry.asked_delta)));
    }
    if entry.subscription_item {
        parts.push("subscription".to_owned());
    }
    parts.extend(entry.marks().map(|found| styled(YELLOW, mark(found))));
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}

fn styled_unless_empty(text: &str) -> String {
    if text.is_empty() { String::new() } else { styled(DIM, text) }
}

/// When a unit is sold, in words. Empty if always.
pub(super) fn sales_window(from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    match (from, until) {
        (None, None) => String::new(),
        (from @ Some(_), None) => format!("on sale from {} UTC", when(from)),
        (None, until @ Some(_)) => format!("on sale until {} UTC", when(until)),
        (from @ Some(_), until @ Some(_)) => format!("on sale from {} to {} UTC", when(from), when(until)),
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    #[test]
    fn words_and_numbers() {
        assert_eq!([2, -2, 0].map(signed), ["+2", "-2", "0"]);
        assert_eq!(when(Some(Timestamp { seconds: 0, nanos: 999_000_000 })), "1970-01-01 00:00:00");
        assert_eq!(when(None), "");
        assert_eq!(action(v1::Kind::Decrement, v1::Reason::OrderPlaced), "decrement, order placed");
        assert_eq!(action(v1::Kind::Set, v1::Reason::Unspecified), "set");
        assert_eq!(plain("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
        assert_eq!(
            (count(1, "entry", "entries"), count(2, "entry", "entries")),
            ("1 entry".into(), "2 entries".into())
        );
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        assert_eq!(sales_window(at(0), at(60)), "on sale from 1970-01-01 00:00:00 to 1970-01-01 00:01:00 UTC");
        assert_eq!(sales_window(None, at(60)), "on sale until 1970-01-01 00:01:00 UTC");
    }

    #[test]
    fn an_entry_is_told_by_what_is_there() {
        let entry = v1::Entry {
            sequence: 42,
            delta: -2,
            asked_delta: -2,
            level_after: 3,
            order_id: "o".into(),
            actor: "wix".into(),
            record_time: Some(Timestamp { seconds: 0, nanos: 0 }),
            ..Default::default()
        };
        let text =
            |entry: &v1::Entry, order| strip_str(&format!("{}|{}", moved(entry), details(entry, order))).to_string();
        assert_eq!(text(&entry, true), "   #42  1970-01-01 00:00:00      -2 -> 3    |order o  by wix");
        let clipped = v1::Entry {
            delta: 0,
            asked_delta: 2,
            level_after: -3,
            note: "late".into(),
            on_behalf_of: "ann".into(),
            subscription_item: true,
            marks: vec![1, 2],
            ..entry
        };
        assert_eq!(
            text(&clipped, false),
            "   #42  1970-01-01 00:00:00       0 -> -3   |by wix for ann  \"late\"  asked +2  subscription  \
             suspected duplicate  over-return"
        );
    }
}
