//! Limits on IDENTIFY: one per bucket and interval, and a daily budget.
//!
//! Pure: times are durations since the simulator started.
//! [Source](https://docs.discord.com/developers/events/gateway#rate-limiting).

use std::{collections::HashMap, time::Duration};

/// Window of the daily budget. The window is fixed and starts with the simulator.
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// The verdict on an IDENTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentifyVerdict {
    /// Allowed.
    Allowed,
    /// The bucket's last IDENTIFY was this long ago: op 9.
    TooSoon(Duration),
    /// The daily budget is used up: Discord resets the token.
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
    /// Time of each bucket's last allowed IDENTIFY.
    last: HashMap<u32, Duration>,
}

impl IdentifyLimiter {
    pub(crate) fn new(max_concurrency: u16, interval: Duration, daily: u32) -> Self {
        Self { max_concurrency, interval, daily, used: 0, day: 0, last: HashMap::new() }
    }

    /// Returns the number of buckets.
    pub(crate) const fn max_concurrency(&self) -> u16 {
        self.max_concurrency
    }

    /// Sets the number of buckets and the remaining budget of today.
    pub(crate) fn change(&mut self, max_concurrency: Option<u16>, remaining: Option<u32>, now: Duration) {
        self.turn_day(now);
        if let Some(max_concurrency) = max_concurrency.filter(|buckets| *buckets != self.max_concurrency) {
            self.max_concurrency = max_concurrency;
            // Earlier IDENTIFYs belong to the old buckets.
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

    /// Judges an IDENTIFY that arrived at `now`. One that came too soon uses budget but does not extend the bucket's interval.
    pub(crate) fn judge(&mut self, shard: u32, now: Duration) -> IdentifyVerdict {
        self.turn_day(now);
        if self.used >= self.daily {
            return IdentifyVerdict::OverBudget;
        }
        self.used += 1;
        let bucket = shard % u32::from(self.max_concurrency);
        if let Some(last) = self.last.get(&bucket) {
            // Two that arrive almost together may be read in either order.
            let apart = now.abs_diff(*last);
            if apart < self.interval {
                return IdentifyVerdict::TooSoon(apart);
            }
        }
        let last = self.last.entry(bucket).or_default();
        *last = now.max(*last);
        IdentifyVerdict::Allowed
    }

    /// Returns the remaining budget of today.
    pub(crate) fn remaining(&mut self, now: Duration) -> u32 {
        self.turn_day(now);
        self.daily - self.used
    }

    /// Returns the time until the budget resets.
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
    fn bucket_allows_one_identify_per_interval() {
        let mut limiter = IdentifyLimiter::new(2, at(5_000), 100);
        assert_eq!(limiter.judge(0, at(0)), IdentifyVerdict::Allowed);
        assert_eq!(limiter.judge(1, at(0)), IdentifyVerdict::Allowed, "another bucket");
        assert_eq!(limiter.judge(2, at(4_999)), IdentifyVerdict::TooSoon(at(4_999)), "the bucket of shard 0");
        assert_eq!(
            limiter.judge(2, at(5_000)),
            IdentifyVerdict::Allowed,
            "the rejected one did not extend the interval"
        );
        assert_eq!(limiter.judge(1, at(20_000)), IdentifyVerdict::Allowed);
        assert_eq!(
            limiter.judge(3, at(15_001)),
            IdentifyVerdict::TooSoon(at(4_999)),
            "arrived first but was read later"
        );
        assert_eq!(limiter.remaining(at(5_000)), 94, "the rejected one counts");
    }

    #[test]
    fn daily_budget_resets_after_a_day() {
        let mut limiter = IdentifyLimiter::new(1, Duration::ZERO, 2);
        assert_eq!(limiter.judge(0, at(1)), IdentifyVerdict::Allowed);
        assert_eq!(limiter.judge(1, at(2)), IdentifyVerdict::Allowed);
        assert_eq!(limiter.judge(2, at(3)), IdentifyVerdict::OverBudget);
        assert_eq!(limiter.remaining(at(3)), 0);
        assert_eq!(IdentifyLimiter::reset_after(at(3)) + at(3), DAY);
        assert_eq!(limiter.judge(2, DAY), IdentifyVerdict::Allowed);
        assert_eq!(limiter.remaining(DAY), 1);
    }
}
