//! What the engine asks of a store, and the rows that pass between them. Both backends implement [`BatchStore`] with
//! statements of their own. The engine decides in between, so a store knows no rule.

pub mod faults;

use std::sync::Arc;

use crate::engine::storage::faults::Faults;
use crate::model::access::{Author, Token, TokenHash};
use crate::model::action::Kind;
use crate::model::catalog::Unit;
use crate::model::command::Reason;
use crate::model::entry::Marks;
use crate::model::error::StoreError;
use crate::model::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::model::journal::SettingChange;
use crate::model::kind::UnitState;
use crate::model::level::Past;
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::outcome::Refusal;
use crate::model::site::Site;
use crate::model::unit::{Sku, UnitSettings};

/// A writer's connection to the database. The methods are listed in the order in which a batch uses them. Every list
/// that is passed in is sorted and free of duplicates.
pub trait BatchStore: Send {
    /// Opens a new connection, and says to which server. The old one, if any, is dropped with its transaction.
    fn connect(&mut self) -> Result<Server, StoreError>;
    /// A writer uses the connection from now on. `server` is what `connect` returned. Reads go to that server too.
    /// Nothing to do for a database that has one server for ever.
    fn adopted(&self, _server: &Server) {}
    /// A store for the same database that is not connected yet; `None` if the database has one server for ever. Any
    /// thread may call it while another one waits in this store.
    fn another(&self) -> Option<Box<dyn BatchStore>>;
    /// Where tests make it fail.
    fn faults(&self) -> Faults {
        Faults::default()
    }
    /// Begins a transaction, creates the rows of `sites` that are missing, and locks all of them until it ends.
    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<Site>, StoreError>;
    /// Outside of a transaction: those of `sites` whose rows another transaction holds. Waits for nobody.
    fn locked_sites(&mut self, sites: &[SiteId]) -> Result<Vec<SiteId>, StoreError>;
    /// Outside of a transaction: from now on, statements wait for a lock of another transaction for this many
    /// milliseconds at most. A new connection has `limits::LOCK_WAIT_MS_MAX`. Nothing to do for a store that locks no
    /// rows.
    fn wait_for_locks(&mut self, _milliseconds: u64) -> Result<(), StoreError> {
        Ok(())
    }
    /// The units that have these SKUs. Unknown SKUs are left out.
    fn units_of_skus(&mut self, skus: &[SiteSku]) -> Result<Vec<(SiteSku, Unit)>, StoreError>;
    /// The recorded outcomes of `requests`. Requests without one are left out.
    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRequest>, StoreError>;
    /// The stored levels among `levels`, and their units that differ from `UnitState::STOCKED`. Units that are not
    /// stored differ from it.
    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError>;
    /// The history of each order. Works outside of a transaction too.
    fn orders(&mut self, orders: &[OrderKey]) -> Result<Vec<OrderHistory>, StoreError>;
    /// A level as of the sequence number `sequence`, which the site has reached. `head` is the sequence number of the
    /// level's last entry. In a transaction that has locked the site.
    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<Past, StoreError>;
    /// Writes all of `writes`, or nothing. Unless the answer is `Written::All`, roll back.
    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError>;
    /// Writes and commits all of `writes` as a transaction of its own, without a lock held before: the optimistic path.
    /// Nothing is written if a site is not as it was `before`. Unless the answer is `Written::All`, roll back.
    fn write_and_commit(&mut self, writes: &Writes) -> Result<Written, CommitError> {
        let sites: Vec<SiteId> = writes.sites.iter().map(|site| site.before.id).collect();
        let found = self.begin(&sites).map_err(CommitError::NotCommitted)?;
        if !writes.sites.iter().zip(&found).all(|(write, found)| write.is_current(found)) {
            return Ok(Written::Outdated);
        }
        let written = self.write(writes).map_err(CommitError::NotCommitted)?;
        if written == Written::All {
            self.commit()?;
        }
        Ok(written)
    }
    /// The settings of `units`. Units that are not stored are left out.
    fn units(&mut self, units: &[UnitId]) -> Result<Vec<(UnitId, UnitSettings)>, StoreError>;
    /// Writes the settings of units, and creates the units that are not stored. SKUs may change hands among them.
    fn write_units(&mut self, units: &[UnitWrite]) -> Result<(), StoreError>;
    /// Whether a level of `site` is stored under the location's own id.
    fn location_in_use(&mut self, site: SiteId, location: LocationId) -> Result<bool, StoreError>;
    /// Writes the settings of a site.
    fn write_site(&mut self, site: &Site) -> Result<(), StoreError>;
    /// Writes rows of the journal of settings.
    fn write_journal(&mut self, changes: &[SettingChange]) -> Result<(), StoreError>;
    /// Locks the tokens until the transaction ends, and returns all of them.
    fn lock_tokens(&mut self) -> Result<Vec<(TokenHash, Token)>, StoreError>;
    /// Writes a token, in the place of the one that has its name.
    fn write_token(&mut self, hash: &TokenHash, token: &Token) -> Result<(), StoreError>;
    /// Ends the transaction.
    fn commit(&mut self) -> Result<(), CommitError>;
    /// Rolls the transaction back, if one has begun.
    fn rollback(&mut self) -> Result<(), StoreError>;
    /// Outside of a transaction: commits something durable that changes nothing, to learn whether commits succeed.
    fn probe(&mut self) -> Result<(), CommitError>;
    /// Outside of a transaction: notes that the clock shows `now`, and says what is older than `retention`. All times
    /// are microseconds.
    fn age(&mut self, now: i64, retention: i64) -> Result<Age, StoreError>;
    /// Outside of a transaction: looks at the next request records after `after`, deletes those recorded before the
    /// time `before`, and returns the last one looked at; `None` at the end.
    fn prune(&mut self, after: PruneCursor, before: i64) -> Result<Option<PruneCursor>, StoreError>;
    /// One step of archiving, in a transaction that has locked `site`. Adds the next entries after the cut to the
    /// balances and holdings, removes them with their changes and waypoints, and moves the cut behind them: some
    /// `limits::ARCHIVED_ENTRIES`, up to the end of a change, and none after `up_to`, which is the end of a change too.
    /// Returns the sequence number of the cut.
    fn archive(&mut self, site: SiteId, up_to: i64) -> Result<i64, StoreError>;
    /// Removes every row of a site, in a transaction that has locked it. What stays is its cut, which keeps its
    /// sequence numbers from being given twice, and its deletions in the journal, of which the last is written already.
    fn delete_site(&mut self, site: &Site) -> Result<(), StoreError>;
    /// Outside of a transaction: lets nothing that was deleted stay in a log beside the database. Returns false if
    /// somebody else needs the log now.
    fn empty_log(&mut self) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// Opens the writers' connections of a store.
pub trait OpenWriters {
    /// One store for each writer that the backend can use, not connected yet.
    fn writers(&self) -> Vec<Box<dyn BatchStore>>;
}

/// Which server a connection leads to: equal for two connections to the same running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(pub String);

/// What is old, by the time that has surely passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// What was recorded before this time is old; `None` if nothing is.
    pub before: Option<i64>,
    /// By how much the clock has moved since the last look, if that is not taken for time that passed.
    pub jumped: Option<i64>,
}

