//! Workers that get no shards until they restart: Discord refuses their token.

use fleet_model::{Incarnation, Problem, ProblemCode, WorkerId};

use super::{Fleet, Now};

impl Fleet {
    /// Excludes a worker and takes its shards away. Returns false if it was excluded already.
    pub fn exclude(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) -> bool {
        let known = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation);
        let Some(known) = known.filter(|known| !known.excluded) else { return false };
        known.excluded = true;
        self.advance(now);
        true
    }

    /// Whether a worker is excluded.
    pub fn is_excluded(&self, worker: &WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|known| known.excluded)
    }

    /// Problems of workers that cannot reach the store while this coordinator can.
    pub(super) fn workers_without_store(&self) -> impl Iterator<Item = Problem> {
        let away = self.workers.iter().filter(|(_, worker)| worker.store_away && self.store_is_up());
        away.map(|(name, _)| {
            let why = format!(
                "worker {name} does not reach the fleet store: it writes no checkpoints, and gets no more shards while another \
                 worker can take them; check its REDIS_URL"
            );
            Problem::new(ProblemCode::WorkerStoreAway, why)
        })
    }

    pub(super) fn excluded_workers(&self) -> impl Iterator<Item = Problem> {
        let excluded = self.workers.iter().filter(|(_, worker)| worker.excluded);
        excluded.map(|(name, _)| {
            let why = format!(
                "worker {name} gets no shards: Discord refuses its token (4004) and accepts the coordinator's; restart it with \
                 the same DISCORD_TOKEN"
            );
            Problem::new(ProblemCode::WorkerTokenRefused, why)
        })
    }
}
