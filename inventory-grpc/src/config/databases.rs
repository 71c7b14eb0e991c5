//! The settings of the commands that work on whole databases: `backup` and `copy`.

use std::path::PathBuf;

use clap::Args;
use inventory_core::store::DatabaseUrl;

use super::Database;

/// What to back up, and where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// Which database.
    #[command(flatten)]
    pub database: Database,
    /// The new file. A file that exists is never written to.
    pub file: PathBuf,
}

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct Copy {
    /// The database to copy: `sqlite:PATH` or `postgres://USER@HOST/NAME`. Stop its servers first. On Postgres the user
    /// must own the tables. Nothing in it is changed.
    #[arg(long, env = "COPY_FROM", hide_env_values = true)]
    pub from: DatabaseUrl,
    /// An empty database, or one into which a copy of the same source has begun. Its schema is brought up to date. On
    /// Postgres the user becomes the owner of the tables.
    #[arg(long, env = "COPY_TO", hide_env_values = true)]
    pub to: DatabaseUrl,
}
