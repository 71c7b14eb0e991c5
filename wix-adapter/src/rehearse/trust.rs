//! Whom the adapter believes: the rehearsal's key, for this app, now, and nobody else. Nothing is taken here: every
//! call asks for more than there is.

use super::report::{Name, Problem, Report};
use super::{stock, verdict};
use crate::answer::is_of_adapter;
use crate::caller::{Call, Signature, Simulator};
use crate::signing::{self, Times};
use crate::token::LEEWAY_SECONDS;

/// A site that is no rehearsal's, and no app's installation.
const OTHER_SITE: &str = "7e577e57-7e57-4e57-8e57-000000000000";
/// An app that the adapter is not for.
const OTHER_APP: &str = "rehearsal-of-another-app";
/// Seconds by which a token may be off: the tolerance, less what clocks may differ.
const TOLERATED_SECONDS: u64 = LEEWAY_SECONDS - 10;
/// Seconds by which a token may not be off.
const REFUSED_SECONDS: u64 = LEEWAY_SECONDS + 60;

/// Runs the checks. Returns whether the adapter believes the key and its gRPC server decides.
pub(super) async fn run(report: &mut Report, wix: &Simulator) -> bool {
    let question = wix.question(&[&stock::item(0)]);
    let decided = verdict::expect(wix.send(&question).await, 428);
    let decided =
        decided.map(|_| format!("the adapter believes the key for app {}, and its server decides", wix.app_id));
    if !report.add(Name::Key, decided) {
        return false;
    }
    let times = token_times(wix).await;
    report.add(Name::TokenTimes, times);
    let strangers = strangers(wix).await;
    report.add(Name::Strangers, strangers);
    true
}

/// Tokens that are a little off must be believed: so the adapter's own clock is right, whatever clock a proxy has.
async fn token_times(wix: &Simulator) -> Result<String, Problem> {
    let (near, far) = (TOLERATED_SECONDS, REFUSED_SECONDS);
    let rows = [
        (Times::ahead(near), 428, format!("issued {near} s ahead"), "behind"),
        (Times::expired(near), 428, format!("expired {near} s ago"), "ahead of"),
        (Times::ahead(far), 401, format!("issued {far} s ahead"), "ahead of"),
        (Times::expired(far), 401, format!("expired {far} s ago"), "behind"),
    ];
    for (times, expected, what, clock) in rows {
        let signature = Signature { times, ..wix.signature() };
        let answer = wix.send_signed(&wix.question(&[&stock::item(0)]), signature).await.map_err(verdict::not_sent)?;
        if answer.status == expected {
            continue;
        }
        if ![401, 428].contains(&answer.status) || !is_of_adapter(answer.status, &answer.body) {
            return Err(verdict::of(&answer));
        }
        let verb = if answer.status == 401 { "refused" } else { "believed" };
        let found = format!("a token {what} is {verb}: the adapter's clock is {clock} this machine's");
        return Err(Problem::new(found, "set both clocks by NTP"));
    }
    Ok(format!("tokens {near} s off are believed, tokens {far} s off are refused"))
}

/// Tokens that must be refused.
async fn strangers(wix: &Simulator) -> Result<String, Problem> {
    let other_key = signing::generate_private();
    let other_key = other_key.map_err(|error| Problem::new(error.to_string(), "try again"))?;
    let question = || wix.question(&[&stock::item(0)]);
    let other_site = Call { site_id: OTHER_SITE.to_owned(), ..question() };
    let key_of_all = "this key opens every site: whoever has it can change any stock. Remove it from --wix-public-key \
                      and --wix-public-key-file, and give it as --rehearsal-public-key-file";
    let open = "the adapter believes anybody: look for something before it that answers in its place";
    let rows = [
        (question(), Signature { key: &other_key, ..wix.signature() }, "of another key", open),
        (question(), Signature { app_id: OTHER_APP, ..wix.signature() }, "for another app", open),
        (other_site, wix.signature(), "for another site", key_of_all),
    ];
    for (call, signature, what, advice) in rows {
        let answer = wix.send_signed(&call, signature).await.map_err(verdict::not_sent)?;
        match answer.status {
            401 if is_of_adapter(answer.status, &answer.body) => {}
            200 | 428 => return Err(Problem::new(format!("a token {what} is believed"), advice)),
            _ => return Err(verdict::of(&answer)),
        }
    }
    Ok("tokens of another key, for another app and for another site are refused".to_owned())
}
