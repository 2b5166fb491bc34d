//! The stop of the whole fleet: workers first, all at once, so that their sessions can be resumed; then the coordinator, then Discord's
//! stand-in and Redis.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{FLUSH, Supervisor, SupervisorEnd};
use crate::program::Kind;

/// How long Redis may take to stop after everything was killed.
const REDIS_WITHIN: Duration = Duration::from_secs(15);

/// How far the stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    StoppingWorkers,
    StoppingCoordinator,
    StoppingSimulator,
    Over,
}

impl Supervisor<'_> {
    /// A signal to stop. The second one kills.
    pub(super) fn stop_or_kill(&mut self) {
        if self.stage == Stage::Running {
            tracing::info!("stopping; a second signal kills the programs at once");
            self.stop(SupervisorEnd::Stopped);
            return;
        }
        tracing::warn!("stopping at once; the programs are killed");
        for child in self.children.values() {
            child.child.kill();
        }
        self.end = Some(SupervisorEnd::Killed);
    }

    /// Begins the stop.
    pub(super) fn stop(&mut self, end: SupervisorEnd) {
        if self.stage != Stage::Running {
            return;
        }
        self.notifier.stopping();
        if let Some(client) = self.client.take() {
            client.done(1, "the supervisor stops");
        }
        self.roll = None;
        self.checking = None;
        self.end = Some(end);
        self.stage = Stage::StoppingWorkers;
        self.stop_places(|kind| matches!(kind, Kind::Worker(_)));
    }

    fn stop_places(&mut self, which: impl Fn(Kind) -> bool) {
        let now = Instant::now();
        for at in 0..self.places.len() {
            if which(self.places[at].kind) {
                let effects = self.places[at].slot.stop(now);
                self.apply(at, effects);
            }
        }
    }

    fn is_empty(&self, which: impl Fn(Kind) -> bool) -> bool {
        self.places.iter().filter(|place| which(place.kind)).all(|place| place.slot.is_empty())
    }

    /// Goes on with the stop when a stage is over.
    pub(super) fn advance_stop(&mut self) {
        loop {
            let next = match self.stage {
                Stage::StoppingWorkers if self.is_empty(|kind| matches!(kind, Kind::Worker(_))) => {
                    self.stop_places(|kind| kind == Kind::Coordinator);
                    Stage::StoppingCoordinator
                }
                Stage::StoppingCoordinator if self.is_empty(|kind| kind == Kind::Coordinator) => {
                    self.stop_places(|kind| kind == Kind::Simulator);
                    Stage::StoppingSimulator
                }
                Stage::StoppingSimulator if self.is_empty(|kind| kind == Kind::Simulator) => Stage::Over,
                _ => return,
            };
            self.stage = next;
        }
    }

    /// Stops Redis.
    pub(super) async fn stop_redis(&mut self) {
        if let Some(redis) = self.redis.take() {
            match timeout(REDIS_WITHIN, redis.stop()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "redis-server not stopped"),
                Err(_) => tracing::warn!("redis-server did not stop in time"),
            }
        }
        tracing::info!("supervisor stopped");
        self.outputs.out.flush(FLUSH);
    }
}
