//! Refusals as statuses. Nothing was applied.
//!
//! The details of a refusal take at most as many bytes as the caller can read: they list as many levels as fit, and
//! always the number of all. A refusal is made a status because a caller that forgets to look at an answer must not
//! take a refusal for success.

use inventory_core::model::ids::LocationId;
use inventory_core::model::outcome::{Refusal, Shortage, ShortageReason};
use inventory_proto::v1;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb;

use super::{INVALID_FIELD, any, at_field, rich_status};
use crate::encode;
use crate::violation::At;

/// Violations of the `PreconditionFailure`, a summary for general tools. `InsufficientStock` has the levels.
const VIOLATIONS_MAX: usize = 3;
/// Bytes that the lengths of nested messages may grow by when a list is put into an empty one.
const LENGTHS_BYTES: usize = 16;

/// The stable reason of a refusal.
pub(crate) fn refusal_reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Short(_) => "INSUFFICIENT_STOCK",
        Refusal::OutOfRange { .. } => "LEVEL_OUT_OF_RANGE",
        Refusal::Changed(_) => "STOCK_CHANGED",
        Refusal::NotYet { .. } | Refusal::Gone { .. } | Refusal::SameLevelTwice { .. } => INVALID_FIELD,
    }
}

/// The status of a refusal. `default` is the default location; `bytes_max` bounds the details.
pub(crate) fn of_refusal(refusal: Refusal, default: Option<LocationId>, bytes_max: usize) -> Status {
    let reason = refusal_reason(&refusal);
    match refusal {
        Refusal::Short(shortages) => {
            let summary = shortages.iter().take(VIOLATIONS_MAX).map(summary).collect();
            let count = count(shortages.len());
            let message = shortage_message(&shortages);
            let shortages = shortages.into_iter().map(|shortage| encode::shortage(shortage, default)).collect();
            let status = |violations: &[pb::precondition_failure::Violation], shortages| {
                let summary = pb::PreconditionFailure { violations: violations.to_vec() };
                let short = v1::InsufficientStock { shortages, shortage_count: count };
                let details = vec![
                    any("google.rpc.PreconditionFailure", &summary),
                    any("inventory.v1.InsufficientStock", &short),
                ];
                rich_status(Code::FailedPrecondition, reason, message.clone(), details)
            };
            fitting(shortages, summary, bytes_max, status)
        }
        Refusal::Changed(levels) => {
            let count = count(levels.len());
            let levels = levels.into_iter().map(|level| encode::changed_level(level, default)).collect();
            let message = match count {
                1 => "1 level differs from what was expected".to_owned(),
                count => format!("{count} levels differ from what was expected"),
            };
            let status = |_: &[()], levels| {
                let changed = v1::StockChanged { levels, level_count: count };
                rich_status(Code::Aborted, reason, message.clone(), vec![any("inventory.v1.StockChanged", &changed)])
            };
            fitting(levels, Vec::new(), bytes_max, status)
        }
        Refusal::OutOfRange { item } => {
            let description = "the level would leave the range of a signed 64-bit number";
            at_field(Code::OutOfRange, reason, At::element("items", item).path(""), description.to_owned())
        }
        Refusal::NotYet { item } => {
            let field = At::element("items", item).path("as_of_sequence");
            at_field(Code::InvalidArgument, reason, field, "is after the last entry of the site".to_owned())
        }
        Refusal::Gone { item, cut } => {
            let field = At::element("items", item).path("as_of_sequence");
            let description = format!("the entries of the site up to {cut} are archived");
            at_field(Code::InvalidArgument, reason, field, description)
        }
        Refusal::SameLevelTwice { first, item } => {
            let description = format!("means the same level as items[{first}]");
            at_field(Code::InvalidArgument, reason, At::element("items", item).path(""), description)
        }
    }
}

/// How many levels are refused, and whether for their stock, for their sales windows, or some for each.
fn shortage_message(shortages: &[Shortage]) -> String {
    let of_stock = |shortage: &&Shortage| match shortage.reason {
        ShortageReason::InsufficientStock => true,
        ShortageReason::NotOnSaleYet | ShortageReason::NoLongerOnSale => false,
    };
    let (all, short) = (shortages.len(), shortages.iter().filter(of_stock).count());
    let why = if short == all {
        "short"
    } else if short == 0 {
        "not on sale"
    } else {
        "short or not on sale"
    };
    match all {
        1 => format!("1 level is {why}"),
        all => format!("{all} levels are {why}"),
    }
}

