//! A backup of a database on SQLite: one file with everything, as of one moment, written while servers go on.
//!
//! SQLite itself writes it (`VACUUM INTO`), from a snapshot. It holds what was answered before it began, and for each
//! site the ledger up to some sequence number. It needs no log beside it, and a server can start on it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

use crate::model::error::StoreError;
use crate::model::ids::SiteId;
use crate::store::classify::{classify, unreachable};
use crate::store::connection::AnyConnection;
use crate::store::copy::{Cell, Cells, find, load};
use crate::store::layout::{Described, Kind};
use crate::store::migrate::{MigrateError, check};
use crate::store::retention::cut;
use crate::store::sqlite::{patience, target};
use crate::store::tables::{ledger, site};
use crate::store::{DatabaseUrl, Open};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database is no file.
    #[error("only SQLite has such backups; for Postgres use pg_dump or pg_basebackup (see operations/README.md)")]
    NotSqlite,
    /// SQLite takes paths as text.
    #[error("{}: the path is not UTF-8", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// The schema is not what it must be.
    #[error(transparent)]
    Schema(#[from] MigrateError),
    /// What SQLite says about the file.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// It lacks something that was there before it began.
    #[error("the backup has site {site} up to sequence {has}, and the database had {expected} when the backup began")]
    Behind {
        /// The site.
        site: SiteId,
        /// Its sequence number in the backup.
        has: i64,
        /// Its sequence number before the backup.
        expected: i64,
    },
    /// An entry differs.
    #[error("the entry {sequence} of site {site} is another one in the backup than in the database")]
    Differs {
        /// The site.
        site: SiteId,
        /// The sequence number.
        sequence: i64,
    },
    /// A statement failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A backup that was written.
#[derive(Debug)]
pub struct Backup {
    database: String,
    file: String,
    /// The sequence numbers of the sites before it began.
    before: Vec<(SiteId, i64)>,
}

impl Backup {
    /// Writes the backup to `file`, which must be empty or not exist. The caller syncs it. Blocks.
    pub fn write(url: &DatabaseUrl, file: &Path) -> Result<Self, BackupError> {
        let DatabaseUrl::Sqlite(database) = url else { return Err(BackupError::NotSqlite) };
        let not_text = || BackupError::NotText { path: file.to_owned() };
        let file = file.to_str().ok_or_else(not_text)?.to_owned();
        let mut connection = open(database)?;
        check(&mut AnyConnection::Sqlite(&mut connection))?;
        let before = sequences(&mut connection)?;
        let written = diesel::sql_query("VACUUM INTO $1").bind::<Text, _>(&file).execute(&mut connection);
        written.map_err(|error| classify(&mut connection, error))?;
        Ok(Self { database: database.clone(), file, before })
    }

    /// Checks the file by SQLite's own means, and compares it with the database: no site may be behind what it was,
    /// unless it was deleted before the backup was taken; and the last entry of each must be the same one in both,
    /// unless it has left the database meanwhile: archived, or deleted with its site. Blocks.
    pub fn check(&self) -> Result<(), BackupError> {
        let mut copy = SqliteConnection::establish(&target(&self.file, Open::ReadOnly)).map_err(unreachable)?;
        let mut copy_rows = AnyConnection::Sqlite(&mut copy);
        check(&mut copy_rows)?;
        let sql = "SELECT integrity_check AS line FROM pragma_integrity_check LIMIT 1".to_owned();
        match load(&mut copy_rows, sql, Cells::new(), &[Kind::Text])?.pop().as_deref() {
            Some([Cell::Text(line)]) if line == "ok" => {}
            Some([Cell::Text(line)]) => return Err(BackupError::Damaged(line.clone())),
            Some(_) | None => return Err(BackupError::Damaged("SQLite does not say that it is whole".to_owned())),
        }
        let sql = "SELECT \"table\" AS line FROM pragma_foreign_key_check LIMIT 1".to_owned();
        if let Some([Cell::Text(table)]) = load(&mut copy_rows, sql, Cells::new(), &[Kind::Text])?.pop().as_deref() {
            return Err(BackupError::Damaged(format!("a row of {table} refers to a row that is missing")));
        }
        let found: HashMap<SiteId, i64> = sequences(&mut copy)?.into_iter().collect();
        for &(site, expected) in &self.before {
            let mut has = found.get(&site).copied().unwrap_or_default();
            if has < expected {
                // A site that was deleted before the snapshot has left a cut at its last sequence number.
                has = has.max(cut(&mut AnyConnection::Sqlite(&mut copy), site)?.sequence);
            }
            if has < expected {
                return Err(BackupError::Behind { site, has, expected });
            }
        }
        let mut database = open(&self.database)?;
        for (site, sequence) in found {
            let head = |connection| {
                let key = vec![Cell::Guid(*site.as_uuid()), Cell::Long(sequence)];
                find(&mut AnyConnection::Sqlite(connection), &ledger::table::TABLE, key)
            };
            if let Some(entry) = head(&mut database)?
                && head(&mut copy)? != Some(entry)
            {
                return Err(BackupError::Differs { site, sequence });
            }
        }
        Ok(())
    }
}

/// Opens a database without any change of its settings.
fn open(path: &str) -> Result<SqliteConnection, BackupError> {
    if !Path::new(path).exists() {
        return Err(MigrateError::NoFile { path: path.to_owned() }.into());
    }
    let mut connection = SqliteConnection::establish(&target(path, Open::AsIs)).map_err(unreachable)?;
    connection.batch_execute(&patience()).map_err(unreachable)?;
    Ok(connection)
}

fn sequences(connection: &mut SqliteConnection) -> Result<Vec<(SiteId, i64)>, StoreError> {
    let sites = site::table.select((site::site_id, site::sequence)).order(site::site_id);
    sites.load(connection).map_err(|error| classify(connection, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::migrate;

    #[test]
    fn a_site_that_is_deleted_before_the_snapshot_is_not_behind() {
        let folder = std::env::temp_dir().join(format!("backup-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("the temporary folder is writable");
        let path = folder.join("inventory.db").display().to_string();
        let url = DatabaseUrl::Sqlite(path.clone());
        migrate(&url).expect("a new database");
        // What a deletion leaves of a site with five entries.
        let deleted = "INSERT INTO cut (site_id, sequence, recorded_at) VALUES (zeroblob(16), 5, 0)";
        open(&path).expect("it opens").batch_execute(deleted).expect("the row can be added");
        let mut made = Backup::write(&url, &folder.join("backup.db")).expect("it can be written");

        let site = SiteId::from_uuid(uuid::Uuid::nil());
        made.before = vec![(site, 5)];
        made.check().expect("what was there is deleted");
        made.before = vec![(site, 6)];
        let behind = made.check().expect_err("an entry is missing");
        assert!(matches!(behind, BackupError::Behind { has: 5, expected: 6, .. }), "{behind}");
        std::fs::remove_dir_all(&folder).expect("removable");
    }
}
