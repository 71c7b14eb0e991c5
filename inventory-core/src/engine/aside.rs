//! Commands that a writer has set aside, because a transaction of somebody else holds the row of their site. The other
//! sites go on. The writer looks again and again whether the site is free, without waiting for its lock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::message::{self, Pending};
use crate::model::error::{Error, Failed, StoreError, Trouble};
use crate::model::ids::SiteId;
use crate::model::limits;

/// Commands that wait for locks, in their order.
#[derive(Default)]
pub(super) struct Aside {
    waiting: Vec<Pending>,
    /// Sites that were locked when the writer looked last. Their new commands wait too, behind the earlier ones.
    locked: HashSet<SiteId>,
    looked_at: Option<Instant>,
}

impl Aside {
    /// Whether no command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Remembers that sites are locked.
    pub(super) fn lock(&mut self, sites: &[SiteId]) {
        if self.locked.len() > limits::LOCKED_SITES_MAX {
            let waiting = self.sites();
            self.locked.retain(|site| waiting.binary_search(site).is_ok());
        }
        self.locked.extend(sites);
    }

    /// Sets the commands of locked sites aside; returns the others. A command too many is answered at once.
    pub(super) fn take(&mut self, batch: Vec<Pending>) -> Vec<Pending> {
        if self.locked.is_empty() {
            return batch;
        }
        let is_locked = |(change, _): &Pending| self.locked.contains(&change.command.site());
        let (locked, free): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_locked);
        for pending in locked {
            if self.waiting.len() < limits::QUEUE_COMMANDS_MAX {
                self.waiting.push(pending);
            } else {
                give_up(pending);
            }
        }
        free
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
    pub(super) fn expire(&mut self) -> usize {
        let until = Instant::now() + limits::LOCK_ANSWER_BEFORE;
        let late = self.waiting.extract_if(.., |(_, ticket)| ticket.deadline <= until);
        late.map(give_up).count()
    }

    /// The sites whose commands wait.
    pub(super) fn sites(&self) -> Vec<SiteId> {
        let mut sites: Vec<SiteId> = self.waiting.iter().map(|(change, _)| change.command.site()).collect();
        sites.sort_unstable();
        sites.dedup();
        sites
    }

    /// Takes back the commands of those of `sites` that are not among `locked`, as batches.
    pub(super) fn free(&mut self, sites: &[SiteId], locked: &[SiteId]) -> Vec<Vec<Pending>> {
        sites.iter().filter(|site| !locked.contains(site)).for_each(|site| _ = self.locked.remove(site));
        let mut batches: Vec<Vec<Pending>> = Vec::new();
        let mut items = 0;
        let is_free = |(change, _): &mut Pending| !self.locked.contains(&change.command.site());
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

/// Answers that the site's lock was not free in time. Nothing was done.
fn give_up((change, _): Pending) {
    let cause = "the row of the site was locked until the deadline".into();
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
