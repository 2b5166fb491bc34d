//! One bucket of one channel, guild or webhook: what is left of its window.
//!
//! Discord opens a window with the first request in it, so its end is known only from an answer. Until one is there the window's
//! end is *presumed*, later than it can be. A request that is under way when a window ends may count for the next one, so
//! it is taken off there too.

use std::collections::HashMap;

use super::POLL_MS;
use crate::BucketHeaders;

/// How long a request that was let through counts as under way when its result is not reported.
pub(crate) const FLIGHT_MS: u64 = 30_000;
/// How much later than its period a window is presumed to end.
pub(crate) const PRESUMED_MS: u64 = 500;
/// How far the ends of one window may be apart in two answers, by Discord's clock.
pub(crate) const SAME_MS: u64 = 50;

/// Where a bucket stands.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    left: u32,
    /// When its window ends; 0 when none is open.
    ends: u64,
    /// Its end by Discord's clock; of the last one where that is not known yet.
    reset: u64,
    /// The end was told, not presumed.
    sure: bool,
    /// Until when a 429 stopped it.
    stopped: u64,
    /// Requests under way, and until when they count.
    flights: HashMap<u64, u64>,
}

impl Bucket {
    /// How long to wait; `None` when a request may go. `limit` 0 is a route without a bucket.
    pub(super) fn wait(&mut self, limit: u32, now: u64) -> Option<u64> {
        if self.stopped > now {
            return Some(self.stopped - now);
        }
        if limit == 0 {
            return None;
        }
        if self.ends <= now {
            self.flights.retain(|_, until| *until > now);
            self.left = limit.saturating_sub(self.flights.len() as u32);
            (self.ends, self.sure) = (0, false);
        }
        if self.left > 0 {
            None
        } else if self.sure {
            Some(self.ends - now)
        } else {
            Some(POLL_MS)
        }
    }

    /// Lets a request go; after [`wait`](Self::wait) said that it may.
    pub(super) fn take(&mut self, permit: u64, (limit, period): (u32, u64), at: u64) {
        if limit == 0 {
            return;
        }
        self.left = self.left.saturating_sub(1);
        self.flights.insert(permit, at + FLIGHT_MS);
        if self.ends == 0 {
            self.ends = at + period + PRESUMED_MS;
        }
    }

    /// A request is no longer under way.
    pub(super) fn landed(&mut self, permit: u64) {
        self.flights.remove(&permit);
    }

    /// What an answer says of the window.
    pub(super) fn note(&mut self, seen: &BucketHeaders, now: u64) {
        let ends = now + super::millis_up(seen.reset_after);
        // Where Discord does not say by its own clock, the ends by ours are compared, as far apart as answers are late.
        let (told, known, apart) = if seen.reset > 0 && self.reset > 0 {
            (seen.reset, self.reset, SAME_MS)
        } else if self.sure {
            (ends, self.ends, SAME_MS * 5)
        } else {
            (1, 0, 0)
        };
        if told + apart < known {
            return;
        }
        if told > known + apart {
            let under_way = self.flights.len() as u32;
            self.left = if self.sure || self.ends == 0 {
                seen.remaining.saturating_sub(under_way)
            } else {
                // The window was opened here, so only requests of other programs are unknown.
                self.left.min(seen.remaining)
            };
            (self.ends, self.reset, self.sure) = (ends, seen.reset, true);
        } else if self.sure {
            self.left = self.left.min(seen.remaining);
            self.ends = self.ends.min(ends);
        }
    }

    /// A 429 stopped it.
    pub(super) fn stop(&mut self, until: u64) {
        self.stopped = self.stopped.max(until);
    }

    /// It still says something.
    pub(super) fn matters(&self, now: u64) -> bool {
        self.ends > now || self.stopped > now || self.flights.values().any(|until| *until > now)
    }
}
