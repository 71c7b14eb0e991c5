//! Commands that a writer has set aside, because a transaction of somebody else holds a row that they need. The other
//! sites go on.
//!
//! If it is the row of their site, the writer looks again and again whether that is free, without waiting for its lock.
//! If it is another one, such as the row of a level, nobody says which. Then the writer tries the commands, of one site
//! at a time, and waits for a lock no longer than `limits::LOCK_RETRY_WAIT_MS_MAX`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::commit::sites_of;
use crate::engine::measure::{Ending, Measures};
use crate::engine::message::{self, Pending};
use crate::model::error::{Error, Failed, StoreError, Trouble};
use crate::model::ids::SiteId;
use crate::model::limits;

/// Commands that wait for locks, in their order.
#[derive(Default)]
pub(super) struct Aside {
    waiting: Vec<Pending>,
    /// Sites that were locked when the writer looked or tried last. Their new commands wait too, behind the earlier
    /// ones.
    locked: HashMap<SiteId, Held>,
    looked_at: Option<Instant>,
}

/// What somebody else holds of a site.
#[derive(Clone, Copy)]
enum Held {
    /// Its row.
    Site,
    /// Another row that its commands need. They were tried at this time.
    Other(Instant),
}

impl Held {
    /// When commands were tried that wait for another row than that of their site.
    fn tried_at(&self) -> Option<Instant> {
        match self {
            Self::Site => None,
            Self::Other(at) => Some(*at),
        }
    }
}

impl Aside {
    /// Whether no command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Remembers that the rows of sites are locked.
    pub(super) fn lock(&mut self, sites: &[SiteId]) {
        self.remember(sites, Held::Site);
    }

    /// Takes the commands of a site that was tried and still has a locked row.
    pub(super) fn put_back(&mut self, batch: Vec<Pending>, measures: &Measures) {
        self.remember(&sites_of(&batch), Held::Other(Instant::now()));
        self.wait(batch, measures);
    }

    fn remember(&mut self, sites: &[SiteId], held: Held) {
        if self.locked.len() > limits::LOCKED_SITES_MAX {
            let waiting = sites_of(&self.waiting);
            self.locked.retain(|site, _| waiting.binary_search(site).is_ok());
        }
        self.locked.extend(sites.iter().map(|site| (*site, held)));
    }

    /// Sets the commands of locked sites aside; returns the others. A command too many is answered at once.
    pub(super) fn take(&mut self, batch: Vec<Pending>, measures: &Measures) -> Vec<Pending> {
        if self.locked.is_empty() {
            return batch;
        }
        let is_locked = |(change, _): &Pending| self.locked.contains_key(&change.command.site());
        let (locked, free): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_locked);
        self.wait(locked, measures);
        free
    }

    fn wait(&mut self, commands: Vec<Pending>, measures: &Measures) {
        for pending in commands {
            if self.waiting.len() < limits::QUEUE_COMMANDS_MAX {
                self.waiting.push(pending);
            } else {
                give_up(pending, measures);
            }
        }
    }

    /// Whether it is time to look at the locks again.
    pub(super) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.looked_at.is_none_or(|last| now.saturating_duration_since(last) >= limits::LOCK_LOOK_EVERY);
        if is_due {
            self.looked_at = Some(now);
        }
        is_due && !self.is_empty()
    }

    /// Answers the commands that can wait no longer. Their callers learn why before they give up.
    pub(super) fn expire(&mut self, measures: &Measures) {
        let until = Instant::now() + limits::LOCK_ANSWER_BEFORE;
        let late = self.waiting.extract_if(.., |(_, ticket)| ticket.deadline <= until);
        late.for_each(|pending| give_up(pending, measures));
    }

    /// The sites whose commands wait for the row of the site.
    pub(super) fn sites_to_look_at(&self) -> Vec<SiteId> {
        let mut sites = sites_of(&self.waiting);
        sites.retain(|site| matches!(self.locked.get(site), Some(Held::Site)));
        sites
    }

    /// The site to try next: the one whose last try is the longest ago. `None` if any was tried a short time ago,
    /// because each try holds up the other sites of the writer.
    pub(super) fn site_to_try(&self) -> Option<SiteId> {
        let last = self.locked.values().filter_map(Held::tried_at).max()?;
        if last.elapsed() < limits::LOCK_RETRY_EVERY {
            return None;
        }
        let waiting = sites_of(&self.waiting).into_iter();
        let tried = waiting.filter_map(|site| Some((self.locked.get(&site).and_then(Held::tried_at)?, site)));
        tried.min().map(|(_, site)| site)
    }

    /// Takes the commands of sites out, as batches. The sites count as free.
    pub(super) fn take_out(&mut self, sites: &[SiteId]) -> Vec<Vec<Pending>> {
        sites.iter().for_each(|site| _ = self.locked.remove(site));
        let mut batches: Vec<Vec<Pending>> = Vec::new();
        let mut items = 0;
        let is_free = |(change, _): &mut Pending| !self.locked.contains_key(&change.command.site());
        for pending in self.waiting.extract_if(.., is_free) {
            let more = pending.0.command.action().item_count();
            match batches.last_mut() {
                Some(batch) if batch.len() < limits::BATCH_COMMANDS_MAX && items + more <= limits::BATCH_ITEMS_MAX => {
                    items += more;
                    batch.push(pending);
                }
                Some(_) | None => {
                    items = more;
                    batches.push(vec![pending]);
                }
            }
        }
        batches
    }
}

/// Answers that a lock was not free in time, and counts it. Nothing was done.
fn give_up((change, _): Pending, measures: &Measures) {
    measures.ended(Ending::Failed, 1);
    let cause = "a row that the command needs was locked until the deadline".into();
    let error = Failed::StoreUnavailable(Arc::new(StoreError::Unable(Trouble::LockHeld, cause)));
    message::answer([(change, Err(error.into()))].into_iter());
}

/// Whether a transaction failed because it waited too long for a lock.
pub(super) fn is_lock_held(error: &Error) -> bool {
    match error {
        Error::Failed(Failed::StoreUnavailable(error)) => matches!(**error, StoreError::Unable(Trouble::LockHeld, _)),
        Error::Failed(_) | Error::Invalid(_) => false,
    }
}
