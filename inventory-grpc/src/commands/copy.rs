//! `copy`: everything of one database into another, empty one, such as from SQLite to Postgres.
//!
//! It copies all rows, compares all rows, and proves the books of both databases. Only then is the target a database
//! that servers take. If the command is interrupted, the same command goes on where it stopped.

use std::error::Error;

use indicatif::{HumanCount, ProgressBar};
use inventory_core::store::{CopyProgress, Copying, Store};
use inventory_program::{Out, tell};

use super::progress;
use super::proof::{Proof, prove};
use crate::config::databases::Copy;

/// Lines of progress where there is no terminal.
const LINES: u64 = 10;

/// Copies a database.
pub async fn copy(settings: Copy) -> Result<(), Box<dyn Error>> {
    let Copy { from, to } = settings;
    let (mut copying, mut out) = (Copying::begin(&from, &to)?, Out::default());
    let rows = u64::try_from(copying.rows()).unwrap_or_default();
    if let Some(resumed) = copying.resumed() {
        out.line(format_args!("goes on after {} rows", count(resumed)))?;
    }

    let mut told = Told::new(rows, "copied");
    let mut tables: Vec<(&str, i64)> = Vec::new();
    copying.run(|CopyProgress { table, rows, total }| {
        match tables.last_mut() {
            Some((last, last_rows)) if *last == table => *last_rows = rows,
            Some(_) | None => tables.push((table, rows)),
        }
        told.at(total);
    })?;
    told.finish();
    for (table, rows) in tables {
        out.line(format_args!("{table}: {} rows", count(rows)))?;
    }

    let mut told = Told::new(rows, "compared");
    let copied = copying.compare(|rows| told.at(rows))?;
    told.finish();
    out.line(format_args!("all {} rows are the same in both", HumanCount(rows)))?;

    let source = books(&copied.source()?, &format!("{from:?}"), &mut out).await?;
    let target = books(&copied.target()?, &format!("{to:?}"), &mut out).await?;
    if source != target {
        return Err(format!("the proofs differ: {source} in the source, {target} in the target").into());
    }
    copied.finish()?;
    out.line(format_args!("the copy is complete; start the servers on {to:?}"))?;
    Ok(target.check()?)
}

/// Proves the books of a database, and prints what they come to.
async fn books(store: &Store, name: &str, out: &mut Out) -> Result<Proof, Box<dyn Error>> {
    let bar = progress(0, "adding up");
    let proof = prove(store, &bar, |_| {}).await?;
    bar.finish_and_clear();
    out.line(format_args!("{name}: {proof}"))?;
    Ok(proof)
}

fn count(rows: i64) -> HumanCount {
    HumanCount(u64::try_from(rows).unwrap_or_default())
}

/// Shows progress: a bar on a terminal, or else a line now and then.
struct Told {
    bar: ProgressBar,
    rows: u64,
    work: &'static str,
    /// Rows at which the next line is due.
    next: u64,
}

impl Told {
    fn new(rows: u64, work: &'static str) -> Self {
        Self { bar: progress(rows, work), rows, work, next: rows / LINES }
    }

    fn at(&mut self, rows: i64) {
        let rows = u64::try_from(rows).unwrap_or_default();
        self.bar.set_position(rows);
        if self.bar.is_hidden() && rows > 0 && rows >= self.next {
            tell(format_args!("{} {} of {} rows", self.work, HumanCount(rows), HumanCount(self.rows)));
            self.next = rows.saturating_add((self.rows / LINES).max(1));
        }
    }

    fn finish(self) {
        self.bar.finish_and_clear();
    }
}
