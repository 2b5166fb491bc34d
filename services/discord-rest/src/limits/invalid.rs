//! Invalid requests of the last ten minutes, and the breaker before Discord's ban
//! ([Discord](https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans)).

use std::collections::BTreeMap;

use crate::StopReason;

/// Discord's ten minutes.
pub(crate) const WINDOW_MS: u64 = 600_000;
/// What is counted together: it leaves the window together, late rather than early.
pub(crate) const SLOT_MS: u64 = 20_000;

/// The count, by slots of time.
#[derive(Debug, Default)]
pub(super) struct InvalidRequests {
    slots: BTreeMap<u64, u32>,
    open_until: u64,
    /// Opened by a block, not by the count.
    is_blocked: bool,
}

/// When the last request of a slot is out of the window.
const fn leaves(slot: u64) -> u64 {
    (slot + 1) * SLOT_MS + WINDOW_MS
}

impl InvalidRequests {
    /// The present count.
    pub(super) fn count(&mut self, now: u64) -> u32 {
        self.slots.retain(|slot, _| leaves(*slot) > now);
        self.slots.values().fold(0, |sum: u32, count| sum.saturating_add(*count))
    }

    /// Counts one; how many there are now.
    pub(super) fn note(&mut self, limit: u32, now: u64) -> u32 {
        *self.slots.entry(now / SLOT_MS).or_default() += 1;
        let sum = self.count(now);
        if sum >= limit {
            // Until a twentieth is free again, or it would open and close with every request.
            let target = limit - (limit / 20).max(1).min(limit);
            let mut left = sum;
            let enough = self.slots.iter().find(|(_, count)| {
                left = left.saturating_sub(**count);
                left <= target
            });
            let until = enough.map_or(now, |(slot, _)| leaves(*slot));
            self.open_until(until, false);
        }
        sum
    }

    /// Opens the breaker, or keeps it open longer.
    pub(super) fn open_until(&mut self, until: u64, is_blocked: bool) {
        if until > self.open_until {
            (self.open_until, self.is_blocked) = (until, is_blocked);
        }
    }

    /// How long the breaker stays open in milliseconds, and why.
    pub(super) fn open_for(&self, now: u64) -> Option<(u64, StopReason)> {
        let left = self.open_until.checked_sub(now).filter(|left| *left > 0)?;
        Some((left, if self.is_blocked { StopReason::Blocked } else { StopReason::Breaker }))
    }
}
