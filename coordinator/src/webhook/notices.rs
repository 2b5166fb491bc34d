//! Which problems the webhook is told of, and when. Pure: no clock, no I/O.
//!
//! A notice says how the problems differ from those that the receiver was told of last. It is made when it is sent, so that
//! a repeated one is up to date, and what began and ended in between is not in it. A problem counts once it has lasted for
//! [`Pace::raise_after`], and as cleared once it has been absent for [`Pace::clear_after`]; each time that it returns, twice
//! as long. So a problem that comes and goes stays raised.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use backoff::{Backoff, Policy};
use fleet::Now;
use fleet_model::{Problem, ProblemCode, ShardSlot, SlotRanges, without_numbers};
use serde::{Deserialize, Serialize};

/// The most problems that are followed: one for each shard of the largest fleet.
const FOLLOWED: usize = 65_536;

/// How long things take, all in proportion to the time between two notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The shortest time from an accepted or refused notice to the next one.
    pub(crate) interval: Duration,
}

impl Pace {
    /// How long a problem must last without a break to be raised: 10 s of a minute.
    fn raise_after(self) -> Duration {
        self.interval / 6
    }

    /// How long a problem must be absent to be cleared, when it was raised this often: half a minute the first time, at most ten.
    fn clear_after(self, times: u32) -> Duration {
        let doubled = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
        (self.interval / 2).saturating_mul(doubled).min(self.interval.saturating_mul(10))
    }

    /// How long a cleared problem must stay away until its earlier returns no longer count: an hour.
    fn forget_after(self) -> Duration {
        self.interval.saturating_mul(60)
    }

    /// The waits after failed attempts: a second at least, and up to 5 s, 10 s, 20 s, ... 10 minutes more.
    fn retries(self) -> Policy {
        Policy {
            first: self.interval / 12,
            longest: self.interval.saturating_mul(10),
            steady: Duration::ZERO,
            free: 0,
        }
    }

    /// The shortest wait after a failed attempt: 1 s.
    fn shortest_retry(self) -> Duration {
        self.interval / 60
    }

    /// How often the problems should be looked at: once a second.
    pub(crate) fn look_every(self) -> Duration {
        self.interval / 60
    }
}

/// Distinguishes problems: by code and shard, or by text when not about shards.
pub(super) type Subject = (ProblemCode, Option<ShardSlot>, String);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Notices {
    pace: Pace,
    known: BTreeMap<Subject, Known>,
    /// No attempt before this.
    next: Duration,
    /// When the last notice was answered.
    answered_unix_ms: u64,
    backoff: Backoff,
    /// What the clock of the back-off counts from.
    start: Instant,
}

#[derive(Debug)]
struct Known {
    /// As it was last seen, about one shard at most.
    problem: Problem,
    /// Since when it has been seen each time; `None` while it is absent.
    lasts_since: Option<Duration>,
    last_seen: Duration,
    raised: bool,
    /// The receiver takes it as raised.
    told: bool,
    /// How often it was raised lately.
    times: u32,
}

/// What the receiver is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Problems that began.
    pub(crate) raised: Vec<Problem>,
    /// Problems that ended, and how long each lasted.
    pub(crate) cleared: Vec<(Problem, Option<Duration>)>,
    /// All problems that last, the raised ones among them.
    pub(crate) lasting: Vec<Problem>,
    /// The problems by their subjects, and whether each is raised.
    pub(super) changes: Vec<(Subject, bool)>,
}

/// How the receiver took a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoticeAnswer {
    /// It has it.
    Accepted,
    /// It does not want it: the same request would be refused again.
    Refused,
    /// No answer, or one that asks for another attempt, at the earliest after this wait.
    Failed(Option<Duration>),
}

impl Notices {
    /// Starts without problems. `start` is the moment at which [`Now::mono`] is zero.
    pub(crate) fn new(pace: Pace, start: Instant) -> Self {
        let backoff = Backoff::new(pace.retries());
        Self { pace, known: BTreeMap::new(), next: Duration::ZERO, answered_unix_ms: 0, backoff, start }
    }

