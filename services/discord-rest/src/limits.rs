//! The rules of a budget as a pure machine: who may go, over a clock that is given.
//!
//! Time is milliseconds on the caller's clock. `redis/scripts` says the same in Lua; the contract suite holds
//! the two together. Each part has a file: [`global`], [`bucket`], [`token`], [`invalid`].

pub(crate) mod bucket;
pub(crate) mod global;
pub(crate) mod invalid;
pub(crate) mod token;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{BudgetAnswer, BudgetReport, BudgetRequest, BudgetState, Caller, Scope, StopReason, WaitReason};
use bucket::Bucket;
use global::Global;
pub(crate) use global::{Slots, WINDOW_MS};
use invalid::InvalidRequests;
use token::Token;

/// How long the first request of a route is waited for, before another one is let through to learn.
pub(crate) const LEARN_MS: u64 = 2_000;
/// When to ask again where what is waited for is an answer that is under way.
pub(crate) const POLL_MS: u64 = 50;
/// Above this number of routes of one caller the routes are learnt again: Discord has a few hundred.
pub(crate) const MOST_ROUTES: usize = 2_000;
/// The longest that the breaker stays open for one ban.
pub(crate) const LONGEST_BAN_MS: u64 = 3_600_000;
/// Above this number, buckets without information are dropped; so are callers.
const MOST_BUCKETS: usize = 16_384;
const MOST_CALLERS: usize = 256;
/// After so long without a request a caller is dropped where there are many.
const CALLER_KEPT_MS: u64 = 600_000;

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct LimitRules {
    /// Invalid requests in ten minutes at which the breaker opens. Discord bans at 10,000.
    pub invalid_limit: u32,
}

impl Default for LimitRules {
    fn default() -> Self {
        Self { invalid_limit: 9_500 }
    }
}

/// What is known of a route's bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownBucket {
    /// Its name; empty where the route has none.
    pub(crate) bucket: String,
    /// Requests of one window; 0 where the route has no bucket.
    pub(crate) limit: u32,
    /// How long a window is.
    pub(crate) period: u64,
}

/// What is known of one caller.
#[derive(Debug, Default)]
struct CallerLimits {
    global: Global,
    token: Token,
    routes: HashMap<Arc<str>, KnownBucket>,
    /// Whose answer a route is waited for, and until when.
    learning: HashMap<Arc<str>, (u64, u64)>,
    asked: u64,
}

