//! Workers that get no shards for a while, as Discord refuses their token.
//!
//! Discord may refuse a token by mistake, so a worker gets shards again after a wait, which grows with each refusal. A
//! shard that becomes ready ends the exclusion at once.

use std::time::Duration;

use fleet_model::{Incarnation, Problem, ProblemCode, ShardReport, WorkerId};

use super::{Effect, Fleet, Note, Now};

/// The first wait of a worker whose token Discord has never accepted.
const FIRST: Duration = Duration::from_mins(10);

/// The first wait of a worker whose token Discord has accepted before.
const FIRST_IF_ACCEPTED: Duration = Duration::from_mins(1);

/// The longest wait, and how long after a wait earlier ones still count.
const LONGEST: Duration = Duration::from_hours(1);

/// Discord's answers to a worker's token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenRecord {
    /// A shard became ready with it.
    accepted: bool,
    /// It was refused: the worker gets no shards until `until`.
    pub(super) excluded: bool,
    until: Duration,
    /// The last wait.
    wait: Duration,
}

impl TokenRecord {
    fn refused(&mut self, now: Duration) {
        let first = if self.accepted { FIRST_IF_ACCEPTED } else { FIRST };
        let before = if now < self.until + LONGEST { self.wait } else { Duration::ZERO };
        self.wait = (before * 2).clamp(first, LONGEST);
        (self.excluded, self.until) = (true, now + self.wait);
    }

    /// A shard became ready with the token.
    pub(super) fn accepted(&mut self) {
        (self.accepted, self.excluded) = (true, false);
    }
}

impl Fleet {
    /// Takes the shards of a worker away and gives it none for a while. Returns how long; `None` if it is excluded already.
    pub fn exclude(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) -> Option<Duration> {
        let known = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation)?;
        if known.token.excluded {
            return None;
        }
        known.token.refused(now.mono);
        let wait = known.token.wait;
        self.advance(now);
        Some(wait)
    }

    /// Ends exclusions whose wait is over.
    pub(super) fn readmit(&mut self, now: Now) {
        for (name, worker) in &mut self.workers {
            if worker.token.excluded && now.mono >= worker.token.until {
                worker.token.excluded = false;
                self.effects.push(Effect::Note(Note::Readmitted(name.clone())));
            }
        }
    }

    /// Returns whether a worker is excluded.
    pub fn is_excluded(&self, worker: &WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|known| known.token.excluded)
    }

    /// Returns the close code in the last report of a shard, while `report` is about the same epoch.
    pub fn last_close_code(&self, report: &ShardReport) -> Option<u16> {
        let last = &self.slots.get(report.shard.0 as usize)?.report.as_ref()?.report;
        last.close_code.filter(|_| last.epoch == report.epoch)
    }

    /// Problems of workers that cannot reach the store while this coordinator can.
    pub(super) fn workers_without_store(&self) -> impl Iterator<Item = Problem> {
        let away = self.workers.iter().filter(|(_, worker)| worker.store_away && self.store.is_up());
        away.map(|(name, _)| {
            let why = format!(
                "worker {name} cannot reach the fleet store: it writes no checkpoints, and gets no more shards while another worker \
                 can take them; check its REDIS_URL"
            );
            Problem::new(ProblemCode::WorkerStoreAway, why)
        })
    }

    pub(super) fn excluded_workers(&self, now: Now) -> impl Iterator<Item = Problem> {
        let excluded = self.workers.iter().filter(|(_, worker)| worker.token.excluded);
        excluded.map(move |(name, worker)| {
            let minutes = worker.token.until.saturating_sub(now.mono).as_secs().div_ceil(60);
            let why = format!(
                "worker {name} gets no shards: Discord refuses its token (4004) and accepts the coordinator's; restart it with \
                 the same DISCORD_TOKEN; next attempt in {minutes} min"
            );
            Problem::new(ProblemCode::WorkerTokenRefused, why)
        })
    }
}
