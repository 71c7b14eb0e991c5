//! Reading. A read takes one connection and one read transaction, and answers from it: [`Store::read`] for a site,
//! through a [`Snapshot`]; the others for all sites.

mod journal;
mod ledger;
mod orders;
mod snapshot;
mod stock;
mod units;

use std::time::Instant;

use diesel::prelude::*;

pub use self::ledger::EntryFilter;
pub use self::snapshot::Snapshot;
pub use self::stock::{StockCursor, StockFilter};
pub use self::units::UnitScope;

use crate::model::error::{Cause, Error, Failed, StoreError, Trouble};
use crate::model::ids::SiteId;
use crate::model::limits;
use crate::model::site::Site;
use crate::store::Store;
use crate::store::classify::unreachable;
use crate::store::connection::{AnyConnection, on};
use crate::store::readers::{Lines, Readers};
use crate::store::records::SiteRecord;
use crate::store::tables::site;

/// How often a read looks whether the database has the entry that the caller named.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

/// The result of a read of a site, with the site as it was in the same snapshot.
#[derive(Clone, Debug)]
pub struct SiteRead<T> {
    /// The site. One that is not stored has sequence number 0 and default settings.
    pub site: Site,
    /// Whether the site is stored.
    pub exists: bool,
    /// The result.
    pub value: T,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T, C> {
    /// The rows. They may be fewer than asked for, even if more follow.
    pub rows: Vec<T>,
    /// The position of the last row that the page looked at, where the next page starts; `None` on the last page.
    pub next: Option<C>,
}

impl<T> Page<T, ()> {
    /// Cuts a page that was read with one row more than it may have. `cursor` is the position of a row.
    fn cut<C>(mut rows: Vec<T>, size: i64, cursor: impl Fn(&T) -> C) -> Page<T, C> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let has_more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| has_more).map(cursor);
        Page { rows, next }
    }
}

impl Store {
    /// Reads a site from one snapshot that has the entry `at_least_sequence`, on a thread that may block. If the
    /// database does not have the entry yet, the read waits up to `limits::SEQUENCE_WAIT_MAX`. 0 does not wait.
    pub async fn read<T: Send + 'static>(
        &self,
        id: SiteId,
        at_least_sequence: i64,
        query: impl FnOnce(&mut Snapshot<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<SiteRead<T>, Error> {
        let until = Instant::now() + limits::SEQUENCE_WAIT_MAX;
        let mut query = query;
        loop {
            let attempt = move |connection: AnyConnection<'_>| {
                let mut snapshot = Snapshot::begin(connection, id)?;
                if snapshot.site().sequence < at_least_sequence {
                    return Ok(Err((query, snapshot.site().sequence)));
                }
                let value = query(&mut snapshot)?;
                let (site, exists) = snapshot.end();
                Ok(Ok(SiteRead { site, exists, value }))
            };
            let sequence;
            (query, sequence) = match self.blocking(attempt).await? {
                Ok(read) => return Ok(read),
                Err(not_reached) => not_reached,
            };
            if Instant::now() >= until {
                return Err(Failed::SequenceNotReached { sequence, asked: at_least_sequence }.into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A page of sites in the order of their ids, after `after`: of all, or only of some.
    pub async fn list_sites(
        &self,
        only: Option<Vec<SiteId>>,
        after: Option<SiteId>,
        rows: i64,
    ) -> Result<Page<Site, SiteId>, Error> {
        self.blocking(move |mut connection| {
            let found: Vec<SiteRecord> = on!(&mut connection, |c| {
                let mut query = site::table.order(site::site_id).limit(rows + 1).into_boxed();
                if let Some(after) = after {
                    query = query.filter(site::site_id.gt(after));
                }
                if let Some(only) = &only {
                    query = query.filter(site::site_id.eq_any(only));
                }
                query.load(c)
            })?;
            let sites = found.into_iter().map(Site::try_from).collect::<Result<Vec<_>, _>>()?;
            Ok(Page::cut(sites, rows, |site| site.id))
        })
        .await
    }

    /// The sequence numbers of those of `sites` that are stored.
    pub async fn sequences(&self, sites: Vec<SiteId>) -> Result<Vec<(SiteId, i64)>, Error> {
        self.blocking(move |mut connection| {
            let mut found = Vec::with_capacity(sites.len());
            // SQLite bounds the number of parameters of a statement.
            for sites in sites.chunks(1_000) {
                found.extend(on!(&mut connection, |c| {
                    let asked = site::table.filter(site::site_id.eq_any(sites));
                    asked.select((site::site_id, site::sequence)).load::<(SiteId, i64)>(c)
                })?);
            }
            Ok(found)
        })
        .await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.blocking(|mut connection| {
            on!(&mut connection, |c| diesel::r2d2::R2D2Connection::ping(c))?;
            Ok(())
        })
        .await
    }

    /// Runs a query with a reader's connection, on a thread that may block. A query that waits for a connection holds
    /// no thread, and gives up after `limits::READER_WAIT_MAX`.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        query: impl FnOnce(AnyConnection<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = |cause: Cause| StoreError::Gone(Trouble::NoConnectionFree, cause);
        let Lines { readers, permits } = self.reading.lines();
        let permit = tokio::time::timeout(limits::READER_WAIT_MAX, permits.acquire_owned()).await;
        let permit = match permit {
            Ok(Ok(permit)) => permit,
            Ok(Err(closed)) => return Err(busy(closed.into()).into()),
            Err(_) => return Err(busy("all connections for reading are in use".into()).into()),
        };
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            match readers {
                Readers::Sqlite(pool) => {
                    let mut connection = pool.get().map_err(unreachable)?;
                    query(AnyConnection::Sqlite(&mut connection))
                }
                Readers::Postgres(pool) => {
                    let mut connection = pool.get().map_err(unreachable)?;
                    query(AnyConnection::Postgres(&mut connection))
                }
            }
        });
        task.await.unwrap_or_else(|_| Err(StoreError::Damaged("a row that stopped its reader").into()))
    }
}