fn summary(shortage: &Shortage) -> pb::precondition_failure::Violation {
    let Shortage { unit, location: _, asked, available, short, reason } = shortage;
    let (reason, why) = match reason {
        ShortageReason::InsufficientStock => ("INSUFFICIENT_STOCK", ""),
        ShortageReason::NotOnSaleYet => ("NOT_ON_SALE_YET", "not on sale yet; "),
        ShortageReason::NoLongerOnSale => ("NO_LONGER_ON_SALE", "no longer on sale; "),
    };
    pb::precondition_failure::Violation {
        r#type: reason.to_owned(),
        subject: format!("{}/{}", unit.app_id, unit.item_id),
        description: format!("{why}asked {asked}, available {available}, short {short}"),
    }
}

fn count(levels: usize) -> i32 {
    // A request has at most 1,000 items.
    i32::try_from(levels).unwrap_or(i32::MAX)
}

/// The status whose details fit `bytes_max`: with as many of `levels`, in their order, as there is room for. The
/// summary gives way to the first of them.
fn fitting<L: Message, S>(
    levels: Vec<L>,
    summary: Vec<S>,
    bytes_max: usize,
    status: impl Fn(&[S], Vec<L>) -> pb::Status,
) -> Status {
    let room = |summaries: usize| {
        bytes_max.checked_sub(status(&summary[..summaries], Vec::new()).encoded_len() + LENGTHS_BYTES)
    };
    let least = levels.iter().map(listed_len).min().unwrap_or_default();
    let with_one = (0..=summary.len()).rev().find(|&summaries| room(summaries).is_some_and(|room| room >= least));
    let summaries = with_one.or_else(|| (0..=summary.len()).rev().find(|&summaries| room(summaries).is_some()));
    let summaries = summaries.unwrap_or_default();
    let mut room = room(summaries).unwrap_or_default();
    let mut listed = Vec::new();
    for level in levels {
        if let Some(left) = room.checked_sub(listed_len(&level)) {
            room = left;
            listed.push(level);
        }
    }
    let rich = status(&summary[..summaries], listed);
    let code = Code::from_i32(rich.code);
    Status::with_details(code, rich.message.clone(), rich.encode_to_vec().into())
}

/// Bytes that a message takes as an element of a list: itself, its tag and its length.
fn listed_len(message: &impl Message) -> usize {
    let length = message.encoded_len();
    1 + prost::length_delimiter_len(length) + length
}

#[cfg(test)]
mod tests {
    use inventory_core::model::catalog::{Unit, Variant};
    use inventory_core::model::outcome::ChangedLevel;
    use inventory_proto::DETAIL_BYTES_DEFAULT;
    use uuid::Uuid;

    use super::*;

