//! The scenarios: what Wix does, call by call, and how it must come out.
//!
//! Each works on items of its own in the catalog (`send-…`), which it brings to a known level first.

use std::collections::BTreeMap;
use std::error::Error;

use clap::Subcommand;
use futures_util::future::join_all;

use super::ledger::Ledger;
use super::play::{Expected, Outcome, Play, Stop};
use super::{Asked, Ended, Target};
use crate::caller::Signature;
use crate::convert::Method;
use crate::signing::{self, Times};

/// The pieces that the buyers of `rush` compete for.
const RUSH_PIECES: i64 = 5;
/// How long ago the token of `expired-token` has expired, in seconds. The adapter tolerates 30.
const EXPIRED_SECONDS: u64 = 3_600;

/// What Wix does. A scenario prints what it sends, what comes back, and what the ledger says if it can be asked. Exits
/// with 0 if everything comes out as the scenario says, with 1 if not, and with 2 if it is not served.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// An order: 200, and the pieces are taken once.
    Order(Asked),
    /// The same call twice, as after a lost answer: 200 both times, and the pieces are taken once.
    Replay(Asked),
    /// An order for more than there is: 428 lists what is missing, and nothing is taken.
    SoldOut(Asked),
    /// An order that is paid already, for more than there is: 200, and the level falls below zero.
    Paid(Asked),
    /// The merchant replaces a line of an order: a decrement and an increment, 200 each, and both levels follow.
    Edit(Asked),
    /// One piece of an order is refunded, then the whole order is canceled: 200 each. More comes back than was taken;
    /// the ledger marks it, or clips it if the site's policy says so.
    RefundThenCancel(Asked),
    /// A token that expired an hour ago: 401, and nothing is taken.
    ExpiredToken(Asked),
    /// A token that another key has signed: 401, and nothing is taken.
    WrongKey(Asked),
    /// Many buyers order the last 5 pieces at once: 5 get 200, all others 428, and the level ends at 0.
    Rush {
        /// How many buyers there are.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
        buyers: u16,
        /// The ledger.
        #[command(flatten)]
        asked: Asked,
    },
}

impl Scenario {
    /// The title, and the server whose ledger is read.
    fn head(&self) -> (&'static str, &Asked) {
        match self {
            Self::Order(asked) => ("order: 200, and the pieces are taken once", asked),
            Self::Replay(asked) => {
                ("replay: the same call twice; 200 both times, and the pieces are taken once", asked)
            }
            Self::SoldOut(asked) => ("sold-out: an order for more than there is; 428, and nothing is taken", asked),
            Self::Paid(asked) => ("paid: an order that is paid already; 200, and the level falls below zero", asked),
            Self::Edit(asked) => ("edit: a line is replaced; 200 for both calls, and both levels follow", asked),
            Self::RefundThenCancel(asked) => {
                ("refund-then-cancel: more comes back than was taken; 200, marked or clipped", asked)
            }
            Self::ExpiredToken(asked) => ("expired-token: 401, and nothing is taken", asked),
            Self::WrongKey(asked) => ("wrong-key: 401, and nothing is taken", asked),
            Self::Rush { asked, .. } => ("rush: many buyers for the last pieces; no piece is sold twice", asked),
        }
    }
}

/// Plays a scenario.
pub(super) async fn run(target: &Target, scenario: Scenario) -> Result<Ended, Box<dyn Error>> {
    let wix = target.simulator()?;
    let (title, asked) = scenario.head();
    let ledger = Ledger::open(asked, &wix.site_id, &wix.catalog_app_id).await;
    let mut play = Play::new(&wix, ledger);
    let played = async {
        play.title(title, &target.url)?;
        match &scenario {
            Scenario::Order(_) => order(&mut play).await,
            Scenario::Replay(_) => replay(&mut play).await,
            Scenario::SoldOut(_) => sold_out(&mut play).await,
            Scenario::Paid(_) => paid(&mut play).await,
            Scenario::Edit(_) => edit(&mut play).await,
            Scenario::RefundThenCancel(_) => refund_then_cancel(&mut play).await,
            Scenario::ExpiredToken(_) => expired_token(&mut play).await,
            Scenario::WrongKey(_) => wrong_key(&mut play).await,
            Scenario::Rush { buyers, .. } => rush(&mut play, *buyers).await,
        }
    };
    let played = played.await;
    play.end(played)
}

async fn order(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-order";
    play.ready(ITEM, 5).await?;
    play.expect(&play.wix.call(Method::Decrement, &[(ITEM, 2)]), Expected::Applied).await?;
    play.check(&[Outcome { means: "2 are taken", levels: &[(ITEM, 3)], entries: &[(ITEM, -2)] }]).await
}

async fn replay(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-replay";
    play.ready(ITEM, 5).await?;
    let call = play.wix.call(Method::Decrement, &[(ITEM, 2)]);
    play.expect(&call, Expected::Applied).await?;
    play.expect(&call, Expected::Applied).await?;
    play.check(&[Outcome { means: "2 are taken, once", levels: &[(ITEM, 3)], entries: &[(ITEM, -2)] }]).await
}

async fn sold_out(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-sold-out";
    play.ready(ITEM, 2).await?;
    play.expect(&play.wix.call(Method::Decrement, &[(ITEM, 3)]), Expected::Refused).await?;
    play.check(&[Outcome { means: "nothing is taken", levels: &[(ITEM, 2)], entries: &[] }]).await
}