/// What `write` and `write_and_commit` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Everything is written.
    All,
    /// A request of the batch is a replay.
    ReplayFound,
    /// An order that the batch took to be new is not.
    OrderFound,
    /// A site is not as the batch took it to be.
    Outdated,
}

/// Why a COMMIT did not succeed.
#[derive(Debug)]
pub enum CommitError {
    /// The database said that it did not commit.
    NotCommitted(StoreError),
    /// The database did not say. It may have committed.
    Unknown(StoreError),
}

/// A SKU of a site.
pub type SiteSku = (SiteId, Sku);

/// The last request record that pruning looked at.
pub type PruneCursor = (SiteId, RequestKey);

/// A stored level.
#[derive(Clone, Copy, Debug)]
pub struct LevelRow {
    /// Its key.
    pub id: LevelId,
    /// The level.
    pub available: i64,
    /// The number of its entries.
    pub revision: i64,
    /// The sequence number of its last entry.
    pub last_sequence: i64,
}

/// Levels as they are stored.
#[derive(Debug, Default)]
pub struct LoadedLevels {
    /// The levels.
    pub rows: Vec<LevelRow>,
    /// Units that differ from `UnitState::STOCKED`.
    pub units: Vec<(UnitId, UnitState)>,
}

/// The recorded outcome of a request.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Its key.
    pub key: RequestKey,
    /// The digest of its content.
    pub fingerprint: Fingerprint,
    /// The site's sequence number after it.
    pub last_sequence: i64,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
    /// Unit, location and level after, of each of its entries in order.
    pub entries: Vec<(Arc<Unit>, Option<LocationId>, i64)>,
}

