//! `backup`: everything of a database on SQLite in one new file, while its servers go on.
//!
//! The file appears under its name only after it was checked: by SQLite itself, against the database, and by adding up
//! the ledger of every site. For each site it prints up to which sequence number the backup goes.

mod part;

use std::error::Error;

use inventory_core::reports::verify::Verified;
use inventory_core::store::{self, DatabaseUrl, Open, Store};
use inventory_program::Out;

use self::part::Part;
use super::progress;
use super::proof::prove;
use crate::config::databases::Backup;

/// Makes a backup.
pub async fn backup(settings: Backup) -> Result<(), Box<dyn Error>> {
    let Backup { database, file } = settings;
    let part = Part::create(&file)?;
    let backup = store::Backup::write(&database.database_url, part.path())?;
    part.sync()?;
    backup.check()?;
    let path = part.path().to_str().ok_or("the path is not UTF-8")?.to_owned();
    let bar = progress(0, "adding up");
    let copy = Store::open(DatabaseUrl::Sqlite(path), Open::ReadOnly)?;
    let mut sites = Vec::new();
    let proof = prove(&copy, &bar, |Verified { site, .. }| sites.push((site.id, site.sequence))).await?;
    drop(copy);
    bar.finish_and_clear();
    part.publish()?;
    let mut out = Out::default();
    for (site, sequence) in sites {
        out.line(format_args!("site {site}: up to sequence {sequence}"))?;
    }
    out.line(format_args!("{}: {proof}", file.display()))?;
    Ok(proof.check()?)
}
