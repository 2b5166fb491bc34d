//! What is looked at a few times a second, events or not: the lease, a connection that hangs, silence.

use std::time::Duration;

use fleet_model::ShardStatus;
use tokio::time::Instant;

use super::{Life, Over, stage::Stage};
use crate::{clock::BootTime, shard::silence::Hearing};

impl Life<'_> {
    /// What is looked at a few times a second, events or not.
    pub(super) fn look(&mut self) -> Option<Over> {
        self.shard().tick();
        if !self.runner.lease.is_open(BootTime::now()) {
            return Some(Over::Fenced);
        }
        self.shard().set_latency(self.connection.latency().average());
        self.check_filled();
        if let Some(stage) = self.stage.hangs() {
            return Some(Over::Stuck(stage));
        }
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        if !matches!(self.stage, Stage::Running) {
            return None;
        }
        match self.silence.look(elapsed, self.unacknowledged()) {
            Hearing::Heard if self.shard().status() == ShardStatus::Silent => self.check_filled_or_ready(),
            Hearing::Heard => {}
            Hearing::Late => self.shard().set_status(ShardStatus::Silent, "heartbeats are not acknowledged"),
            Hearing::Dead(why) => {
                self.shard().set_status(ShardStatus::Silent, why);
                self.silence.given_up();
                return Some(Over::Stuck(why));
            }
        }
        None
    }

    /// How long ago the heartbeat was sent that is not acknowledged yet.
    fn unacknowledged(&self) -> Option<Duration> {
        let latency = self.connection.latency();
        let sent = latency.sent()?;
        let acknowledged = latency.received().is_some_and(|received| received >= sent);
        (!acknowledged).then(|| sent.elapsed())
    }
}
