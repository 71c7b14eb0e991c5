//! Reading the books. Each query is written once in diesel's terms and compiled for either
//! backend; it runs on a thread where blocking is allowed, on a connection of the pool.

use diesel::prelude::*;

use crate::error::{Error, StoreError};
use crate::ids::SiteId;
use crate::site::SiteSettings;
use crate::store::batch::SiteRow;
use crate::store::faults::classify;
use crate::store::rows::StoredSite;
use crate::store::schema::site;
use crate::store::{Readers, Store};

/// Takes a connection from whichever pool there is and runs the query on it.
macro_rules! on_either {
    ($readers:expr, |$connection:ident| $query:expr) => {
        match $readers {
            Readers::Sqlite(pool) => on_either!(@run pool, |$connection| $query),
            Readers::Postgres(pool) => on_either!(@run pool, |$connection| $query),
        }
    };
    (@run $pool:expr, |$connection:ident| $query:expr) => {{
        let mut pooled = $pool.get().map_err(|error| StoreError::Gone(Box::new(error)))?;
        let $connection = &mut *pooled;
        let result = $query;
        result.map_err(|error| classify($connection, error))
    }};
}

/// A page of sites.
#[derive(Clone, Debug, Default)]
pub struct SitePage {
    /// The sites, with settings and sequence.
    pub sites: Vec<(SiteId, SiteSettings, i64)>,
    /// Where there may be more: the last site of the page.
    pub looked_to: Option<SiteId>,
}

impl Store {
    /// A site's settings and sequence; `None` for a site that nothing was ever written for.
    pub async fn site(&self, id: SiteId) -> Result<Option<(SiteSettings, i64)>, Error> {
        let row = self.read(move |readers| site_row(readers, id)).await?;
        Ok(row.map(|row| (row.settings, row.sequence)))
    }

    /// A site's settings; those of a new site where nothing was ever written.
    pub(crate) async fn settings(&self, id: SiteId) -> Result<SiteSettings, Error> {
        Ok(self.site(id).await?.map(|(settings, _)| settings).unwrap_or_default())
    }

    /// The sequence of a site's last entry; 0 where nothing was ever written.
    pub async fn sequence(&self, id: SiteId) -> Result<i64, Error> {
        Ok(self.site(id).await?.map_or(0, |(_, sequence)| sequence))
    }

    /// A page of sites in the order of their ids, those after `after`.
    pub async fn list_sites(&self, after: Option<SiteId>, rows: i64) -> Result<SitePage, Error> {
        let found = self.read(move |readers| {
            let rows: Vec<StoredSite> = on_either!(readers, |connection| {
                let mut query = site::table.order(site::site_id).limit(rows + 1).into_boxed();
                if let Some(after) = after {
                    query = query.filter(site::site_id.gt(after));
                }
                query.load(connection)
            })?;
            rows.into_iter().map(SiteRow::try_from).collect::<Result<Vec<_>, _>>()
        });
        let mut sites: Vec<_> = found.await?.into_iter().map(|row| (row.site, row.settings, row.sequence)).collect();
        let more = cut(&mut sites, rows);
        let looked_to = sites.last().map(|(site, ..)| *site).filter(|_| more);
        Ok(SitePage { sites, looked_to })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.read(|readers| on_either!(readers, |connection| diesel::r2d2::R2D2Connection::ping(connection))).await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Readers) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let readers = self.readers.clone();
        match tokio::task::spawn_blocking(move || query(&readers)).await {
            Ok(result) => result.map_err(Error::before_commit),
            Err(_) => Err(Error::before_commit(StoreError::Damaged("a row that stopped its reader"))),
        }
    }
}

/// Cuts a page that was read with one row too many, and tells whether it was.
pub(crate) fn cut<T>(page: &mut Vec<T>, rows: i64) -> bool {
    let size = usize::try_from(rows).unwrap_or(usize::MAX);
    let more = page.len() > size;
    page.truncate(size);
    more
}

fn site_row(readers: &Readers, id: SiteId) -> Result<Option<SiteRow>, StoreError> {
    let row: Option<StoredSite> =
        on_either!(readers, |connection| site::table.filter(site::site_id.eq(id)).first(connection).optional())?;
    row.map(SiteRow::try_from).transpose()
}

pub(crate) use on_either;
