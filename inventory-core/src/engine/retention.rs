//! What the operator's commands do with a whole site: archive its old entries step by step, or delete it.
//!
//! Each step is one transaction that locks the site, so a command that was killed left whole steps, and goes on when it
//! is run again. Only the operator's commands call this, as the owner of the tables: the role of a server has no right
//! to remove entries.

use crate::engine::commit;
use crate::engine::storage::{BatchStore, CommitError, OpenWriters};
use crate::model::access::Author;
use crate::model::error::StoreError;
use crate::model::ids::SiteId;
use crate::model::journal::Journal;
use crate::model::site::Site;

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database cannot be written. Nothing was changed.
    #[error("nothing was changed")]
    Store(#[from] StoreError),
    /// The connection was lost during COMMIT.
    #[error("it is not known whether the change was made; run the command again")]
    Unknowable(#[source] StoreError),
    /// The store has no writer.
    #[error("the database takes no changes")]
    NoWriter,
}

impl From<CommitError> for RetentionError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotCommitted(error) => Self::Store(error),
            CommitError::Unknown(error) => Self::Unknowable(error),
        }
    }
}

/// A connection that archives and deletes. All of its methods block.
pub struct Keeper {
    writer: Box<dyn BatchStore>,
}

impl Keeper {
    /// Connects to the database.
    pub fn connect(store: &impl OpenWriters) -> Result<Self, RetentionError> {
        let mut writer = store.writers().into_iter().next().ok_or(RetentionError::NoWriter)?;
        writer.connect()?;
        Ok(Self { writer })
    }

    /// Archives the next entries of a site that exists, none after `up_to`, which is the last entry of its change.
    /// Returns the sequence number up to which the entries are archived now: `up_to` at the end.
    pub fn archive(&mut self, site: SiteId, up_to: i64) -> Result<i64, RetentionError> {
        self.transaction(site, |writer, _| writer.archive(site, up_to))
    }

    /// Deletes a site that exists, with everything that the database holds of it. The journal gets an entry that stays.
    /// Returns whether nothing of the site is left in the log of SQLite either.
    pub fn delete_site(&mut self, site: SiteId, author: &Author, why: &str, now: i64) -> Result<bool, RetentionError> {
        self.transaction(site, |writer, found| {
            let journal = Journal { site: Some(site), author, recorded_at: now };
            writer.write_journal(&[journal.deletion(why, found.sequence)])?;
            writer.delete_site(found)
        })?;
        // The site is deleted, whatever becomes of the log.
        Ok(self.writer.empty_log().unwrap_or(false))
    }

    /// Runs statements in a transaction that has locked the site.
    fn transaction<T>(
        &mut self,
        site: SiteId,
        statements: impl FnOnce(&mut dyn BatchStore, &Site) -> Result<T, StoreError>,
    ) -> Result<T, RetentionError> {
        let writer = self.writer.as_mut();
        let result = attempt(writer, site, statements);
        if result.is_err() {
            // If this fails too, the transaction ends with the connection.
            let _ = writer.rollback();
        }
        result
    }
}

fn attempt<T>(
    writer: &mut dyn BatchStore,
    site: SiteId,
    statements: impl FnOnce(&mut dyn BatchStore, &Site) -> Result<T, StoreError>,
) -> Result<T, RetentionError> {
    let found = writer.begin(&[site])?.pop();
    let found = found.ok_or(StoreError::Damaged("no row for a site that was just locked"))?;
    let done = statements(writer, &found)?;
    commit::by_operator(writer)?;
    Ok(done)
}
