//! The task of one shard: keeps its connection, takes its events in, stops when it must.

use std::{sync::Arc, time::Duration};

use fleet_model::ShardStatus;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shard,
    attempts::Attempts,
    connection::{GatewaySettings, Resumable},
    life::{Life, Over},
};
use crate::{clock::BootTime, identify::IdentifyClient, lease::LeaseWindow, metrics::ShardMetrics};

/// How often the task goes round when nothing comes.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Everything that a shard's task needs.
pub(crate) struct Runner {
    pub(crate) shard: Arc<Shard>,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) lease: LeaseWindow,
    pub(crate) identify: IdentifyClient,
    pub(crate) metrics: ShardMetrics,
    pub(crate) stop: CancellationToken,
}

impl Runner {
    /// Runs until it is stopped.
    pub(crate) async fn run(self) {
        let mut resume: Option<Resumable> = None;
        let mut attempts = Attempts::default();
        while !self.stop.is_cancelled() {
            if !self.lease.is_open(BootTime::now()) {
                self.shard.set_status(ShardStatus::Stopped, "the lease is not known to hold");
                self.pause(TICK).await;
                continue;
            }
            let mut life = Life::new(&self, resume.take(), attempts);
            let over = life.run().await;
            attempts = life.attempts;
            resume = life.close().await;
            match over {
                Over::Stopped => break,
                Over::Fenced => {
                    self.metrics.count_fenced();
                    tracing::warn!(shard.id = %self.shard.number, "shard closed: the lease is not known to hold");
                }
                Over::Stuck(stage) => {
                    tracing::warn!(shard.id = %self.shard.number, stage, "gateway connection hangs: making another");
                    self.metrics.count_reconnect();
                    self.shard.set_status(ShardStatus::Reconnecting, format!("hung while {stage}"));
                    attempts.ended();
                    self.pause(attempts.wait(rand::random())).await;
                }
                Over::Hopeless => {
                    attempts = Attempts::default();
                    tracing::warn!(shard.id = %self.shard.number, "session given up: it could not be resumed");
                    resume = None;
                }
                // It stays where it is, shown as failed, until somebody takes it away: no hot loop, no silent stop.
                Over::Failed => self.stop_ticking_on().await,
            }
        }
        if self.shard.status() != ShardStatus::Failed {
            self.shard.set_status(ShardStatus::Stopped, "");
        }
    }

    /// Waits, but not past the stop, and lets the watchdog see that the task lives.
    pub(super) async fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.shard.tick();
            let next = until.min(Instant::now() + TICK);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn stop_ticking_on(&self) {
        while !self.stop.is_cancelled() {
            self.pause(TICK).await;
        }
    }
}
