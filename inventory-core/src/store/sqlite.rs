//! A batch on SQLite: its statements are prepared once, and stepped once for each row. There is no
//! round trip to save here, and a statement that carries many rows costs more than it saves: its
//! text would have to be parsed anew for every number of rows.

use diesel::connection::SimpleConnection;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::error::StoreError;
use crate::ids::{LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::limits;
use crate::order::OrderPast;
use crate::site::{Place, SiteSettings};
use crate::store::batch::{
    BatchStore, CommitError, LevelRow, LoadedLevels, PrunedTo, RecordedRow, SiteRow, Writes, Written,
};
use crate::store::faults::{classify, classify_commit};
use crate::store::orders::{PARTS_MAX, StoredPart, order_past};
use crate::store::schema::{change, ledger, level, request, site, unit};
use crate::store::sqlite_statements::{write_changes, write_levels, write_request};
use crate::store::{rows, units};
use crate::unit::{SettledUnit, UnitSettings};

/// Settings of every connection. Readers never wait for the writer in WAL mode; `FULL` makes
/// COMMIT wait for the disk.
pub(crate) fn session() -> String {
    format!(
        "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
        limits::BUSY_MS_MAX
    )
}

/// Settings of the writer alone: 32 MiB of pages instead of 2, since orders and requests have
/// random keys, and a checkpoint every 16 MiB of log instead of every 4. With them SPREAD with 512
/// callers went from 9,700 to 11,400 orders a second, HOT with 64 from 19,600 to 24,400.
const WRITER: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096";

/// The writer's connection to SQLite.
pub(crate) struct SqliteBatch {
    path: String,
    connection: Option<SqliteConnection>,
    /// Whether a transaction has begun: SQLite refuses to give up what has not.
    begun: bool,
}

impl SqliteBatch {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.to_owned(), connection: None, begun: false }
    }

    /// Runs statements on the connection and sorts their error.
    fn run<T>(&mut self, statements: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>) -> Result<T, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(|| StoreError::Gone("not connected".into()))?;
        statements(connection).map_err(|error| classify(connection, error))
    }
}

