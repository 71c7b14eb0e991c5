//! `site delete`: removes everything that the database holds of a site, but for a record of the deletion.

use std::error::Error;
use std::io::Write;

use inventory_core::engine::clock::Clock;
use inventory_core::engine::retention::Keeper;
use inventory_core::model::access::Author;
use inventory_core::model::ids::SiteId;
use inventory_core::model::journal::DELETION;
use inventory_core::store::{Snapshot, Store, Terms};
use inventory_program::Out;

use crate::config::retention::{Delete, SiteCommand};
use crate::encode::timestamp;

/// The actor of a deletion in the journal.
const ACTOR: &str = "inventory-grpc site";

/// Runs one of the commands.
pub async fn site(command: SiteCommand) -> Result<(), Box<dyn Error>> {
    match command {
        SiteCommand::Delete(settings) => delete(settings).await,
    }
}

async fn delete(settings: Delete) -> Result<(), Box<dyn Error>> {
    let Delete { database, site_id, by, reason, yes } = settings;
    let (url, mut out) = (database.database_url, Out::default());
    let store = tokio::task::spawn_blocking(move || Store::open_whole(url)).await??;
    let newest = move |snapshot: &mut Snapshot<'_>| snapshot.setting_changes(None, true, 1);
    let found = store.read(site_id, Terms::default(), newest).await?;
    if !found.exists {
        let last = found.value.rows.first().map(|entry| &entry.change).filter(|change| change.subject == DELETION);
        let Some(change) = last else {
            return Err(format!("--site-id (SITE_ID): nothing was ever written for the site {site_id}").into());
        };
        let at = timestamp(change.recorded_at);
        return Ok(out.line(format_args!("the site {site_id} was deleted at {at}; nothing is left to do"))?);
    }
    if !yes && !confirmed(site_id, found.site.sequence)? {
        return Err("the id that was typed is not that of the site; nothing was changed".into());
    }
    let author = Author { actor: ACTOR.to_owned(), on_behalf_of: by };
    let is_log_empty = Keeper::connect(&store)?.delete_site(site_id, &author, &reason, Clock::system().now())?;
    out.line(format_args!("the site {site_id} is deleted; the journal says so"))?;
    if !is_log_empty {
        out.line("its rows may stay in the database's log, the file -wal, until the server stops")?;
    }
    for (_, token) in store.tokens().await?.iter().filter(|(_, token)| token.sites.contains(&site_id)) {
        let name = &token.name;
        out.line(format_args!("the token {name} names the site; `inventory-grpc token revoke --name {name}` ends it"))?;
    }
    Ok(())
}

/// Whether a person types the id of the site.
fn confirmed(site: SiteId, sequence: i64) -> Result<bool, Box<dyn Error>> {
    let mut asked = std::io::stderr();
    write!(asked, "This deletes the site {site} with its {sequence} entries for ever. Type its id to go on: ")?;
    asked.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().eq_ignore_ascii_case(&site.to_string()))
}
