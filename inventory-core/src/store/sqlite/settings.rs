//! How connections to SQLite are opened, and the settings of their sessions.

use std::path::Path;

use crate::model::limits;
use crate::store::Open;

/// Settings of every connection. In WAL mode readers never wait for the writer; `FULL` makes COMMIT wait for the disk.
pub(crate) fn session() -> String {
    format!("{}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON", patience())
}

/// The one setting of a connection that writes nothing: how long it waits for another process.
pub(crate) fn patience() -> String {
    format!("PRAGMA busy_timeout = {}", limits::BUSY_MS_MAX)
}

/// What SQLite opens: a URI that keeps it from making a new file, or from writing.
pub(crate) fn target(path: &str, how: Open) -> String {
    let escape = |c: char| if matches!(c, '%' | '?' | '#') { format!("%{:02x}", u32::from(c)) } else { c.to_string() };
    let escaped: String = path.chars().map(escape).collect();
    let mode = match how {
        Open::Migrate | Open::AsIs => "mode=rw",
        Open::ReadOnly if Path::new(&format!("{path}-wal")).exists() => "mode=ro",
        // Without a log beside it, nobody writes to the database, and a read-only folder takes no log. Such a file does
        // not change while it is read.
        Open::ReadOnly => "immutable=1",
    };
    format!("file:{escaped}?{mode}")
}

/// Settings of the writer alone: a page cache of 32 MiB instead of 2, since orders and requests have random keys, and a
/// checkpoint every 16 MiB of log instead of every 4. With them SPREAD with 512 callers went from 9,700 to 11,400
/// orders a second, HOT with 64 from 19,600 to 24,400.
///
/// The p99 of 15 to 20 ms is probably the checkpoint's. Tried in turns, and not worth it: another connection that
/// writes the log beside the writer, so that the writer only writes the rest (p99 0.8 of that, but orders of HOT 0.96,
/// of SPREAD 0.92; with a log of 64 MiB as before), and pages of 2 KiB (SPREAD 1.09, but p99 1.4).
///
/// While a reader has a snapshot open, the log grows beyond that. Later the log begins anew, and its file is cut to the
/// size that it has between two checkpoints.
pub(super) const WRITER: &str =
    "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 16777216";

/// Bytes of the log that an idle writer leaves.
pub(super) const IDLE_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// Writes the log into the database and empties its file. While others need the log, it waits for them as for a lock.
pub(super) const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// Lets a statement fail that would have to wait.
pub(super) const WAIT_FOR_NOBODY: &str = "PRAGMA busy_timeout = 0";
