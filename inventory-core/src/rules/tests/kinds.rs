//! Kinds of items: untracked units, units that were never stocked, sales windows, and orders that hold pieces of an
//! item that is counted in another way by now.

use super::*;
use crate::model::action::{Adjustment, Move};
use crate::model::entry::pieces;
use crate::model::ids::LocationId;
use crate::model::kind::SalesWindow;
use crate::model::outcome::{Shortage, ShortageReason};

/// A unit that was never stocked and has no settings of its own.
const NEVER: UnitState = UnitState { stocked: false, ..UnitState::STOCKED };

/// What is asked for, the change that is made, and the level after it.
type Entered = (String, i64, i64, i64);

/// Pieces asked for, the level, the pieces that are missing, and why.
type Refused = (String, i64, i64, i64, ShortageReason);

const fn tracked(tracking: Tracking) -> UnitState {
    let counting = Counting { tracking: Some(tracking), backorder_limit: None, counts_subscriptions: None };
    UnitState { counting, ..UnitState::STOCKED }
}

fn adjust(deltas: &[(&str, i64)]) -> Action {
    let adjustment = |&(id, delta): &(&str, i64)| Adjustment { unit: unit(id), location: None, delta };
    Action::Adjust { adjustments: deltas.iter().map(adjustment).collect() }
}

fn shop() -> Option<LocationId> {
    Some(LocationId::from_uuid(Uuid::from_u128(7)))
}

/// Moves pieces from the default location to the shop.
fn move_to_shop(id: &str, pieces: i64) -> Action {
    let quantity = Quantity::new(pieces).expect("in bounds");
    Action::Move { moves: vec![Move { unit: unit(id), from: None, to: shop(), quantity }], restricted: true }
}

/// The entries of a decision with their marks, or the refused levels.
fn outcome(action: &Action, mut shelf: Shelf<'_>) -> Result<Vec<(Entered, Marks)>, Vec<Refused>> {
    match shelf.decide(action) {
        Decision::Apply(movements) => {
            let entered = |m: &Movement| (shelf.resolved[m.level].unit.item_id.clone(), m.asked, m.delta, m.after);
            assert!(movements.iter().all(|m| m.floor.is_none() || m.delta != 0), "a floor for an uncounted item");
            Ok(movements.iter().map(|m| (entered(m), m.marks)).collect())
        }
        Decision::Refuse(Refusal::Short(short)) => Err(short.into_iter().map(refused).collect()),
        other => panic!("{other:?}"),
    }
}

fn refused(shortage: Shortage) -> Refused {
    let Shortage { unit, location: _, asked, available, short, reason } = shortage;
    (unit.item_id, asked, available, short, reason)
}

fn entered(id: &str, asked: i64, delta: i64, after: i64) -> Entered {
    (id.to_owned(), asked, delta, after)
}

/// A shortage for want of pieces.
fn short(id: &str, asked: i64, available: i64, short: i64) -> Refused {
    (id.to_owned(), asked, available, short, ShortageReason::InsufficientStock)
}

struct Row<'a> {
    name: &'a str,
    action: Action,
    levels: &'a [(&'a str, i64)],
    units: &'a [(&'a str, UnitState)],
    expected: Result<Vec<Entered>, Vec<Refused>>,
}

impl Row<'_> {
    fn check(self) {
        let Self { name, action, levels, units, expected } = self;
        let decided = outcome(&action, Shelf { levels, units, ..Shelf::default() });
        let unmarked = |(entered, marks): (Entered, Marks)| {
            assert_eq!(marks, Marks::default(), "{name}");
            entered
        };
        let decided = decided.map(|entries| entries.into_iter().map(unmarked).collect::<Vec<_>>());
        assert_eq!(decided, expected, "{name}");
    }
}

