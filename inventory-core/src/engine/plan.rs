//! A batch in memory: what was loaded, what each command does to it, and what is to be written.
//! No I/O: `commit` loads before and writes after.

mod orders;
mod seen;

use std::collections::HashMap;

use crate::command::Command;
use crate::decide::{Decision, Movement, decide};
use crate::engine::plan::seen::Seen;
use crate::error::Error;
use crate::ids::{Fingerprint, LevelId, LocationId, OrderId, RequestKey, SiteId, UnitId};
use crate::limits;
use crate::order::{OrderPast, OrderPolicies};
use crate::outcome::{LevelAfter, Noticed, Outcome, Refusal, Verdict};
use crate::site::{Place, SiteSettings};
use crate::store::batch::{
    CallWrite, ChangeWrite, EntryWrite, LevelRow, LevelWrite, NewLevel, RecordedRow, RequestWrite, SiteRow, SiteWrite,
    Writes,
};
use crate::unit::UnitRules;

/// What became of one command of the batch.
pub(crate) type Answer = Result<Outcome, Error>;

/// The batch's view of the books while it is decided.
pub(crate) struct Plan {
    sites: HashMap<SiteId, SitePlan>,
    levels: HashMap<LevelId, LevelPlan>,
    /// Of units that are not counted as all others.
    rules: HashMap<UnitId, UnitRules>,
    orders: HashMap<(SiteId, OrderId), OrderPast>,
    known: HashMap<RequestKey, Known>,
    /// Levels as they were at sequences that counts name.
    past: HashMap<(LevelId, i64), i64>,
    answers: Vec<Answer>,
    writes: Writes,
}

struct SitePlan {
    before: SiteRow,
    sequence: i64,
}

#[derive(Clone, Copy)]
struct LevelPlan {
    site: SiteId,
    available: i64,
    revision: i64,
    last_sequence: i64,
    row: LevelOrigin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LevelOrigin {
    /// In the store, as it was loaded.
    Loaded,
    /// In the store, and changed by this batch.
    Changed,
    /// Made by this batch: index in `Writes::new_levels`.
    New(usize),
}

enum Known {
    /// Recorded by an earlier batch.
    Stored(RecordedRow),
    /// Decided by this batch: fingerprint holder and index of the answer.
    InBatch(Fingerprint, usize),
}

impl Plan {
    /// A plan over what was loaded. `recorded_at` is the batch's time in microseconds since 1970.
    pub(crate) fn new(recorded_at: i64, sites: Vec<SiteRow>) -> Self {
        let plan = |before: SiteRow| (before.site, SitePlan { sequence: before.sequence, before });
        let sites = sites.into_iter().map(plan).collect();
        let writes = Writes { recorded_at, ..Writes::default() };
        Self {
            sites,
            levels: HashMap::new(),
            rules: HashMap::new(),
            orders: HashMap::new(),
            known: HashMap::new(),
            past: HashMap::new(),
            answers: Vec::new(),
            writes,
        }
    }

    /// The settings of a site of the batch.
    pub(crate) fn settings(&self, site: SiteId) -> Option<&SiteSettings> {
        self.sites.get(&site).map(|site| &site.before.settings)
    }

    /// Takes in a level as it is stored; those that are not stored are 0.
    pub(crate) fn know_level(&mut self, site: SiteId, row: LevelRow) {
        let LevelRow { level, available, revision, last_sequence } = row;
        let row = LevelOrigin::Loaded;
        self.levels.insert(level, LevelPlan { site, available, revision, last_sequence, row });
    }

    /// Takes in how a unit is counted; those of which nothing is told are counted as usual.
    pub(crate) fn know_rules(&mut self, unit: UnitId, rules: UnitRules) {
        self.rules.insert(unit, rules);
    }

    /// The sequence of a level's last entry; 0 where there is none.
    pub(crate) fn last_sequence(&self, level: LevelId) -> i64 {
        self.levels.get(&level).map_or(0, |plan| plan.last_sequence)
    }

    /// The sequence of a site of the batch.
    pub(crate) fn sequence(&self, site: SiteId) -> i64 {
        self.sites.get(&site).map_or(0, |plan| plan.sequence)
    }

    /// Takes in a level as it was at a sequence.
    pub(crate) fn know_past(&mut self, level: LevelId, sequence: i64, available: i64) {
        self.past.insert((level, sequence), available);
    }

