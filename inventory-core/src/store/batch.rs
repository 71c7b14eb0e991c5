//! What a batch asks of the store. Both backends answer it with their own statements, and the
//! engine decides in between; nothing here knows a rule.

use crate::catalog::Unit;
use crate::command::{Kind, Reason};
use crate::error::StoreError;
use crate::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::order::{Marks, OrderPast};
use crate::outcome::Refusal;
use crate::site::{Place, SiteSettings};
use crate::unit::{SettledUnit, UnitRules, UnitSettings};

/// The writer's connection, in the order in which a batch uses it. Every list that is passed in
/// is sorted and free of repeats.
pub(crate) trait BatchStore: Send {
    /// Makes a fresh connection; the old one, if any, is dropped with whatever it had begun.
    fn connect(&mut self) -> Result<(), StoreError>;
    /// Begins a transaction and locks the rows of `sites` until it ends, making those that are
    /// missing.
    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<SiteRow>, StoreError>;
    /// The levels that exist among `levels`, and how their units are counted.
    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError>;
    /// What each of `orders` did before. May be asked outside of a transaction.
    fn orders(&mut self, orders: &[(SiteId, OrderId)]) -> Result<Vec<OrderPast>, StoreError>;
    /// What is recorded under any of `requests`.
    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRow>, StoreError>;
    /// A level as it was when its site was at `sequence`; `head` is its last entry.
    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<i64, StoreError>;
    /// What is settled for a unit; `None` for one that is not stored.
    fn unit(&mut self, unit: UnitId) -> Result<Option<UnitSettings>, StoreError>;
    /// The unit of `site` that has this sku.
    fn unit_of_sku(&mut self, site: SiteId, sku: &str) -> Result<Option<SettledUnit>, StoreError>;
    /// Writes what is settled for a unit, making it where it is not stored.
    fn write_unit(&mut self, site: SiteId, place: &Place, settings: &UnitSettings) -> Result<(), StoreError>;
    /// Whether any level of `site` is kept under `location`'s own id.
    fn location_in_use(&mut self, site: SiteId, location: LocationId) -> Result<bool, StoreError>;
    /// Writes a site's settings.
    fn write_settings(&mut self, site: SiteId, settings: &SiteSettings) -> Result<(), StoreError>;
    /// Outside of any transaction, deletes those of the next records of requests that were made before
    /// the time `before`, and tells where the next step begins; `None` after the last.
    fn prune(&mut self, after: PrunedTo, before: i64) -> Result<Option<PrunedTo>, StoreError>;
    /// Writes all of `writes`, or says why not; then the transaction must be rolled back.
    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError>;
    /// Writes and commits all of `writes` as a transaction of its own, decided without a lock: where
    /// a site is no longer as it was `before`, or a request is recorded already, nothing is written. As with
    /// `write`, what was found recorded is still to be rolled back.
    fn write_at_once(&mut self, writes: &Writes) -> Result<Written, CommitError> {
        let sites: Vec<SiteId> = writes.sites.iter().map(|site| site.before.site).collect();
        let found = self.begin(&sites).map_err(CommitError::NotCommitted)?;
        let written = if found.iter().eq(writes.sites.iter().map(|site| &site.before)) {
            self.write(writes).map_err(CommitError::NotCommitted)?
        } else {
            Written::Outdated
        };
        match written {
            Written::All => self.commit()?,
            Written::Outdated => self.rollback().map_err(CommitError::NotCommitted)?,
            Written::RepeatFound | Written::OrderFound => {}
        }
        Ok(written)
    }
    /// Ends the transaction.
    fn commit(&mut self) -> Result<(), CommitError>;
    /// Gives the transaction up, where one has begun.
    fn rollback(&mut self) -> Result<(), StoreError>;
}

/// What `BatchStore::write` and `write_at_once` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Everything.
    All,
    /// Nothing that lasts: some request of the batch is a repeat.
    RepeatFound,
    /// Nothing that lasts: some order that the batch took to be new is not.
    OrderFound,
    /// Nothing: some site is not as the batch took it to be.
    Outdated,
}

/// The last record of a request that was looked at.
pub(crate) type PrunedTo = (SiteId, RequestKey);

/// Why a COMMIT did not return well.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The database said that it did not commit.
    NotCommitted(StoreError),
    /// Nobody said anything: it may have.
    Unknown(StoreError),
}

