//! What is asked while something fails. Together, the scenarios reach every statement of a batch.

use inventory_core::engine::storage::faults::{Action, Failure, Point, Statement};
use inventory_tests::model::{Request, Target};
use inventory_tests::world::Backend;

/// The sites of a scenario. All are of the same writer, so that one batch has all of them.
pub(super) const SITES: usize = 3;
/// The item that has a SKU of its own.
pub(super) const NAMED: usize = 4;

/// A call: the site, the idempotency key, whether its items are named by SKU, and the request.
pub(super) type Call = (usize, u64, bool, Request);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scenario {
    /// Everything at once: a new site, new levels, a count, a replay, returns. The batch takes the locked path, twice.
    Mixed,
    /// Orders for levels that are cached. The batch takes the optimistic path.
    Cached,
    /// The same path, and its commit is doubted, as one that took long enough for somebody to cancel its wait.
    Doubted,
    /// The same path, and somebody else holds a lock for too long. By the time the writer looks for it, it is free.
    Locked,
}

impl Scenario {
    /// The scenarios that a store can meet. SQLite doubts no commit, and has one lock for all.
    pub(super) fn of(backend: Backend) -> &'static [Self] {
        match backend {
            Backend::Sqlite => &[Self::Mixed, Self::Cached],
            Backend::Postgres => &[Self::Mixed, Self::Cached, Self::Doubted, Self::Locked],
        }
    }

    /// What happens in the scenario before the fault that is tried.
    pub(super) fn trouble(self) -> Option<(Point, Action)> {
        match self {
            Self::Mixed | Self::Cached => None,
            Self::Doubted => Some((Point::After(Statement::WriteAndCommit), Action::Doubt)),
            Self::Locked => Some((Point::Before(Statement::WriteAndCommit), Action::Fail(Failure::LockHeld))),
        }
    }

    /// The only statement that is reached because of that trouble. The scenario tries faults around no other one.
    pub(super) fn special(self) -> Option<Statement> {
        match self {
            Self::Mixed | Self::Cached => None,
            Self::Doubted => Some(Statement::Confirm),
            Self::Locked => Some(Statement::FindLocked),
        }
    }

    /// Whether faults at a point are tried in the scenario.
    pub(super) fn tries(self, point: Point) -> bool {
        self.special().is_none_or(|special| [Point::Before(special), Point::After(special)].contains(&point))
    }

    /// The calls of one burst.
    pub(super) fn burst(self) -> Vec<Call> {
        match self {
            Self::Mixed => vec![
                take(0, 10, 0, 2),
                take(0, 11, 2, 1),
                replay(),
                give(0, 12, 0, 1, 2),
                give(0, 13, 0, 1, 99),
                (0, 14, false, Request::Set(vec![Target { as_of: Some(1), ..target(0, 7) }])),
                (0, 15, true, Request::Decrement(vec![(NAMED, 1, false)], false, 15, true)),
                // A level gets a waypoint every 64 entries.
                (1, 16, false, Request::Adjust((0..64).map(|index| (1, 3 - 2 * (index % 3))).collect())),
                (1, 17, false, Request::Set(vec![target(3, 4)])),
                (2, 18, false, Request::Increment(vec![(0, 3, false)], 18)),
                take(2, 19, 0, 1),
            ],
            Self::Cached => vec![
                take(0, 20, 0, 1),
                take(0, 21, 2, 1),
                (1, 22, false, Request::Decrement(vec![(0, 1, false), (1, 2, false)], true, 22, true)),
                give(1, 23, 0, 1, 2),
                give(1, 24, 0, 1, 98),
                take(0, 25, 1, 6),
                // 63 entries, and then one more, so that the second one makes a waypoint.
                (1, 26, false, Request::Adjust((0..64).map(|index| (1, 3 - 2 * (index % 3))).collect())),
            ],
            Self::Doubted | Self::Locked => vec![take(0, 30, 0, 1), take(1, 31, 0, 1), take(0, 32, 1, 6)],
        }
    }
}

/// What the sites are like before.
pub(super) fn beginning() -> Vec<Call> {
    let stocked = |site, key| (site, key, false, Request::Set(vec![target(0, 5), target(1, 5), target(2, 0)]));
    vec![
        stocked(0, 1),
        stocked(1, 1),
        replay(),
        take(1, 2, 0, 1),
        (0, 3, false, Request::Adjust(vec![(2, 1), (2, -1)])),
        (1, 3, false, Request::Adjust(vec![(2, 1), (2, -1)])),
    ]
}

/// A call of the beginning. In a burst it is a replay.
pub(super) fn replay() -> Call {
    take(0, 2, 0, 1)
}

/// An order from another server, at the same time.
pub(super) fn elsewhere() -> Vec<Call> {
    vec![take(0, 40, 0, 1)]
}

/// Takes pieces for an order that has the number of its key.
fn take(site: usize, key: u64, item: usize, pieces: i64) -> Call {
    (site, key, false, Request::Decrement(vec![(item, pieces, false)], true, key as usize, true))
}

fn give(site: usize, key: u64, item: usize, pieces: i64, order: usize) -> Call {
    (site, key, false, Request::Increment(vec![(item, pieces, false)], order))
}

fn target(item: usize, level: i64) -> Target {
    Target { item, level, expected: None, expected_revision: None, as_of: None }
}
