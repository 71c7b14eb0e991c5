//! The steps of a run as calls of the engine, and the engine's answers as those of the model.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use inventory_core::engine::{Engine, StreamCommand};
use inventory_core::model::access::Author;
use inventory_core::model::error::{Error, Invalid};
use inventory_core::model::ids::SiteId;
use inventory_core::model::kind::{CatalogSettings, Counting, Tracking, Unstocked};
use inventory_core::model::outcome::Outcome;
use inventory_core::model::site::{OverReturnPolicy, SiteChange, SuspectedRepeatPolicy};
use inventory_core::model::unit::{UnitChange, UnitSelector};
use inventory_tests::model::convert::{self, APPS, by_reference, by_sku, command, sku, soon};
use inventory_tests::model::kinds;
use inventory_tests::model::{Answer, Policies, UNITS};

use super::Step;

/// An answer that the model knows.
fn answer(result: Result<Outcome, Error>) -> Answer {
    convert::answer(result).unwrap_or_else(|error| panic!("the model does not know this answer: {error:?}"))
}

/// Carries out steps in their order; returns their answers. Requests that follow each other travel as one message of a
/// stream of commands, or else each by itself.
pub(super) async fn submit_all(engine: &Engine, steps: &[(SiteId, &Step)], as_streams: bool) -> Vec<Answer> {
    let is_request = |step: &Step| as_streams && matches!(step, Step::Request(..));
    let together = steps.chunk_by(|(_, one), (_, other)| is_request(one) && is_request(other));
    let answers = together.map(|steps| match steps {
        [(site, step)] => submit(engine, *site, step).map(|answer| vec![answer]).boxed(),
        several => submit_stream(engine, several).boxed(),
    });
    // join_all polls the calls in order, so each site's queue has the order in which the model answers.
    join_all(answers).await.into_iter().flatten().collect()
}

async fn submit_stream(engine: &Engine, steps: &[(SiteId, &Step)]) -> Vec<Answer> {
    let (commands, mut answers) = engine.stream();
    let command = |(id, (site, step)): (u64, &(SiteId, &Step))| match step {
        Step::Request(key, by_sku, request) => StreamCommand::new(id, command(*site, *key, *by_sku, request), soon()),
        Step::Unit(..) | Step::Catalog(..) | Step::Policies(..) | Step::Swap(..) => panic!("not a request: {step:?}"),
    };
    commands.submit((0..).zip(steps).map(command).collect());
    let mut found = BTreeMap::new();
    while found.len() < steps.len() {
        let answered = answers.next().await.expect("the stream is open");
        found.extend(answered.into_iter().map(|answered| (answered.id, answer(answered.result))));
    }
    found.into_values().collect()
}

/// Carries out a step.
fn submit<'a>(engine: &'a Engine, site: SiteId, step: &Step) -> BoxFuture<'a, Answer> {
    match step {
        Step::Request(key, by_sku, request) => {
            engine.submit(command(site, *key, *by_sku, request), soon()).map(answer).boxed()
        }
        Step::Unit(unit, change) => units(engine, site, vec![(by_reference(*unit), unit_change(change))]),
        Step::Swap(one, other) if one == other => units(engine, site, vec![(by_sku(*one), UnitChange::default())]),
        Step::Swap(one, other) => units(engine, site, swap(*one, *other)),
        Step::Catalog(index, kinds::Catalog { counting, sells }) => {
            let settings = CatalogSettings {
                option_keys: None,
                counting: self::counting(counting),
                unstocked: sells.map(|sells| if sells { Unstocked::Sell } else { Unstocked::Refuse }),
            };
            let catalogs = vec![(APPS[*index].to_owned(), settings)];
            self::site(engine, site, SiteChange { catalogs, ..SiteChange::default() })
        }
        Step::Policies(Policies { suppress, clip }) => {
            let suspected_repeats =
                if *suppress { SuspectedRepeatPolicy::Suppress } else { SuspectedRepeatPolicy::Report };
            let change = SiteChange {
                suspected_repeats: Some(suspected_repeats),
                over_returns: Some(if *clip { OverReturnPolicy::Clip } else { OverReturnPolicy::Report }),
                ..SiteChange::default()
            };
            self::site(engine, site, change)
        }
    }
}

fn units(engine: &Engine, site: SiteId, changes: Vec<(UnitSelector, UnitChange)>) -> BoxFuture<'_, Answer> {
    engine.configure_units(site, changes, Author::default(), soon()).map(|done| configured(done.map(drop))).boxed()
}

fn site(engine: &Engine, site: SiteId, change: SiteChange) -> BoxFuture<'_, Answer> {
    engine.configure_site(site, change, Author::default(), soon()).map(|done| configured(done.map(drop))).boxed()
}

fn configured(done: Result<(), Error>) -> Answer {
    match done {
        Ok(()) => Answer::Configured,
        Err(Error::Invalid(Invalid::EmptyWindow { item: 0 })) => Answer::EmptyWindow,
        Err(error) => panic!("the settings can be changed: {error:?}"),
    }
}

fn tracking(tracking: kinds::Tracking) -> Tracking {
    match tracking {
        kinds::Tracking::Quantity => Tracking::Quantity,
        kinds::Tracking::Status => Tracking::Status,
        kinds::Tracking::Untracked => Tracking::Untracked,
    }
}

fn counting(counting: &kinds::Counting) -> Counting {
    let kinds::Counting { tracking: tracked, backorder_limit, counts_subscriptions } = *counting;
    Counting { tracking: tracked.map(tracking), backorder_limit, counts_subscriptions }
}

fn unit_change(change: &kinds::UnitChange) -> UnitChange {
    let kinds::UnitChange { tracking: tracked, backorder_limit, counts_subscriptions, sell_from, sell_until } = *change;
    UnitChange {
        tracking: tracked.map(|tracked| tracked.map(tracking)),
        backorder_limit,
        counts_subscriptions,
        sell_from,
        sell_until,
        ..UnitChange::default()
    }
}

/// The settings of a unit in force, as the model has them.
pub(super) fn in_force(rules: &inventory_core::model::kind::UnitRules) -> kinds::InForce {
    kinds::InForce {
        tracking: match rules.tracking.value {
            Tracking::Quantity => kinds::Tracking::Quantity,
            Tracking::Status => kinds::Tracking::Status,
            Tracking::Untracked => kinds::Tracking::Untracked,
        },
        backorder_limit: rules.backorder_limit.value,
        counts_subscriptions: rules.counts_subscriptions.value,
    }
}

/// Gives a unit a SKU.
pub(super) fn with_sku(index: usize) -> UnitChange {
    UnitChange { sku: Some(Some(sku(index))), ..UnitChange::default() }
}

/// Exchanges two SKUs by way of a third one, because no two units of a site may have the same SKU.
fn swap(one: usize, other: usize) -> Vec<(UnitSelector, UnitChange)> {
    vec![(by_sku(one), with_sku(UNITS)), (by_sku(other), with_sku(one)), (by_sku(UNITS), with_sku(other))]
}