#[test]
fn untracked_units_are_recorded_and_never_short() {
    let units = [("A", tracked(Tracking::Untracked))];
    let row =
        |name, action, levels, expected| Row { name, action, levels, units: &units, expected: Ok(vec![expected]) };
    let rows: [Row<'_>; 7] = [
        row("restricted", take(&[("A", 3)], true), &[("A", 1)], entered("A", -3, 0, 1)),
        row("restricted, below zero", take(&[("A", 3)], true), &[("A", -2)], entered("A", -3, 0, -2)),
        row("unrestricted", take(&[("A", 3)], false), &[("A", 1)], entered("A", -3, 0, 1)),
        row("returned", give(&[("A", 3)]), &[("A", 1)], entered("A", 3, 0, 1)),
        row("returned at the top of the range", give(&[("A", 3)]), &[("A", i64::MAX)], entered("A", 3, 0, i64::MAX)),
        row("adjusted", adjust(&[("A", -7)]), &[("A", 1)], entered("A", -7, 0, 1)),
        row("set", set(&[("A", 9)]), &[("A", 1)], entered("A", 8, 8, 9)),
    ];
    rows.into_iter().for_each(Row::check);
}

#[test]
fn units_that_were_never_stocked_follow_their_catalog() {
    type Case<'a> = (&'a str, Action, &'a [(&'a str, i64)], UnitState, Result<Vec<Entered>, Vec<Refused>>);
    let own = |tracking| UnitState { stocked: false, ..tracked(tracking) };
    let stocked = UnitState::STOCKED;
    let cases: Vec<Case<'_>> = vec![
        ("sells, restricted", take(&[("booking", 3)], true), &[], NEVER, Ok(vec![entered("booking", -3, 0, 0)])),
        ("sells, unrestricted", take(&[("booking", 3)], false), &[], NEVER, Ok(vec![entered("booking", -3, 0, 0)])),
        ("sells, returned", give(&[("booking", 3)]), &[], NEVER, Ok(vec![entered("booking", 3, 0, 0)])),
        ("sells, stocked with 0", take(&[("booking", 3)], true), &[], stocked, Err(vec![short("booking", 3, 0, 3)])),
        (
            "sells, stocked with 4",
            take(&[("booking", 3)], true),
            &[("booking", 4)],
            stocked,
            Ok(vec![entered("booking", -3, -3, 1)]),
        ),
        (
            "sells, but the unit counts pieces",
            take(&[("booking", 3)], true),
            &[],
            own(Tracking::Quantity),
            Err(vec![short("booking", 3, 0, 3)]),
        ),
        (
            "sells, but the unit is tracked by status",
            take(&[("booking", 3)], true),
            &[],
            own(Tracking::Status),
            Err(vec![short("booking", 3, 0, 1)]),
        ),
        ("refuses, restricted", take(&[("A", 3)], true), &[], NEVER, Err(vec![short("A", 3, 0, 3)])),
        ("refuses, unrestricted", take(&[("A", 3)], false), &[], NEVER, Ok(vec![entered("A", -3, -3, -3)])),
        ("refuses, returned", give(&[("A", 3)]), &[], NEVER, Ok(vec![entered("A", 3, 3, 3)])),
        (
            "refuses, but the unit is untracked",
            take(&[("A", 3)], true),
            &[],
            own(Tracking::Untracked),
            Ok(vec![entered("A", -3, 0, 0)]),
        ),
        (
            "one of each, and only one is short",
            take(&[("booking", 1), ("A", 1)], true),
            &[],
            NEVER,
            Err(vec![short("A", 1, 0, 1)]),
        ),
        (
            "one of each, each by its own rule",
            take(&[("booking", 1), ("A", 1)], true),
            &[("A", 5)],
            NEVER,
            Ok(vec![entered("booking", -1, 0, 0), entered("A", -1, -1, 4)]),
        ),
    ];
    for (name, action, levels, state, expected) in cases {
        Row { name, action, levels, units: &[("booking", state), ("A", state)], expected }.check();
    }
}

