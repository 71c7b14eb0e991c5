//! Random steps: requests that are often about the same few items, orders, keys and moments.

use inventory_tests::model::kinds::{CATALOGS, Catalog, Counting, Tracking, UnitChange};
use inventory_tests::model::{self, ITEMS, Model, Policies, Request, UNITS};

use super::Step;

/// Times are multiples of this many microseconds, so that a request often comes at the edge of a sales window.
const TICK: i64 = 10;

/// The next time that the clock shows. It may be earlier.
pub(super) fn time_after(random: &mut fastrand::Rng, time: i64) -> i64 {
    match random.u8(..8) {
        0 => time - TICK * random.i64(0..8),
        1 => time + TICK * random.i64(0..40),
        _ => time + TICK * random.i64(0..3),
    }
}

/// A step of a site while the clock shows `time`.
pub(super) fn step(random: &mut fastrand::Rng, time: i64, key: u64, model: &Model) -> Step {
    match random.u8(..200) {
        0 => Step::Policies(Policies { suppress: random.bool(), clip: random.bool() }),
        1..4 => Step::Unit(random.usize(..UNITS), unit_change(random, time)),
        4 => Step::Catalog(random.usize(..CATALOGS), catalog(random)),
        5 => Step::Swap(random.usize(..UNITS), random.usize(..UNITS)),
        _ => Step::Request(key, random.u8(..3) == 0, request(random, key, model)),
    }
}

fn tracking(random: &mut fastrand::Rng) -> Tracking {
    [Tracking::Quantity, Tracking::Quantity, Tracking::Status, Tracking::Untracked][random.usize(..4)]
}

fn catalog(random: &mut fastrand::Rng) -> Catalog {
    let counting = Counting {
        tracking: random.bool().then(|| tracking(random)),
        backorder_limit: random.bool().then(|| random.i64(0..4)),
        counts_subscriptions: random.bool().then(|| random.bool()),
    };
    Catalog { counting, sells: random.bool().then(|| random.bool()) }
}

/// Leaves a setting as it is, takes it away, or changes it.
fn change<T>(random: &mut fastrand::Rng, value: impl FnOnce(&mut fastrand::Rng) -> T) -> Option<Option<T>> {
    match random.u8(..4) {
        0 => None,
        1 | 2 => Some(None),
        _ => Some(Some(value(random))),
    }
}

fn unit_change(random: &mut fastrand::Rng, time: i64) -> UnitChange {
    UnitChange {
        tracking: change(random, tracking),
        backorder_limit: change(random, |random| random.i64(0..8)),
        counts_subscriptions: change(random, |random| random.bool()),
        sell_from: change(random, |random| time + TICK * random.i64(-8..8)),
        sell_until: change(random, |random| time + TICK * random.i64(-6..30)),
    }
}

fn request(random: &mut fastrand::Rng, key: u64, model: &Model) -> Request {
    let many = [1, 1, 1, 2, 3, 8][random.usize(..6)];
    let lines: Vec<(usize, i64)> = (0..many).map(|_| (random.usize(..ITEMS), random.i64(1..=5))).collect();
    // About thirty requests of all sites belong to the same order.
    let order = (key / 30) as usize + random.usize(..3);
    let mut sold = |lines: &[(usize, i64)]| -> Vec<model::Line> {
        lines.iter().map(|(item, pieces)| (*item, *pieces, random.u8(..5) == 0)).collect()
    };
    let of_order = sold(&lines);
    // Few items and one piece, so that an order takes and returns the same items again.
    let same = vec![(order % 3 * (UNITS / 3), 1, false)];
    match random.u8(..13) {
        0..4 => Request::Decrement(of_order, true, order, random.bool()),
        4 => Request::Decrement(of_order, false, order, random.bool()),
        5 => Request::Decrement(same, true, order, true),
        6..9 => Request::Increment(of_order, order),
        9 => Request::Increment(same, order),
        10 => Request::Adjust(
            stocking(random, lines, model).into_iter().map(|(item, pieces)| (item, 2 * pieces - 7)).collect(),
        ),
        11 => {
            let other = |item| (item + UNITS) % ITEMS;
            let moves = lines.into_iter().map(|(item, pieces)| (item, other(item), pieces));
            Request::Move(moves.collect(), random.u8(..4) != 0)
        }
        _ => {
            let mut items: Vec<usize> = stocking(random, lines, model).into_iter().map(|(item, _)| item).collect();
            items.sort_unstable();
            items.dedup();
            Request::Set(items.into_iter().map(|item| target(random, item, model)).collect())
        }
    }
}

/// Leaves out most units that were never stocked, so that they stay so for a while.
fn stocking(random: &mut fastrand::Rng, mut lines: Vec<(usize, i64)>, model: &Model) -> Vec<(usize, i64)> {
    let first = lines[0];
    lines.retain(|(item, _)| model.units[item % UNITS].stocked || random.u8(..8) == 0);
    if lines.is_empty() { vec![first] } else { lines }
}

fn target(random: &mut fastrand::Rng, item: usize, model: &Model) -> model::Target {
    let sequence = model.sequence();
    let as_of = match random.u8(..8) {
        0 => Some(sequence + 1_000_000),
        1..4 if sequence > 0 => Some(random.i64((sequence - 300).max(1)..=sequence)),
        _ => None,
    };
    let expected = (random.u8(..4) == 0).then(|| random.i64(-2..6));
    // It holds unless an earlier command of the burst changes the level.
    let expected_revision = (random.u8(..4) == 0).then(|| model.revision(item));
    let level = if random.u8(..4) == 0 { model.level(item) } else { random.i64(-5..30) };
    model::Target { item, level, expected, expected_revision, as_of }
}
