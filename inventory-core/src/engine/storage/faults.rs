//! Fault points: places on the way of a batch at which a test makes something fail.
//!
//! Each [`Statement`] has one before it and one after it, and the answer has one before it. Two reads of a batch have
//! none (tests/README.md). Fault points exist only in a build with the feature `fault-points` and with debug
//! assertions, which the tests make. In any other build, a release above all, [`Faults`] is empty, and passing a point
//! does nothing.
//!
//! A test may also plant a bug, to see that the checks of the tests find it.

#[cfg(all(feature = "fault-points", debug_assertions))]
mod armed;

#[cfg(all(feature = "fault-points", debug_assertions))]
pub use self::armed::{Action, Bug, Failure, Faults, Strike};
#[cfg(not(all(feature = "fault-points", debug_assertions)))]
use crate::engine::storage::Writes;

/// Where a test makes a store fail: nowhere, in this build.
#[cfg(not(all(feature = "fault-points", debug_assertions)))]
#[derive(Clone, Debug, Default)]
pub struct Faults(());

#[cfg(not(all(feature = "fault-points", debug_assertions)))]
impl Faults {
    /// Those of a database.
    pub(crate) fn of(_: &str) -> Self {
        Self(())
    }

    /// Passes the point right before the answer.
    pub(crate) fn before_answer(&self) {}

    /// Whether the commit that was just made is doubted although it was fast.
    pub(crate) fn doubts_commit(&self) -> bool {
        false
    }

    /// Spoils a batch before it is written, by a bug that a test has planted.
    pub(crate) fn spoil(&self, _: &mut Writes) {}
}

/// Declares the statements, by the stores that have them.
macro_rules! statements {
    ($($stores:ident { $($(#[$doc:meta])+ $name:ident,)+ })+) => {
        /// A statement on the way of a batch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Statement { $($($(#[$doc])+ $name,)+)+ }

        $(const $stores: &[Statement] = &[$(Statement::$name),+];)+
    };
}

statements! {
    BOTH {
        /// Begins the transaction.
        Begin,
        /// Locks and reads sites.
        LockSites,
        /// Creates sites.
        AddSites,
        /// Looks SKUs up.
        FindSkus,
        /// Looks up which requests are recorded.
        FindRequests,
        /// Reads the entries of recorded requests.
        LoadSpans,
        /// Reads levels and their units.
        LoadLevels,
        /// Reads the histories of orders.
        LoadOrders,
        /// Looks up whether an order without entries made a call.
        FindAnswered,
        /// Reads a level as of a sequence number.
        LoadPast,
        /// Notes that units are stocked.
        StockUnits,
        /// Creates units.
        AddUnits,
        /// Creates levels.
        AddLevels,
        /// Ends the transaction.
        Commit,
        /// Gives the transaction up.
        Rollback,
    }
    POSTGRES {
        /// Writes everything else, inside of a transaction.
        Write,
        /// Writes everything else, as a transaction of its own.
        WriteAndCommit,
        /// Makes sure that a commit is on the standbys.
        Confirm,
        /// Finds the sites whose rows another transaction holds.
        FindLocked,
    }
    SQLITE {
        /// Writes the outcome of a request.
        WriteRequest,
        /// Looks whether an order is new.
        CheckOrder,
        /// Writes the sequence number and the time of a site.
        SetSequence,
        /// Writes a level.
        SetLevel,
        /// Writes the header of a request's entries.
        WriteChange,
        /// Writes an entry.
        WriteEntry,
        /// Writes a waypoint.
        WriteWaypoint,
    }
}

/// A place at which a test makes something fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A statement has not begun.
    Before(Statement),
    /// A statement has succeeded.
    After(Statement),
    /// The batch is committed, and its callers do not know.
    BeforeAnswer,
}

impl Point {
    /// All points on the way of a batch on Postgres.
    pub fn of_postgres() -> Vec<Self> {
        Self::around([BOTH, POSTGRES])
    }

    /// All points on the way of a batch on SQLite.
    pub fn of_sqlite() -> Vec<Self> {
        Self::around([BOTH, SQLITE])
    }

    fn around(statements: [&[Statement]; 2]) -> Vec<Self> {
        let around = |statement: &Statement| [Self::Before(*statement), Self::After(*statement)];
        statements.concat().iter().flat_map(around).chain([Self::BeforeAnswer]).collect()
    }
}
