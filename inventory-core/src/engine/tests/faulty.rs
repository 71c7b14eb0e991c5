//! A store with faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::engine::storage::{
    Age, BatchStore, CommitError, LevelRow, LoadedLevels, PruneCursor, RecordedRequest, Server, SiteSku, UnitWrite,
    Writes, Written,
};
use crate::model::access::{Token, TokenHash};
use crate::model::catalog::Unit;
use crate::model::error::{StoreError, Trouble};
use crate::model::ids::{Fingerprint, LevelId, LocationId, RequestKey, SiteId, UnitId};
use crate::model::journal::SettingChange;
use crate::model::level::Past;
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::site::Site;
use crate::model::unit::UnitSettings;

/// What the next transactions do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    ConnectFails,
    BeginConflicts,
    ConnectionLostBeforeCommit,
    CommitUnknown,
    /// The writer's thread panics before it writes.
    Panic,
    /// Any batch that holds an item of this quantity fails in its statement.
    Poisoned(i64),
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) faults: Vec<Fault>,
    pub(super) connects: usize,
    pub(super) batches: Vec<usize>,
    pub(super) levels: HashMap<LevelId, i64>,
    pub(super) requests: HashMap<RequestKey, Fingerprint>,
    pub(super) sequence: i64,
    /// The server that new connections lead to.
    pub(super) server: u32,
    /// While locked by a test, COMMIT waits.
    pub(super) gate: Arc<tokio::sync::Mutex<()>>,
    /// How many have begun.
    pub(super) commits: usize,
    /// While locked by a test, new connections wait.
    pub(super) connecting: Arc<tokio::sync::Mutex<()>>,
    /// Whether probes fail.
    pub(super) probes_fail: bool,
    pub(super) probes: usize,
    /// The server of the connection that a writer adopted last.
    pub(super) adopted: Option<Server>,
    /// Sites with a row that somebody else has locked, but not the site's own.
    pub(super) locked: Vec<SiteId>,
    /// How often a write met such a lock.
    pub(super) met_locks: usize,
}

/// Keeps what is written until COMMIT, as a transaction does.
pub(super) struct Faulty {
    books: Arc<Mutex<Books>>,
    open: Option<Open>,
}

#[derive(Default)]
struct Open {
    levels: Vec<(LevelId, i64)>,
    requests: Vec<(RequestKey, Fingerprint)>,
    sequence: Option<i64>,
}

fn fault() -> StoreError {
    StoreError::Fault("a CHECK was violated".into())
}

impl Faulty {
    pub(super) fn over(books: Arc<Mutex<Books>>) -> Self {
        Self { books, open: None }
    }

    fn strikes(&self, wanted: Fault) -> bool {
        let mut books = self.books.lock().expect("no panic");
        let found = books.faults.iter().position(|fault| *fault == wanted);
        found.map(|index| books.faults.remove(index)).is_some()
    }

    fn is_poisoned(&self, writes: &Writes) -> bool {
        let poisoned =
            |fault: &Fault| matches!(fault, Fault::Poisoned(delta) if writes.entries.iter().any(|e| e.delta == *delta));
        self.books.lock().expect("no panic").faults.iter().any(poisoned)
    }
}

impl BatchStore for Faulty {
    fn connect(&mut self) -> Result<Server, StoreError> {
        let (connecting, server) = {
            let mut books = self.books.lock().expect("no panic");
            books.connects += 1;
            (Arc::clone(&books.connecting), books.server)
        };
        let _open = connecting.blocking_lock();
        if self.strikes(Fault::ConnectFails) {
            Err(StoreError::Gone(Trouble::Unreachable, "refused".into()))
        } else {
            Ok(Server(server.to_string()))
        }
    }

    fn adopted(&self, server: &Server) {
        self.books.lock().expect("no panic").adopted = Some(server.clone());
    }

    fn another(&self) -> Option<Box<dyn BatchStore>> {
        Some(Box::new(Self::over(Arc::clone(&self.books))))
    }

    fn locked_sites(&mut self, _: &[SiteId]) -> Result<Vec<SiteId>, StoreError> {
        Ok(Vec::new())
    }

    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<Site>, StoreError> {
        if self.strikes(Fault::BeginConflicts) {
            return Err(StoreError::Conflict(Trouble::LockHeld, "locked".into()));
        }
        self.open = Some(Open::default());
        let sequence = self.books.lock().expect("no panic").sequence;
        Ok(sites.iter().map(|&site| Site { sequence, ..Site::unwritten(site) }).collect())
    }

    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError> {
        let books = self.books.lock().expect("no panic");
        let row = |(level, _): &(LevelId, UnitId)| {
            Some(LevelRow {
                id: *level,
                available: *books.levels.get(level)?,
                revision: 1,
                last_sequence: books.sequence,
            })
        };
        Ok(LoadedLevels { rows: levels.iter().filter_map(row).collect(), units: Vec::new() })
    }

