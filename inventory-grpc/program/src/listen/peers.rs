//! The open connections of a port: how many there are, which one must go, and how many calls are under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::listen::{Limits, Protocol};

/// How often the connections are looked through. The unit of all times here.
const TICK: Duration = Duration::from_millis(500);

/// Bytes of answers that a connection may have waiting for its caller to take them. While it has more, its calls are
/// refused.
const UNTAKEN_MAX: usize = 8 * 1024 * 1024;
/// Those of all connections of a port.
const UNTAKEN_TOTAL_MAX: usize = 128 * 1024 * 1024;
/// Time for which a caller may take no byte of what the server sends.
const BLOCKED_MAX: Duration = Duration::from_secs(10);

/// Calls of a connection that wait for their first turn, at most. While it has as many, no more is read from it.
/// Otherwise a caller that sends heads, or resets calls, as fast as it can, fills the memory before the first of them
/// is looked at: the task that reads always has something to do, and the tasks of the calls queue up.
const WAITING_MAX: u32 = 128;

/// All connections of a port.
#[derive(Debug)]
pub(super) struct Peers {
    protocol: Protocol,
    start_ticks: u32,
    idle_ticks: u32,
    blocked_ticks: u32,
    calls_max: usize,
    /// The time, in ticks since the start, from 1.
    now: AtomicU32,
    calls: AtomicUsize,
    /// Bytes of answers that no caller has taken yet.
    untaken: AtomicUsize,
    room: Arc<Semaphore>,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    all: Vec<Weak<Peer>>,
    /// Those that had not made such a call when they were looked at last, the oldest first.
    new: VecDeque<Weak<Peer>>,
}

/// The caller at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    peers: Arc<Peers>,
    _room: OwnedSemaphorePermit,
    /// When its time to begin started: at the connection, and again after the handshake.
    born: AtomicU32,
    /// When it was last heard of: the last byte (HTTP/1), or the last begin or end of a call (HTTP/2).
    heard: AtomicU32,
    /// When the head of a call began that is not complete yet; 0 if there is none. HTTP/1 only.
    head: AtomicU32,
    /// Whether it has spoken HTTP/2.
    greeted: AtomicBool,
    /// Whether it has made a call; with HTTP/2, one that the server accepted from it.
    called: AtomicBool,
    calls: AtomicU32,
    /// Calls that wait for their first turn.
    waiting: AtomicU32,
    /// Bytes of answers that it has not taken yet.
    untaken: AtomicUsize,
    /// Since when it takes nothing; 0 if it does.
    blocked: AtomicU32,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl Peers {
    pub(super) fn start(protocol: Protocol, limits: Limits) -> Arc<Self> {
        let ticks = |time: Duration| {
            let ticks = time.as_millis().div_ceil(TICK.as_millis());
            u32::try_from(ticks).unwrap_or(u32::MAX / 2).max(1)
        };
        let peers = Arc::new(Self {
            protocol,
            start_ticks: ticks(limits.start),
            idle_ticks: ticks(limits.idle),
            blocked_ticks: ticks(BLOCKED_MAX),
            calls_max: limits.calls,
            now: AtomicU32::new(1),
            calls: AtomicUsize::new(0),
            untaken: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(limits.connections)),
            lists: Mutex::default(),
        });
        tokio::spawn(watch(Arc::downgrade(&peers)));
        peers
    }

    /// Waits until there is room for one more connection. If the port is full, the oldest connection that has made no
    /// call makes room.
    pub(super) async fn admit(self: &Arc<Self>) -> Arc<Peer> {
        let room = loop {
            if let Ok(room) = self.room.clone().try_acquire_owned() {
                break room;
            }
            self.close_oldest_new();
            // Nobody closes the semaphore, so only the time can end the wait. Then another connection may have to go.
            if let Ok(Ok(room)) = tokio::time::timeout(TICK, self.room.clone().acquire_owned()).await {
                break room;
            }
        };
        let now = self.now();
        let peer = Arc::new(Peer {
            peers: self.clone(),
            _room: room,
            born: AtomicU32::new(now),
            heard: AtomicU32::new(now),
            head: AtomicU32::new(0),
            greeted: AtomicBool::new(false),
            called: AtomicBool::new(false),
            calls: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            untaken: AtomicUsize::new(0),
            blocked: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.all.push(Arc::downgrade(&peer));
        lists.new.push_back(Arc::downgrade(&peer));
        drop(lists);
        peer
    }

    /// Closes the oldest connection that has made no call, if there is one.
    pub(super) fn close_oldest_new(&self) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(oldest) = lists.new.pop_front() {
            if let Some(peer) = oldest.upgrade().filter(|peer| peer.is_new()) {
                return peer.close();
            }
        }
    }

    /// Closes all connections. Returns how many there were, and how many calls were under way on them.
    pub(super) fn close_all(&self) -> (usize, usize) {
        let calls = self.calls.load(Ordering::Relaxed);
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<Arc<Peer>> = lists.all.iter().filter_map(Weak::upgrade).collect();
        drop(lists);
        open.iter().for_each(|peer| peer.close());
        (open.len(), calls)
    }

    fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Closes every connection that is late, and forgets those that are gone.
    fn sweep(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let mut late = Vec::new();
        lists.all.retain(|peer| {
            let Some(peer) = peer.upgrade() else { return false };
            if peer.is_late(now) {
                late.push(peer);
            }
            true
        });
        lists.new.retain(|peer| peer.upgrade().is_some_and(|peer| peer.is_new()));
        drop(lists);
        late.iter().for_each(|peer| peer.close());
    }
}

