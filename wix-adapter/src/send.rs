//! `wix-adapter send`: a simulator of Wix for people who develop against the adapter.
//!
//! It sends one signed call and prints the answer, or plays a scenario: several calls, what came back, and what the
//! ledger says (`play`). It does not retry, and it sends no field that the flags cannot set. The exit code tells a
//! script what happened ([`Ended`]).

mod ledger;
mod play;
mod scenarios;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::Uri;
use clap::{Args, Subcommand};
use inventory_program::tls::GrpcUpstream;
use inventory_program::{Out, tell_error};

pub use self::scenarios::Scenario;
use crate::caller::{self, Answered, Call, Caller, Options, Piece, Simulator};
use crate::convert::{Method, REASONS};
use crate::{demo, signing};

/// Settings of `send`.
#[derive(Debug, Clone, Args)]
pub struct Send {
    /// Whom to call, as whom.
    #[command(flatten)]
    pub target: Target,
    /// What to send.
    #[command(subcommand)]
    pub what: What,
}

/// Whom to call, and for whom to sign. The defaults are those of `standalone --demo`.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The URL of the adapter. For https the certificate is checked.
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080", value_parser = caller::url)]
    pub url: Uri,
    /// For https: an authority in this PEM file must have signed the certificate. Unset: one that this system trusts.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The app's installation: the site.
    #[arg(long, global = true, default_value = demo::SITE_ID)]
    pub instance_id: String,
    /// The app that the token is for.
    #[arg(long, global = true, default_value = demo::APP_ID)]
    pub app_id: String,
    /// The catalog's app id, of every item.
    #[arg(long, global = true, default_value = demo::CATALOG_APP_ID)]
    pub catalog_app_id: String,
    /// The private key that signs the token, a PEM file. `wix-adapter standalone --demo` makes one.
    #[arg(long, global = true, value_name = "FILE", default_value = demo::KEY_FILE)]
    pub key_file: PathBuf,
}

/// One call, or a scenario.
#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// One call that takes stock away. Exits with 0 for 200, with 1 for 428, and with 2 for all else.
    Decrement(One),
    /// One call that gives stock back. Exits as `decrement` does.
    Increment(One),
    /// Several calls.
    #[command(flatten)]
    Scenario(Box<Scenario>),
}

/// The fields of one call.
#[derive(Debug, Clone, Args)]
pub struct One {
    /// A catalog item id and a quantity, as ITEM or ITEM:QUANTITY. Repeatable.
    #[arg(long = "item", required = true, value_parser = Piece::parse)]
    pub items: Vec<Piece>,
    /// The options of every item, as a JSON object.
    #[arg(long, value_parser = Options::parse)]
    pub options: Option<Options>,
    /// The location of every item, a GUID.
    #[arg(long)]
    pub location_id: Option<String>,
    /// The order, a GUID; a new one unless given.
    #[arg(long)]
    pub order_id: Option<String>,
    /// Wix's id of the request; a new one unless given. The same id again is a replay.
    #[arg(long)]
    pub request_id: Option<String>,
    /// The reason, by Wix's name: ORDER_PLACED, ORDER_PAID, ORDER_EDITED, ORDER_CANCELED, ORDER_REFUNDED or
    /// ORDER_REJECTED. Unset: ORDER_PLACED for a decrement, ORDER_CANCELED for an increment.
    #[arg(long, value_parser = reason)]
    pub reason: Option<&'static str>,
    /// Allow levels below zero (`restrictInventoryValue: false`). Of a decrement.
    #[arg(long)]
    pub unrestricted: bool,
}

/// The server whose ledger a scenario reads.
#[derive(Debug, Clone, Args)]
pub struct Asked {
    /// The server.
    #[command(flatten)]
    pub server: GrpcUpstream,
    /// A file that holds a token for the gRPC server, with the scope `stock:read`. Unset: none is sent.
    #[arg(long, env = "TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// How `send` ends. It is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// 0: the call is applied; of a scenario: everything came out as the scenario says.
    AsExpected,
    /// 1: the call is refused, and nothing was changed; of a scenario: something came out otherwise.
    Otherwise,
    /// 2: no adapter was reached, or it did not believe the token, or it answered that it cannot serve.
    NotServed,
}

impl Ended {
    /// The end that one answer means.
    const fn of(status: u16) -> Self {
        match status {
            200 => Self::AsExpected,
            428 => Self::Otherwise,
            _ => Self::NotServed,
        }
    }
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::AsExpected => Self::SUCCESS,
            Ended::Otherwise => Self::FAILURE,
            Ended::NotServed => Self::from(2),
        }
    }
}

/// Runs `send` to its end. An error is one line on standard error, and means that nothing was served.
pub async fn send(settings: Send) -> ExitCode {
    let Send { target, what } = settings;
    let result = match what {
        What::Decrement(one) => send_one(&target, Method::Decrement, one).await,
        What::Increment(one) => send_one(&target, Method::Increment, one).await,
        What::Scenario(scenario) => scenarios::run(&target, *scenario).await,
    };
    result
        .unwrap_or_else(|error| {
            tell_error("wix-adapter", error.as_ref());
            Ended::NotServed
        })
        .into()
}

/// Sends one call and prints the ids, the status and the body.
async fn send_one(target: &Target, method: Method, one: One) -> Result<Ended, Box<dyn Error>> {
    let One { items, options, location_id, order_id, request_id, reason, unrestricted } = one;
    let wix = target.simulator()?;
    let call = Call::new(method, &wix.site_id, &wix.catalog_app_id, items);
    let call = Call {
        order_id: order_id.unwrap_or_else(|| call.order_id.clone()),
        request_id: request_id.unwrap_or_else(|| call.request_id.clone()),
        reason: reason.unwrap_or(call.reason),
        is_unrestricted: unrestricted,
        options,
        location_id,
        ..call
    };
    let Answered { status, body, .. } = wix.send(&call).await?;
    let mut out = Out::default();
    out.line(format_args!("order {} request {}", call.order_id, call.request_id))?;
    out.line(format_args!("{status} {body}"))?;
    Ok(Ended::of(status))
}

impl Target {
    /// The demo's names, with the key that the demo keeps in the working folder, and an adapter at `url`.
    pub fn demo(url: Uri) -> Self {
        Self {
            url,
            ca: None,
            instance_id: demo::SITE_ID.to_owned(),
            app_id: demo::APP_ID.to_owned(),
            catalog_app_id: demo::CATALOG_APP_ID.to_owned(),
            key_file: Path::new(demo::KEY_FILE).to_owned(),
        }
    }

    /// A stand-in for Wix. Must be called inside the runtime.
    pub fn simulator(&self) -> Result<Simulator, Box<dyn Error>> {
        Ok(Simulator {
            caller: Caller::new(&self.url, self.ca.as_deref())?,
            key: signing::read_private(&self.key_file)?,
            app_id: self.app_id.clone(),
            site_id: self.instance_id.clone(),
            catalog_app_id: self.catalog_app_id.clone(),
        })
    }
}

/// The form of `--reason`.
fn reason(text: &str) -> Result<&'static str, String> {
    let known = REASONS.into_iter().find(|name| *name == text);
    known.ok_or_else(|| format!("must be one of {}", REASONS.join(", ")))
}
