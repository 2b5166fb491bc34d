//! Workers that get no shards until they start again: Discord refuses the token that they have.

use fleet_model::{Incarnation, Problem, ProblemCode, WorkerId};

use super::{Fleet, Now};

impl Fleet {
    /// Takes a worker's shards away, as it can't open a session. True when that is news.
    pub fn exclude(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Now) -> bool {
        let known = self.workers.get_mut(worker).filter(|known| known.incarnation == *incarnation);
        let Some(known) = known.filter(|known| !known.excluded) else { return false };
        known.excluded = true;
        self.advance(now);
        true
    }

    /// Whether a worker gets no shards.
    pub fn is_excluded(&self, worker: &WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|known| known.excluded)
    }

    /// Workers that the store does not answer, while it answers here.
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
                "worker {name} gets no shards: Discord refuses its token (4004) and takes the coordinator's; restart it with \
                 the same DISCORD_TOKEN"
            );
            Problem::new(ProblemCode::WorkerTokenRefused, why)
        })
    }
}
