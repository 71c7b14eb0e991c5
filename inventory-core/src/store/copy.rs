//! A copy of a whole database into an empty one, from either backend to either: all rows of all described tables.
//!
//! - **Resumable.** Rows are copied in the order of their keys, and each portion is one transaction. So what the target
//!   holds is how far the copy is. If it ends early, in whatever way, the same copy goes on from there.
//! - **Never half.** Until its end the target has a mark with which no program takes it for a database
//!   (`migrate.rs`). The mark also tells the source, so that nobody goes on with another one.
//! - **Still.** Nobody writes to either database meanwhile (`side.rs`). The copy changes nothing in its source.
//! - **Compared.** At the end both databases are read again as a whole, and must hold the same.

mod cell;
mod rows;
mod side;

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use self::cell::encode;
pub(crate) use self::cell::{Cell, Cells};
use self::rows::{Content, content, count, each_page, has_rows, insert, last_key, rows_of_insert};
pub(crate) use self::rows::{find, load};
use self::side::{COPIES, Side};
use crate::model::error::StoreError;
use crate::store::connection::AnyConnection;
use crate::store::layout::{Described, Kind};
use crate::store::migrate::{MigrateError, begin_copy, copy_of, end_copy};
use crate::store::tables::{TABLES, site};
use crate::store::{DatabaseUrl, OpenError, Store};

/// Why a database is not copied. The target is no database yet, and the same copy can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Source and target are the same.
    #[error("{url:?}: is the source and the target")]
    Same {
        /// The database.
        url: DatabaseUrl,
    },
    /// The schema of one of them is not what it must be.
    #[error("{url:?}")]
    Schema {
        /// The database.
        url: DatabaseUrl,
        /// Why not.
        #[source]
        why: MigrateError,
    },
    /// Another process uses one of them.
    #[error("{url:?}: a server or another program is using it; stop it, and run the same command again")]
    InUse {
        /// The database.
        url: DatabaseUrl,
    },
    /// The target holds rows, and no copy into it has begun.
    #[error("{url:?}: has rows in the table {table}; the target of a copy must be empty")]
    NotEmpty {
        /// The target.
        url: DatabaseUrl,
        /// One of its tables.
        table: &'static str,
    },
    /// The target holds a part of something else.
    #[error(
        "{url:?}: holds the beginning of a copy of another source, or of this one before somebody wrote to it; \
         begin with an empty database"
    )]
    OtherCopy {
        /// The target.
        url: DatabaseUrl,
    },
    /// The source was written to after its rows were copied.
    #[error("{url:?}: somebody wrote to it after it was copied; stop that, and copy it into an empty database")]
    Moved {
        /// The source.
        url: DatabaseUrl,
    },
    /// The two differ.
    #[error(
        "the table {table} has {source_rows} rows in the source and {target_rows} in the target, or their content \
         differs; copy into an empty database"
    )]
    Differs {
        /// The table.
        table: &'static str,
        /// Rows of the source.
        source_rows: i64,
        /// Rows of the target.
        target_rows: i64,
    },
    /// A statement failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A side cannot be opened for its proof.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyProgress {
    /// The table of the last rows.
    pub table: &'static str,
    /// Rows of this table so far.
    pub rows: i64,
    /// Rows of all tables so far.
    pub total: i64,
}

/// A copy under way. It holds both databases.
pub struct Copying {
    from: Side,
    to: Side,
    source: State,
    /// Rows that the target has from an earlier attempt; `None` if this is the first one.
    resumed: Option<i64>,
}

/// What a database holds, seen cheaply.
struct State {
    /// Tells it from other databases, and from itself after a change.
    fingerprint: String,
    /// The rows of all tables.
    rows: i64,
}

impl Copying {
    /// Begins to copy, or goes on with a copy that was interrupted. Blocks.
    pub fn begin(from: &DatabaseUrl, to: &DatabaseUrl) -> Result<Self, CopyError> {
        if from == to {
            return Err(CopyError::Same { url: from.clone() });
        }
        let mut from = Side::source(from)?;
        let source = state(&mut from.any())?;
        let mut to = Side::target(to)?;
        let schema = |url: &DatabaseUrl, why| CopyError::Schema { url: url.clone(), why };
        let begun = copy_of(&mut to.any()).map_err(|why| schema(&to.url, why))?;
        let resumed = match begun {
            Some(other) if other != source.fingerprint => return Err(CopyError::OtherCopy { url: to.url }),
            Some(_) => {
                let rows = TABLES.iter().map(|table| count(&mut to.any(), table));
                Some(rows.sum::<Result<i64, StoreError>>()?)
            }
            None => {
                for table in &TABLES {
                    if has_rows(&mut to.any(), table)? {
                        return Err(CopyError::NotEmpty { url: to.url, table: table.name });
                    }
                }
                begin_copy(&mut to.any(), &source.fingerprint).map_err(|why| schema(&to.url, why))?;
                None
            }
        };
        Ok(Self { from, to, source, resumed })
    }

    /// The rows of the source.
    pub fn rows(&self) -> i64 {
        self.source.rows
    }

    /// Rows that an earlier attempt copied; `None` if there was none.
    pub fn resumed(&self) -> Option<i64> {
        self.resumed
    }

