//! A batch in memory: what was loaded, what each command does to it, and what is to be written. No I/O: `commit` loads
//! before and writes after.

mod orders;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::batch::view::BatchView;
use crate::engine::storage::{
    CallWrite, ChangeWrite, EntryWrite, LevelRow, NewLevel, RecordedRequest, RequestWrite, SiteWrite, UnitWrite, Writes,
};
use crate::model::catalog::Unit;
use crate::model::command::Command;
use crate::model::error::{Error, Invalid};
use crate::model::ids::{Fingerprint, LevelId, LocationId, RequestKey, SiteId, UnitId};
use crate::model::kind::UnitState;
use crate::model::level::{Past, ResolvedLevel};
use crate::model::limits;
use crate::model::order::{OrderHistory, OrderKey};
use crate::model::outcome::{Finding, LevelAfter, Outcome, Verdict};
use crate::model::site::{Site, SiteSettings};
use crate::model::unit::UnitSettings;
use crate::rules::{Decision, Movement, decide, stocks};

/// The answer to one command of the batch.
pub(super) type Answer = Result<Outcome, Error>;

/// A batch while it is decided.
pub(super) struct Batch {
    sites: HashMap<SiteId, BatchSite>,
    levels: HashMap<LevelId, BatchLevel>,
    /// Units that differ from `UnitState::STOCKED`.
    units: HashMap<UnitId, UnitState>,
    orders: HashMap<OrderKey, OrderHistory>,
    outcomes: HashMap<RequestKey, KnownOutcome>,
    /// Levels as of the sequence numbers that counts name.
    past_levels: HashMap<(LevelId, i64), Past>,
    answers: Vec<Answer>,
    writes: Writes,
}

struct BatchSite {
    before: Site,
    sequence: i64,
    /// The time of all of the batch's commands for this site: microseconds since 1970.
    time: i64,
    /// Whether a command was decided. Only then the site's time becomes that of the batch.
    decided: bool,
}

#[derive(Clone, Copy)]
struct BatchLevel {
    site: SiteId,
    available: i64,
    revision: i64,
    last_sequence: i64,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// In the store, as it was loaded.
    Loaded,
    /// In the store, and changed by this batch.
    Changed,
    /// New in this batch: the index in `Writes::new_levels`.
    New(usize),
}

/// The outcome of a request that was decided before.
enum KnownOutcome {
    /// Recorded by an earlier batch.
    Recorded(RecordedRequest),
    /// Decided by this batch: its fingerprint, and the index of its answer.
    InBatch(Fingerprint, usize),
}

impl Batch {
    /// A batch of so many commands over sites as they were loaded. `now` is its time in microseconds since 1970, for
    /// each site that has not reached a later one.
    pub(super) fn new(now: i64, sites: Vec<Site>, commands: usize) -> Self {
        let site = |before: Site| {
            let (sequence, time) = (before.sequence, now.max(before.recorded_at));
            (before.id, BatchSite { before, sequence, time, decided: false })
        };
        Self {
            sites: sites.into_iter().map(site).collect(),
            levels: HashMap::new(),
            units: HashMap::new(),
            orders: HashMap::with_capacity(commands),
            outcomes: HashMap::with_capacity(commands),
            past_levels: HashMap::new(),
            answers: Vec::with_capacity(commands),
            writes: Writes {
                changes: Vec::with_capacity(commands),
                entries: Vec::with_capacity(commands),
                requests: Vec::with_capacity(commands),
                ..Writes::default()
            },
        }
    }

    /// The settings of a site of the batch.
    pub(super) fn settings(&self, site: SiteId) -> Option<&SiteSettings> {
        self.sites.get(&site).map(|site| &site.before.settings)
    }

    /// The sequence number of a site of the batch.
    pub(super) fn sequence(&self, site: SiteId) -> i64 {
        self.sites.get(&site).map_or(0, |site| site.sequence)
    }

    /// The time of the batch for a site: microseconds since 1970.
    pub(super) fn time(&self, site: SiteId) -> i64 {
        self.sites.get(&site).map_or(0, |site| site.time)
    }

    /// The sequence number of a level's last entry; 0 if it has none.
    pub(super) fn last_sequence(&self, level: LevelId) -> i64 {
        self.levels.get(&level).map_or(0, |level| level.last_sequence)
    }

    /// Takes in a stored level. A level that is not taken in is 0.
    pub(super) fn add_level(&mut self, site: SiteId, row: LevelRow) {
        let LevelRow { id, available, revision, last_sequence } = row;
        self.levels.insert(id, BatchLevel { site, available, revision, last_sequence, origin: Origin::Loaded });
    }

    /// Takes in a unit. One that is not taken in is in the state `UnitState::STOCKED`.
    pub(super) fn add_unit(&mut self, unit: UnitId, state: UnitState) {
        self.units.insert(unit, state);
    }

