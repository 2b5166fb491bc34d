//! Exit reports of supervisors, which wait for the store's verdict on the worker's lease.
//!
//! A report alone is not trusted: the coordinator probes the worker's address first, and a worker that answers is
//! alive. A worker that can't be reached may be busy, or its port full: it counts as gone if its stream has broken, or if
//! nothing is heard from it for two heartbeats. One probe serves all reports about a worker, and its result is valid for a few
//! seconds.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Incarnation, WorkerId};
use tokio::sync::oneshot;

use super::{Driver, DriverOutcome};
use crate::{dial_back, handle::HandleError};
use fleet::{ExitRefused, Finding, LeaseVerdict, Now};

/// Notices that may wait at once; one more is refused. Each waits a few seconds at most.
const WAITING: usize = 1024;

/// How long the result "alive" of a probe is valid.
const FOUND_ALIVE: Duration = Duration::from_secs(5);

/// How long a worker with an unclear probe must be silent: two of the longest heartbeat intervals.
const WATCHED: Duration = Duration::from_secs(2);

/// The pause between two probes of a worker that is watched.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to a notice: the incarnation that was given up.
type Reply = oneshot::Sender<Result<Incarnation, HandleError>>;

/// One incarnation of a worker.
type Life = (WorkerId, Incarnation);

/// See the module's documentation.
#[derive(Default)]
pub(super) struct ExitReports {
    waiting: Vec<(Life, Reply)>,
    /// Incarnations that are being probed (`None`), or were found alive and until when that is valid. Only workers of
    /// the fleet are here.
    looks: BTreeMap<Life, Option<Duration>>,
    /// Since when incarnations are watched whose probe was unclear.
    watched: BTreeMap<Life, Duration>,
}

impl ExitReports {
    fn wait(&mut self, life: Life, reply: Reply) {
        // Supervisors that gave up make room.
        self.waiting.retain(|(_, waiting)| !waiting.is_closed());
        if self.waiting.len() >= WAITING {
            let _ = reply.send(Err(HandleError::Busy));
        } else {
            self.waiting.push((life, reply));
        }
    }

    /// A verdict is in. A lease that lives was not revoked on evidence, so those that wait for that go on waiting.
    pub(super) fn decided(&mut self, worker: &WorkerId, incarnation: &Incarnation, verdict: LeaseVerdict) {
        let untrusted = || ExitRefused::StoreUntrusted { worker: worker.clone() };
        match verdict {
            LeaseVerdict::Live(_) => {}
            LeaseVerdict::Revoked => self.answer(worker, incarnation, || Ok(incarnation.clone())),
            LeaseVerdict::Unknown => self.answer(worker, incarnation, || Err(untrusted())),
        }
    }

    fn answer(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        answer: impl Fn() -> Result<Incarnation, ExitRefused>,
    ) {
        let same = |life: &Life| life.0 == *worker && life.1 == *incarnation;
        for (_, reply) in self.waiting.extract_if(.., |(life, _)| same(life)) {
            let _ = reply.send(answer().map_err(HandleError::from));
        }
    }

    /// Returns whether to start a probe (not while one runs); `None` if the last one found the worker alive.
    fn start_probe(&mut self, life: &Life, now: Duration) -> Option<bool> {
        self.looks.retain(|_, good_until| good_until.is_none_or(|until| now < until));
        match self.looks.get(life) {
            None => {
                self.looks.insert(life.clone(), None);
                Some(true)
            }
            Some(None) => Some(false),
            Some(Some(_)) => None,
        }
    }
}