/// Everything that one batch writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Every site of the batch, whether or not it changes.
    pub sites: Vec<SiteWrite>,
    /// Units that are stocked for the first time, perhaps not stored yet. Stored ones keep their other settings.
    pub stocked_units: Vec<UnitWrite>,
    /// The units of new levels. Units that are stored already keep their settings.
    pub new_units: Vec<UnitWrite>,
    /// Levels that are stored for the first time.
    pub new_levels: Vec<NewLevel>,
    /// Levels that change.
    pub levels: Vec<(SiteId, LevelRow)>,
    /// A change for each applied request with entries.
    pub changes: Vec<ChangeWrite>,
    /// Ledger entries.
    pub entries: Vec<EntryWrite>,
    /// Every `limits::WAYPOINT_EVERY`th entry of a level.
    pub waypoints: Vec<(LevelId, i64)>,
    /// The outcome of each request.
    pub requests: Vec<RequestWrite>,
    /// Orders that must not have any change yet.
    pub new_orders: Vec<OrderKey>,
}

/// A site before the batch, and what becomes of it.
#[derive(Debug)]
pub struct SiteWrite {
    /// The site as the batch took it to be.
    pub before: Site,
    /// Its sequence number after the batch.
    pub sequence: i64,
    /// Its time after the batch: microseconds since 1970.
    pub recorded_at: i64,
}

impl SiteWrite {
    /// Whether the site is what the batch took it to be. Its time may have gone on, but not past the batch's.
    pub fn is_current(&self, now: &Site) -> bool {
        let Self { before, sequence: _, recorded_at } = self;
        (now.id, now.sequence) == (before.id, before.sequence)
            && now.settings == before.settings
            && now.recorded_at <= *recorded_at
    }

    /// Whether the batch changes the site's row.
    pub fn changes(&self) -> bool {
        self.sequence > self.before.sequence || self.recorded_at > self.before.recorded_at
    }
}

/// A level that is stored for the first time.
#[derive(Debug)]
pub struct NewLevel {
    /// Its site.
    pub site: SiteId,
    /// The key of its unit.
    pub unit_id: UnitId,
    /// Its location as stored.
    pub location: Option<LocationId>,
    /// Its state after the batch.
    pub row: LevelRow,
}

/// A unit with the settings to store.
#[derive(Debug)]
pub struct UnitWrite {
    /// Its site.
    pub site: SiteId,
    /// Its key.
    pub id: UnitId,
    /// The unit.
    pub unit: Unit,
    /// Its settings.
    pub settings: UnitSettings,
}

/// The header of the entries of one applied request.
#[derive(Debug)]
pub struct ChangeWrite {
    /// Its site.
    pub site: SiteId,
    /// The sequence number of its first entry.
    pub first_sequence: i64,
    /// The sequence number of its last entry.
    pub last_sequence: i64,
    /// The kind of request.
    pub kind: Kind,
    /// The reason that it gave.
    pub reason: Reason,
    /// The order.
    pub order: Option<OrderId>,
    /// The idempotency key.
    pub request_id: String,
    /// Who called, and on whose behalf.
    pub author: Author,
    /// The caller's note.
    pub note: String,
    /// The batch's time: microseconds since 1970.
    pub recorded_at: i64,
}

/// One ledger entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryWrite {
    /// Its site.
    pub site: SiteId,
    /// Its sequence number.
    pub sequence: i64,
    /// The sequence number of the first entry of its request.
    pub change_sequence: i64,
    /// The sequence number of the level's previous entry; 0 for its first.
    pub previous_sequence: i64,
    /// The key of its unit.
    pub unit_id: UnitId,
    /// Its location as stored.
    pub location: Option<LocationId>,
    /// The change that was asked for.
    pub asked: i64,
    /// The change.
    pub delta: i64,
    /// The level before.
    pub level_before: i64,
    /// The level after.
    pub level_after: i64,
    /// The lowest level that it may leave, if there is a bound.
    pub floor: Option<i64>,
    /// Whether the items were sold as subscriptions.
    pub subscription: bool,
    /// Findings of the order rules.
    pub marks: Marks,
}

/// The outcome of one request, for its replays.
#[derive(Debug)]
pub struct RequestWrite {
    /// Its site.
    pub site: SiteId,
    /// Its key.
    pub key: RequestKey,
    /// The digest of its content.
    pub fingerprint: Fingerprint,
    /// The sequence number of its first entry, or the next one if it made none.
    pub first_sequence: i64,
    /// The site's sequence number after it.
    pub last_sequence: i64,
    /// The refusal as JSON, if it was refused.
    pub refusal: Option<String>,
    /// Details of an order's call that made no entry; other calls are in `change`.
    pub call: Option<CallWrite>,
    /// The batch's time: microseconds since 1970.
    pub recorded_at: i64,
}

/// An order's call that made no entry.
#[derive(Debug)]
pub struct CallWrite {
    /// The order.
    pub order: OrderId,
    /// The kind of request.
    pub kind: Kind,
    /// The reason that it gave.
    pub reason: Reason,
    /// The idempotency key.
    pub request_id: String,
    /// Who called, and on whose behalf.
    pub author: Author,
}