    fn orders(&mut self, orders: &[OrderKey]) -> Result<Vec<OrderHistory>, StoreError> {
        Ok(orders.iter().map(|_| OrderHistory::default()).collect())
    }

    fn units(&mut self, _: &[UnitId]) -> Result<Vec<(UnitId, UnitSettings)>, StoreError> {
        Ok(Vec::new())
    }

    fn units_of_skus(&mut self, _: &[SiteSku]) -> Result<Vec<(SiteSku, Unit)>, StoreError> {
        Ok(Vec::new())
    }

    fn write_units(&mut self, _: &[UnitWrite]) -> Result<(), StoreError> {
        Ok(())
    }

    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRequest>, StoreError> {
        let books = self.books.lock().expect("no panic");
        let row = |(_, key): &(SiteId, RequestKey)| {
            let fingerprint = *books.requests.get(key)?;
            Some(RecordedRequest { key: *key, fingerprint, last_sequence: 0, refusal: None, entries: Vec::new() })
        };
        Ok(requests.iter().filter_map(row).collect())
    }

    fn level_at(&mut self, _: SiteId, _: LevelId, _: i64, _: i64) -> Result<Past, StoreError> {
        Ok(Past::Known(0))
    }

    fn location_in_use(&mut self, _: SiteId, _: LocationId) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn write_site(&mut self, _: &Site) -> Result<(), StoreError> {
        Ok(())
    }

    fn write_journal(&mut self, _: &[SettingChange]) -> Result<(), StoreError> {
        Ok(())
    }

    fn lock_tokens(&mut self) -> Result<Vec<(TokenHash, Token)>, StoreError> {
        Ok(Vec::new())
    }

    fn write_token(&mut self, _: &TokenHash, _: &Token) -> Result<(), StoreError> {
        Ok(())
    }

    fn probe(&mut self) -> Result<(), CommitError> {
        {
            let mut books = self.books.lock().expect("no panic");
            books.probes += 1;
            if books.probes_fail {
                return Err(CommitError::NotCommitted(fault()));
            }
        }
        self.begin(&[]).map_err(CommitError::NotCommitted)?;
        self.commit()
    }

    fn age(&mut self, _: i64, _: i64) -> Result<Age, StoreError> {
        Ok(Age { before: None, jumped: None })
    }

    fn prune(&mut self, _: PruneCursor, _: i64) -> Result<Option<PruneCursor>, StoreError> {
        Ok(None)
    }

    fn archive(&mut self, _: SiteId, up_to: i64) -> Result<i64, StoreError> {
        Ok(up_to)
    }

    fn delete_site(&mut self, _: &Site) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError> {
        if self.is_poisoned(writes) {
            return Err(fault());
        }
        assert!(!self.strikes(Fault::Panic), "a bug");
        if self.strikes(Fault::ConnectionLostBeforeCommit) {
            return Err(StoreError::Gone(Trouble::ConnectionLost, "reset".into()));
        }
        let mut books = self.books.lock().expect("no panic");
        if writes.sites.iter().any(|site| books.locked.contains(&site.before.id)) {
            books.met_locks += 1;
            return Err(StoreError::Unable(Trouble::LockHeld, "locked".into()));
        }
        if writes.requests.iter().any(|request| books.requests.contains_key(&request.key)) {
            return Ok(Written::ReplayFound);
        }
        let new = writes.new_levels.iter().map(|new| &new.row);
        self.open = Some(Open {
            levels: writes.levels.iter().map(|(_, row)| row).chain(new).map(|row| (row.id, row.available)).collect(),
            requests: writes.requests.iter().map(|request| (request.key, request.fingerprint)).collect(),
            sequence: writes.sites.first().map(|site| site.sequence),
        });
        Ok(Written::All)
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let gate = {
            let mut books = self.books.lock().expect("no panic");
            books.commits += 1;
            Arc::clone(&books.gate)
        };
        let _open = gate.blocking_lock();
        if self.strikes(Fault::CommitUnknown) {
            return Err(CommitError::Unknown(StoreError::Gone(Trouble::ConnectionLost, "reset".into())));
        }
        let Open { levels, requests, sequence } = self.open.take().expect("begun");
        let mut books = self.books.lock().expect("no panic");
        books.batches.push(requests.len());
        books.levels.extend(levels);
        books.requests.extend(requests);
        books.sequence = sequence.unwrap_or(books.sequence);
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.open = None;
        Ok(())
    }
}
