//! The settings of `ledger archive` and `site delete`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use inventory_core::model::ids::{SiteId, parse_guid};
use inventory_core::model::limits;

use super::{Database, Format};
use crate::decode::{time_in_text, whole_micros};

/// What can be done with the ledger of all sites.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Write the entries of old months to files, and remove them from the database.
    ///
    /// The files are safe on the disk before anything is removed. Each level as of then, and what each order holds,
    /// stays in the database: `verify` proves the rest by it, and later returns are judged by it. The servers may run
    /// meanwhile. On Postgres, run it as the owner of the tables. If it was interrupted, run it again: it goes on.
    ///
    /// Entries stay that the replay of a request may still need, so the outcomes of requests must be older and deleted
    /// (`--request-retention-days`). Run the same command again later: it archives them to a further folder.
    Archive(Archive),
}

/// What to archive.
#[derive(Debug, Args)]
pub struct Archive {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// Archive the entries that were recorded before this month, such as 2026-01 (UTC).
    #[arg(long, value_parser = month)]
    pub before: Month,
    /// The folder that gets the files, in a folder of their own for each `--before`, and for each later run that finds
    /// more.
    #[arg(long)]
    pub to: PathBuf,
    /// The format of the files.
    #[arg(long, default_value = "csv")]
    pub format: Format,
}

/// What can be done with a whole site.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Delete a site with everything that the database holds of it.
    ///
    /// One record stays in the journal of settings: who deleted the site, when and why. The servers may run meanwhile.
    /// An order that comes later begins a new, empty site. On Postgres, run it as the owner of the tables. Files that
    /// were exported or archived, and backups, keep what they hold.
    Delete(Delete),
}

/// Which site to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// The site, a GUID.
    #[arg(long, env = "SITE_ID", value_parser = site)]
    pub site_id: SiteId,
    /// Who deletes it, for the journal.
    #[arg(long, value_parser = by)]
    pub by: String,
    /// Why, for the journal.
    #[arg(long, value_parser = reason)]
    pub reason: String,
    /// Do not ask. Without it, the command asks for the site's id on standard input.
    #[arg(long)]
    pub yes: bool,
}

/// A month, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// Year and month, such as 2026-01.
    pub name: String,
    /// When it begins: microseconds since 1970.
    pub start: i64,
}

fn month(text: &str) -> Result<Month, String> {
    let bytes = text.as_bytes();
    let is_month = bytes.len() == 7
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let start = time_in_text(&format!("{text}-01T00:00:00Z")).filter(|_| is_month).and_then(whole_micros);
    let (start, _) = start.ok_or_else(|| "must be a month such as 2026-01".to_owned())?;
    Ok(Month { name: text.to_owned(), start })
}

fn site(text: &str) -> Result<SiteId, String> {
    parse_guid(text).map(SiteId::from_uuid).ok_or_else(|| "must be a GUID".to_owned())
}

fn by(text: &str) -> Result<String, String> {
    bounded(text, limits::ACTOR_CHARS_MAX)
}

fn reason(text: &str) -> Result<String, String> {
    bounded(text, limits::NOTE_CHARS_MAX)
}

fn bounded(text: &str, chars_max: usize) -> Result<String, String> {
    let is_good = !text.trim().is_empty() && text.chars().count() <= chars_max && !text.contains('\0');
    is_good.then(|| text.to_owned()).ok_or_else(|| format!("must have 1 to {chars_max} characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_has_a_year_and_a_number() {
        assert_eq!(month("2027-01"), Ok(Month { name: "2027-01".into(), start: 1_798_761_600_000_000 }));
        for bad in ["", "2027", "2027-1", "2027-13", "2027-00", "2027-01-01", "27-01", "202a-01", "2027/01"] {
            assert!(month(bad).is_err(), "{bad}");
        }
    }
}