/// A site, as it is while it is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteRow {
    pub(crate) site: SiteId,
    pub(crate) sequence: i64,
    pub(crate) settings: SiteSettings,
}

/// A level that exists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelRow {
    pub(crate) level: LevelId,
    pub(crate) available: i64,
    pub(crate) revision: i64,
    pub(crate) last_sequence: i64,
}

/// Levels as they are stored.
#[derive(Debug, Default)]
pub(crate) struct LoadedLevels {
    pub(crate) rows: Vec<LevelRow>,
    /// How units are counted that are not counted as all others.
    pub(crate) rules: Vec<(UnitId, UnitRules)>,
}

/// A recorded request, with the levels it left.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRow {
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) last_sequence: i64,
    pub(crate) refusal: Option<Refusal>,
    /// Unit, location and level after, of each entry in order.
    pub(crate) entries: Vec<(Unit, Option<LocationId>, i64)>,
}

/// Everything one batch writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) recorded_at: i64,
    /// Every site of the batch, whether or not it changes.
    pub(crate) sites: Vec<SiteWrite>,
    pub(crate) new_levels: Vec<NewLevel>,
    /// With the site of each.
    pub(crate) levels: Vec<(SiteId, LevelWrite)>,
    pub(crate) changes: Vec<ChangeWrite>,
    pub(crate) entries: Vec<EntryWrite>,
    /// Every `limits::WAYPOINT_EVERY`th entry of a level.
    pub(crate) waypoints: Vec<(LevelId, i64)>,
    pub(crate) requests: Vec<RequestWrite>,
    /// Orders that must not have made any change yet.
    pub(crate) new_orders: Vec<(SiteId, OrderId)>,
}

/// A site before the batch, and its sequence after it.
#[derive(Debug)]
pub(crate) struct SiteWrite {
    pub(crate) before: SiteRow,
    pub(crate) sequence: i64,
}

/// A level that is written for the first time. Its unit may be new, too.
#[derive(Debug)]
pub(crate) struct NewLevel {
    pub(crate) site: SiteId,
    pub(crate) unit_id: UnitId,
    pub(crate) unit: Unit,
    pub(crate) location: Option<LocationId>,
    pub(crate) write: LevelWrite,
}

/// The state of a level after the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LevelWrite {
    pub(crate) level: LevelId,
    pub(crate) available: i64,
    pub(crate) revision: i64,
    pub(crate) last_sequence: i64,
}

/// What one applied request did.
#[derive(Debug)]
pub(crate) struct ChangeWrite {
    pub(crate) site: SiteId,
    pub(crate) first_sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) kind: Kind,
    pub(crate) reason: Reason,
    pub(crate) order: Option<OrderId>,
    pub(crate) request_id: String,
    pub(crate) actor: String,
    pub(crate) note: String,
}

/// One line of the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryWrite {
    pub(crate) site: SiteId,
    pub(crate) sequence: i64,
    pub(crate) change_sequence: i64,
    /// The entry of the same level before this one; 0 for the first.
    pub(crate) previous_sequence: i64,
    pub(crate) unit_id: UnitId,
    pub(crate) location: Option<LocationId>,
    pub(crate) asked: i64,
    pub(crate) delta: i64,
    pub(crate) level_before: i64,
    pub(crate) level_after: i64,
    pub(crate) floor: Option<i64>,
    pub(crate) subscription: bool,
    pub(crate) marks: Marks,
}

impl EntryWrite {
    /// What was asked for, where it is not what was done.
    pub(crate) fn stored_asked(&self) -> Option<i64> {
        (self.asked != self.delta).then_some(self.asked)
    }

    /// The marks, where there are any.
    pub(crate) fn stored_marks(&self) -> Option<i16> {
        Some(self.marks.code()).filter(|code| *code != 0)
    }
}

/// The outcome of one request, for its repeats.
#[derive(Debug)]
pub(crate) struct RequestWrite {
    pub(crate) site: SiteId,
    pub(crate) key: RequestKey,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) first_sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) refusal: Option<String>,
    /// What a call of an order was that made no entry; of any other, its change tells.
    pub(crate) call: Option<CallWrite>,
}

/// A call of an order that made no entry.
#[derive(Debug)]
pub(crate) struct CallWrite {
    pub(crate) order: OrderId,
    pub(crate) kind: Kind,
    pub(crate) reason: Reason,
    pub(crate) request_id: String,
    pub(crate) actor: String,
}
