//! Supervisors that saw a worker's process end, and wait for the store's verdict on its lease.

use fleet_model::{Incarnation, WorkerId};
use tokio::sync::oneshot;

use super::Driver;
use crate::{
    fleet::{ExitRefused, LeaseVerdict, Now},
    handle::Stopped,
};

/// Notices that may wait at once; one more is refused. Each waits a few seconds at most.
const WAITING: usize = 1024;

/// The answer to a notice: the incarnation that was given up.
type Reply = oneshot::Sender<Result<Incarnation, Stopped>>;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Exits(Vec<(WorkerId, Incarnation, Reply)>);

impl Exits {
    fn wait(&mut self, worker: WorkerId, incarnation: Incarnation, reply: Reply) {
        // Whoever does not wait any more makes room.
        self.0.retain(|(_, _, waiting)| !waiting.is_closed());
        if self.0.len() >= WAITING {
            let _ = reply.send(Err(Stopped::Busy));
        } else {
            self.0.push((worker, incarnation, reply));
        }
    }

    /// A verdict is in. A lease that lives was not revoked on evidence, so those that wait for that go on waiting.
    pub(super) fn decided(&mut self, worker: &WorkerId, incarnation: &Incarnation, verdict: LeaseVerdict) {
        if matches!(verdict, LeaseVerdict::Live(_)) {
            return;
        }
        for (worker, incarnation, reply) in
            self.0.extract_if(.., |(name, life, _)| name == worker && life == incarnation)
        {
            let _ = reply.send(match verdict {
                LeaseVerdict::Revoked => Ok(incarnation),
                _ => Err(ExitRefused::StoreUntrusted { worker }.into()),
            });
        }
    }
}

impl Driver<'_> {
    /// A supervisor saw a worker's process end. `reason` is its own word for how.
    pub(super) fn exit_reported(
        &mut self,
        worker: WorkerId,
        incarnation: Option<&Incarnation>,
        reason: &str,
        reply: Reply,
        now: Now,
    ) {
        self.shell.metrics.count_exit();
        self.fleet.exit_explained(&worker, incarnation, reason, now);
        match self.fleet.exited(&worker, incarnation, now) {
            Ok(life) => {
                tracing::warn!(worker.id = %worker, incarnation = %life, reason, "a worker's process has ended");
                self.exits.wait(worker, life, reply);
            }
            Err(refused) => {
                tracing::info!(worker.id = %worker, reason, %refused, "the notice of an exit changes nothing");
                let _ = reply.send(Err(refused.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_that_waits_hears_what_the_store_said_of_that_life() {
        let (worker, first, second): (WorkerId, Incarnation, Incarnation) =
            ("w".parse().unwrap(), "1".parse().unwrap(), "2".parse().unwrap());
        let mut exits = Exits::default();
        let mut wait = |life: &Incarnation| {
            let (reply, answer) = oneshot::channel();
            exits.wait(worker.clone(), life.clone(), reply);
            answer
        };
        let (one, another, mut other) = (wait(&first), wait(&first), wait(&second));
        exits.decided(&worker, &first, LeaseVerdict::Live(Duration::from_secs(1)));
        exits.decided(&worker, &first, LeaseVerdict::Revoked);
        assert_eq!(one.await.unwrap().unwrap(), first);
        assert_eq!(another.await.unwrap().unwrap(), first);
        assert!(other.try_recv().is_err(), "that life is not decided");
        exits.decided(&worker, &second, LeaseVerdict::Unknown);
        assert!(matches!(other.await.unwrap(), Err(Stopped::Exit(ExitRefused::StoreUntrusted { .. }))));
    }

    #[test]
    fn those_that_wait_are_bounded_and_who_gave_up_makes_room() {
        let (worker, life): (WorkerId, Incarnation) = ("w".parse().unwrap(), "1".parse().unwrap());
        let mut exits = Exits::default();
        let mut wait = || {
            let (reply, answer) = oneshot::channel();
            exits.wait(worker.clone(), life.clone(), reply);
            answer
        };
        let mut waiting: Vec<_> = (0..WAITING).map(|_| wait()).collect();
        assert!(matches!(wait().try_recv(), Ok(Err(Stopped::Busy))));
        waiting.pop();
        assert!(wait().try_recv().is_err(), "it waits");
    }
}
