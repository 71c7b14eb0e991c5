//! Times in requests, files and flags. The core counts microseconds since 1970; a time between two of them is rounded.

use inventory_core::model::limits;
use prost_types::Timestamp;

use crate::decode::fields::{Checked, Fields};
use crate::violation::At;

/// Nanoseconds of a microsecond.
const MICRO_NANOS: i32 = 1_000;

impl Fields {
    /// A time to compare entries with: microseconds since 1970, rounded down. `None` if the field is unset.
    pub(crate) fn time(&mut self, field: &str, time: Option<Timestamp>) -> Checked<Option<i64>> {
        let Some(time) = time else { return Ok(None) };
        match whole_micros(time) {
            Some((micros, _)) => Ok(Some(micros)),
            None => self.bad(At::REQUEST, field, "must be a time of nanos 0 to 999,999,999"),
        }
    }

    /// An edge of a sales window: microseconds since 1970, rounded up. `None` if the field is unset.
    ///
    /// A batch's time is whole microseconds, so rounding up changes no decision: the first whole microsecond at or
    /// after the edge is the first one that the edge applies to.
    pub(crate) fn edge(&mut self, at: At, field: &str, time: Option<Timestamp>) -> Checked<Option<i64>> {
        let Some(time) = time else { return Ok(None) };
        let micros = whole_micros(time).and_then(|(micros, rest)| micros.checked_add(i64::from(rest > 0)));
        match micros.filter(|micros| (0..=limits::TIME_MICROS_MAX).contains(micros)) {
            Some(micros) => Ok(Some(micros)),
            None => self.bad(at, field, "must be a time in the years 1970 to 9999, of nanos 0 to 999,999,999"),
        }
    }
}

/// A time in RFC 3339. `None` if the text is something else or names no offset from UTC: without one, nobody can tell
/// whose 18:00 is meant.
pub(crate) fn time_in_text(text: &str) -> Option<Timestamp> {
    let has_offset = text.split_once(['T', 't', ' ']).is_some_and(|(_, time)| time.contains(['Z', 'z', '+', '-']));
    text.parse().ok().filter(|_| has_offset)
}

/// The whole microseconds of a time since 1970, and the nanoseconds after them. `None` if the time is not valid.
pub(crate) fn whole_micros(Timestamp { seconds, nanos }: Timestamp) -> Option<(i64, i32)> {
    if !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let micros = seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / MICRO_NANOS))?;
    Some((micros, nanos % MICRO_NANOS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST_SECOND: i64 = limits::TIME_MICROS_MAX / 1_000_000;

    #[test]
    fn a_filter_is_rounded_down_and_an_edge_up() {
        // Seconds, nanoseconds, the time of a filter, the edge of a window.
        let rows = [
            (0, 0, Some(0), Some(0)),
            (7, 1_000, Some(7_000_001), Some(7_000_001)),
            (7, 1_001, Some(7_000_001), Some(7_000_002)),
            (7, 999_999_999, Some(7_999_999), Some(8_000_000)),
            (-1, 999_999_999, Some(-1), Some(0)),
            (-1, 0, Some(-1_000_000), None),
            (LAST_SECOND, 999_999_000, Some(limits::TIME_MICROS_MAX), Some(limits::TIME_MICROS_MAX)),
            (LAST_SECOND, 999_999_001, Some(limits::TIME_MICROS_MAX), None),
            (LAST_SECOND + 1, 0, Some(limits::TIME_MICROS_MAX + 1), None),
            (0, -1, None, None),
            (0, 1_000_000_000, None, None),
            (i64::MAX, 0, None, None),
            (i64::MIN, 0, None, None),
        ];
        for (seconds, nanos, filter, edge) in rows {
            let time = Some(Timestamp { seconds, nanos });
            let mut fields = Fields::default();
            assert_eq!(fields.time("start_time", time).ok().flatten(), filter, "{time:?}");
            assert_eq!(fields.edge(At::REQUEST, "sell_from", time).ok().flatten(), edge, "{time:?}");
            let bad = usize::from(filter.is_none()) + usize::from(edge.is_none());
            assert_eq!(fields.into_listed().len(), bad, "{time:?}");
        }
        let mut fields = Fields::default();
        assert_eq!(fields.edge(At::REQUEST, "sell_from", None).ok(), Some(None));
    }
}