    /// Takes in requests as they are recorded.
    pub(crate) fn know_requests(&mut self, rows: Vec<RecordedRow>) {
        self.known.extend(rows.into_iter().map(|row| (row.key, Known::Stored(row))));
    }

    /// Answers a command that does not get as far as a decision.
    pub(crate) fn answer(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// Decides the next command, in order of arrival. Its site is locked and its levels known. A
    /// repeat is answered from the record, even where its items mean nothing today.
    pub(crate) fn decide(&mut self, command: &Command, places: Result<&[Place], &Error>) {
        let answer = match (self.known.get(&command.key), places) {
            (Some(known), _) => self.repeat(command, known),
            (None, Err(error)) => Err(error.clone()),
            (None, Ok(places)) => {
                let record = Known::InBatch(command.fingerprint, self.answers.len());
                self.known.insert(command.key, record);
                self.first(command, places)
            }
        };
        self.answers.push(answer);
    }

    /// What is to be written, and the answers in the order of the commands.
    pub(crate) fn finish(self) -> (Writes, Vec<Answer>) {
        let Self { sites, levels, mut writes, answers, rules: _, orders: _, known: _, past: _ } = self;
        for (level, plan) in levels {
            let LevelPlan { site, available, revision, last_sequence, row } = plan;
            let write = LevelWrite { level, available, revision, last_sequence };
            match row {
                LevelOrigin::Loaded => {}
                LevelOrigin::Changed => writes.levels.push((site, write)),
                LevelOrigin::New(index) => writes.new_levels[index].write = write,
            }
        }
        // In the order of their keys, neighbours share pages of the index.
        writes.levels.sort_unstable_by_key(|(_, write)| write.level);
        let write = |SitePlan { before, sequence }| SiteWrite { before, sequence };
        writes.sites = sites.into_values().map(write).collect();
        // Locks are taken in the order of this list.
        writes.sites.sort_unstable_by_key(|write| write.before.site);
        (writes, answers)
    }

    fn repeat(&self, command: &Command, known: &Known) -> Answer {
        let (fingerprint, answer) = match known {
            Known::Stored(row) => (row.fingerprint, self.stored_answer(command.header.site, row)),
            Known::InBatch(fingerprint, index) => (*fingerprint, self.answers[*index].clone()),
        };
        if fingerprint != command.fingerprint {
            return Err(Error::KeyReused);
        }
        answer.map(|outcome| Outcome { repeated: true, noticed: Vec::new(), ..outcome })
    }

    fn stored_answer(&self, site: SiteId, row: &RecordedRow) -> Answer {
        let verdict = match &row.refusal {
            Some(refusal) => Verdict::Refused(refusal.clone()),
            None => {
                let mut levels: Vec<LevelAfter> = Vec::with_capacity(row.entries.len());
                for (unit, location, available) in &row.entries {
                    let location = self.show(site, *location);
                    push_level(&mut levels, LevelAfter { unit: unit.clone(), location, available: *available });
                }
                Verdict::Applied(levels)
            }
        };
        Ok(Outcome { site, sequence: row.last_sequence, repeated: false, verdict, noticed: Vec::new() })
    }

    fn show(&self, site: SiteId, location: Option<LocationId>) -> Option<LocationId> {
        self.settings(site).map_or(location, |settings| settings.show_location(location))
    }

    fn first(&mut self, command: &Command, places: &[Place]) -> Answer {
        let site = command.header.site;
        let before = self.sites.get(&site).map_or(0, |plan| plan.sequence);
        let order = self.questioned(command);
        let decision = decide(&command.action, places, &Seen { plan: self, site, order });
        let mut noticed = Vec::new();
        let (verdict, after) = match decision {
            Decision::Apply(movements) => {
                let after = before.saturating_add(movements.len() as i64);
                noticed = Self::noticed(&movements);
                self.remember(command, places, &movements);
                (Verdict::Applied(self.apply(command, places, &movements, before)), after)
            }
            Decision::Suppress => {
                noticed.push(Noticed::RepeatSuppressed);
                (Verdict::Applied(Vec::new()), before)
            }
            Decision::Refuse(refusal) => (Verdict::Refused(self.shown(site, refusal)), before),
        };
        self.record(command, before + 1, after, &verdict);
        Ok(Outcome { site, sequence: after, repeated: false, verdict, noticed })
    }

    /// What a site of the batch has settled about orders.
    fn policies(&self, site: SiteId) -> OrderPolicies {
        self.settings(site).map(|settings| settings.order_policies).unwrap_or_default()
    }

    /// Records the outcome for the request's repeats.
    fn record(&mut self, command: &Command, first_sequence: i64, last_sequence: i64, verdict: &Verdict) {
        let header = &command.header;
        let entered = last_sequence >= first_sequence;
        let order = header.order.filter(|_| !entered);
        if let Some(past) = order.and_then(|order| self.orders.get_mut(&(header.site, order))) {
            past.answered = true;
        }
        let call = |order| CallWrite {
            order,
            kind: command.action.kind(),
            reason: header.reason,
            request_id: header.request_id.clone(),
            actor: header.actor.clone(),
        };
        self.writes.requests.push(RequestWrite {
            site: header.site,
            key: command.key,
            fingerprint: command.fingerprint,
            first_sequence,
            last_sequence,
            refusal: match verdict {
                Verdict::Applied(_) => None,
                // A refusal is strings and numbers, which always serialize.
                Verdict::Refused(refusal) => serde_json::to_string(refusal).ok(),
            },
            call: order.map(call),
        });
    }

    fn shown(&self, site: SiteId, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Short(mut shortages) => {
                for shortage in &mut shortages {
                    shortage.location = self.show(site, shortage.location);
                }
                Refusal::Short(shortages)
            }
            Refusal::Changed(mut changed) => {
                for level in &mut changed {
                    level.location = self.show(site, level.location);
                }
                Refusal::Changed(changed)
            }
            Refusal::OutOfRange { .. } | Refusal::SameLevelTwice { .. } | Refusal::NotYet { .. } => refusal,
        }
    }