async fn paid(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-paid";
    play.ready(ITEM, 1).await?;
    let call = play.wix.call(Method::Decrement, &[(ITEM, 2)]).because("ORDER_PAID").unrestricted();
    play.expect(&call, Expected::Applied).await?;
    let means = "one piece is sold that is not there";
    play.check(&[Outcome { means, levels: &[(ITEM, -1)], entries: &[(ITEM, -2)] }]).await
}

async fn edit(play: &mut Play<'_>) -> Result<(), Stop> {
    const OLD: &str = "send-edit-old";
    const NEW: &str = "send-edit-new";
    play.ready(OLD, 5).await?;
    play.ready(NEW, 5).await?;
    let wix = play.wix;
    let placed = wix.call(Method::Decrement, &[(OLD, 2)]);
    play.expect(&placed, Expected::Applied).await?;
    let edited = |method, item| wix.call(method, &[(item, 2)]).of_order(&placed.order_id).because("ORDER_EDITED");
    play.expect(&edited(Method::Decrement, NEW).unrestricted(), Expected::Applied).await?;
    play.expect(&edited(Method::Increment, OLD), Expected::Applied).await?;
    let (levels, entries) = ([(OLD, 5), (NEW, 3)], [(OLD, -2), (NEW, -2), (OLD, 2)]);
    play.check(&[Outcome { means: "the new line is taken, the old one is back", levels: &levels, entries: &entries }])
        .await
}

async fn refund_then_cancel(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-refund";
    play.ready(ITEM, 5).await?;
    let wix = play.wix;
    let placed = wix.call(Method::Decrement, &[(ITEM, 2)]);
    play.expect(&placed, Expected::Applied).await?;
    let back = |quantity| wix.call(Method::Increment, &[(ITEM, quantity)]).of_order(&placed.order_id);
    play.expect(&back(1).because("ORDER_REFUNDED"), Expected::Applied).await?;
    play.expect(&back(2).because("ORDER_CANCELED"), Expected::Applied).await?;
    let reported = Outcome {
        means: "3 came back for 2; the site's policy is to report that",
        levels: &[(ITEM, 6)],
        entries: &[(ITEM, -2), (ITEM, 1), (ITEM, 2)],
    };
    let clipped = Outcome {
        means: "2 came back; the site's policy clips the third",
        levels: &[(ITEM, 5)],
        entries: &[(ITEM, -2), (ITEM, 1), (ITEM, 1)],
    };
    play.check(&[reported, clipped]).await
}

async fn expired_token(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-expired-token";
    play.ready(ITEM, 5).await?;
    let wix = play.wix;
    let signature = Signature { times: Times::expired(EXPIRED_SECONDS), ..wix.signature() };
    let call = wix.call(Method::Decrement, &[(ITEM, 2)]);
    play.expect_signed(&call, signature, ", with a token that expired an hour ago", Expected::NotBelieved).await?;
    play.check(&[Outcome { means: "nothing is taken", levels: &[(ITEM, 5)], entries: &[] }]).await
}

async fn wrong_key(play: &mut Play<'_>) -> Result<(), Stop> {
    const ITEM: &str = "send-wrong-key";
    play.ready(ITEM, 5).await?;
    let wix = play.wix;
    let other = signing::generate_private()?;
    let signature = Signature { key: &other, ..wix.signature() };
    let call = wix.call(Method::Decrement, &[(ITEM, 2)]);
    play.expect_signed(&call, signature, ", signed with another key", Expected::NotBelieved).await?;
    play.check(&[Outcome { means: "nothing is taken", levels: &[(ITEM, 5)], entries: &[] }]).await
}

async fn rush(play: &mut Play<'_>, buyers: u16) -> Result<(), Stop> {
    const ITEM: &str = "send-rush";
    play.ready(ITEM, RUSH_PIECES).await?;
    let wix = play.wix;
    let calls: Vec<_> = (0..buyers).map(|_| wix.call(Method::Decrement, &[(ITEM, 1)])).collect();
    play.tell("sent", format_args!("{buyers} orders at once, 1 of {ITEM} each"))?;
    let mut answers: BTreeMap<u16, i64> = BTreeMap::new();
    for answer in join_all(calls.iter().map(|call| wix.send(call))).await {
        let count = answers.entry(answer?.status).or_default();
        *count = count.saturating_add(1);
    }
    let told: Vec<_> = answers.iter().map(|(status, count)| format!("{count} x {status}")).collect();
    play.tell("answers", told.join(", "))?;
    let sold = RUSH_PIECES.min(i64::from(buyers));
    let refused = i64::from(buyers).saturating_sub(sold);
    let of = |status| answers.get(&status).copied().unwrap_or_default();
    if (of(200), of(428)) != (sold, refused) {
        play.differs(format_args!("expected {sold} x 200, {refused} x 428"))?;
    }
    let entries: Vec<_> = (0..sold).map(|_| (ITEM, -1)).collect();
    let levels = [(ITEM, RUSH_PIECES.saturating_sub(sold))];
    play.check(&[Outcome { means: "no piece is sold twice", levels: &levels, entries: &entries }]).await
}
