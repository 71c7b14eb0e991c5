//! Reading. A read takes one connection and one read transaction, and answers from it: [`Store::read`] and
//! [`Store::read_page`] for a site, through a [`Snapshot`]; the others for all sites.
//!
//! - **Work**: a statement takes rows of one table by a key, at most a page of them, and only then looks up what
//!   belongs to them. So no plan depends on the statistics of the tables, which a restored database has not got.
//! - **Time**: the caller gets an answer by its deadline. On Postgres a statement may run for the time that was left
//!   when its read began, and then Postgres ends it. SQLite finishes the statement, which is one page at most. A caller
//!   that leaves ends no statement: the read sees it before the next one, and stops there.
//! - **Files**: no read answers from a file of SQLite that was deleted or replaced. It is refused, as a commit is.
//! - **Fairness**: reads of pages use at most half of the connections, so reads of single levels find one.

mod journal;
mod ledger;
mod orders;
mod retention;
mod snapshot;
mod stock;
mod units;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

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
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// On what terms a site is read.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Answer only from a database that has this entry. 0: from any.
    pub at_least_sequence: i64,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

/// Any database may answer, within `limits::ANSWER_TIME_DEFAULT` from now on.
impl Default for Terms {
    fn default() -> Self {
        Self { at_least_sequence: 0, deadline: Instant::now() + limits::ANSWER_TIME_DEFAULT }
    }
}

/// How much a read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// A few rows.
    Few,
    /// Pages of rows, or many rows.
    Pages,
}

/// Who waits for a read.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    deadline: Instant,
    gone: Arc<AtomicBool>,
}

impl Caller {
    fn until(deadline: Instant) -> Self {
        Self { deadline, gone: Arc::default() }
    }

    /// Fails once nobody waits any more.
    fn waits(&self) -> Result<(), StoreError> {
        let gone = self.gone.load(Ordering::Relaxed);
        if gone || Instant::now() >= self.deadline {
            return Err(StoreError::Conflict(Trouble::Timeout, "nobody waits for the read any more".into()));
        }
        Ok(())
    }

    fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Tells a read that its caller has left, when this is dropped.
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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
    /// Reads a few rows of a site from one snapshot, on a thread that may block. If the database does not have the
    /// entry of the terms yet, the read waits up to `limits::SEQUENCE_WAIT_MAX` for it.
    pub async fn read<T: Send + 'static>(
        &self,
        id: SiteId,
        terms: Terms,
        query: impl FnOnce(&mut Snapshot<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<SiteRead<T>, Error> {
        self.read_share(id, terms, Share::Few, query).await
    }

    /// The same for reads of pages, which take longer: few of them run at a time, and the others wait for their turn.
    pub async fn read_page<T: Send + 'static>(
        &self,
        id: SiteId,
        terms: Terms,
        query: impl FnOnce(&mut Snapshot<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<SiteRead<T>, Error> {
        self.read_share(id, terms, Share::Pages, query).await
    }

    async fn read_share<T: Send + 'static>(
        &self,
        id: SiteId,
        terms: Terms,
        share: Share,
        query: impl FnOnce(&mut Snapshot<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<SiteRead<T>, Error> {
        let Terms { at_least_sequence, deadline } = terms;
        let until = (Instant::now() + limits::SEQUENCE_WAIT_MAX).min(deadline);
        let caller = Caller::until(deadline);
        let _leaving = Leaving(caller.gone.clone());
        let mut query = query;
        loop {
            let waiting = caller.clone();
            let attempt = move |connection: AnyConnection<'_>| {
                let mut snapshot = Snapshot::begin(connection, id, waiting)?;
                if snapshot.site().sequence < at_least_sequence {
                    return Ok(Err((query, snapshot.site().sequence)));
                }
                let value = query(&mut snapshot)?;
                let (site, exists) = snapshot.end();
                Ok(Ok(SiteRead { site, exists, value }))
            };
            let sequence;
            (query, sequence) = match self.blocking_for(&caller, share, attempt).await? {
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

    /// Runs a query of a few rows with a reader's connection, on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        query: impl FnOnce(AnyConnection<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let caller = Caller::until(Terms::default().deadline);
        let _leaving = Leaving(caller.gone.clone());
        self.blocking_for(&caller, Share::Few, query).await
    }

    /// Runs a query with a reader's connection, on a thread that may block. A query that waits for a connection holds
    /// no thread, and gives up after `limits::READER_WAIT_MAX`. Fails if the files of SQLite are not the right ones any
    /// more.
    async fn blocking_for<T: Send + 'static>(
        &self,
        caller: &Caller,
        share: Share,
        query: impl FnOnce(AnyConnection<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = caller.clone();
        let lines = self.reading.lines();
        let files = self.files.clone();
        let permits = permits(&lines, caller, share).await?;
        let readers = lines.readers;
        let task = tokio::task::spawn_blocking(move || {
            let _permits = permits;
            waiting.waits()?;
            if let Some(files) = files {
                // A pooled connection was opened long ago, and would go on with a file that nobody else sees.
                files.check()?;
            }
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
        let answer = match tokio::time::timeout_at(caller.deadline.into(), task).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(StoreError::Damaged("a row that stopped its reader").into())),
            // The thread ends by itself, and keeps its permits until then.
            Err(_) => Err(Failed::Expired.into()),
        };
        answer.map_err(|error| match error {
            // A statement that was stopped for the deadline tells nothing about the database.
            Error::Failed(_) if caller.time_left().is_zero() => Failed::Expired.into(),
            Error::Failed(_) | Error::Invalid(_) => error,
        })
    }
}

/// Waits for the right to use a connection.
async fn permits(lines: &Lines, caller: &Caller, share: Share) -> Result<Vec<OwnedSemaphorePermit>, Error> {
    let pools = match share {
        Share::Few => vec![&lines.permits],
        Share::Pages => vec![&lines.page_permits, &lines.permits],
    };
    let all = async {
        let mut permits = Vec::with_capacity(pools.len());
        for pool in pools {
            permits.push(pool.clone().acquire_owned().await?);
        }
        Ok::<_, Cause>(permits)
    };
    let busy = |cause: Cause| StoreError::Gone(Trouble::NoConnectionFree, cause);
    match tokio::time::timeout(caller.time_left().min(limits::READER_WAIT_MAX), all).await {
        Ok(Ok(permits)) => Ok(permits),
        Ok(Err(closed)) => Err(busy(closed).into()),
        Err(_) if caller.time_left().is_zero() => Err(Failed::Expired.into()),
        Err(_) => Err(busy("all connections for reading are in use".into()).into()),
    }
}
