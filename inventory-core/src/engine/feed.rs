//! Wakes those who follow ledgers: the last known sequence number of each watched site.
//!
//! The engine publishes after each commit. For commits of other servers, the server looks at the store for all watched
//! sites at once, and publishes the sequence numbers that it finds. A watcher that is not woken costs nothing but its
//! entry here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::error::Failed;
use crate::model::ids::SiteId;
use crate::model::limits;

/// The handle. Cheap to clone.
#[derive(Clone, Default)]
pub struct Feed {
    watched: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    sites: HashMap<SiteId, Site>,
    watchers: usize,
}

struct Site {
    /// The last known sequence number.
    sequence: watch::Sender<i64>,
    /// How far each watcher is.
    positions: Vec<Arc<AtomicI64>>,
}

impl Feed {
    /// Begins to watch a site. Fails beyond `limits::WATCHERS_MAX` watchers. Entries that were committed before may
    /// not be known: read the ledger once, then wait.
    pub fn watch(&self, site: SiteId) -> Result<Watch, Failed> {
        let mut watched = self.lock();
        if watched.watchers >= limits::WATCHERS_MAX {
            return Err(Failed::TooManyWatchers);
        }
        watched.watchers += 1;
        // Until the watcher has read something, nobody knows how far it is.
        let position = Arc::new(AtomicI64::new(i64::MAX));
        let new = || Site { sequence: watch::Sender::new(0), positions: Vec::new() };
        let watched = watched.sites.entry(site).or_insert_with(new);
        watched.positions.push(Arc::clone(&position));
        Ok(Watch { feed: self.clone(), site, sequence: watched.sequence.subscribe(), position })
    }

    /// The sites that somebody watches.
    pub fn watched(&self) -> Vec<SiteId> {
        self.lock().sites.keys().copied().collect()
    }

    /// How many watchers there are.
    pub fn watchers(&self) -> usize {
        self.lock().watchers
    }

    /// How many entries the watcher is behind that is furthest behind.
    pub fn lag(&self) -> i64 {
        let watched = self.lock();
        let of_site = |site: &Site| {
            let slowest = site.positions.iter().map(|position| position.load(Ordering::Relaxed)).min();
            slowest.map_or(0, |slowest| site.sequence.borrow().saturating_sub(slowest))
        };
        watched.sites.values().map(of_site).fold(0, i64::max)
    }

    /// Raises the known sequence number of a site to `sequence`, and wakes its watchers.
    pub fn publish(&self, site: SiteId, sequence: i64) {
        if let Some(known) = self.lock().sites.get(&site) {
            known.sequence.send_if_modified(|known| {
                let is_new = sequence > *known;
                *known = sequence.max(*known);
                is_new
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watcher of one site. Dropping it ends the watch.
pub struct Watch {
    feed: Feed,
    site: SiteId,
    sequence: watch::Receiver<i64>,
    position: Arc<AtomicI64>,
}

impl Watch {
    /// The watcher has been sent the entries up to `sequence`.
    pub fn sent(&self, sequence: i64) {
        self.position.store(sequence, Ordering::Relaxed);
    }

    /// Returns once the site's known sequence number is at least `sequence`.
    pub async fn reaches(&mut self, sequence: i64) {
        // The sender lives as long as this watch, so waiting cannot fail.
        let _ = self.sequence.wait_for(|known| *known >= sequence).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.feed.lock();
        watched.watchers = watched.watchers.saturating_sub(1);
        if let Entry::Occupied(mut site) = watched.sites.entry(self.site) {
            site.get_mut().positions.retain(|position| !Arc::ptr_eq(position, &self.position));
            if site.get().positions.is_empty() {
                site.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn site(number: u128) -> SiteId {
        SiteId::from_uuid(Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_watch_waits_for_its_own_site() {
        let feed = Feed::default();
        feed.publish(site(1), 7);
        assert_eq!(feed.watched(), [], "nobody watches, so nothing is kept");
        let mut watch = feed.watch(site(1)).expect("few watch");
        let mut reached = Box::pin(watch.reaches(3));
        let is_waiting = async |reached: &mut std::pin::Pin<Box<_>>| {
            tokio::select! { biased; () = reached => false, () = std::future::ready(()) => true }
        };
        assert!(is_waiting(&mut reached).await);
        feed.publish(site(2), 9);
        feed.publish(site(1), 2);
        assert!(is_waiting(&mut reached).await);
        feed.publish(site(1), 4);
        feed.publish(site(1), 1);
        reached.await;
        watch.reaches(4).await;
        assert_eq!(feed.lag(), 0, "it has not said how far it is");
        watch.sent(1);
        assert_eq!(feed.lag(), 3);
        watch.sent(4);
        assert_eq!(feed.lag(), 0);
    }

    #[test]
    fn watchers_are_bounded_and_leave_nothing_behind() {
        let feed = Feed::default();
        let watches: Vec<Watch> = (0..limits::WATCHERS_MAX as u128)
            .map(|number| feed.watch(site(number / 2)).expect("within the bound"))
            .collect();
        assert!(matches!(feed.watch(site(1)), Err(Failed::TooManyWatchers)));
        assert_eq!((feed.watchers(), feed.watched().len()), (limits::WATCHERS_MAX, limits::WATCHERS_MAX / 2));
        drop(watches);
        assert_eq!((feed.watchers(), feed.watched()), (0, Vec::new()));
        assert!(feed.watch(site(1)).is_ok());
    }
}
