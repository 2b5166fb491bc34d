//! The global limit of one caller: a number of requests in any second, on turns that are given out in order.

use std::collections::VecDeque;

/// Discord's second, and how much later one request of it may arrive than another that left before.
pub(crate) const WINDOW_MS: u64 = 1_050;

/// The last turns that were given out, in order; some may be still to come.
#[derive(Debug, Default)]
pub(super) struct Global {
    turns: VecDeque<u64>,
    blocked: u64,
}

/// Times at which a worker may send one request, when the limit is below one a second for each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    /// Interval in milliseconds.
    pub(crate) every: u64,
    /// Offset of the first slot from the clock's zero.
    pub(crate) first: u64,
}

impl Slots {
    /// The first slot at or after `at`.
    pub(super) fn next(self, at: u64) -> u64 {
        let every = self.every.max(1);
        let since_one = (at + every - self.first % every) % every;
        if since_one == 0 { at } else { at + every - since_one }
    }
}

impl Global {
    /// When the next request would have its turn.
    pub(super) fn turn(&self, per_second: u32, now: u64) -> u64 {
        let mut at = now.max(self.blocked);
        if let Some(last) = self.turns.back() {
            at = at.max(*last);
        }
        let before = self.turns.len().checked_sub(per_second.max(1) as usize);
        before.map_or(at, |before| at.max(self.turns[before] + WINDOW_MS))
    }

    /// Gives that turn out.
    pub(super) fn take(&mut self, at: u64, per_second: u32) {
        self.turns.push_back(at);
        while self.turns.len() > per_second.max(1) as usize {
            self.turns.pop_front();
        }
    }

    /// A 429 of the scope `global`.
    pub(super) fn block(&mut self, until: u64) {
        self.blocked = self.blocked.max(until);
    }

    /// Forgets the turns, not the block.
    pub(super) fn forget(&mut self) {
        self.turns.clear();
    }
}