#[test]
fn stocking_a_unit_that_is_sold_unstocked_counts_it() {
    type Case<'a> = (&'a str, Action, UnitState, Vec<Entered>);
    let own = |tracking| UnitState { stocked: false, ..tracked(tracking) };
    let cases: Vec<Case<'_>> = vec![
        ("set to 0", set(&[("booking", 0)]), NEVER, vec![entered("booking", 0, 0, 0)]),
        ("set to 0 once more", set(&[("booking", 0)]), UnitState::STOCKED, vec![]),
        ("set to 4", set(&[("booking", 4)]), NEVER, vec![entered("booking", 4, 4, 4)]),
        ("set to 0, but the unit counts pieces", set(&[("booking", 0)]), own(Tracking::Quantity), vec![]),
        ("set to 0, but the unit is untracked", set(&[("booking", 0)]), own(Tracking::Untracked), vec![]),
        ("set to 0 where the catalog refuses", set(&[("A", 0)]), NEVER, vec![]),
        ("adjusted", adjust(&[("booking", -2)]), NEVER, vec![entered("booking", -2, -2, -2)]),
        (
            "adjusted twice",
            adjust(&[("booking", 5), ("booking", -2)]),
            NEVER,
            vec![entered("booking", 5, 5, 5), entered("booking", -2, -2, 3)],
        ),
        (
            "adjusted, but untracked",
            adjust(&[("booking", 2)]),
            own(Tracking::Untracked),
            vec![entered("booking", 2, 0, 0)],
        ),
        ("moved", move_to_shop("booking", 2), NEVER, vec![entered("booking", -2, 0, 0), entered("booking", 2, 0, 0)]),
    ];
    for (name, action, state, expected) in cases {
        Row { name, action, levels: &[], units: &[("booking", state), ("A", state)], expected: Ok(expected) }.check();
    }
    let stocking = [set(&[("A", 0)]), adjust(&[("A", 1)])];
    assert!(stocking.iter().all(stocks), "these stock their units");
    let others = [take(&[("A", 1)], false), give(&[("A", 1)]), move_to_shop("A", 1)];
    assert!(!others.iter().any(stocks), "these do not");
}

/// Sold from 100 on, and before 200.
const WINDOW: SalesWindow = SalesWindow { from: Some(100), until: Some(200) };

#[test]
fn a_sales_window_refuses_restricted_decrements_and_marks_others() {
    use ShortageReason::{NoLongerOnSale, NotOnSaleYet};
    let only_from = SalesWindow { until: None, ..WINDOW };
    let only_until = SalesWindow { from: None, ..WINDOW };
    let rows: [(&str, SalesWindow, i64, Option<ShortageReason>); 8] = [
        ("before it begins", WINDOW, 99, Some(NotOnSaleYet)),
        ("as it begins", WINDOW, 100, None),
        ("before it ends", WINDOW, 199, None),
        ("as it ends", WINDOW, 200, Some(NoLongerOnSale)),
        ("without an end, before it begins", only_from, 99, Some(NotOnSaleYet)),
        ("without an end, later", only_from, i64::MAX, None),
        ("without a beginning, earlier", only_until, i64::MIN, None),
        ("without a beginning, as it ends", only_until, 200, Some(NoLongerOnSale)),
    ];
    for (name, window, time, closed) in rows {
        for tracking in [Tracking::Quantity, Tracking::Status, Tracking::Untracked] {
            let name = format!("{tracking:?}, {name}");
            let units = [("A", UnitState { window, ..tracked(tracking) })];
            let decided = |action: &Action| {
                outcome(action, Shelf { levels: &[("A", 5)], units: &units, time, ..Shelf::default() })
            };
            let delta = if tracking == Tracking::Quantity { -2 } else { 0 };
            let applied = |outside_sales_window| {
                Ok(vec![(entered("A", -2, delta, 5 + delta), Marks { outside_sales_window, ..Marks::default() })])
            };
            let restricted = match closed {
                Some(reason) => Err(vec![("A".to_owned(), 2, 5, 0, reason)]),
                None => applied(false),
            };
            assert_eq!(decided(&take(&[("A", 1), ("A", 1)], true)), restricted, "{name}, restricted");
            assert_eq!(decided(&take(&[("A", 2)], false)), applied(closed.is_some()), "{name}, unrestricted");
            for action in [give(&[("A", 2)]), set(&[("A", 7)]), adjust(&[("A", 2)]), move_to_shop("A", 2)] {
                let entries = decided(&action).expect("a sales window concerns decrements alone");
                assert!(entries.iter().all(|(_, marks)| *marks == Marks::default()), "{name}: {action:?}");
            }
        }
    }
}