impl Driver<'_> {
    /// Handles a supervisor's report that a worker's process ended. `reason` is the supervisor's own text.
    pub(super) fn exit_reported(
        &mut self,
        worker: WorkerId,
        incarnation: Option<&Incarnation>,
        reason: &str,
        reply: Reply,
        now: Now,
    ) {
        self.shell.metrics.count_exit();
        self.fleet.record_exit_reason(&worker, incarnation, reason, now);
        let refused = match self.fleet.check_exit(&worker, incarnation, now) {
            Ok(life) => {
                let life = (worker, life);
                match self.exits.start_probe(&life, now.mono) {
                    Some(begins) => {
                        if begins {
                            tracing::warn!(
                                worker.id = %life.0, incarnation = %life.1, reason, "exit reported; probing the worker"
                            );
                            self.probe_before_exit(life.clone(), Duration::ZERO);
                        }
                        return self.exits.wait(life, reply);
                    }
                    None => ExitRefused::StillAnswers { worker: life.0 },
                }
            }
            Err(refused) => refused,
        };
        self.shell.metrics.count_refused("exit");
        tracing::debug!(reason, %refused, "exit report ignored");
        let _ = reply.send(Err(refused.into()));
    }

    fn probe_before_exit(&self, (worker, incarnation): Life, pause: Duration) {
        let Some((found_at, url)) = self.fleet.probe_target(&worker) else { return };
        let url = url.to_owned();
        self.start(async move {
            tokio::time::sleep(pause).await;
            let finding = dial_back::probe_by_url(found_at, &url, &worker, &incarnation).await;
            DriverOutcome::ExitProbed(worker, incarnation, finding)
        });
    }

    /// Handles the result of a probe after an exit report.
    pub(super) fn exit_probed(
        &mut self,
        worker: WorkerId,
        incarnation: Incarnation,
        finding: Finding,
        now: Now,
    ) {
        let life = (worker, incarnation);
        let mut is_heard = false;
        if finding == Finding::Unclear && !self.fleet.is_cut_off(&life.0, &life.1) {
            let since = *self.exits.watched.entry(life.clone()).or_insert(now.mono);
            is_heard = self.fleet.is_heard_after(&life.0, &life.1, since);
            if !is_heard && now.mono < since + WATCHED && self.fleet.knows(&life.0, &life.1) {
                return self.probe_before_exit(life, PAUSE);
            }
        }
        self.exits.watched.remove(&life);
        if is_heard {
            self.exits.looks.remove(&life);
            self.shell.metrics.count_refused("exit");
            tracing::warn!(worker.id = %life.0, "exit report refused: worker not reached at its address, but heard");
            let heard = || ExitRefused::StillHeard { worker: life.0.clone() };
            return self.exits.answer(&life.0, &life.1, || Err(heard()));
        }
        if finding == Finding::Answers {
            self.exits.looks.insert(life.clone(), Some(now.mono + FOUND_ALIVE));
            self.shell.metrics.count_refused("exit");
            tracing::warn!(worker.id = %life.0, "exit report refused: worker answers at its address");
            let alive = || ExitRefused::StillAnswers { worker: life.0.clone() };
            return self.exits.answer(&life.0, &life.1, || Err(alive()));
        }
        self.exits.looks.remove(&life);
        if !finding.is_evidence() {
            self.fleet.exit_unconfirmed(&life.0, &life.1);
        }
        if let Err(refused) = self.fleet.accept_exit(&life.0, Some(&life.1), now) {
            self.exits.answer(&life.0, &life.1, || Err(refused.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_that_waits_hears_what_the_store_said_of_that_life() {
        let (worker, first, second): (WorkerId, Incarnation, Incarnation) =
            ("w".parse().unwrap(), "1".parse().unwrap(), "2".parse().unwrap());
        let mut exits = ExitReports::default();
        let mut wait = |life: &Incarnation| {
            let (reply, answer) = oneshot::channel();
            exits.wait((worker.clone(), life.clone()), reply);
            answer
        };
        let (one, another, mut other) = (wait(&first), wait(&first), wait(&second));
        exits.decided(&worker, &first, LeaseVerdict::Live(Duration::from_secs(1)));
        exits.decided(&worker, &first, LeaseVerdict::Revoked);
        assert_eq!(one.await.unwrap().unwrap(), first);
        assert_eq!(another.await.unwrap().unwrap(), first);
        assert!(other.try_recv().is_err(), "that life is not decided");
        exits.decided(&worker, &second, LeaseVerdict::Unknown);
        assert!(matches!(other.await.unwrap(), Err(HandleError::Exit(ExitRefused::StoreUntrusted { .. }))));
    }

    #[test]
    fn one_probe_serves_all_reports_for_a_few_seconds() {
        let life = ("w".parse().unwrap(), "1".parse().unwrap());
        let mut exits = ExitReports::default();
        assert_eq!(exits.start_probe(&life, Duration::ZERO), Some(true));
        assert_eq!(exits.start_probe(&life, Duration::ZERO), Some(false), "the probe is running");
        exits.looks.insert(life.clone(), Some(FOUND_ALIVE));
        assert_eq!(exits.start_probe(&life, FOUND_ALIVE / 2), None);
        assert_eq!(exits.start_probe(&life, FOUND_ALIVE), Some(true));
    }

    #[test]
    fn those_that_wait_are_bounded_and_who_gave_up_makes_room() {
        let (worker, life): (WorkerId, Incarnation) = ("w".parse().unwrap(), "1".parse().unwrap());
        let mut exits = ExitReports::default();
        let mut wait = || {
            let (reply, answer) = oneshot::channel();
            exits.wait((worker.clone(), life.clone()), reply);
            answer
        };
        let mut waiting: Vec<_> = (0..WAITING).map(|_| wait()).collect();
        assert!(matches!(wait().try_recv(), Ok(Err(HandleError::Busy))));
        waiting.pop();
        assert!(wait().try_recv().is_err(), "it waits");
    }
}