/// All limits.
#[derive(Debug)]
pub(crate) struct Limits {
    rules: LimitRules,
    callers: HashMap<Caller, CallerLimits>,
    buckets: HashMap<(Caller, Arc<str>, Arc<str>), Bucket>,
    prune_at: usize,
    invalid: InvalidRequests,
    /// Before this no request gets a turn at the global limit.
    floor: u64,
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Rounded up: who asks again does not come a moment too early.
pub(crate) fn millis_up(duration: Duration) -> u64 {
    millis(duration.saturating_add(Duration::from_nanos(999_999)))
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Limits {
    pub(crate) fn new(rules: LimitRules) -> Self {
        Self {
            rules,
            callers: HashMap::new(),
            buckets: HashMap::new(),
            prune_at: MOST_BUCKETS,
            invalid: InvalidRequests::default(),
            floor: 0,
        }
    }

    /// Takes the last second as used up: others may have used it.
    pub(crate) fn hold_back(&mut self, now: u64) {
        self.floor = now + WINDOW_MS;
        for caller in self.callers.values_mut() {
            caller.global.forget();
        }
    }

    /// How long all requests are stopped, and why.
    pub(crate) fn breaker(&self, now: u64) -> Option<(Duration, StopReason)> {
        self.invalid.open_for(now).map(|(left, why)| (ms(left), why))
    }

    /// Allows this many invalid requests beyond the present count, and later as many in ten minutes.
    pub(crate) fn allow_invalid(&mut self, more: u32, now: u64) {
        self.rules.invalid_limit = self.invalid.count(now).saturating_add(more);
        if more == 0 {
            self.invalid.open_until(now + invalid::WINDOW_MS, false);
        }
    }

    /// Decides whether a request may go. With `slots`, the global limit is one request in each slot.
    pub(crate) fn ask(&mut self, ask: &BudgetRequest, slots: Option<Slots>, now: u64) -> BudgetAnswer {
        self.prune(now);
        if let Some((left, why)) = self.breaker(now) {
            return BudgetAnswer::Stop(left, why);
        }
        let of_caller = self.callers.entry(ask.caller.clone()).or_default();
        of_caller.asked = now;
        if let Some(left) = of_caller.token.refused_for(now) {
            return BudgetAnswer::Stop(ms(left), StopReason::Token);
        }
        let learned = of_caller.routes.get(&ask.pattern);
        if learned.is_none()
            && let Some((permit, until)) = of_caller.learning.get(&ask.pattern)
            && *permit != ask.permit
            && *until > now
        {
            return BudgetAnswer::Wait(ms(POLL_MS.min(until - now)), WaitReason::Learning);
        }
        let key = bucket_key(ask, learned);
        let window = learned.map_or((0, 0), |learned| (learned.limit, learned.period));
        let bucket = self.buckets.entry(key).or_default();
        if let Some(wait) = bucket.wait(window.0, now) {
            return BudgetAnswer::Wait(ms(wait), WaitReason::Bucket);
        }
        let mut at = now;
        if let Some(per_second) = ask.per_second {
            at = of_caller.global.turn(per_second, now.max(self.floor));
            at = slots.map_or(at, |slots| slots.next(at));
            if at.saturating_sub(now) > millis(ask.patience) {
                return BudgetAnswer::Wait(ms(at - now), WaitReason::Global);
            }
            of_caller.global.take(at, per_second);
        }
        if learned.is_none() {
            of_caller.learning.insert(ask.pattern.clone(), (ask.permit, now + LEARN_MS));
        }
        bucket.take(ask.permit, window, at);
        BudgetAnswer::Go(ms(at - now))
    }

    pub(crate) fn report(&mut self, report: &BudgetReport, now: u64) -> BudgetState {
        // Who asks elsewhere, and only reports here, grows it too.
        self.prune(now);
        let ask = &report.ask;
        let of_caller = self.callers.entry(ask.caller.clone()).or_default();
        of_caller.asked = now;
        if let Some(is_good) = report.token_is_good() {
            of_caller.token.note(is_good, now);
        }
        let learned = of_caller.routes.get(&ask.pattern);
        if let Some(bucket) = self.buckets.get_mut(&bucket_key(ask, learned)) {
            bucket.landed(ask.permit);
        }
        if of_caller.learning.get(&ask.pattern).is_some_and(|(permit, _)| *permit == ask.permit) {
            of_caller.learning.remove(&ask.pattern);
        }
        if let Some(new) = learn(learned, report) {
            if of_caller.routes.len() >= MOST_ROUTES {
                of_caller.routes.clear();
            }
            of_caller.routes.insert(ask.pattern.clone(), new);
        }
        let key = bucket_key(ask, of_caller.routes.get(&ask.pattern));
        if let Some(seen) = &report.seen {
            self.buckets.entry(key.clone()).or_default().note(seen, now);
        }
        if let Some(limited) = report.limited {
            let until = now.saturating_add(millis_up(limited.retry_after));
            match limited.scope {
                Scope::Global => of_caller.global.block(until),
                Scope::User | Scope::Shared => self.buckets.entry(key).or_default().stop(until),
                Scope::Sub => {}
                Scope::Address => self.invalid.open_until(until.min(now + LONGEST_BAN_MS), true),
            }
        }
        let invalid = report.is_invalid().then(|| self.invalid.note(self.rules.invalid_limit, now));
        BudgetState { invalid, breaker: self.breaker(now) }
    }

    fn prune(&mut self, now: u64) {
        if self.buckets.len() >= self.prune_at {
            self.buckets.retain(|_, bucket| bucket.matters(now));
            self.prune_at = MOST_BUCKETS.max(self.buckets.len() * 2);
        }
        if self.callers.len() >= MOST_CALLERS {
            self.callers.retain(|_, caller| caller.asked + CALLER_KEPT_MS > now);
        }
    }
}

/// Which bucket a request is in: the one that its route is known to have, else one of the route itself.
fn bucket_key(ask: &BudgetRequest, learned: Option<&KnownBucket>) -> (Caller, Arc<str>, Arc<str>) {
    let name = match learned {
        Some(learned) if !learned.bucket.is_empty() => Arc::from(learned.bucket.as_str()),
        _ => ask.pattern.clone(),
    };
    (ask.caller.clone(), name, ask.major.clone())
}

/// What an answer teaches of a route; `None` when nothing new.
pub(crate) fn learn(known: Option<&KnownBucket>, report: &BudgetReport) -> Option<KnownBucket> {
    let Some(seen) = &report.seen else {
        // An answer without headers: the route has no bucket. What Discord's edge refuses says nothing of it.
        let says = report.status.is_some_and(|status| !matches!(status, 401 | 404 | 429 | 500..));
        return (known.is_none() && says).then(|| KnownBucket { bucket: String::new(), limit: 0, period: 0 });
    };
    let left = millis_up(seen.reset_after);
    let period = match known {
        // Only the first request of a window tells its whole length.
        Some(known) if known.bucket == seen.bucket && seen.remaining + 1 != seen.limit => {
            known.period.max(left)
        }
        _ => left,
    };
    let new = KnownBucket { bucket: seen.bucket.clone(), limit: seen.limit, period };
    (known != Some(&new)).then_some(new)
}
