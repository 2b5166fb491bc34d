//! Deaths of workers and what follows from them for their shards.

use std::time::Duration;

use fleet_model::{Epoch, Incarnation, ShardKey, WorkerId};

use super::{breaker::DeathBreaker, kills::KillReports};

/// Deaths that are remembered, and reports that some of them came from outside.
#[derive(Clone, Debug, Default)]
pub(super) struct DeathRecords {
    pub(super) breaker: DeathBreaker,
    pub(super) kills: KillReports,
}

impl DeathRecords {
    pub(super) fn forget_old(&mut self, now: Duration) {
        self.breaker.forget_old(now);
        self.kills.forget_old(now);
    }

    /// Notes that a worker was given up, with its shards. A kill from outside is not held against the shards.
    pub(super) fn note_loss(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        had: Vec<(ShardKey, Epoch)>,
        now: Duration,
    ) {
        for shard in self.kills.record_loss(worker, incarnation, had, now) {
            self.breaker.forgive(shard, now);
        }
    }

    /// Notes that a lost incarnation was killed from outside, before or after it was given up.
    pub(super) fn note_kill(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Duration) {
        let (shards, died_at) = self.kills.record_kill(worker, incarnation, now);
        for shard in shards {
            self.breaker.forgive(shard, died_at);
        }
    }
}
