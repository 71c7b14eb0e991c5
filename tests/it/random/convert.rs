//! The steps of the model as calls of the engine, and the engine's answers as those of the model.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use inventory_core::engine::{Engine, StreamCommand};
use inventory_core::model::access::Author;
use inventory_core::model::action::{Action, Adjustment, Expected, Line, Move, Quantity, Target};
use inventory_core::model::catalog::{CatalogReference, Unit, WIX_BOOKINGS};
use inventory_core::model::command::{Command, Header, Reason};
use inventory_core::model::entry::Entry;
use inventory_core::model::error::{Error, Invalid};
use inventory_core::model::ids::{LocationId, OrderId, SiteId};
use inventory_core::model::kind::{CatalogSettings, Counting, Tracking, Unstocked};
use inventory_core::model::outcome::{Outcome, Refusal, Shortage, ShortageReason, Verdict};
use inventory_core::model::site::{OverReturnPolicy, SiteChange, SuspectedRepeatPolicy};
use inventory_core::model::unit::{Sku, UnitChange, UnitSelector};
use inventory_tests::model::kinds::{self, CATALOGS, catalog_of};
use inventory_tests::model::{self, Answer, Policies, Request, UNITS, Why};
use inventory_tests::wix_caller::CATALOG;
use uuid::Uuid;

use super::Step;

/// The catalogs of a site. An unknown app refuses a unit that was never stocked, Wix Bookings sells it.
const APPS: [&str; CATALOGS] = [CATALOG, WIX_BOOKINGS];

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

/// The deadline of a call. No call takes that long.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
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

fn sku(index: usize) -> Sku {
    Sku::new(&format!("sku-{index}")).expect("the value is in bounds")
}

/// Gives a unit a SKU.
pub(super) fn with_sku(index: usize) -> UnitChange {
    UnitChange { sku: Some(Some(sku(index))), ..UnitChange::default() }
}

/// Exchanges two SKUs by way of a third one, because no two units of a site may have the same SKU.
fn swap(one: usize, other: usize) -> Vec<(UnitSelector, UnitChange)> {
    vec![(by_sku(one), with_sku(UNITS)), (by_sku(other), with_sku(one)), (by_sku(UNITS), with_sku(other))]
}

/// The unit of an item, by the catalog's names.
pub(super) fn by_reference(item: usize) -> UnitSelector {
    let unit = item % UNITS;
    let reference = CatalogReference::new(APPS[catalog_of(unit)], &format!("item-{unit}"), serde_json::Map::new());
    UnitSelector::Reference(reference.expect("the value is in bounds"))
}

fn by_sku(index: usize) -> UnitSelector {
    UnitSelector::Sku(sku(index))
}

/// The location of an item.
pub(super) fn location(item: usize) -> Option<LocationId> {
    (item >= UNITS).then(|| LocationId::from_uuid(Uuid::from_u128(7)))
}

/// The order of a request.
pub(super) fn order(number: usize) -> OrderId {
    OrderId::from_uuid(Uuid::from_u128(number as u128))
}

fn command(site: SiteId, key: u64, is_by_sku: bool, request: &Request) -> Command {
    let unit = |item: usize| if is_by_sku { by_sku(item % UNITS) } else { by_reference(item) };
    let quantity = |pieces| Quantity::new(pieces).expect("the value is in bounds");
    let lines = |lines: &[model::Line]| -> Vec<Line> {
        let line = |&(item, pieces, subscription): &model::Line| Line {
            unit: unit(item),
            location: location(item),
            quantity: quantity(pieces),
            subscription,
        };
        lines.iter().map(line).collect()
    };
    let (mut of_order, mut reason) = (None, Reason::Unspecified);
    let action = match request {
        Request::Decrement(asked, restricted, number, placed) => {
            of_order = Some(order(*number));
            reason = if *placed { Reason::OrderPlaced } else { Reason::OrderEdited };
            Action::Decrement { lines: lines(asked), restricted: *restricted }
        }
        Request::Increment(asked, number) => {
            of_order = Some(order(*number));
            Action::Increment { lines: lines(asked) }
        }
        Request::Set(targets) => {
            let target = |&model::Target { item, level, expected, expected_revision, as_of }: &model::Target| Target {
                unit: unit(item),
                location: location(item),
                available: level,
                expected: Expected { available: expected, revision: expected_revision },
                as_of,
            };
            Action::Set { targets: targets.iter().map(target).collect() }
        }
        Request::Adjust(deltas) => {
            let adjustment =
                |&(item, delta): &(usize, i64)| Adjustment { unit: unit(item), location: location(item), delta };
            Action::Adjust { adjustments: deltas.iter().map(adjustment).collect() }
        }
        Request::Move(moves, restricted) => {
            let item = |&(from, to, pieces): &(usize, usize, i64)| Move {
                unit: unit(from),
                from: location(from),
                to: location(to),
                quantity: quantity(pieces),
            };
            Action::Move { moves: moves.iter().map(item).collect(), restricted: *restricted }
        }
    };
    let (author, note) = (Author::default(), String::new());
    let header = Header { site, request_id: key.to_string(), order: of_order, reason, author, note };
    Command::new(header, action).expect("the value is in bounds")
}

/// The engine's answer, in the terms of the model.
fn answer(answer: Result<Outcome, Error>) -> Answer {
    match answer {
        Ok(Outcome { sequence, verdict: Verdict::Applied(_), .. }) => Answer::Applied(sequence),
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Short(short)), .. }) => {
            Answer::Short(short.iter().map(shortage).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::Changed(changed)), .. }) => {
            Answer::Changed(changed.iter().map(|level| (item(&level.unit, level.location), level.available)).collect())
        }
        Ok(Outcome { verdict: Verdict::Refused(Refusal::NotYet { .. }), .. }) => Answer::NotYet,
        Err(Error::Invalid(Invalid::KeyReused)) => Answer::KeyReused,
        other => panic!("the model does not know this answer: {other:?}"),
    }
}

fn shortage(shortage: &Shortage) -> model::Shortage {
    let Shortage { unit, location, asked, available, short, reason } = shortage;
    let why = match reason {
        ShortageReason::InsufficientStock => Why::InsufficientStock,
        ShortageReason::NotOnSaleYet => Why::NotOnSaleYet,
        ShortageReason::NoLongerOnSale => Why::NoLongerOnSale,
    };
    model::Shortage { item: item(unit, *location), asked: *asked, available: *available, short: *short, why }
}

/// The model's item for a level.
pub(super) fn item(unit: &Unit, location: Option<LocationId>) -> usize {
    let number = unit.item_id.strip_prefix("item-").and_then(|number| number.parse::<usize>().ok());
    number.expect("the ids are item-NUMBER") + if location.is_some() { UNITS } else { 0 }
}

/// An entry of the ledger, in the terms of the model.
pub(super) fn entry(entry: Entry) -> model::Entry {
    model::Entry {
        item: item(&entry.unit, entry.location),
        asked: entry.asked,
        delta: entry.delta,
        subscription: entry.subscription,
        duplicate: entry.marks.suspected_repeat,
        over_return: entry.marks.over_return,
        outside_window: entry.marks.outside_sales_window,
        time: entry.recorded_at,
    }
}