/// Looks through the connections until the port and all of them are gone.
async fn watch(peers: Weak<Peers>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(peers) = peers.upgrade() else { return };
        peers.sweep();
    }
}

impl Peer {
    /// Its time to make a call starts now: the handshake is over.
    pub(super) fn begin(&self) {
        self.born.store(self.peers.now(), Ordering::Relaxed);
    }

    /// It has spoken HTTP/2: the preface is complete.
    pub(super) fn greet(&self) {
        self.greeted.store(true, Ordering::Relaxed);
    }

    /// A byte came in or went out. Only HTTP/1 needs to know; HTTP/2 has pings, which say nothing about calls.
    pub(super) fn hear(&self, came_in: bool) {
        if self.peers.protocol == Protocol::Http1 {
            let now = self.peers.now();
            self.heard.store(now, Ordering::Relaxed);
            if came_in && self.calls.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == 0 {
                self.head.store(now, Ordering::Relaxed);
            }
        }
    }

    /// Bytes of an answer are ready for it.
    pub(super) fn give(&self, bytes: usize) {
        self.untaken.fetch_add(bytes, Ordering::Relaxed);
        self.peers.untaken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It took so many bytes. Those that are no answer's count as some, which changes little: there are few.
    pub(super) fn take(&self, bytes: usize) {
        self.blocked.store(0, Ordering::Relaxed);
        let less = |untaken: usize| Some(untaken - untaken.min(bytes));
        if let Ok(before) = self.untaken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            self.peers.untaken.fetch_sub(before.min(bytes), Ordering::Relaxed);
        }
    }

    /// It takes nothing now.
    pub(super) fn block(&self) {
        // The first time counts.
        let now = self.peers.now();
        let _ = self.blocked.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether it, and all callers together, take their answers.
    pub(super) fn takes_answers(&self) -> bool {
        self.untaken.load(Ordering::Relaxed) < UNTAKEN_MAX
            && self.peers.untaken.load(Ordering::Relaxed) < UNTAKEN_TOTAL_MAX
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.peers.protocol
    }

    /// Ready when the connection must be closed. Otherwise the task is woken when it must be.
    pub(super) fn poll_closed(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// One more of its calls waits for its first turn.
    pub(super) fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that waited for its first turn has it, or is gone.
    pub(super) fn wait_no_more(&self) {
        if self.waiting.fetch_sub(1, Ordering::Relaxed) == WAITING_MAX {
            self.waker.wake();
        }
    }

    /// Ready if more may be read. Otherwise the task is woken when it may. Only the task of the connection may ask, as
    /// only it may ask `poll_closed`: one waker serves both.
    pub(super) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        let is_full = || self.waiting.load(Ordering::Relaxed) >= WAITING_MAX;
        if !is_full() {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        // A call may have had its turn before the waker was there. The counter needs no order of its own: either
        // `register` comes after `wake`, and then this sees what was counted before it, or `wake` finds the waker.
        if is_full() { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The server has accepted a call from it.
    pub(super) fn accept(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn is_new(&self) -> bool {
        !self.called.load(Ordering::Relaxed) && !self.is_closed()
    }

    fn is_late(&self, now: u32) -> bool {
        let since = |tick: &AtomicU32| now.saturating_sub(tick.load(Ordering::Relaxed));
        let (start, idle) = (self.peers.start_ticks, self.peers.idle_ticks);
        let called = self.called.load(Ordering::Relaxed);
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked > 0 && now.saturating_sub(blocked) > self.peers.blocked_ticks {
            return true;
        }
        match self.peers.protocol {
            Protocol::Http1 => {
                let head = self.head.load(Ordering::Relaxed);
                !called && since(&self.born) > start
                    || head > 0 && now.saturating_sub(head) > start
                    || since(&self.heard) > idle
            }
            Protocol::Http2 => {
                !self.greeted.load(Ordering::Relaxed) && since(&self.born) > start
                    || self.calls.load(Ordering::Relaxed) == 0 && since(&self.heard) > idle
            }
        }
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Call(Arc<Peer>);

impl Call {
    /// Begins a call; `None` if too many are under way.
    pub(super) fn begin(peer: Arc<Peer>) -> Option<Self> {
        match peer.protocol() {
            Protocol::Http1 => peer.called.store(true, Ordering::Relaxed),
            // Anybody may ask for the health, so that keeps no place on a full port.
            Protocol::Http2 => {}
        }
        peer.head.store(0, Ordering::Relaxed);
        peer.heard.store(peer.peers.now(), Ordering::Relaxed);
        peer.calls.fetch_add(1, Ordering::Relaxed);
        let under_way = peer.peers.calls.fetch_add(1, Ordering::Relaxed);
        // A call that is refused ends here, and is counted out like any other.
        let call = Self(peer);
        (under_way < call.0.peers.calls_max && call.0.takes_answers()).then_some(call)
    }

    /// Bytes of its answer are ready.
    pub(super) fn give(&self, bytes: usize) {
        self.0.give(bytes);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.peers.untaken.fetch_sub(*self.untaken.get_mut(), Ordering::Relaxed);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let peer = &self.0;
        peer.peers.calls.fetch_sub(1, Ordering::Relaxed);
        peer.heard.store(peer.peers.now(), Ordering::Relaxed);
        peer.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