    /// A unit whose options have this many bytes.
    fn unit(item: usize, option_bytes: usize) -> Unit {
        let text = "x".repeat(option_bytes.saturating_sub(r#"{"text":""}"#.len()));
        let variant = Variant::from_text(format!(r#"{{"text":"{text}"}}"#));
        Unit { app_id: "ä".repeat(100), item_id: format!("{item:036}"), variant }
    }

    fn short(count: usize, option_bytes: usize) -> Refusal {
        let shortage = |item| Shortage {
            unit: unit(item, option_bytes),
            location: Some(LocationId::from_uuid(Uuid::from_u128(7))),
            asked: 100_000,
            available: i64::MIN + 100_000,
            short: i64::MAX,
            reason: ShortageReason::NoLongerOnSale,
        };
        Refusal::Short((0..count).map(shortage).collect())
    }

    fn details(status: &Status) -> (usize, usize, v1::InsufficientStock) {
        let rich = pb::Status::decode(status.details()).expect("a status");
        let find = |name: &str| rich.details.iter().find(|any| any.type_url.ends_with(name)).expect("a detail");
        let summary = pb::PreconditionFailure::decode(find("PreconditionFailure").value.as_slice()).expect("a summary");
        let short = v1::InsufficientStock::decode(find("InsufficientStock").value.as_slice()).expect("a list");
        (status.details().len(), summary.violations.len(), short)
    }

    #[test]
    fn three_hundred_short_levels_fit_any_client() {
        for option_bytes in [20, 100, 500, 1_000, 2_000] {
            let status = of_refusal(short(300, option_bytes), None, DETAIL_BYTES_DEFAULT);
            let (bytes, _, short) = details(&status);
            assert!(bytes <= DETAIL_BYTES_DEFAULT, "{option_bytes}: {bytes}");
            assert!(!short.shortages.is_empty(), "{option_bytes}");
            assert_eq!((short.shortage_count, status.message()), (300, "300 levels are not on sale"));
        }
    }

    #[test]
    fn each_level_tells_why_it_is_refused() {
        use ShortageReason::{InsufficientStock, NoLongerOnSale, NotOnSaleYet};
        let rows: [(&[ShortageReason], &str, &[&str]); 6] = [
            (&[InsufficientStock], "1 level is short", &["INSUFFICIENT_STOCK"]),
            (&[InsufficientStock; 2], "2 levels are short", &["INSUFFICIENT_STOCK", "INSUFFICIENT_STOCK"]),
            (&[NotOnSaleYet], "1 level is not on sale", &["NOT_ON_SALE_YET"]),
            (&[NoLongerOnSale], "1 level is not on sale", &["NO_LONGER_ON_SALE"]),
            (&[NotOnSaleYet, NoLongerOnSale], "2 levels are not on sale", &["NOT_ON_SALE_YET", "NO_LONGER_ON_SALE"]),
            (
                &[NoLongerOnSale, InsufficientStock],
                "2 levels are short or not on sale",
                &["NO_LONGER_ON_SALE", "INSUFFICIENT_STOCK"],
            ),
        ];
        for (reasons, message, types) in rows {
            let shortage = |&reason: &ShortageReason| Shortage {
                unit: unit(1, 20),
                location: None,
                asked: 3,
                available: 2,
                short: 1,
                reason,
            };
            let status = of_refusal(Refusal::Short(reasons.iter().map(shortage).collect()), None, DETAIL_BYTES_DEFAULT);
            assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, message));
            let rich = pb::Status::decode(status.details()).expect("a status");
            let info = pb::ErrorInfo::decode(rich.details[0].value.as_slice()).expect("a reason");
            assert_eq!(info.reason, "INSUFFICIENT_STOCK", "one reason for all, so that a caller looks in one place");
            let summary = pb::PreconditionFailure::decode(rich.details[1].value.as_slice()).expect("a summary");
            let found: Vec<&str> = summary.violations.iter().map(|violation| violation.r#type.as_str()).collect();
            assert_eq!(found, types);
            for violation in &summary.violations {
                let on_sale = !violation.description.contains("on sale");
                assert_eq!(on_sale, violation.r#type == "INSUFFICIENT_STOCK", "{violation:?}");
                assert!(violation.description.ends_with("asked 3, available 2, short 1"), "{violation:?}");
            }
            let (_, _, short) = details(&status);
            let listed: Vec<String> =
                short.shortages.iter().map(|shortage| shortage.reason().as_str_name().to_owned()).collect();
            assert_eq!(listed, types.iter().map(|name| format!("SHORTAGE_REASON_{name}")).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_caller_that_can_read_more_gets_them_all() {
        let status = of_refusal(short(300, 2_000), None, 2 * 1024 * 1024);
        let (bytes, violations, short) = details(&status);
        assert_eq!((violations, short.shortages.len(), short.shortage_count), (3, 300, 300));
        assert!(bytes <= 2 * 1024 * 1024);
    }

    #[test]
    fn the_bound_is_used_up() {
        let (bytes, violations, short) = details(&of_refusal(short(300, 20), None, DETAIL_BYTES_DEFAULT));
        assert_eq!(violations, 3);
        let one = listed_len(&short.shortages[0]);
        assert!(bytes + one + LENGTHS_BYTES > DETAIL_BYTES_DEFAULT, "another one would fit: {bytes} and {one}");
    }

    #[test]
    fn a_level_that_does_not_fit_leaves_room_for_others() {
        let Refusal::Short(mut shortages) = short(2, 20) else { panic!("short") };
        // Numbers take more bytes in a protobuf Struct than in JSON.
        let numbers = format!(r#"{{"n":[{}0]}}"#, "0,".repeat(990));
        shortages[0].unit.variant = Variant::from_text(numbers);
        let (bytes, _, short) = details(&of_refusal(Refusal::Short(shortages.clone()), None, DETAIL_BYTES_DEFAULT));
        assert_eq!((short.shortages.len(), short.shortage_count), (1, 2));
        assert!(bytes <= DETAIL_BYTES_DEFAULT);
        shortages.truncate(1);
        let (bytes, violations, short) = details(&of_refusal(Refusal::Short(shortages), None, DETAIL_BYTES_DEFAULT));
        assert_eq!((violations, short.shortages.len(), short.shortage_count), (1, 0, 1));
        assert!(bytes <= DETAIL_BYTES_DEFAULT);
    }

    #[test]
    fn changed_levels_are_bounded_too() {
        let level = |item| ChangedLevel { item, unit: unit(item, 500), location: None, available: -1, revision: 9 };
        let refusal = Refusal::Changed((0..1_000).map(level).collect());
        let default = LocationId::from_uuid(Uuid::from_u128(9));
        let status = of_refusal(refusal, Some(default), DETAIL_BYTES_DEFAULT);
        assert!(status.details().len() <= DETAIL_BYTES_DEFAULT);
        let rich = pb::Status::decode(status.details()).expect("a status");
        let changed = v1::StockChanged::decode(rich.details[1].value.as_slice()).expect("a list");
        assert_eq!((status.code(), changed.level_count), (Code::Aborted, 1_000));
        assert_eq!(changed.levels[0].location_id, default.to_string(), "the default location is shown by its id");
        assert!(changed.levels.len() > 1);
    }
}