    /// Copies all rows that the target has not got yet. `progress` is called after each portion, and at least once for
    /// each table.
    pub fn run(&mut self, mut progress: impl FnMut(CopyProgress)) -> Result<(), CopyError> {
        let mut total = 0_i64;
        for table in &TABLES {
            let after = last_key(&mut self.to.any(), table)?;
            let mut rows = count(&mut self.to.any(), table)?;
            total = total.saturating_add(rows);
            progress(CopyProgress { table: table.name, rows, total });
            let to = &mut self.to;
            let portion = rows_of_insert(&to.any(), table);
            each_page(&mut self.from.any(), table, after, portion, |page| {
                let copied = i64::try_from(page.len()).unwrap_or(i64::MAX);
                insert(&mut to.any(), table, page)?;
                (rows, total) = (rows.saturating_add(copied), total.saturating_add(copied));
                progress(CopyProgress { table: table.name, rows, total });
                Ok::<(), StoreError>(())
            })?;
        }
        Ok(continue_identities(&mut self.to.any())?)
    }

    /// Compares all rows of both. `progress` is called with the rows of the target that were compared so far. Then
    /// others can open both databases again.
    pub fn compare(mut self, mut progress: impl FnMut(i64)) -> Result<Copied, CopyError> {
        let (from, to) = (&mut self.from, &mut self.to);
        let of_source = || TABLES.iter().map(|table| content(&mut from.any(), table, |_| {})).collect();
        let mut read = 0_i64;
        let mut of_target = || {
            let mut content = |table| {
                content(&mut to.any(), table, |rows| {
                    read = read.saturating_add(rows);
                    progress(read);
                })
            };
            TABLES.iter().map(&mut content).collect()
        };
        let (source, target) = std::thread::scope(|scope| {
            let source = scope.spawn(of_source);
            let target: Result<Vec<Content>, StoreError> = of_target();
            (source.join(), target)
        });
        let source: Result<Vec<Content>, StoreError> =
            source.unwrap_or_else(|_| Err(StoreError::Damaged("a row that stopped its reader")));
        for ((table, source), target) in TABLES.iter().zip(source?).zip(target?) {
            if source != target {
                let (source_rows, target_rows) = (source.rows, target.rows);
                return Err(CopyError::Differs { table: table.name, source_rows, target_rows });
            }
        }
        Ok(Copied { from: self.from.url.clone(), to: self.to.url.clone(), fingerprint: self.source.fingerprint })
    }
}

/// A copy that holds all rows, and still has its mark.
pub struct Copied {
    from: DatabaseUrl,
    to: DatabaseUrl,
    fingerprint: String,
}

impl Copied {
    /// Opens the source for reading. Blocks.
    pub fn source(&self) -> Result<Store, CopyError> {
        Ok(Store::half_copied(self.from.named(COPIES))?)
    }

    /// Opens the target for reading. Blocks.
    pub fn target(&self) -> Result<Store, CopyError> {
        Ok(Store::half_copied(self.to.named(COPIES))?)
    }

    /// Ends the copy, if nobody has written to the source: from now on the target is a database like any other. Blocks.
    pub fn finish(self) -> Result<(), CopyError> {
        let mut from = Side::source(&self.from)?;
        if state(&mut from.any())?.fingerprint != self.fingerprint {
            return Err(CopyError::Moved { url: self.from });
        }
        let mut to = Side::target(&self.to)?;
        end_copy(&mut to.any()).map_err(|why| CopyError::Schema { url: self.to, why })
    }
}

/// Reads the number of rows and the last key of each table, and all sites: whatever a server writes changes one of
/// them.
fn state(connection: &mut AnyConnection<'_>) -> Result<State, StoreError> {
    let (mut hash, mut rows) = (Sha256::new(), 0_i64);
    for table in &TABLES {
        let many = count(connection, table)?;
        rows = rows.saturating_add(many);
        let mut row = vec![Cell::Text(table.name.to_owned()), Cell::Long(many)];
        row.extend(last_key(connection, table)?.unwrap_or_default());
        let mut bytes = Vec::new();
        encode(&row, &mut bytes)?;
        hash.update(&bytes);
    }
    hash.update(content(connection, &site::table::TABLE, |_| {})?.hash());
    let digits = hash.finalize().iter().take(16).fold(String::new(), |mut digits, byte| {
        // Writing to text cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    });
    Ok(State { fingerprint: digits, rows })
}

/// Of Postgres: the columns that the database numbers itself go on after the greatest number. SQLite does so by itself.
fn continue_identities(connection: &mut AnyConnection<'_>) -> Result<(), StoreError> {
    let AnyConnection::Postgres(_) = connection else { return Ok(()) };
    for table in &TABLES {
        let sql = format!(
            "SELECT column_name::text AS name FROM information_schema.columns WHERE is_identity = 'YES' \
             AND table_schema = current_schema() AND table_name = '{}'",
            table.name
        );
        for row in load(connection, sql, Cells::new(), &[Kind::Text])? {
            let Some(Cell::Text(column)) = row.first() else { continue };
            let name = table.name;
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('\"{name}\"', '{column}'), max(\"{column}\")) AS last \
                 FROM \"{name}\""
            );
            load(connection, sql, Cells::new(), &[Kind::Long])?;
        }
    }
    Ok(())
}