#[test]
fn a_sales_window_goes_before_the_stock() {
    use ShortageReason::NoLongerOnSale;
    let closed = |state| UnitState { window: SalesWindow { from: None, until: Some(0) }, ..state };
    let once = Counting { counts_subscriptions: Some(false), ..Counting::default() };
    let units = [
        ("few", closed(UnitState::STOCKED)),
        ("gone", closed(tracked(Tracking::Status))),
        ("free", closed(tracked(Tracking::Untracked))),
        ("once", closed(UnitState { counting: once, ..UnitState::STOCKED })),
        ("booking", closed(NEVER)),
    ];
    let levels = [("few", 1), ("gone", 0), ("free", -4), ("once", 5), ("open", 9), ("none", 0)];
    let asked = ["few", "gone", "free", "booking", "open", "none"].map(|id| line(id, 3, false));
    let subscribed = [line("once", 1, false), line("once", 7, true)];
    let lines = asked.into_iter().chain(subscribed).collect();
    let decided = outcome(
        &Action::Decrement { lines, restricted: true },
        Shelf { levels: &levels, units: &units, ..Shelf::default() },
    );
    let over = |id: &str, asked, available, short| (id.to_owned(), asked, available, short, NoLongerOnSale);
    let expected = vec![
        over("few", 3, 1, 2),
        over("gone", 3, 0, 1),
        over("free", 3, -4, 0),
        over("booking", 3, 0, 0),
        short("none", 3, 0, 3),
        // All pieces are asked for, although stock need not cover the subscriptions.
        over("once", 8, 5, 0),
    ];
    assert_eq!(decided, Err(expected));
}

#[test]
fn a_suspected_duplicate_is_judged_before_the_sales_window() {
    let window = SalesWindow { from: None, until: Some(0) };
    let units = [("A", UnitState { window, ..UnitState::STOCKED })];
    let shelf = |suspected_repeats| Shelf {
        levels: &[("A", 5)],
        units: &units,
        history: Some(placed(&[("A", 2)])),
        policies: OrderPolicies { suspected_repeats, ..OrderPolicies::default() },
        ..Shelf::default()
    };
    let again = |restricted| take(&[("A", 2)], restricted);
    assert_eq!(shelf(SuspectedRepeatPolicy::Suppress).decide(&again(true)), Decision::Suppress);
    let reported = outcome(&again(false), shelf(SuspectedRepeatPolicy::Report));
    let both = Marks { suspected_repeat: true, over_return: false, outside_sales_window: true };
    assert_eq!(reported, Ok(vec![(entered("A", -2, -2, 3), both)]));
    let refused = outcome(&again(true), shelf(SuspectedRepeatPolicy::Report)).expect_err("the sale has ended");
    assert_eq!(refused, [("A".to_owned(), 2, 5, 0, ShortageReason::NoLongerOnSale)]);
}