    /// Takes all current problems. To be called each [`Pace::look_every`].
    pub(crate) fn observe(&mut self, problems: &[Problem], now: Now) {
        for problem in problems {
            let none = problem.shards.is_empty().then_some(None);
            for shard in none.into_iter().chain(problem.shards.iter().copied().map(Some)) {
                self.see(problem, shard, now);
            }
        }
        for known in self.known.values_mut() {
            if known.last_seen < now.mono {
                known.lasts_since = None;
            }
            let lasted = known.lasts_since.map(|since| now.mono.saturating_sub(since));
            if !known.raised && lasted.is_some_and(|lasted| lasted >= self.pace.raise_after()) {
                known.raised = true;
                known.times = known.times.saturating_add(1);
            }
            let absent = now.mono.saturating_sub(known.last_seen);
            if known.raised && absent >= self.pace.clear_after(known.times) {
                known.raised = false;
            }
        }
        let forget_after = self.pace.forget_after();
        self.known.retain(|_, known| {
            let absent = now.mono.saturating_sub(known.last_seen);
            let is_remembered = known.times > 0 && absent < forget_after;
            absent.is_zero() || known.raised || known.told || is_remembered
        });
    }

    fn see(&mut self, problem: &Problem, shard: Option<ShardSlot>, now: Now) {
        let text = if shard.is_some() { String::new() } else { without_numbers(&problem.message) };
        let subject = (problem.code.lasting(), shard, text);
        let full = self.known.len() >= FOLLOWED;
        // Without a copy of the problem's other shards: a large fleet has thousands.
        let seen = || Problem {
            code: problem.code,
            shards: shard.into_iter().collect(),
            message: problem.message.clone(),
            since_unix_ms: problem.since_unix_ms,
        };
        if !problem.degrades() {
            // A shard that waits in the identify queue is not well yet.
            if let Some(known) = self.known.get_mut(&subject).filter(|known| known.raised) {
                known.last_seen = now.mono;
            }
            return;
        }
        match self.known.get_mut(&subject) {
            Some(known) => {
                known.lasts_since.get_or_insert(now.mono);
                known.last_seen = now.mono;
                known.problem = seen();
            }
            None if full => {}
            None => {
                let known = Known {
                    problem: seen(),
                    lasts_since: Some(now.mono),
                    last_seen: now.mono,
                    raised: false,
                    told: false,
                    times: 0,
                };
                self.known.insert(subject, known);
            }
        }
    }

    /// Returns what the receiver must be told now; `None` when that is nothing, or when it is too early.
    pub(crate) fn due(&self, now: Now) -> Option<Notice> {
        if now.mono < self.next {
            return None;
        }
        let changed = self.known.iter().filter(|(_, known)| known.raised != known.told);
        let changes: Vec<(Subject, bool)> =
            changed.map(|(subject, known)| (subject.clone(), known.raised)).collect();
        if changes.is_empty() {
            return None;
        }
        let all = self.known.values();
        let raised = joined(all.clone().filter(|known| known.raised && !known.told));
        let cleared = joined(all.clone().filter(|known| !known.raised && known.told)).into_iter();
        let cleared = cleared.map(|(problem, last_seen)| {
            let ago = u64::try_from(now.mono.saturating_sub(last_seen).as_millis()).unwrap_or(u64::MAX);
            let ended = now.unix_ms.saturating_sub(ago);
            let lasted =
                problem.since_unix_ms.map(|since| Duration::from_millis(ended.saturating_sub(since)));
            (problem, lasted)
        });
        let lasting = joined(all.filter(|known| known.raised));
        let alone =
            |problems: Vec<(Problem, Duration)>| problems.into_iter().map(|(problem, _)| problem).collect();
        Some(Notice { raised: alone(raised), cleared: cleared.collect(), lasting: alone(lasting), changes })
    }

