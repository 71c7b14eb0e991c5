//! `ledger archive`: writes old entries to files, and removes them from the database.
//!
//! First all files are written and synced, and then a manifest that lists them with their checksums. Only what a
//! complete manifest lists is removed, site by site, in steps that are transactions of their own. So the command may
//! end at any moment: run again, it writes the files anew if there is no manifest, and otherwise goes on removing.

mod manifest;
mod remove;
mod write;

use std::error::Error;

use inventory_core::engine::clock::Clock;
use inventory_core::store::Store;

use self::manifest::Manifest;
use crate::config::retention::{Archive, LedgerCommand};

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
    let url = database.database_url;
    let store = tokio::task::spawn_blocking(move || Store::open_whole(url)).await??;
    let folder = to.join(format!("before-{}", before.name));
    let manifest = match Manifest::read(&folder)? {
        Some(manifest) => {
            println!("{}: the files are complete; going on with the database", folder.display());
            manifest
        }
        None => match write::write(&store, &folder, &before, format).await? {
            Some(manifest) => manifest,
            None => {
                println!("no entry before {} is in the database that may be archived", before.name);
                return Ok(());
            }
        },
    };
    let removed = remove::remove(&store, &folder, &manifest).await?;
    println!(
        "{}: {} entries of {} sites; {removed} of them were removed from the database now",
        folder.display(),
        manifest.entries(),
        manifest.sites.rows
    );
    Ok(())
}