#[test]
fn an_untracked_item_can_be_a_suspected_duplicate() {
    let units = [("A", tracked(Tracking::Untracked))];
    for (policy, expected) in [(SuspectedRepeatPolicy::Report, false), (SuspectedRepeatPolicy::Suppress, true)] {
        let policies = OrderPolicies { suspected_repeats: policy, ..OrderPolicies::default() };
        let history = Some(placed(&[("A", 2)]));
        let decided = Shelf { units: &units, history, policies, ..Shelf::default() }.decide(&take(&[("A", 2)], true));
        match decided {
            Decision::Apply(movements) => {
                assert!(movements.iter().all(|m| m.marks.suspected_repeat && m.delta == 0), "{policy:?}");
                assert!(!expected, "{policy:?}");
            }
            Decision::Suppress => assert!(expected, "{policy:?}"),
            Decision::Refuse(refusal) => panic!("{policy:?}: {refusal:?}"),
        }
    }
}

#[test]
fn the_pieces_of_an_entry_are_what_changed_hands() {
    let over_return = Marks { over_return: true, ..Marks::default() };
    let rows = [
        ("counted", -3, -3, Marks::default(), -3),
        ("not counted", -3, 0, Marks::default(), -3),
        ("a return that is not counted", 2, 0, Marks::default(), 2),
        ("an over-return that is applied", 5, 5, over_return, 5),
        ("an over-return that is clipped", 5, 2, over_return, 2),
        ("an over-return that is clipped to nothing", 5, 0, over_return, 0),
    ];
    for (name, asked, delta, marks, expected) in rows {
        assert_eq!(pieces(asked, delta, marks), expected, "{name}");
    }
}

#[test]
fn an_order_holds_pieces_however_they_are_counted() {
    // The history holds 3 pieces. Whether they were counted when the order took them makes no difference.
    let decide = |lines: Vec<Line>, state, over_returns| {
        let policies = OrderPolicies { over_returns, ..OrderPolicies::default() };
        let (history, units) = (Some(placed(&[("A", 3)])), [("A", state)]);
        let shelf = Shelf { levels: &[("A", 10)], units: &units, history, policies, ..Shelf::default() };
        let entries = outcome(&Action::Increment { lines }, shelf).expect("a return is not refused");
        entries.into_iter().map(|((_, asked, delta, _), marks)| (asked, delta, marks.over_return)).collect::<Vec<_>>()
    };
    let counted = UnitState::STOCKED;
    let once = UnitState {
        counting: Counting { counts_subscriptions: Some(false), ..Counting::default() },
        ..UnitState::STOCKED
    };
    let (untracked, status) = (tracked(Tracking::Untracked), tracked(Tracking::Status));
    let back = |pieces| vec![line("A", pieces, false)];
    let at_shop = |pieces| Line { location: shop(), ..line("A", pieces, false) };
    let (report, clip) = (OverReturnPolicy::Report, OverReturnPolicy::Clip);
    // Name, what comes back, the unit, the policy; asked, delta and mark of each entry.
    type Row = (&'static str, Vec<Line>, UnitState, OverReturnPolicy, Vec<(i64, i64, bool)>);
    let rows: Vec<Row> = vec![
        ("all, counted", back(3), counted, clip, vec![(3, 3, false)]),
        ("too many, counted, reported", back(4), counted, report, vec![(4, 4, true)]),
        ("too many, counted, clipped", back(4), counted, clip, vec![(4, 3, true)]),
        ("all, untracked", back(3), untracked, clip, vec![(3, 0, false)]),
        ("too many, untracked, reported", back(4), untracked, report, vec![(4, 0, false)]),
        ("too many, untracked, clipped", back(4), untracked, clip, vec![(4, 0, false)]),
        ("too many, by status, clipped", back(4), status, clip, vec![(4, 0, false)]),
        (
            "a subscription that is not counted uses up what the order holds",
            vec![line("A", 2, true), at_shop(2)],
            once,
            clip,
            vec![(2, 0, false), (2, 1, true)],
        ),
        (
            "counted pieces come before the subscriptions of their level",
            vec![line("A", 2, true), line("A", 3, false)],
            once,
            clip,
            vec![(3, 3, false), (2, 0, false)],
        ),
    ];
    for (name, lines, state, policy, expected) in rows {
        assert_eq!(decide(lines, state, policy), expected, "{name}");
    }
}
