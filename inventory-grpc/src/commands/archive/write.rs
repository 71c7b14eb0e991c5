//! Writes the entries of old months, each month to a file of its own, and a list of the sites.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use inventory_core::engine::clock::Clock;
use inventory_core::model::error::{Error as CoreError, Invalid};
use inventory_core::model::ids::SiteId;
use inventory_core::model::limits;
use inventory_core::model::site::Site;
use inventory_core::store::{EntryFilter, Snapshot, Store, Terms};
use inventory_program::Out;
use inventory_proto::v1;
use serde_json::{Value, json};

use super::super::export::{LEDGER, ledger_row};
use super::super::progress;
use super::manifest::{Listed, Manifest, Rows, sync};
use crate::config::Format;
use crate::config::retention::Month;
use crate::encode;

/// The columns of a file of entries: those of `export ledger`, and what makes them complete.
const COLUMNS: [&str; LEDGER.len() + 3] = {
    let mut columns = [""; LEDGER.len() + 3];
    columns[0] = "site_id";
    let mut at = 0;
    while at < LEDGER.len() {
        columns[at + 1] = LEDGER[at];
        at += 1;
    }
    columns[LEDGER.len() + 1] = "change_sequence";
    columns[LEDGER.len() + 2] = "subscription_item";
    columns
};
/// The columns of the list of sites.
pub(super) const SITES: [&str; 5] = ["site_id", "after_sequence", "last_sequence", "last_time", "last_request_id"];
/// The name of the list of sites. It is always CSV.
const SITES_NAME: &str = "sites.csv";
/// How long the look for entries may take that the replays of a site need.
const LOOK_TIME_MAX: Duration = Duration::from_secs(600);
/// What the names of files of entries begin with.
const MONTH_PREFIX: &str = "ledger-";

