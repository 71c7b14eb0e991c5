//! Turns as tables, and with random work.

use std::collections::{HashMap, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

type Numbers = Turns<u32, u32>;

fn lane(number: u128) -> Lane {
    Some(SiteId::from_uuid(Uuid::from_u128(number)))
}

fn batch(turns: &mut Numbers) -> Vec<u32> {
    match turns.next() {
        Some(Turn::Batch(changes)) => changes.into_iter().map(|(_, change)| change).collect(),
        other => panic!("a batch, not {other:?}"),
    }
}

#[test]
fn a_lane_keeps_its_order() {
    let mut turns = Numbers::new();
    (0..3).for_each(|change| turns.add_change(lane(1), 1, change));
    turns.add_task(lane(1), 3);
    turns.add_change(lane(1), 1, 4);
    assert_eq!(batch(&mut turns), [0, 1, 2]);
    assert_eq!(turns.next(), Some(Turn::Task(lane(1), 3)));
    assert_eq!(batch(&mut turns), [4]);
    assert!(turns.next().is_none() && turns.lanes.is_empty());
}

#[test]
fn a_small_change_is_in_the_next_batch_whatever_floods() {
    let mut turns = Numbers::new();
    for flood in 1..=40 {
        (0..100).for_each(|_| turns.add_change(lane(flood), 300, 0));
    }
    turns.next();
    turns.add_change(lane(99), 1, 7);
    assert!(batch(&mut turns).contains(&7));
}

#[test]
fn no_lane_has_a_second_turn_before_every_other_has_its_first() {
    let mut turns = Numbers::new();
    let lanes = 3 * limits::BATCH_COMMANDS_MAX as u32;
    for number in 0..lanes {
        (0..5).for_each(|_| turns.add_change(lane(number.into()), 1, number));
    }
    let served: HashSet<u32> = (0..3).flat_map(|_| batch(&mut turns)).collect();
    assert_eq!(served.len(), lanes as usize);
}

#[test]
fn every_large_change_has_its_turn() {
    // The shares of the others fill each batch.
    let mut turns = Numbers::new();
    let others = 100;
    let share = limits::BATCH_ITEMS_MAX / (others + 1);
    turns.add_change(lane(0), limits::STOCK_ITEMS_MAX, 7);
    let mut batches = 0;
    loop {
        (1..=others as u128).for_each(|other| turns.add_change(lane(other), share, 0));
        batches += 1;
        if batch(&mut turns).contains(&7) {
            break;
        }
    }
    assert!(batches <= others + 1, "{batches}");
}

#[test]
fn a_task_does_not_wait_for_another_lane_s_backlog_nor_a_change_for_tasks() {
    let mut turns = Numbers::new();
    (0..2_000).for_each(|_| turns.add_change(lane(1), 1, 0));
    (0..3).for_each(|task| turns.add_task(lane(2), task));
    for task in 0..3 {
        assert_eq!(batch(&mut turns).len(), limits::BATCH_COMMANDS_MAX);
        assert_eq!(turns.next(), Some(Turn::Task(lane(2), task)));
    }
}

proptest! {
    /// Nothing is lost or done twice, every lane keeps its order, every batch is within its bounds, and a small change
    /// at the front of its lane is in the first batch after it came.
    #[test]
    fn random_work(steps in vec(vec((0..30_u128, 0..50_u8, 1..=limits::STOCK_ITEMS_MAX), 0..200), 1..20)) {
        let mut turns = Numbers::new();
        let (mut added, mut done) = (HashMap::<Lane, u32>::new(), HashMap::<Lane, u32>::new());
        let mut sizes = HashMap::new();
        for step in steps {
            let mut small = Vec::new();
            for (number, kind, items) in step {
                let lane = lane(number);
                let work = added.entry(lane).or_default();
                match kind {
                    0 => turns.add_task(lane, *work),
                    _ => {
                        let items = if kind < 25 { 1 } else { items };
                        sizes.insert((lane, *work), items);
                        if items == 1 && done.get(&lane).copied().unwrap_or_default() == *work {
                            small.push((lane, *work));
                        }
                        turns.add_change(lane, items, *work);
                    }
                }
                *work += 1;
            }
            let mut turn = turns.next();
            if let Some(Turn::Task(lane, task)) = turn {
                follows(&mut done, lane, task);
                turn = turns.next();
            }
            match turn {
                Some(Turn::Batch(batch)) => {
                    let items: usize = batch.iter().map(|change| sizes[change]).sum();
                    prop_assert!(batch.len() <= limits::BATCH_COMMANDS_MAX && items <= limits::BATCH_ITEMS_MAX);
                    prop_assert!(small.iter().all(|change| batch.contains(change)), "a small change waits");
                    batch.into_iter().for_each(|(lane, change)| follows(&mut done, lane, change));
                }
                // Without changes, tasks follow each other.
                Some(Turn::Task(lane, task)) => {
                    prop_assert!(small.is_empty(), "a small change waits for two tasks");
                    follows(&mut done, lane, task);
                }
                None => {}
            }
        }
        while let Some(turn) = turns.next() {
            match turn {
                Turn::Batch(batch) => batch.into_iter().for_each(|(lane, change)| follows(&mut done, lane, change)),
                Turn::Task(lane, task) => follows(&mut done, lane, task),
            }
        }
        prop_assert_eq!(added, done);
    }
}

/// The next work of a lane has this number.
fn follows(done: &mut HashMap<Lane, u32>, lane: Lane, number: u32) {
    let next = done.entry(lane).or_default();
    assert_eq!(number, *next, "the order of a lane");
    *next += 1;
}