    /// Takes the receiver's answer to a notice. `jitter` is a random number from 0 to 1.
    pub(crate) fn answered(&mut self, notice: &Notice, answer: &NoticeAnswer, now: Now, jitter: f64) {
        let at = self.start + now.mono;
        let wait = match answer {
            NoticeAnswer::Accepted | NoticeAnswer::Refused => {
                for (subject, raised) in &notice.changes {
                    if let Some(known) = self.known.get_mut(subject) {
                        known.told = *raised;
                    }
                }
                self.answered_unix_ms = now.unix_ms;
                self.backoff.succeeded(at);
                self.pace.interval
            }
            NoticeAnswer::Failed(asked) => {
                self.backoff.failed(at);
                self.backoff.wait_at_least(asked.unwrap_or_default().max(self.pace.shortest_retry()));
                self.backoff.wait(jitter)
            }
        };
        self.next = now.mono.saturating_add(wait);
    }

    /// Returns the time from `now` until the next attempt may be made.
    pub(crate) fn next_in(&self, now: Now) -> Duration {
        self.next.saturating_sub(now.mono)
    }

    /// Returns what the receiver was told, for the next coordinator.
    pub(crate) fn to_record(&self) -> String {
        let told =
            joined(self.known.values().filter(|known| known.told)).into_iter().map(|(problem, _)| Told {
                code: problem.code.as_str().to_owned(),
                shards: problem.shards.iter().copied().collect(),
                message: problem.message,
                since_unix_ms: problem.since_unix_ms,
            });
        let record = Record { answered_unix_ms: self.answered_unix_ms, told: told.collect() };
        serde_json::to_string(&record).expect("names, numbers and texts are always JSON")
    }

    /// Takes over what another coordinator told the receiver. What this version does not know is left out.
    ///
    /// # Errors
    /// The record is invalid.
    pub(crate) fn restore(&mut self, record: &str, now: Now) -> Result<(), serde_json::Error> {
        let Record { answered_unix_ms, told } = serde_json::from_str(record)?;
        for Told { code, shards, message, since_unix_ms } in told {
            let Some(code) = ProblemCode::named(&code) else { continue };
            if shards.len() > FOLLOWED as u64 {
                continue;
            }
            let problem = Problem { code, shards: shards.slots().collect(), message, since_unix_ms };
            let none = problem.shards.is_empty().then_some(None);
            for shard in none.into_iter().chain(problem.shards.iter().copied().map(Some)) {
                self.see(&problem, shard, now);
            }
        }
        for known in self.known.values_mut() {
            (known.raised, known.told, known.times) = (true, true, 1);
        }
        let ago = Duration::from_millis(now.unix_ms.saturating_sub(answered_unix_ms));
        self.answered_unix_ms = answered_unix_ms;
        self.next = now.mono + self.pace.interval.saturating_sub(ago);
        Ok(())
    }
}

/// Returns one problem for all shards that have the same, with the earliest time, and when it was last seen.
fn joined<'a>(problems: impl Iterator<Item = &'a Known>) -> Vec<(Problem, Duration)> {
    let mut joined: BTreeMap<(ProblemCode, &str, bool), (Problem, Duration)> = BTreeMap::new();
    for Known { problem, last_seen, .. } in problems {
        let subject = (problem.code, problem.message.as_str(), problem.shards.is_empty());
        match joined.get_mut(&subject) {
            Some((same, seen)) => {
                same.shards.extend(&problem.shards);
                same.since_unix_ms = same.since_unix_ms.into_iter().chain(problem.since_unix_ms).min();
                *seen = (*seen).max(*last_seen);
            }
            None => {
                joined.insert(subject, (problem.clone(), *last_seen));
            }
        }
    }
    joined.into_values().collect()
}

/// What the store keeps.
#[derive(Serialize, Deserialize)]
struct Record {
    answered_unix_ms: u64,
    told: Vec<Told>,
}

#[derive(Serialize, Deserialize)]
struct Told {
    code: String,
    #[serde(default)]
    shards: SlotRanges,
    message: String,
    since_unix_ms: Option<u64>,
}

#[cfg(test)]
mod tests;