    /// Takes in a level as of a sequence number.
    pub(super) fn add_past_level(&mut self, level: LevelId, sequence: i64, past: Past) {
        self.past_levels.insert((level, sequence), past);
    }

    /// Takes in recorded outcomes.
    pub(super) fn add_recorded(&mut self, requests: Vec<RecordedRequest>) {
        self.outcomes.extend(requests.into_iter().map(|request| (request.key, KnownOutcome::Recorded(request))));
    }

    /// Answers a command without deciding it.
    pub(super) fn answer(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// Answers the next command, in order of arrival. A replay gets the recorded outcome, even if its items cannot be
    /// resolved today.
    pub(super) fn process(&mut self, command: &Command, levels: Result<&[ResolvedLevel], &Invalid>) {
        let answer = match (self.outcomes.get(&command.key()), levels) {
            (Some(known), _) => self.replay(command, known),
            (None, Err(invalid)) => Err(invalid.clone().into()),
            (None, Ok(levels)) => {
                let known = KnownOutcome::InBatch(command.fingerprint(), self.answers.len());
                self.outcomes.insert(command.key(), known);
                Ok(self.apply_first(command, levels))
            }
        };
        self.answers.push(answer);
    }

    /// What is to be written, and the answers in the order of the commands.
    pub(super) fn finish(self) -> (Writes, Vec<Answer>) {
        let Self { sites, levels, mut writes, answers, .. } = self;
        for (id, level) in levels {
            let BatchLevel { site, available, revision, last_sequence, origin } = level;
            let row = LevelRow { id, available, revision, last_sequence };
            match origin {
                Origin::Loaded => {}
                Origin::Changed => writes.levels.push((site, row)),
                Origin::New(index) => writes.new_levels[index].row = row,
            }
        }
        // In the order of their keys, neighbours share pages of the index.
        writes.levels.sort_unstable_by_key(|(_, row)| row.id);
        let write = |BatchSite { before, sequence, time, decided }| {
            let recorded_at = if decided { time } else { before.recorded_at };
            SiteWrite { before, sequence, recorded_at }
        };
        writes.sites = sites.into_values().map(write).collect();
        // Locks are taken in this order, so that two batches cannot deadlock.
        writes.sites.sort_unstable_by_key(|write| write.before.id);
        (writes, answers)
    }

    fn replay(&self, command: &Command, known: &KnownOutcome) -> Answer {
        let (fingerprint, answer) = match known {
            KnownOutcome::Recorded(request) => (request.fingerprint, Ok(self.recorded(command.site(), request))),
            KnownOutcome::InBatch(fingerprint, index) => (*fingerprint, self.answers[*index].clone()),
        };
        if fingerprint != command.fingerprint() {
            return Err(Invalid::KeyReused.into());
        }
        answer.map(|outcome| Outcome { replayed: true, findings: Vec::new(), ..outcome })
    }

    fn recorded(&self, site: SiteId, request: &RecordedRequest) -> Outcome {
        let verdict = match &request.refusal {
            Some(refusal) => Verdict::Refused(refusal.clone()),
            None => {
                let mut levels: Vec<LevelAfter> = Vec::with_capacity(request.entries.len());
                for (unit, location, available) in &request.entries {
                    push_level(&mut levels, unit, *location, *available);
                }
                Verdict::Applied(levels)
            }
        };
        self.outcome(site, request.last_sequence, verdict, Vec::new())
    }

    fn outcome(&self, site: SiteId, sequence: i64, verdict: Verdict, findings: Vec<Finding>) -> Outcome {
        let default_location = self.settings(site).and_then(|settings| settings.default_location);
        Outcome { site, default_location, sequence, replayed: false, verdict, findings }
    }

    /// Decides a command that was not decided before, and applies the decision to the batch.
    fn apply_first(&mut self, command: &Command, levels: &[ResolvedLevel]) -> Outcome {
        let site = command.site();
        let before = self.sequence(site);
        let order = self.history_for(command);
        let view = BatchView { batch: self, site, time: self.time(site), order };
        let decision = decide(command.action(), levels, &view);
        let (verdict, findings) = match decision {
            Decision::Apply(movements) => {
                self.remember(command, levels, &movements);
                if stocks(command.action()) {
                    levels.iter().for_each(|level| self.stock(site, level));
                }
                let findings = orders::findings(&movements);
                (Verdict::Applied(self.enter(command, levels, &movements)), findings)
            }
            Decision::Suppress => (Verdict::Applied(Vec::new()), vec![Finding::DuplicateSuppressed]),
            Decision::Refuse(refusal) => (Verdict::Refused(refusal), Vec::new()),
        };
        let after = self.sequence(site);
        self.record(command, before + 1, after, &verdict);
        self.outcome(site, after, verdict, findings)
    }

    /// Records the outcome for replays.
    fn record(&mut self, command: &Command, first_sequence: i64, last_sequence: i64, verdict: &Verdict) {
        let header = command.header();
        let has_entries = last_sequence >= first_sequence;
        let recorded_at = self.time(header.site);
        if let Some(site) = self.sites.get_mut(&header.site) {
            site.decided = true;
        }
        let order = header.order.filter(|_| !has_entries);
        if let Some(history) = order.and_then(|order| self.orders.get_mut(&(header.site, order))) {
            history.answered = true;
        }
        let call = |order| CallWrite {
            order,
            kind: command.action().kind(),
            reason: header.reason,
            request_id: header.request_id.clone(),
            author: header.author.clone(),
        };
        self.writes.requests.push(RequestWrite {
            site: header.site,
            key: command.key(),
            fingerprint: command.fingerprint(),
            first_sequence,
            last_sequence,
            refusal: match verdict {
                Verdict::Applied(_) => None,
                // A refusal is strings and numbers, which always serialize.
                Verdict::Refused(refusal) => serde_json::to_string(refusal).ok(),
            },
            call: order.map(call),
            recorded_at,
        });
    }

    /// Makes the ledger entries of a request; returns the levels right after it.
    fn enter(&mut self, command: &Command, levels: &[ResolvedLevel], movements: &[Movement]) -> Vec<LevelAfter> {
        let header = command.header();
        let before = self.sequence(header.site);
        let mut levels_after = Vec::with_capacity(movements.len());
        let mut sequence = before;
        for movement in movements {
            sequence += 1;
            let level = &levels[movement.level];
            let previous_sequence = self.move_level(header.site, level, movement.after, sequence);
            self.writes.entries.push(EntryWrite {
                site: header.site,
                sequence,
                change_sequence: before + 1,
                previous_sequence,
                unit_id: level.unit_id,
                location: level.location,
                asked: movement.asked,
                delta: movement.delta,
                level_before: movement.before,
                level_after: movement.after,
                floor: movement.floor,
                subscription: movement.subscription,
                marks: movement.marks,
            });
            push_level(&mut levels_after, &level.unit, level.location, movement.after);
        }
        if sequence > before {
            if let Some(site) = self.sites.get_mut(&header.site) {
                site.sequence = sequence;
            }
            self.writes.changes.push(ChangeWrite {
                site: header.site,
                first_sequence: before + 1,
                last_sequence: sequence,
                kind: command.action().kind(),
                reason: header.reason,
                order: header.order,
                request_id: header.request_id.clone(),
                author: header.author.clone(),
                note: header.note.clone(),
                recorded_at: self.time(header.site),
            });
        }
        levels_after
    }

    /// Notes that a unit is stocked.
    fn stock(&mut self, site: SiteId, level: &ResolvedLevel) {
        let Some(state) = self.units.get_mut(&level.unit_id).filter(|state| !state.stocked) else { return };
        state.stocked = true;
        let settings = UnitSettings { state: UnitState::STOCKED, ..UnitSettings::default() };
        self.writes.stocked_units.push(UnitWrite { site, id: level.unit_id, unit: Unit::clone(&level.unit), settings });
    }

    /// Gives a level a new entry; returns the sequence number of its previous one.
    fn move_level(&mut self, site: SiteId, level: &ResolvedLevel, available: i64, sequence: i64) -> i64 {
        let Writes { new_units, new_levels, .. } = &mut self.writes;
        let state = self.levels.entry(level.id).or_insert_with(|| {
            let (unit_id, unit, location) = (level.unit_id, Unit::clone(&level.unit), level.location);
            new_units.push(UnitWrite { site, id: unit_id, unit, settings: UnitSettings::default() });
            let row = LevelRow { id: level.id, available, revision: 0, last_sequence: sequence };
            new_levels.push(NewLevel { site, unit_id, location, row });
            let origin = Origin::New(new_levels.len() - 1);
            BatchLevel { site, available, revision: 0, last_sequence: 0, origin }
        });
        state.available = available;
        state.revision = state.revision.saturating_add(1);
        if state.origin == Origin::Loaded {
            state.origin = Origin::Changed;
        }
        if state.revision % limits::WAYPOINT_EVERY == 0 {
            self.writes.waypoints.push((level.id, sequence));
        }
        std::mem::replace(&mut state.last_sequence, sequence)
    }
}

/// Adds a level, or updates the last one if it is the same: the two portions of a level (sold once, and as a
/// subscription) follow each other.
fn push_level(levels: &mut Vec<LevelAfter>, unit: &Arc<Unit>, location: Option<LocationId>, available: i64) {
    match levels.last_mut() {
        Some(last) if last.unit == *unit && last.location == location => last.available = available,
        _ => levels.push(LevelAfter { unit: Arc::clone(unit), location, available }),
    }
}
