//! When an IDENTIFY is allowed: one per bucket and interval, and so many a day.
//!
//! Pure: time comes in as the duration since the simulator started.
//! [Source](https://docs.discord.com/developers/events/gateway#rate-limiting).

use std::{collections::HashMap, time::Duration};

/// How long the daily budget lasts; our window is fixed and starts with the simulator.
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// What to do with an IDENTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Allowed,
    /// The bucket's last one was only this long ago: op 9.
    TooSoon(Duration),
    /// Over the day's budget: Discord resets the token.
    OverBudget,
}

/// The buckets and the daily budget.
#[derive(Debug)]
pub(crate) struct IdentifyLimiter {
    max_concurrency: u16,
    interval: Duration,
    daily: u32,
    used: u32,
    day: u64,
    /// When each bucket last let one through.
    last: HashMap<u32, Duration>,
}

impl IdentifyLimiter {
    pub(crate) fn new(max_concurrency: u16, interval: Duration, daily: u32) -> Self {
        Self { max_concurrency, interval, daily, used: 0, day: 0, last: HashMap::new() }
    }

    /// Number of buckets.
    pub(crate) const fn max_concurrency(&self) -> u16 {
        self.max_concurrency
    }

    /// Sets the number of buckets and the rest of today's budget.
    pub(crate) fn change(&mut self, max_concurrency: Option<u16>, remaining: Option<u32>, now: Duration) {
        self.turn_day(now);
        if let Some(max_concurrency) = max_concurrency.filter(|buckets| *buckets != self.max_concurrency) {
            self.max_concurrency = max_concurrency;
            // New buckets: earlier IDENTIFYs in the old ones are forgotten.
            self.last.clear();
        }
        if let Some(remaining) = remaining {
            self.used = self.daily.saturating_sub(remaining);
        }
    }

    fn turn_day(&mut self, now: Duration) {
        let day = now.as_secs() / DAY.as_secs();
        if day != self.day {
            (self.day, self.used) = (day, 0);
        }
    }

    /// Judges one IDENTIFY that arrived at `now`. One that came too soon eats budget too, but does not shut its bucket for longer.
    pub(crate) fn ask(&mut self, shard: u32, now: Duration) -> Verdict {
        self.turn_day(now);
        if self.used >= self.daily {
            return Verdict::OverBudget;
        }
        self.used += 1;
        let bucket = shard % u32::from(self.max_concurrency);
        if let Some(last) = self.last.get(&bucket) {
            // Two that arrived almost together may be read in either order.
            let apart = now.abs_diff(*last);
            if apart < self.interval {
                return Verdict::TooSoon(apart);
            }
        }
        let last = self.last.entry(bucket).or_default();
        *last = now.max(*last);
        Verdict::Allowed
    }

    /// What is left of today's budget.
    pub(crate) fn remaining(&mut self, now: Duration) -> u32 {
        self.turn_day(now);
        self.daily - self.used
    }

    /// How long until the budget is whole again.
    pub(crate) fn reset_after(now: Duration) -> Duration {
        Duration::from_millis((DAY.as_millis() - now.as_millis() % DAY.as_millis()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_per_bucket_and_interval() {
        let mut limiter = IdentifyLimiter::new(2, at(5_000), 100);
        assert_eq!(limiter.ask(0, at(0)), Verdict::Allowed);
        assert_eq!(limiter.ask(1, at(0)), Verdict::Allowed, "another bucket");
        assert_eq!(limiter.ask(2, at(4_999)), Verdict::TooSoon(at(4_999)), "the bucket of shard 0");
        assert_eq!(limiter.ask(2, at(5_000)), Verdict::Allowed, "the refused one did not shut it for longer");
        assert_eq!(limiter.ask(1, at(20_000)), Verdict::Allowed);
        assert_eq!(limiter.ask(3, at(15_001)), Verdict::TooSoon(at(4_999)), "arrived first, was read later");
        assert_eq!(limiter.remaining(at(5_000)), 94, "the refused one counts");
    }

    #[test]
    fn the_day_has_a_budget_and_ends() {
        let mut limiter = IdentifyLimiter::new(1, Duration::ZERO, 2);
        assert_eq!(limiter.ask(0, at(1)), Verdict::Allowed);
        assert_eq!(limiter.ask(1, at(2)), Verdict::Allowed);
        assert_eq!(limiter.ask(2, at(3)), Verdict::OverBudget);
        assert_eq!(limiter.remaining(at(3)), 0);
        assert_eq!(IdentifyLimiter::reset_after(at(3)) + at(3), DAY);
        assert_eq!(limiter.ask(2, DAY), Verdict::Allowed);
        assert_eq!(limiter.remaining(DAY), 1);
    }
}
