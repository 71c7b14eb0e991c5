//! Whether calls reach the adapter: TLS, the path, and the clock of the server. It needs no key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use inventory_program::tls::{NoTls, Shown, WebServer};

use super::report::{Name, Problem, Report};
use super::verdict;
use crate::caller::{Answered, Caller};
use crate::convert::Method;
use crate::token::LEEWAY_SECONDS;

/// Time for a TLS connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Days that a certificate must still be valid.
const VALID_DAYS_MIN: u64 = 7;
const DAY_SECONDS: u64 = 86_400;
/// Seconds by which the clock of the server may differ from ours. The header has whole seconds.
const CLOCK_SECONDS_MAX: u64 = 10;

/// Runs the checks. Returns whether both calls reach the adapter.
pub(super) async fn run(report: &mut Report, server: &WebServer, caller: &Caller, without_tls: bool) -> bool {
    let shown = tokio::time::timeout(CONNECT_TIME_MAX, server.shown()).await;
    match shown {
        Ok(Ok(None)) if without_tls => report.skip(Name::Tls, "--without-tls; Wix calls only https"),
        Ok(Ok(None)) => {
            let advice = "give an https URL; --without-tls rehearses without TLS on purpose";
            report.add(Name::Tls, Err(Problem::new("the URL is http, and Wix calls only https", advice)));
        }
        Ok(Ok(Some(shown))) => {
            report.add(Name::Tls, valid(shown));
        }
        Ok(Err(error)) => {
            report.add(Name::Tls, Err(no_tls(&error)));
            return false;
        }
        Err(_) => {
            let found = format!("no TLS connection within {} seconds", CONNECT_TIME_MAX.as_secs());
            report.add(Name::Tls, Err(Problem::new(found, "check the host, the port and the firewall")));
            return false;
        }
    }
    let answer = match path(caller).await {
        Ok(answer) => answer,
        Err(problem) => return report.add(Name::Path, Err(problem)),
    };
    report.add(Name::Path, Ok("both calls reach the adapter, which refuses what is not signed".to_owned()));
    match answer.clock_ahead {
        None => report.skip(Name::Clock, "the answers have no header Date"),
        Some(ahead) => {
            report.add(Name::Clock, clock(ahead));
        }
    }
    true
}

/// Whether the certificate is valid for long enough. That it is valid now is known.
fn valid(Shown { is_tls13, valid_until }: Shown) -> Result<String, Problem> {
    let version = if is_tls13 { "TLS 1.3" } else { "TLS 1.2" };
    let Some(until) = valid_until else { return Ok(format!("{version}; the certificate never expires")) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = until.saturating_sub(now) / DAY_SECONDS;
    let date = UNIX_EPOCH.checked_add(Duration::from_secs(until)).map(httpdate::fmt_http_date).unwrap_or_default();
    let found = format!("{version}; the certificate is valid until {date} ({days} days)");
    if days >= VALID_DAYS_MIN { Ok(found) } else { Err(Problem::new(found, "renew the certificate now")) }
}

fn no_tls(error: &NoTls) -> Problem {
    let advice = match error {
        NoTls::Unreachable(_) => "check the host, the port and the firewall, and that the server runs",
        NoTls::OtherProtocol => "give the adapter a certificate (--tls-cert, --tls-key), or let a proxy do TLS",
        NoTls::Expired => "renew the certificate",
        NoTls::WrongName => "get a certificate for the host of the URL, or give the URL that it names",
        NoTls::UnknownAuthority => {
            "let the server send the whole chain; a certificate of an authority of your own needs --ca here, and Wix \
             does not trust it"
        }
        NoTls::Other(_) => {
            "look at the server's log; TLS 1.2 or 1.3 is needed, and a certificate of a server, not of an authority \
             (CA:FALSE)"
        }
    };
    Problem::new(error.to_string(), advice)
}

/// Posts what is not signed to both calls: only an adapter refuses it in the adapter's way.
async fn path(caller: &Caller) -> Result<Answered, Problem> {
    let posted = async |method| {
        let answer = caller.post(method, "rehearsal".to_owned()).await;
        verdict::expect(answer.map_err(Into::into), 401)
    };
    posted(Method::Decrement).await?;
    posted(Method::Increment).await
}

fn clock(ahead: i64) -> Result<String, Problem> {
    let differs = match ahead {
        0 => "the server's clock is the same as here".to_owned(),
        1.. => format!("the server's clock is {ahead} s ahead of this machine's"),
        _ => format!("the server's clock is {} s behind this machine's", ahead.unsigned_abs()),
    };
    if ahead.unsigned_abs() <= CLOCK_SECONDS_MAX {
        return Ok(differs);
    }
    let advice = format!("set both clocks by NTP; tokens are refused beyond {LEEWAY_SECONDS} s");
    Err(Problem::new(differs, advice))
}
