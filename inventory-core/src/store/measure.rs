//! The metrics of the store: each with its name, unit, help and labels.
//!
//! They are gauges. The server asks for them now and then: [`Store::measure`] costs nothing, [`Store::measure_size`] is
//! a query.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use metrics::{Unit, describe_gauge, gauge};

use crate::model::error::Error;
use crate::model::limits;
use crate::store::Store;
use crate::store::connection::{AnyConnection, on};

const READERS_IN_USE: &str = "inventory_reader_connections_in_use";
const READERS_MAX: &str = "inventory_reader_connections_max";
const DATABASE_BYTES: &str = "inventory_database_bytes";
const LEDGER_ENTRIES: &str = "inventory_ledger_entries";

// Sequence numbers have no gaps, so their sum, less that of the cuts, is the number of entries.
const SQLITE_SIZE: &str = "SELECT (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) AS bytes, \
     CAST(COALESCE(SUM(site.sequence - COALESCE(cut.sequence, 0)), 0) AS BIGINT) AS entries \
     FROM site LEFT JOIN cut ON cut.site_id = site.site_id";
const POSTGRES_SIZE: &str = "SELECT pg_database_size(current_database()) AS bytes, \
     CAST(COALESCE(SUM(site.sequence - COALESCE(cut.sequence, 0)), 0) AS BIGINT) AS entries \
     FROM site LEFT JOIN cut ON cut.site_id = site.site_id";

/// Names every metric of the store.
pub(super) fn describe() {
    describe_gauge!(READERS_IN_USE, Unit::Count, "Connections for reading that are in use.");
    describe_gauge!(READERS_MAX, Unit::Count, "Connections for reading that can be in use at a time.");
    describe_gauge!(DATABASE_BYTES, Unit::Bytes, "Size of the database, in bytes. Read about every 45 s.");
    describe_gauge!(LEDGER_ENTRIES, Unit::Count, "Entries of the ledgers of all sites. Read about every 45 s.");
    gauge!(READERS_IN_USE).set(0.0);
    gauge!(READERS_MAX).set(f64::from(limits::READERS_MAX));
    gauge!(DATABASE_BYTES).set(0.0);
    gauge!(LEDGER_ENTRIES).set(0.0);
}

#[derive(QueryableByName)]
struct Size {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = BigInt)]
    entries: i64,
}

impl Store {
    /// Exports how many connections for reading are in use.
    pub fn measure(&self) {
        let in_use = (limits::READERS_MAX as usize).saturating_sub(self.reading.lines().permits.available_permits());
        gauge!(READERS_IN_USE).set(in_use as f64);
    }

    /// Exports the size of the database and of the ledger. Its cost is that of one row per site.
    pub async fn measure_size(&self) -> Result<(), Error> {
        let size = self.blocking(|mut connection| {
            let query = diesel::sql_query(match &connection {
                AnyConnection::Sqlite(_) => SQLITE_SIZE,
                AnyConnection::Postgres(_) => POSTGRES_SIZE,
            });
            Ok(on!(&mut connection, |c| query.get_result::<Size>(c))?)
        });
        let Size { bytes, entries } = size.await?;
        gauge!(DATABASE_BYTES).set(bytes as f64);
        gauge!(LEDGER_ENTRIES).set(entries as f64);
        Ok(())
    }
}
