//! The fault points of a build of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Point;
use crate::engine::storage::Writes;

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The statement fails.
    Fail(Failure),
    /// The connection breaks.
    Lose,
    /// The thread waits until the test releases it.
    Pause,
    /// The thread panics.
    Panic,
    /// The commit that was just made is doubted, as a slow one is.
    Doubt,
}

/// How a statement fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another transaction is in the way.
    Conflict,
    /// Another transaction holds a lock, on Postgres.
    LockHeld,
    /// The disk is full.
    Full,
    /// The statement is wrong.
    Wrong,
}

/// What the store does at a point, because a test said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It lets the statement fail, as the database would.
    Fail(Failure),
    /// It breaks its connection.
    Lose,
}

/// A bug of the engine that a test plants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A changed level is not written, nor cached, but its entries are: a lost update.
    ForgetLevel,
    /// The outcome of an applied request is not recorded: its replay is applied again.
    ForgetRequest,
}

/// Names a file, for a program that a test runs. Once the file holds the text of a point, the program dies there.
const FILE_VARIABLE: &str = "INVENTORY_FAULT_FILE";

/// The faults of all databases of this process.
static ALL: Mutex<BTreeMap<String, Arc<Plan>>> = Mutex::new(BTreeMap::new());

/// The faults of one database. Clones share them. By default there are none, whatever a test says.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    state: Mutex<State>,
    changed: Condvar,
    file: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    /// What is to happen, each once.
    armed: Vec<(Point, Action)>,
    /// The points that were passed since a test asked last.
    passed: BTreeSet<Point>,
    /// Whether a thread waits at a point.
    paused: bool,
    /// Whether the last commit is doubted.
    doubted: bool,
    /// A bug that has not happened yet.
    bug: Option<Bug>,
}

impl Plan {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faults {
    /// Those of a database: the path of its file, or its URL for libpq.
    pub fn of(database: &str) -> Self {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = all.entry(database.to_owned()).or_insert_with(|| {
            Arc::new(Plan { file: std::env::var_os(FILE_VARIABLE).map(PathBuf::from), ..Plan::default() })
        });
        Self(Some(Arc::clone(plan)))
    }

    /// Lets something happen, once, when a thread comes to a point next. What was armed before still happens too.
    pub fn arm(&self, point: Point, action: Action) {
        self.change(|state| state.armed.push((point, action)));
    }

    /// What was armed and has not happened yet. It no longer will.
    pub fn disarm(&self) -> Vec<(Point, Action)> {
        self.change(|state| std::mem::take(&mut state.armed)).unwrap_or_default()
    }

    /// The points that were passed since this was called last.
    pub fn passed(&self) -> BTreeSet<Point> {
        self.change(|state| std::mem::take(&mut state.passed)).unwrap_or_default()
    }

    /// Whether a thread waits at the armed point.
    pub fn is_paused(&self) -> bool {
        self.0.as_ref().is_some_and(|plan| plan.state().paused)
    }

    /// Lets the thread go on that waits at the armed point.
    pub fn release(&self) {
        self.change(|state| state.paused = false);
        if let Some(plan) = &self.0 {
            plan.changed.notify_all();
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Option<T> {
        self.0.as_ref().map(|plan| change(&mut plan.state()))
    }

    /// Plants a bug. It happens once, in the next batch that it can spoil.
    pub fn plant(&self, bug: Bug) {
        self.change(|state| state.bug = Some(bug));
    }

    /// Whether a planted bug has not happened yet.
    pub fn is_planted(&self) -> bool {
        self.change(|state| state.bug.is_some()).unwrap_or_default()
    }

    /// Lets a planted bug happen in what a batch writes.
    pub(crate) fn spoil(&self, writes: &mut Writes) {
        self.change(|state| {
            let happened = match state.bug {
                None => false,
                Some(Bug::ForgetLevel) => writes.levels.pop().is_some(),
                Some(Bug::ForgetRequest) => {
                    let applied = writes.requests.iter().position(|one| one.last_sequence >= one.first_sequence);
                    applied.map(|index| writes.requests.remove(index)).is_some()
                }
            };
            if happened {
                state.bug = None;
            }
        });
    }

    /// Passes a point. What the caller has to do is returned; everything else happens here.
    pub(crate) fn at(&self, point: Point) -> Option<Strike> {
        let plan = self.0.as_ref()?;
        if let Some(file) = &plan.file
            && std::fs::read_to_string(file).is_ok_and(|text| text == format!("{point:?}"))
        {
            std::process::abort();
        }
        let mut state = plan.state();
        state.passed.insert(point);
        let index = state.armed.iter().position(|(armed, _)| *armed == point)?;
        let (_, action) = state.armed.remove(index);
        match action {
            Action::Fail(failure) => Some(Strike::Fail(failure)),
            Action::Lose => Some(Strike::Lose),
            Action::Pause => {
                state.paused = true;
                while state.paused {
                    state = plan.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None
            }
            Action::Doubt => {
                state.doubted = true;
                None
            }
            Action::Panic => {
                drop(state);
                panic!("a test asked for it at the point {point:?}");
            }
        }
    }

    /// Whether the commit that was just made is doubted although it was fast. Answers once.
    pub(crate) fn doubts_commit(&self) -> bool {
        self.change(|state| std::mem::take(&mut state.doubted)).unwrap_or_default()
    }

    /// Passes the point right before the answer. No store can fail there any more.
    pub(crate) fn before_answer(&self) {
        self.at(Point::BeforeAnswer);
    }
}
