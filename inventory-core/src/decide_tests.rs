//! The rules as a table, and properties that hold for any request.

use proptest::prelude::*;
use serde_json::Map;
use uuid::Uuid;

use super::*;
use crate::action::Quantity;
use crate::catalog::CatalogReference;
use crate::ids::SiteId;
use crate::site::SiteSettings;

fn line(id: &str, quantity: i64, subscription: bool) -> Line {
    let reference = CatalogReference::new("app", id, Map::new()).expect("in bounds");
    let quantity = Quantity::new(quantity).expect("in bounds");
    Line { reference, location: None, quantity, subscription }
}

fn target(id: &str, available: i64) -> Target {
    let reference = CatalogReference::new("app", id, Map::new()).expect("in bounds");
    Target { reference, location: None, available, expected: Expected::default(), as_of: None }
}

fn places(action: &Action) -> Vec<Place> {
    let site = SiteId::from_uuid(Uuid::from_u128(1));
    let place = |(reference, location)| SiteSettings::default().place(site, reference, location).expect("small");
    action.places().map(place).collect()
}

/// Item, delta, level after, floor.
type Told = Vec<(String, i64, i64, Option<i64>)>;

/// Decides on levels by item id, and tells deltas with floors, or the refusal.
fn told(action: &Action, levels: &[(&str, i64)]) -> Result<Told, Refusal> {
    let places = places(action);
    let level = |id: LevelId| {
        let place = places.iter().find(|place| place.level == id).expect("a level of the request");
        let found = levels.iter().find(|(name, _)| *name == place.unit.item_id);
        found.map(|(_, available)| LevelNow { available: *available, revision: 7 }).unwrap_or_default()
    };
    match decide(action, &places, level, |_, _| None) {
        Decision::Apply(movements) => {
            let tell = |m: &Movement| (places[m.place].unit.item_id.clone(), m.delta, m.after, m.floor);
            assert!(movements.iter().all(|m| m.before + m.delta == m.after && m.delta != 0));
            Ok(movements.iter().map(tell).collect())
        }
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

fn short_of(told: Result<Told, Refusal>) -> Vec<(String, i64, i64, i64)> {
    match told {
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
        assert_eq!(told(action, levels), Ok(expected), "{action:?}");
    }
}

#[test]
fn what_is_refused() {
    let named = |id: &str, asked, available, short| (id.to_owned(), asked, available, short);
    assert_eq!(short_of(told(&take(&[("A", 3)], true), &[("A", 2)])), [named("A", 3, 2, 1)]);
    assert_eq!(short_of(told(&take(&[("A", 3), ("A", 3)], true), &[("A", 5)])), [named("A", 6, 5, 1)]);
    assert_eq!(short_of(told(&take(&[("A", 1), ("B", 1)], true), &[("A", 5)])), [named("B", 1, 0, 1)]);
    assert_eq!(short_of(told(&take(&[("A", 1)], true), &[("A", -2)])), [named("A", 1, -2, 3)]);
    assert_eq!(short_of(told(&take(&[("A", 1)], true), &[("A", i64::MIN)])), [named("A", 1, i64::MIN, i64::MAX)]);
    let edge: [(Action, &[(&str, i64)]); 3] = [
        (give(&[("B", 1), ("A", 1)]), &[("A", i64::MAX)]),
        (take(&[("B", 1), ("A", 1)], false), &[("A", i64::MIN)]),
        (set(&[("B", 1), ("A", -2)]), &[("A", i64::MAX)]),
    ];
    for (action, levels) in edge {
        assert_eq!(told(&action, levels), Err(Refusal::OutOfRange { item: 1 }), "{action:?}");
    }
    let twice = set(&[("A", 1), ("B", 1), ("A", 1)]);
    assert_eq!(told(&twice, &[]), Err(Refusal::SameLevelTwice { first: 0, item: 2 }));
}

#[test]
fn subscription_items_are_entries_of_their_own_but_judged_together() {
    let lines = vec![line("A", 2, true), line("A", 1, false), line("A", 1, true)];
    let action = Action::Decrement { lines, restricted: true };
    assert_eq!(short_of(told(&action, &[("A", 3)])), [("A".to_owned(), 4, 3, 1)]);
    let places = places(&action);
    let Decision::Apply(movements) = decide(&action, &places, |_| LevelNow { available: 4, revision: 1 }, |_, _| None)
    else {
        panic!("there is enough")
    };
    let parts: Vec<(i64, i64, bool)> = movements.iter().map(|m| (m.delta, m.after, m.subscription)).collect();
    assert_eq!(parts, [(-1, 3, false), (-3, 0, true)]);
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
        let short: Vec<&str> = named.iter().filter(|(id, level)| sum(id) > 0 && *level < sum(id)).map(|(id, _)| *id).collect();
        match told(&take(&lines, true), &named) {
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
