//! What is known of the orders: a byte for each, so that millions of them need megabytes.

use std::time::{Duration, Instant};

/// What is known of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was sent, and has no answer with 200 so far. The ledger may have it or not.
    Sent,
    /// It was answered with 200. The ledger must have it once.
    Answered,
}

/// Counts of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orders that were sent.
    pub sent: u64,
    /// Orders that were answered with 200.
    pub answered: u64,
    /// Shoppers who sent no order, because too many were waiting for an answer.
    pub turned_away: u64,
}

/// The orders of a run, by their numbers.
pub(super) struct Record {
    /// What is known of each.
    pub(super) orders: Vec<Known>,
    /// How many there are of each kind.
    pub(super) counts: Counts,
    /// Answers that no order may get.
    pub(super) wrong: Vec<String>,
    /// Of all adapters together, then of each.
    gaps: Vec<Gap>,
}

/// The time between two answers.
struct Gap {
    last: Instant,
    longest: Duration,
}

impl Record {
    pub(super) fn of(adapters: usize) -> Self {
        let last = Instant::now();
        let gaps = (0..=adapters).map(|_| Gap { last, longest: Duration::ZERO }).collect();
        Self { orders: Vec::new(), counts: Counts::default(), wrong: Vec::new(), gaps }
    }

    /// Records a new order. Returns its number.
    pub(super) fn sent(&mut self) -> u64 {
        self.orders.push(Known::Sent);
        self.counts.sent += 1;
        self.orders.len() as u64 - 1
    }

    /// Records an answer with 200. The order must have been sent.
    pub(super) fn answered(&mut self, number: u64, adapter: usize) {
        let order = usize::try_from(number).ok().and_then(|number| self.orders.get_mut(number));
        let order = order.expect("only orders that were sent are answered");
        if *order == Known::Sent {
            *order = Known::Answered;
            self.counts.answered += 1;
        }
        let now = Instant::now();
        for of in [0, adapter + 1] {
            let gap = &mut self.gaps[of];
            gap.longest = gap.longest.max(now - gap.last);
            gap.last = now;
        }
    }

    /// The longest gaps since this was last asked: of all adapters together, then of each.
    pub(super) fn take_gaps(&mut self) -> Vec<Duration> {
        self.gaps.iter_mut().map(|gap| std::mem::take(&mut gap.longest)).collect()
    }
}
