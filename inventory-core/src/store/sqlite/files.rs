//! Whether the files of a database are still those that this process opened.
//!
//! SQLite goes on with a file that was deleted or replaced while it was open. Its commits succeed, and nobody finds
//! them later; its reads show and prove a database that is not the one at the path. So the path is looked at before
//! each COMMIT and before each read: does it still lead to the same device and inode? A file without a name, or with
//! another name, is not found there, so the number of its links says nothing more. The log (`-wal`) is looked at too:
//! the latest commits stand there alone. Pruning, which has no COMMIT of its own, is not checked.
//!
//! A process never goes on with other files than its first ones, not even by a new connection.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::model::error::{StoreError, Trouble};

/// Which file it is, among all files of the machine.
type Identity = (u64, u64);

/// The files of a database, as this process found them.
#[derive(Debug)]
pub(crate) struct Files {
    database: (PathBuf, OnceLock<Identity>),
    log: (PathBuf, OnceLock<Identity>),
}

impl Files {
    pub(crate) fn at(path: &str) -> Self {
        Self { database: (path.into(), OnceLock::new()), log: (format!("{path}-wal").into(), OnceLock::new()) }
    }

    /// Takes the files for the right ones that are there now, unless they are known already.
    pub(crate) fn take(&self) -> Result<(), StoreError> {
        for (path, known) in [&self.database, &self.log] {
            // A database that nobody has opened has no log yet.
            if path.exists() {
                let identity = identity(path)?;
                known.get_or_init(|| identity);
            }
        }
        self.check()
    }

    /// The size of the log. 0 if there is none.
    pub(super) fn log_bytes(&self) -> u64 {
        fs::metadata(&self.log.0).map_or(0, |log| log.len())
    }

    /// Fails if a file is not the right one any more.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for (path, known) in [&self.database, &self.log] {
            if let Some(known) = known.get()
                && identity(path)? != *known
            {
                return Err(replaced(format!("{} is another file than the one that is open", path.display())));
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Result<Identity, StoreError> {
    let found = fs::metadata(path).map_err(|error| replaced(format!("{}: {error}", path.display())))?;
    Ok((found.dev(), found.ino()))
}

fn replaced(cause: String) -> StoreError {
    StoreError::Unable(Trouble::FileReplaced, cause.into())
}
