//! The rules as a table, and properties that hold for any request.

use proptest::prelude::*;
use serde_json::Map;
use uuid::Uuid;

use super::*;
use crate::model::action::{Expected, Kind, Line, Quantity, Target};
use crate::model::catalog::{CatalogReference, WIX_BOOKINGS};
use crate::model::command::Reason;
use crate::model::ids::SiteId;
use crate::model::kind::{Counting, Tracking};
use crate::model::limits;
use crate::model::order::{Part, PastCall};
use crate::model::site::{OverReturnPolicy, SiteSettings, SuspectedRepeatPolicy};
use crate::model::unit::UnitSelector;

mod kinds;

/// An item. One whose id starts with `booking` belongs to Wix Bookings, any other to an unknown app.
fn unit(id: &str) -> UnitSelector {
    let app_id = if id.starts_with("booking") { WIX_BOOKINGS } else { "app" };
    UnitSelector::Reference(CatalogReference::new(app_id, id, Map::new()).expect("in bounds"))
}

fn line(id: &str, quantity: i64, subscription: bool) -> Line {
    let quantity = Quantity::new(quantity).expect("in bounds");
    Line { unit: unit(id), location: None, quantity, subscription }
}

fn target(id: &str, available: i64) -> Target {
    Target { unit: unit(id), location: None, available, expected: Expected::default(), as_of: None }
}

fn levels_of(action: &Action) -> Vec<ResolvedLevel> {
    let site = SiteId::from_uuid(Uuid::from_u128(1));
    let resolve = |(unit, location): (&UnitSelector, _)| {
        let UnitSelector::Reference(reference) = unit else { panic!("named by the catalog") };
        SiteSettings::default().resolve(site, reference, location).expect("small")
    };
    action.named_levels().map(resolve).collect()
}

/// Item, delta, level after, floor.
type Applied = Vec<(String, i64, i64, Option<i64>)>;

/// A view of a few items, by their ids. A unit that is not listed is in the state `UnitState::STOCKED`.
#[derive(Default)]
struct Shelf<'a> {
    levels: &'a [(&'a str, i64)],
    units: &'a [(&'a str, UnitState)],
    time: i64,
    history: Option<OrderHistory>,
    policies: OrderPolicies,
    resolved: Vec<ResolvedLevel>,
}

impl Shelf<'_> {
    fn of<T: Copy>(&self, named: &[(&str, T)], is: impl Fn(&ResolvedLevel) -> bool) -> Option<T> {
        let level = self.resolved.iter().find(|level| is(level)).expect("a level of the request");
        named.iter().find(|(name, _)| *name == level.unit.item_id).map(|(_, value)| *value)
    }

    fn decide(&mut self, action: &Action) -> Decision {
        self.resolved = levels_of(action);
        decide(action, &self.resolved, self)
    }
}

impl View for Shelf<'_> {
    fn level(&self, id: LevelId) -> LevelState {
        let found = self.of(self.levels, |level| level.id == id);
        found.map(|available| LevelState { available, revision: 7 }).unwrap_or_default()
    }

    fn level_at(&self, _: LevelId, _: i64) -> Past {
        Past::NotReached
    }

    fn unit(&self, unit: UnitId) -> UnitState {
        self.of(self.units, |level| level.unit_id == unit).unwrap_or(UnitState::STOCKED)
    }

    fn time(&self) -> i64 {
        self.time
    }

    fn order(&self) -> Option<&OrderHistory> {
        self.history.as_ref()
    }

    fn policies(&self) -> OrderPolicies {
        self.policies
    }
}

/// Decides by levels per item id. Returns deltas with floors, or the refusal.
fn decided(action: &Action, levels: &[(&str, i64)]) -> Result<Applied, Refusal> {
    decided_by(action, Shelf { levels, ..Shelf::default() })
}