impl BatchStore for SqliteBatch {
    fn connect(&mut self) -> Result<(), StoreError> {
        self.connection = None;
        self.begun = false;
        let mut connection =
            SqliteConnection::establish(&self.path).map_err(|error| StoreError::Gone(Box::new(error)))?;
        let settings = format!("{}; {WRITER}", session());
        connection.batch_execute(&settings).map_err(|error| StoreError::Gone(Box::new(error)))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn begin(&mut self, sites: &[SiteId]) -> Result<Vec<SiteRow>, StoreError> {
        // IMMEDIATE takes the database's one write lock at once; it stands for all row locks.
        self.run(|connection| connection.batch_execute("BEGIN IMMEDIATE"))?;
        self.begun = true;
        let found: Vec<rows::StoredSite> = self.run(|connection| {
            sites
                .iter()
                .map(|&id| {
                    let row = site::table.filter(site::site_id.eq(id));
                    if let Some(found) = row.first(connection).optional()? {
                        return Ok(found);
                    }
                    diesel::insert_into(site::table).values(site::site_id.eq(id)).execute(connection)?;
                    row.first(connection)
                })
                .collect()
        })?;
        found.into_iter().map(SiteRow::try_from).collect()
    }

    fn levels(&mut self, levels: &[(LevelId, UnitId)]) -> Result<LoadedLevels, StoreError> {
        let (rows, rules) = self.run(|connection| {
            let (mut found, mut rules) = (Vec::with_capacity(levels.len()), Vec::new());
            for &(id, unit_id) in levels {
                let unusual =
                    unit::tracking.ne(1).or(unit::backorder_limit.ne(0)).or(unit::counts_subscriptions.eq(false));
                let counted = unit::table.find(unit_id).filter(unusual);
                let counted = counted.select((unit::tracking, unit::backorder_limit, unit::counts_subscriptions));
                if let Some((tracking, limit, subscriptions)) = counted.first(connection).optional()? {
                    rules.push((unit_id, units::stored_rules(tracking, limit, subscriptions)));
                }
                let row = level::table.filter(level::level_id.eq(id)).select((
                    level::available,
                    level::revision,
                    level::last_sequence,
                ));
                if let Some((available, revision, last_sequence)) = row.first(connection).optional()? {
                    found.push(LevelRow { level: id, available, revision, last_sequence });
                }
            }
            Ok((found, rules))
        })?;
        let rules = rules.into_iter().map(|(unit, rules)| Ok((unit, rules?)));
        Ok(LoadedLevels { rows, rules: rules.collect::<Result<_, StoreError>>()? })
    }

    fn orders(&mut self, orders: &[(SiteId, OrderId)]) -> Result<Vec<OrderPast>, StoreError> {
        let found: Vec<(Vec<StoredPart>, bool)> = self.run(|connection| {
            let past = |&(site, order): &(SiteId, OrderId)| {
                let parts: Vec<StoredPart> = change::table
                    .inner_join(
                        ledger::table.on(ledger::site_id
                            .eq(change::site_id)
                            .and(ledger::sequence.between(change::first_sequence, change::last_sequence))),
                    )
                    .filter(change::site_id.eq(site).and(change::order_id.eq(order)))
                    .limit(PARTS_MAX)
                    .select((
                        ledger::sequence,
                        ledger::change_sequence,
                        change::kind,
                        change::reason,
                        ledger::unit_id,
                        ledger::location_id,
                        ledger::subscription,
                        ledger::asked,
                        ledger::delta,
                    ))
                    .load(connection)?;
                let calls = request::table.filter(request::site_id.eq(site).and(request::order_id.eq(order)));
                let answered = parts.is_empty() && diesel::select(exists(calls)).get_result(connection)?;
                Ok((parts, answered))
            };
            orders.iter().map(past).collect()
        })?;
        found.into_iter().map(|(parts, answered)| order_past(parts, answered)).collect()
    }

    fn unit(&mut self, unit: UnitId) -> Result<Option<UnitSettings>, StoreError> {
        self.run(|connection| units::find_unit!(connection, unit))?.map(UnitSettings::try_from).transpose()
    }

    fn unit_of_sku(&mut self, site: SiteId, sku: &str) -> Result<Option<SettledUnit>, StoreError> {
        self.run(|connection| units::unit_of_sku!(connection, site, sku))?.map(units::settled).transpose()
    }

    fn write_unit(&mut self, site: SiteId, place: &Place, settings: &UnitSettings) -> Result<(), StoreError> {
        self.run(|connection| units::write_unit!(connection, site, place, settings))
    }

    fn recorded(&mut self, requests: &[(SiteId, RequestKey)]) -> Result<Vec<RecordedRow>, StoreError> {
        let (found, spans) = self.run(|connection| {
            let (mut found, mut spans) = (Vec::new(), Vec::new());
            for &(site, key) in requests {
                let row = request::table.filter(request::site_id.eq(site).and(request::request_key.eq(key))).select((
                    request::site_id,
                    request::request_key,
                    request::fingerprint,
                    request::first_sequence,
                    request::last_sequence,
                    request::refusal,
                ));
                let Some(stored) = row.first::<rows::StoredRequest>(connection).optional()? else { continue };
                let entries = ledger::table
                    .inner_join(unit::table.on(unit::unit_id.eq(ledger::unit_id)))
                    .filter(ledger::site_id.eq(site))
                    .filter(ledger::sequence.between(stored.first_sequence, stored.last_sequence))
                    .select((
                        ledger::site_id,
                        ledger::sequence,
                        unit::app_id,
                        unit::item_id,
                        unit::variant,
                        ledger::location_id,
                        ledger::level_after,
                    ));
                spans.extend(entries.load::<rows::StoredSpan>(connection)?);
                found.push(stored);
            }
            Ok((found, spans))
        })?;
        let mut spans = spans;
        spans.sort_by_key(|span| (span.site, span.sequence));
        rows::join_recorded(found, spans)
    }

    fn level_at(&mut self, site: SiteId, level: LevelId, head: i64, sequence: i64) -> Result<i64, StoreError> {
        self.run(|connection| rows::level_at!(connection, site, level, head, sequence))
    }

    fn location_in_use(&mut self, site: SiteId, location: LocationId) -> Result<bool, StoreError> {
        self.run(|connection| rows::location_in_use!(connection, site, location))
    }

    fn write_settings(&mut self, site: SiteId, settings: &SiteSettings) -> Result<(), StoreError> {
        self.run(|connection| rows::write_settings!(connection, site, settings))
    }

    fn prune(&mut self, after: PrunedTo, before: i64) -> Result<Option<PrunedTo>, StoreError> {
        self.run(|connection| rows::prune_requests!(connection, after, before))
    }

    fn write(&mut self, writes: &Writes) -> Result<Written, StoreError> {
        self.run(|connection| {
            for row in &writes.requests {
                if write_request(connection, row, writes.recorded_at)? == 0 {
                    return Ok(Written::RepeatFound);
                }
            }
            for &(site, order) in &writes.new_orders {
                let changes = change::table.filter(change::site_id.eq(site).and(change::order_id.eq(order)));
                if diesel::select(exists(changes)).get_result(connection)? {
                    return Ok(Written::OrderFound);
                }
            }
            write_levels(connection, writes)?;
            write_changes(connection, writes)?;
            Ok(Written::All)
        })
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(CommitError::Unknown(StoreError::Gone("not connected".into())));
        };
        connection.batch_execute("COMMIT").map_err(classify_commit)?;
        self.begun = false;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.begun) {
            self.run(|connection| connection.batch_execute("ROLLBACK"))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_begun_is_given_up() {
        let mut batch = SqliteBatch::new(":memory:");
        batch.connect().expect("it opens");
        batch.rollback().expect("nothing to give up");
        batch.begin(&[]).expect("begun");
        batch.rollback().expect("given up");
        batch.rollback().expect("nothing to give up");
    }
}
