//! Who is next. The waiting work of a site is its lane, in the order in which it came, and lanes take turns: a site
//! with little work does not wait for the backlog of a site that floods.
//!
//! A batch is filled in three steps:
//!
//! 1. the next change of the lane whose turn it is, whatever its size, so that no lane waits for ever;
//! 2. the next change of every other lane, if it is not larger than that lane's fair share of the batch;
//! 3. turn by turn what still fits.
//!
//! Lanes that got nothing come before those that got something, in this batch and the next one. So a change that is not
//! larger than its lane's share waits for the batch under way and for none before its own. If more lanes wait than a
//! batch has commands, it waits for as many batches as serve each of them once.

use std::collections::{HashMap, VecDeque};

use crate::model::ids::SiteId;
use crate::model::limits;

/// The site whose work it is; `None` for the upkeep of the whole database.
pub(in crate::engine) type Lane = Option<SiteId>;

/// What waits: changes, which share batches, and tasks, which are done alone.
pub(super) struct Turns<C, T> {
    /// No lane is empty.
    lanes: HashMap<Lane, VecDeque<Work<C, T>>>,
    /// The lanes whose next work is a change, in the order of their turns.
    changes: VecDeque<Lane>,
    /// The same for tasks.
    tasks: VecDeque<Lane>,
    /// Tasks and batches take turns, too.
    task_is_next: bool,
}

enum Work<C, T> {
    /// A change, and the number of its items.
    Change(C, usize),
    Task(T),
}

/// The work of one turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<C, T> {
    /// Changes to commit together, at least one, and the lane of each.
    Batch(Vec<(Lane, C)>),
    /// A task to do alone.
    Task(Lane, T),
}

/// A batch that is being filled.
struct Filling<C> {
    changes: Vec<(Lane, C)>,
    items: usize,
}

impl<C, T> Turns<C, T> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::new(), changes: VecDeque::new(), tasks: VecDeque::new(), task_is_next: false }
    }

    /// Adds a change of so many items behind the other work of its lane.
    pub(super) fn add_change(&mut self, lane: Lane, items: usize, change: C) {
        self.add(lane, Work::Change(change, items));
    }

    /// Adds a task behind the other work of its lane.
    pub(super) fn add_task(&mut self, lane: Lane, task: T) {
        self.add(lane, Work::Task(task));
    }

    fn add(&mut self, lane: Lane, work: Work<C, T>) {
        if let Some(waiting) = self.lanes.get_mut(&lane) {
            waiting.push_back(work);
        } else {
            self.lanes.insert(lane, VecDeque::from([work]));
            self.line_up(lane);
        }
    }

    /// Takes the work of the next turn. `None` if nothing waits.
    pub(super) fn next(&mut self) -> Option<Turn<C, T>> {
        if (self.task_is_next || self.changes.is_empty())
            && let Some(lane) = self.tasks.pop_front()
            && let Some(Work::Task(task)) = self.take(lane)
        {
            self.line_up(lane);
            self.task_is_next = false;
            return Some(Turn::Task(lane, task));
        }
        self.task_is_next = true;
        let batch = self.batch();
        (!batch.is_empty()).then_some(Turn::Batch(batch))
    }

    fn batch(&mut self) -> Vec<(Lane, C)> {
        let mut batch = Filling { changes: Vec::new(), items: 0 };
        let share = limits::BATCH_ITEMS_MAX / self.changes.len().max(1);
        let Some(first) = self.changes.pop_front() else { return batch.changes };
        self.move_change(first, &mut batch);
        let mut served = Vec::new();
        for _ in 0..self.changes.len() {
            let Some(lane) = self.changes.pop_front() else { break };
            let items = self.items(lane);
            if items <= share && batch.has_room_for(items) {
                self.move_change(lane, &mut batch);
                served.push(lane);
            } else {
                self.changes.push_back(lane);
            }
        }
        served.into_iter().chain([first]).for_each(|lane| self.line_up(lane));
        while let Some(&lane) = self.changes.front()
            && batch.has_room_for(self.items(lane))
        {
            self.changes.pop_front();
            self.move_change(lane, &mut batch);
            self.line_up(lane);
        }
        batch.changes
    }

    fn move_change(&mut self, lane: Lane, batch: &mut Filling<C>) {
        if let Some(Work::Change(change, items)) = self.take(lane) {
            batch.changes.push((lane, change));
            batch.items += items;
        }
    }

    fn take(&mut self, lane: Lane) -> Option<Work<C, T>> {
        self.lanes.get_mut(&lane)?.pop_front()
    }

    /// The items of a lane's next change.
    fn items(&self, lane: Lane) -> usize {
        match self.lanes.get(&lane).and_then(VecDeque::front) {
            Some(Work::Change(_, items)) => *items,
            Some(Work::Task(_)) | None => 0,
        }
    }

    /// Gives a lane its next turn, or ends it if it is empty.
    fn line_up(&mut self, lane: Lane) {
        match self.lanes.get(&lane).and_then(VecDeque::front) {
            Some(Work::Change(..)) => self.changes.push_back(lane),
            Some(Work::Task(_)) => self.tasks.push_back(lane),
            None => _ = self.lanes.remove(&lane),
        }
    }
}

impl<C> Filling<C> {
    fn has_room_for(&self, items: usize) -> bool {
        self.changes.len() < limits::BATCH_COMMANDS_MAX && self.items + items <= limits::BATCH_ITEMS_MAX
    }
}

#[cfg(test)]
mod tests;
