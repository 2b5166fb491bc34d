//! Waits between attempts to reach another system. Pure: the caller passes the time and the random number.
//!
//! The wait doubles with each failure and carries full jitter
//! ([AWS, "Exponential backoff and jitter"](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)).
//! A success does not reset it. Failures are forgotten only after a success has lasted for [`Policy::steady`], so a server
//! that accepts every connection and closes it at once is retried as slowly as one that refuses. A wait that the other side
//! asks for ([`asked_wait`]) is a floor under the next wait.
//!
//! Everything that connects to Discord uses [`Policy::DISCORD`]: gateway connections, RESUME, IDENTIFY, `/gateway/bot`, the
//! token check and REST.

use std::time::{Duration, Instant};

mod asked;

pub use asked::{LONGEST_LIMIT, asked_wait, longest_asked, wait_of_seconds};

/// How fast the waits grow and when failures are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Upper bound of the first wait. Each further failure doubles the bound.
    pub first: Duration,
    /// Upper bound of every wait.
    pub longest: Duration,
    /// How long a success must last before earlier failures are forgotten.
    pub steady: Duration,
    /// Failures without a wait of their own, counted from the last steady success.
    pub free: u32,
}

impl Policy {
    /// The policy for everything that connects to Discord: waits of up to 1 s, 2 s, 4 s, ... 60 s, the first failure free,
    /// failures forgotten after 30 s of success.
    pub const DISCORD: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_mins(1),
        steady: Duration::from_secs(30),
        free: 1,
    };
}

/// The failures so far, and from them the wait before the next attempt.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
    floor: Duration,
    succeeded_at: Option<Instant>,
}

impl Backoff {
    /// Starts without failures.
    pub const fn new(policy: Policy) -> Self {
        Self { policy, failures: 0, floor: Duration::ZERO, succeeded_at: None }
    }

    /// Records that the attempt succeeded at `now`. A second call before the next failure changes nothing.
    pub fn succeeded(&mut self, now: Instant) {
        self.succeeded_at.get_or_insert(now);
        self.floor = Duration::ZERO;
    }

    /// Records that what succeeded was ended at `now` on purpose, which is no failure.
    pub fn ended(&mut self, now: Instant) {
        if self.is_steady(now) {
            self.failures = 0;
        }
        self.succeeded_at = None;
    }

    /// Records that the attempt failed at `now`, or that what succeeded before has failed.
    pub fn failed(&mut self, now: Instant) {
        self.ended(now);
        self.failures = self.failures.saturating_add(1);
    }

    /// Makes the next wait at least `floor` long, as the other side asked. The longest of several floors counts. The next
    /// success removes it.
    pub fn wait_at_least(&mut self, floor: Duration) {
        self.floor = self.floor.max(floor);
    }

    /// Returns the wait before the next attempt. `jitter` is a random number from 0 to 1: the wait is that part of its upper
    /// bound, on top of the floor.
    pub fn wait(&self, jitter: f64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(self.policy.free.saturating_add(1)) else {
            return self.floor;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let bound = self.policy.first.saturating_mul(factor).min(self.policy.longest);
        self.floor.saturating_add(bound.mul_f64(jitter.clamp(0.0, 1.0)))
    }

    /// Returns the number of failures since the last success that lasted.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a success has lasted for [`Policy::steady`] at `now`.
    pub fn is_steady(&self, now: Instant) -> bool {
        self.succeeded_at.is_some_and(|at| now.saturating_duration_since(at) >= self.policy.steady)
    }
}

#[cfg(test)]
mod tests;