    fn apply(&mut self, command: &Command, places: &[Place], movements: &[Movement], before: i64) -> Vec<LevelAfter> {
        let header = &command.header;
        let mut shown = Vec::with_capacity(movements.len());
        let mut sequence = before;
        for movement in movements {
            sequence += 1;
            let place = &places[movement.place];
            let previous_sequence = self.move_level(header.site, place, movement.after, sequence);
            self.writes.entries.push(EntryWrite {
                site: header.site,
                sequence,
                change_sequence: before + 1,
                previous_sequence,
                unit_id: place.unit_id,
                location: place.location,
                asked: movement.asked,
                delta: movement.delta,
                level_before: movement.before,
                level_after: movement.after,
                floor: movement.floor,
                subscription: movement.subscription,
                marks: movement.marks,
            });
            let location = self.show(header.site, place.location);
            push_level(&mut shown, LevelAfter { unit: place.unit.clone(), location, available: movement.after });
        }
        if sequence > before {
            if let Some(site) = self.sites.get_mut(&header.site) {
                site.sequence = sequence;
            }
            self.writes.changes.push(ChangeWrite {
                site: header.site,
                first_sequence: before + 1,
                last_sequence: sequence,
                kind: command.action.kind(),
                reason: header.reason,
                order: header.order,
                request_id: header.request_id.clone(),
                actor: header.actor.clone(),
                note: header.note.clone(),
            });
        }
        shown
    }

    /// Gives a level a new entry, and tells the one before it.
    fn move_level(&mut self, site: SiteId, place: &Place, available: i64, sequence: i64) -> i64 {
        let new_levels = &mut self.writes.new_levels;
        let plan = self.levels.entry(place.level).or_insert_with(|| {
            let write = LevelWrite { level: place.level, available, revision: 0, last_sequence: sequence };
            let (unit_id, unit, location) = (place.unit_id, place.unit.clone(), place.location);
            new_levels.push(NewLevel { site, unit_id, unit, location, write });
            let row = LevelOrigin::New(new_levels.len() - 1);
            LevelPlan { site, available, revision: 0, last_sequence: 0, row }
        });
        plan.available = available;
        plan.revision = plan.revision.saturating_add(1);
        if plan.row == LevelOrigin::Loaded {
            plan.row = LevelOrigin::Changed;
        }
        if plan.revision % limits::WAYPOINT_EVERY == 0 {
            self.writes.waypoints.push((place.level, sequence));
        }
        std::mem::replace(&mut plan.last_sequence, sequence)
    }
}

/// Adds a level, or brings it up to date where the entry before was of the same level (sold once
/// and as a subscription in one request).
fn push_level(levels: &mut Vec<LevelAfter>, level: LevelAfter) {
    match levels.last_mut() {
        Some(last) if last.unit == level.unit && last.location == level.location => last.available = level.available,
        _ => levels.push(level),
    }
}
