//! Months of the year 2020, and the command that archives what is from before one of them.

use std::path::Path;
use std::process::Command;

use inventory_core::store::DatabaseUrl;

use crate::books;
use crate::programs::{finish_saying, program};

/// The 15th of January, in microseconds since 1970.
pub const JANUARY: i64 = 1_579_046_400_000_000;
/// The 15th of February.
pub const FEBRUARY: i64 = 1_581_724_800_000_000;
/// The 15th of March.
pub const MARCH: i64 = 1_584_230_400_000_000;

/// The command that archives what is from before `month` to `folder`.
pub fn archive(database_url: &str, month: &str, folder: &Path) -> Command {
    let mut command = program("inventory-grpc");
    command.args(["ledger", "archive", "--before", month, "--database-url", database_url, "--to"]).arg(folder);
    command
}

/// Forgets the outcomes of requests from before the 15th of March, as a server does after its retention. Only then may
/// their entries be archived.
pub fn forget_outcomes(url: &DatabaseUrl) {
    let old = format!("DELETE FROM request WHERE recorded_at < {MARCH}");
    books::execute(url, &old).expect("outcomes can be deleted");
}

/// Archives what is from before March.
pub fn archive_old_months(url: &DatabaseUrl, database_url: &str, folder: &Path) {
    forget_outcomes(url);
    let (code, said) = finish_saying(archive(database_url, "2020-03", folder));
    assert_eq!(code, 0, "{said}");
}