/// Writes the files; `None` if there is nothing to archive. Prints how many sites keep entries that a replay needs.
pub(super) async fn write(
    store: &Store,
    folder: &Path,
    before: &Month,
    format: Format,
    out: &mut Out,
) -> Result<Option<Manifest>, Box<dyn Error>> {
    let mut files = Files { folder: folder.to_owned(), format, months: BTreeMap::new(), sites: None };
    let bar = progress(0, "archiving");
    let (mut after, mut waiting) = (None, 0_u64);
    loop {
        let page = store.list_sites(None, after, limits::PAGE_ROWS_MAX).await?;
        bar.inc_length(page.rows.len() as u64);
        for site in page.rows {
            let Range { after, last, shortened } = range(store, site.id, before.start).await?;
            waiting += u64::from(shortened);
            if after < last {
                files.site(store, &site, after, last).await?;
            }
            bar.inc(1);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    let manifest = files.finish(before)?;
    if waiting > 0 {
        out.line(format_args!("{waiting} sites keep entries that the replays of recorded requests still need"))?;
    }
    Ok(manifest)
}

/// The entries of a site that are archived: after `after`, up to and including `last`.
struct Range {
    after: i64,
    last: i64,
    /// Whether entries stay that a replay needs.
    shortened: bool,
}

async fn range(store: &Store, site: SiteId, before: i64) -> Result<Range, CoreError> {
    let query = move |snapshot: &mut Snapshot<'_>| {
        let after = snapshot.cut()?.sequence;
        let last = match snapshot.sequence_before(before) {
            Ok(last) => last,
            // More than that is archived already.
            Err(CoreError::Invalid(Invalid::Archived { cut })) => cut,
            Err(error) => return Err(error),
        };
        let needed = if after < last { snapshot.first_replayable(last)? } else { None };
        // The entry before the first one of a request is the last one of its change.
        Ok(Range { after, last: needed.map_or(last, |first| first - 1), shortened: needed.is_some() })
    };
    // The recorded requests of a large site are many.
    let terms = Terms { deadline: Instant::now() + LOOK_TIME_MAX, ..Terms::default() };
    Ok(store.read_page(site, terms, query).await?.value)
}

/// The files that are being written.
struct Files {
    folder: PathBuf,
    format: Format,
    months: BTreeMap<String, Rows<'static>>,
    /// Made with the first entry.
    sites: Option<Rows<'static>>,
}

impl Files {
    /// Writes the entries of a site.
    async fn site(&mut self, store: &Store, site: &Site, after: i64, last: i64) -> Result<(), Box<dyn Error>> {
        let mut after_sequence = after;
        let mut newest = None;
        while after_sequence < last {
            let filter = EntryFilter { after_sequence, up_to_sequence: Some(last), ..EntryFilter::default() };
            let query = move |snapshot: &mut Snapshot<'_>| snapshot.list_entries(&filter, limits::PAGE_ROWS_MAX);
            let read = store.read_page(site.id, Terms::default(), query).await?;
            let default = read.site.settings.default_location;
            for entry in read.value.rows {
                if entry.sequence != after_sequence + 1 {
                    return Err(format!("site {}: no entry follows {after_sequence}; run `verify`", site.id).into());
                }
                after_sequence = entry.sequence;
                let entry = encode::entry(entry, default);
                let time = entry.record_time.map(|time| time.to_string()).unwrap_or_default();
                newest = Some((time.clone(), entry.request_id.clone()));
                self.month(&time)?.row(&row(site.id, entry))?;
            }
            if read.value.next.is_none() && after_sequence < last {
                return Err(format!("site {}: no entry follows {after_sequence}; run `verify`", site.id).into());
            }
        }
        let (time, request_id) = newest.unwrap_or_default();
        let row = [json!(site.id.to_string()), json!(after), json!(last), json!(time), json!(request_id)];
        match &mut self.sites {
            Some(sites) => sites.row(&row),
            None => Err("no file of entries was made".into()),
        }
    }

    /// The file of the month of a time.
    fn month(&mut self, time: &str) -> Result<&mut Rows<'static>, Box<dyn Error>> {
        let Self { folder, format, months, sites } = self;
        if sites.is_none() {
            begin(folder)?;
            *sites = Some(Rows::create(folder, SITES_NAME.to_owned(), Format::Csv, &SITES)?);
        }
        let month = time.get(..7).unwrap_or("unknown");
        if !months.contains_key(month) {
            let ending = match format {
                Format::Csv => "csv",
                Format::Ndjson => "ndjson",
            };
            let name = format!("{MONTH_PREFIX}{month}.{ending}");
            months.insert(month.to_owned(), Rows::create(folder, name, *format, &COLUMNS)?);
        }
        months.get_mut(month).ok_or_else(|| "the month has no file".into())
    }

    /// Completes all files, and then the manifest.
    fn finish(self, before: &Month) -> Result<Option<Manifest>, Box<dyn Error>> {
        let Self { folder, format: _, months, sites } = self;
        let Some(sites) = sites else { return Ok(None) };
        let months = months.into_values().map(|rows| rows.finish(&folder)).collect::<Result<Vec<Listed>, _>>()?;
        let created = encode::timestamp(Clock::system().now()).to_string();
        let manifest = Manifest { before: before.name.clone(), created, sites: sites.finish(&folder)?, months };
        sync(&folder).map_err(|error| format!("--to: cannot write {}: {error}", folder.display()))?;
        manifest.write(&folder)?;
        Ok(Some(manifest))
    }
}

/// Makes the folder, and removes what an earlier run left that did not complete its files.
fn begin(folder: &Path) -> Result<(), Box<dyn Error>> {
    let told = |error: std::io::Error| format!("--to: cannot write {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(told)?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync(parent).map_err(told)?;
    }
    for file in fs::read_dir(folder).map_err(told)? {
        let file = file.map_err(told)?;
        if file.file_name().to_string_lossy().starts_with(MONTH_PREFIX) {
            fs::remove_file(file.path()).map_err(told)?;
        }
    }
    Ok(())
}

fn row(site: SiteId, entry: v1::Entry) -> Vec<Value> {
    let (change_sequence, subscription) = (json!(entry.change_sequence), json!(entry.subscription_item));
    let mut row = vec![json!(site.to_string())];
    row.extend(ledger_row(entry));
    row.extend([change_sequence, subscription]);
    row
}