fn decided_by(action: &Action, mut shelf: Shelf<'_>) -> Result<Applied, Refusal> {
    match shelf.decide(action) {
        Decision::Apply(movements) => {
            let tell = |m: &Movement| (shelf.resolved[m.level].unit.item_id.clone(), m.delta, m.after, m.floor);
            assert!(movements.iter().all(|m| m.before + m.delta == m.after && m.asked != 0));
            Ok(movements.iter().map(tell).collect())
        }
        Decision::Suppress => panic!("nothing is suspected"),
        Decision::Refuse(refusal) => Err(refusal),
    }
}

fn take(lines: &[(&str, i64)], restricted: bool) -> Action {
    Action::Decrement { lines: lines.iter().map(|(id, q)| line(id, *q, false)).collect(), restricted }
}

fn give(lines: &[(&str, i64)]) -> Action {
    Action::Increment { lines: lines.iter().map(|(id, q)| line(id, *q, false)).collect() }
}

fn set(levels: &[(&str, i64)]) -> Action {
    Action::Set { targets: levels.iter().map(|(id, level)| target(id, *level)).collect() }
}

fn short_of(decided: Result<Applied, Refusal>) -> Vec<(String, i64, i64, i64)> {
    match decided {
        Err(Refusal::Short(short)) => {
            short.into_iter().map(|s| (s.unit.item_id, s.asked, s.available, s.short)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_applied() {
    type Row<'a> = (Action, &'a [(&'a str, i64)], &'a [(&'a str, i64, i64, Option<i64>)]);
    let rows: &[Row<'_>] = &[
        (take(&[("A", 3)], true), &[("A", 5)], &[("A", -3, 2, Some(0))]),
        (take(&[("A", 5)], true), &[("A", 5)], &[("A", -5, 0, Some(0))]),
        (take(&[("A", 3)], false), &[("A", 2)], &[("A", -3, -1, None)]),
        (
            take(&[("A", 1), ("B", 2), ("A", 3)], true),
            &[("A", 4), ("B", 2)],
            &[("A", -4, 0, Some(0)), ("B", -2, 0, Some(0))],
        ),
        (give(&[("A", 4)]), &[("A", -1)], &[("A", 4, 3, None)]),
        (give(&[("A", 1)]), &[("A", i64::MAX - 1)], &[("A", 1, i64::MAX, None)]),
        (set(&[("A", 7), ("B", 2), ("C", -1)]), &[("A", 5), ("B", 2)], &[("A", 2, 7, None), ("C", -1, -1, None)]),
    ];
    for (action, levels, expected) in rows {
        let expected =
            expected.iter().map(|(id, delta, after, floor)| ((*id).to_owned(), *delta, *after, *floor)).collect();
        assert_eq!(decided(action, levels), Ok(expected), "{action:?}");
    }
}

#[test]
fn what_is_refused() {
    let named = |id: &str, asked, available, short| (id.to_owned(), asked, available, short);
    assert_eq!(short_of(decided(&take(&[("A", 3)], true), &[("A", 2)])), [named("A", 3, 2, 1)]);
    assert_eq!(short_of(decided(&take(&[("A", 3), ("A", 3)], true), &[("A", 5)])), [named("A", 6, 5, 1)]);
    assert_eq!(short_of(decided(&take(&[("A", 1), ("B", 1)], true), &[("A", 5)])), [named("B", 1, 0, 1)]);
    assert_eq!(short_of(decided(&take(&[("A", 1)], true), &[("A", -2)])), [named("A", 1, -2, 3)]);
    assert_eq!(short_of(decided(&take(&[("A", 1)], true), &[("A", i64::MIN)])), [named("A", 1, i64::MIN, i64::MAX)]);
    let edge: [(Action, &[(&str, i64)]); 3] = [
        (give(&[("B", 1), ("A", 1)]), &[("A", i64::MAX)]),
        (take(&[("B", 1), ("A", 1)], false), &[("A", i64::MIN)]),
        (set(&[("B", 1), ("A", -2)]), &[("A", i64::MAX)]),
    ];
    for (action, levels) in edge {
        assert_eq!(decided(&action, levels), Err(Refusal::OutOfRange { item: 1 }), "{action:?}");
    }
    let twice = set(&[("A", 1), ("B", 1), ("A", 1)]);
    assert_eq!(decided(&twice, &[]), Err(Refusal::SameLevelTwice { first: 0, item: 2 }));
}

#[test]
fn subscription_items_are_entries_of_their_own_but_judged_together() {
    let lines = vec![line("A", 2, true), line("A", 1, false), line("A", 1, true)];
    let action = Action::Decrement { lines, restricted: true };
    assert_eq!(short_of(decided(&action, &[("A", 3)])), [("A".to_owned(), 4, 3, 1)]);
    let Decision::Apply(movements) = Shelf { levels: &[("A", 4)], ..Shelf::default() }.decide(&action) else {
        panic!("there is enough")
    };
    let parts: Vec<(i64, i64, bool)> = movements.iter().map(|m| (m.delta, m.after, m.subscription)).collect();
    assert_eq!(parts, [(-1, 3, false), (-3, 0, true)]);
}

#[test]
fn units_are_counted_by_their_settings() {
    let counted = |counting| UnitState { counting, ..UnitState::STOCKED };
    let (usual, status) = (Counting::default(), Some(Tracking::Status));
    let units = [
        ("owed", counted(Counting { backorder_limit: Some(3), ..usual })),
        ("status", counted(Counting { tracking: status, ..usual })),
        ("gone", counted(Counting { tracking: status, backorder_limit: Some(9), ..usual })),
        ("once", counted(Counting { counts_subscriptions: Some(false), ..usual })),
    ];
    let shelf =
        || Shelf { levels: &[("owed", 2), ("status", 1), ("gone", 0), ("once", 1)], units: &units, ..Shelf::default() };
    let applied = |action: &Action| {
        let told = decided_by(action, shelf()).expect("applied");
        told.into_iter().map(|(_, delta, after, floor)| (delta, after, floor)).collect::<Vec<_>>()
    };
    let short = |action: &Action| {
        short_of(decided_by(action, shelf())).into_iter().map(|(_, a, b, c)| (a, b, c)).collect::<Vec<_>>()
    };
    assert_eq!(applied(&take(&[("owed", 5)], true)), [(-5, -3, Some(-3))]);
    assert_eq!(short(&take(&[("owed", 6)], true)), [(6, 2, 1)]);
    assert_eq!(applied(&take(&[("owed", 6)], false)), [(-6, -4, None)]);
    // A unit tracked by status loses nothing, however much is asked for.
    assert_eq!(applied(&take(&[("status", 500)], true)), [(0, 1, None)]);
    assert_eq!(applied(&give(&[("status", 500)])), [(0, 1, None)]);
    assert_eq!(short(&take(&[("gone", 2)], true)), [(2, 0, 1)]);
    assert_eq!(applied(&take(&[("gone", 2)], false)), [(0, 0, None)]);
    assert_eq!(applied(&set(&[("gone", 1)])), [(1, 1, None)]);
    // Subscriptions that are not counted are recorded, and never refused.
    let lines = |sold, subscribed| vec![line("once", sold, false), line("once", subscribed, true)];
    assert_eq!(applied(&Action::Decrement { lines: lines(1, 7), restricted: true }), [(-1, 0, Some(0)), (0, 0, None)]);
    assert_eq!(short(&Action::Decrement { lines: lines(2, 7), restricted: true }), [(2, 1, 1)]);
    assert_eq!(applied(&Action::Increment { lines: lines(2, 7) }), [(2, 3, None), (0, 3, None)]);
}

/// The history of an order that was placed for these.
fn placed(items: &[(&str, i64)]) -> OrderHistory {
    let action = take(items, true);
    let part = |(level, (_, pieces)): (ResolvedLevel, &(&str, i64))| {
        let (unit, location, subscription) = (level.unit_id, level.location, false);
        (Part { unit, location, subscription, asked: -pieces }, -pieces)
    };
    let parts = levels_of(&action).into_iter().zip(items).map(part).collect();
    let call = PastCall { kind: Kind::Decrement, reason: Reason::OrderPlaced, parts };
    OrderHistory { calls: vec![call], ..OrderHistory::default() }
}

#[test]
fn policies_about_orders() {
    let policies = |suspected_repeats, over_returns| OrderPolicies { suspected_repeats, over_returns };
    let report = OrderPolicies::default();
    let strict = policies(SuspectedRepeatPolicy::Suppress, OverReturnPolicy::Clip);
    assert_eq!(report, policies(SuspectedRepeatPolicy::Report, OverReturnPolicy::Report));
    let decide = |action: &Action, history: OrderHistory, policies| {
        let levels = &[("A", 5), ("B", 5)];
        match (Shelf { levels, history: Some(history), policies, ..Shelf::default() }).decide(action) {
            Decision::Apply(movements) => Some(
                movements.iter().map(|m| (m.delta, m.marks.suspected_repeat, m.marks.over_return)).collect::<Vec<_>>(),
            ),
            Decision::Suppress => None,
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        }
    };
    let took = || placed(&[("A", 2)]);
    let again = take(&[("A", 1), ("A", 1)], true);
    assert_eq!(decide(&again, took(), report), Some(vec![(-2, true, false)]));
    assert_eq!(decide(&again, took(), strict), None);
    assert_eq!(decide(&take(&[("A", 9)], false), took(), strict), Some(vec![(-9, false, false)]));
    assert_eq!(decide(&give(&[("A", 2)]), took(), strict), Some(vec![(2, false, false)]));
    assert_eq!(decide(&give(&[("A", 3), ("B", 1)]), took(), report), Some(vec![(3, false, true), (1, false, true)]));
    assert_eq!(decide(&give(&[("A", 3), ("B", 1)]), took(), strict), Some(vec![(2, false, true), (0, false, true)]));
    // An order that was never seen may hold anything. One whose calls were all refused holds nothing.
    assert_eq!(decide(&give(&[("A", 1)]), OrderHistory::default(), strict), Some(vec![(1, false, true)]));
    let refused = OrderHistory { answered: true, ..OrderHistory::default() };
    assert_eq!(decide(&give(&[("A", 1)]), refused, strict), Some(vec![(0, false, true)]));
    let mut endless = took();
    endless.calls = vec![endless.calls[0].clone(); limits::ORDER_ENTRIES_MAX + 1];
    assert_eq!(decide(&give(&[("A", 9)]), endless.clone(), strict), Some(vec![(9, false, false)]));
    assert_eq!(decide(&again, endless, strict), Some(vec![(-2, false, false)]));
}

proptest! {
    /// All or none; never below the floor; a refusal names exactly the short levels.
    #[test]
    fn a_restricted_decrement_takes_all_or_names_what_is_short(
        levels in prop::collection::vec(-3_i64..12, 5),
        asked in prop::collection::vec((0_usize..5, 1_i64..5), 1..12),
    ) {
        let ids = ["A", "B", "C", "D", "E"];
        let named: Vec<(&str, i64)> = ids.iter().copied().zip(levels.iter().copied()).collect();
        let lines: Vec<(&str, i64)> = asked.iter().map(|(item, quantity)| (ids[*item], *quantity)).collect();
        let sum = |id: &str| lines.iter().filter(|(name, _)| *name == id).map(|(_, q)| q).sum::<i64>();
        let is_short = |(id, level): &&(&str, i64)| sum(id) > 0 && *level < sum(id);
        let short: Vec<&str> = named.iter().filter(is_short).map(|(id, _)| *id).collect();
        match decided(&take(&lines, true), &named) {
            Ok(movements) => {
                prop_assert!(short.is_empty());
                for (id, delta, after, floor) in movements {
                    prop_assert_eq!((delta, floor), (-sum(&id), Some(0)));
                    prop_assert!(after >= 0);
                }
            }
            refused => {
                let mut told: Vec<String> = short_of(refused).into_iter().map(|(id, ..)| id).collect();
                told.sort();
                prop_assert_eq!(told, short);
            }
        }
    }
}
