//! `ledger archive`: writes old entries to files, and removes them from the database.
//!
//! First all files are written and synced, and then a manifest that lists them with their checksums. Only what a
//! complete manifest lists is removed, site by site, in steps that are transactions of their own. So the command may
//! end at any moment: run again, it writes the files anew if there is no manifest, and otherwise goes on removing.
//!
//! Files that have a manifest never change. What may be archived later from before the same month, because replays do
//! not need it any more, gets a further folder with files and a manifest of its own.

mod manifest;
mod remove;
mod write;

use std::error::Error;
use std::path::{Path, PathBuf};

use inventory_core::engine::clock::Clock;
use inventory_core::store::Store;
use inventory_program::Out;

use self::manifest::Manifest;
use crate::config::retention::{Archive, LedgerCommand, Month};

/// How long a month must be over: the clocks of servers may differ.
const SETTLED_MICROS: i64 = 86_400 * 1_000_000;

/// Runs one of the commands.
pub async fn ledger(command: LedgerCommand) -> Result<(), Box<dyn Error>> {
    match command {
        LedgerCommand::Archive(settings) => archive(settings).await,
    }
}

async fn archive(settings: Archive) -> Result<(), Box<dyn Error>> {
    let Archive { database, before, to, format } = settings;
    if before.start > Clock::system().now().saturating_sub(SETTLED_MICROS) {
        return Err(format!("--before: {} must have begun more than a day ago", before.name).into());
    }
    let (url, mut out) = (database.database_url, Out::default());
    let store = tokio::task::spawn_blocking(move || Store::open_whole(url)).await??;
    for part in 1_u32.. {
        let folder = folder(&to, &before, part);
        let earlier = Manifest::read(&folder)?;
        let is_complete = earlier.is_some();
        let manifest = match earlier {
            Some(manifest) => {
                out.line(format_args!("{}: the files are complete; going on with the database", folder.display()))?;
                manifest
            }
            None => match write::write(&store, &folder, &before, format, &mut out).await? {
                Some(manifest) => manifest,
                None => {
                    let month = before.name;
                    out.line(format_args!("no entry before {month} is in the database that may be archived"))?;
                    break;
                }
            },
        };
        let removed = remove::remove(&store, &folder, &manifest).await?;
        let (folder, entries, sites) = (folder.display(), manifest.entries(), manifest.sites.rows);
        let now = "were removed from the database now";
        out.line(format_args!("{folder}: {entries} entries of {sites} sites; {removed} of them {now}"))?;
        if !is_complete {
            break;
        }
    }
    Ok(())
}

/// The folder of the files of one run: `before-2026-01`, and for what a later run finds `before-2026-01-2`, and so on.
fn folder(to: &Path, before: &Month, part: u32) -> PathBuf {
    let name = &before.name;
    to.join(if part == 1 { format!("before-{name}") } else { format!("before-{name}-{part}") })
}
