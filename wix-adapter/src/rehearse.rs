//! `wix-adapter rehearse`: tries a deployment through its public URL before Wix does.
//!
//! It signs with a key of its own, because nobody but Wix has Wix's. The adapter believes that key for one site alone,
//! [`REHEARSAL_SITE_ID`], so a rehearsal touches no other site. It gives back whatever
//! it takes, also at Ctrl-C. The entries of that site's ledger stay, as all entries do.
//!
//! It does not ask the gRPC server: what Wix cannot see, a rehearsal does not see either. It does not try what only Wix
//! can show, such as Wix's own key.

mod reach;
mod report;
mod stock;
mod trust;
mod verdict;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::Uri;
use clap::Args;
use inventory_program::tls::WebServer;
use inventory_program::{Out, tell_error};

use self::report::Report;
use self::stock::Stock;
use crate::caller::{self, Caller, Simulator};
use crate::signing;
use crate::token::REHEARSAL_SITE_ID;

/// The catalog's app id of the items that a rehearsal orders.
const CATALOG: &str = "rehearsal";

/// Settings of `rehearse`.
#[derive(Debug, Clone, Args)]
pub struct Rehearse {
    /// The deployment URI of the app, as its dashboard has it.
    #[arg(long, value_parser = caller::url, required_unless_present = "make_key")]
    pub url: Option<Uri>,
    /// An authority in this PEM file must have signed the certificate. Unset: one that this system trusts. Wix surely
    /// does not trust one of your own.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The app's id, as the adapter has it.
    #[arg(long, env = "WIX_APP_ID", required_unless_present = "make_key")]
    pub wix_app_id: Option<String>,
    /// The private key that signs, a PEM file. The adapter has its public half as --rehearsal-public-key-file.
    #[arg(long, value_name = "FILE", default_value = "wix-rehearsal-key.pem")]
    pub key_file: PathBuf,
    /// Make the key of --key-file and its public half, and do nothing else.
    #[arg(long)]
    pub make_key: bool,
    /// Rehearse at an http URL, without TLS. Wix does not call such a URL.
    #[arg(long)]
    pub without_tls: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs `rehearse` to its end: 0 if every check is ok, 1 if one failed, 2 if the rehearsal could not begin.
pub async fn rehearse(settings: Rehearse) -> ExitCode {
    let done = if settings.make_key { make_key(&settings.key_file) } else { print_report(&settings).await };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tell_error("wix-adapter", error.as_ref());
            ExitCode::from(2)
        }
    }
}

fn make_key(private: &Path) -> Result<bool, Box<dyn Error>> {
    if private.exists() {
        return Err(format!("--make-key: {} exists; remove it first, or name another", private.display()).into());
    }
    let public = signing::write_new(private)?;
    let mut out = Out::default();
    out.line(format_args!("made {}, which signs rehearsals: keep it to yourself", private.display()))?;
    out.line(format_args!("made {}: give it to the adapter as --rehearsal-public-key-file", public.display()))?;
    Ok(true)
}

async fn print_report(settings: &Rehearse) -> Result<bool, Box<dyn Error>> {
    let report = run(settings).await?;
    let mut out = Out::default();
    if settings.json {
        out.line(serde_json::to_string_pretty(&report)?)?;
    } else {
        report.lines().into_iter().try_for_each(|line| out.line(line))?;
    }
    Ok(report.is_ok())
}

/// The checks, in the order in which each needs those before it.
async fn run(settings: &Rehearse) -> Result<Report, Box<dyn Error>> {
    let url = settings.url.as_ref().ok_or("--url is required")?;
    let app_id = settings.wix_app_id.clone().ok_or("--wix-app-id (WIX_APP_ID) is required")?;
    let server = WebServer::new(url, settings.ca.as_deref())?;
    let simulator = Simulator {
        caller: Caller::new(url, settings.ca.as_deref())?,
        key: signing::read_private(&settings.key_file)?,
        app_id,
        site_id: REHEARSAL_SITE_ID.to_owned(),
        catalog_app_id: CATALOG.to_owned(),
    };
    let mut report = Report::new(url);
    if reach::run(&mut report, &server, &simulator.caller, settings.without_tls).await
        && trust::run(&mut report, &simulator).await
    {
        let mut stock = Stock::new(&simulator);
        tokio::select! {
            () = stock.run(&mut report) => {}
            // Ctrl-C ends the checks. What was taken still goes back.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                report.interrupt();
            }
        }
        stock.leave_as_found(&mut report).await;
    }
    report.close();
    Ok(report)
}
