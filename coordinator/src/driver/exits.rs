//! Exit reports of supervisors, which wait for the store's verdict on the worker's lease.
//!
//! A report alone is not trusted: the coordinator probes the worker's address first, and a worker that answers is
//! alive. A worker that can't be reached may be busy, or have no free socket: it counts as gone if its stream has broken, or
//! if nothing is heard from it for two heartbeats. One probe serves all reports about a worker, and its result is valid for a few
//! seconds.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{HistoryEntry, HistoryKind, Incarnation, WorkerId};
use tokio::sync::oneshot;

use super::{Driver, DriverOutcome};
use crate::{dial_back, handle::HandleError};
use fleet::{ExitRefused, Finding, LeaseVerdict, Now};

/// The most waiting exit reports; further ones are refused. Each waits a few seconds at most.
const WAITING: usize = 1024;

/// How long the result "alive" of a probe is valid.
const FOUND_ALIVE: Duration = Duration::from_secs(5);

/// How long a worker with an unclear probe must be silent: two of the longest heartbeat intervals.
const WATCHED: Duration = Duration::from_secs(2);

/// The pause between two probes of a worker that is watched.
const PAUSE: Duration = Duration::from_millis(200);

/// The answer to an exit report: the incarnation that was given up.
type Reply = oneshot::Sender<Result<Incarnation, HandleError>>;

/// One incarnation of a worker.
type WorkerIncarnation = (WorkerId, Incarnation);

/// See the module's documentation.
#[derive(Default)]
pub(super) struct ExitReports {
    waiting: Vec<(WorkerIncarnation, Reply)>,
    /// Incarnations that are being probed (`None`), or were found alive and until when that is valid. Only workers of
    /// the fleet are here.
    probes: BTreeMap<WorkerIncarnation, Option<Duration>>,
    /// Since when incarnations are watched whose probe was unclear.
    watched: BTreeMap<WorkerIncarnation, Duration>,
}

impl ExitReports {
    fn wait(&mut self, reported: WorkerIncarnation, reply: Reply) {
        // Supervisors that gave up make room.
        self.waiting.retain(|(_, waiting)| !waiting.is_closed());
        if self.waiting.len() >= WAITING {
            let _ = reply.send(Err(HandleError::Busy));
        } else {
            self.waiting.push((reported, reply));
        }
    }

    /// Answers the reports that the store's verdict decides. A live lease was not revoked on evidence, so its reports keep
    /// waiting.
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
        let same = |reported: &WorkerIncarnation| reported.0 == *worker && reported.1 == *incarnation;
        for (_, reply) in self.waiting.extract_if(.., |(reported, _)| same(reported)) {
            let _ = reply.send(answer().map_err(HandleError::from));
        }
    }

    /// Returns whether to start a probe (not while one runs); `None` if the last one found the worker alive.
    fn start_probe(&mut self, reported: &WorkerIncarnation, now: Duration) -> Option<bool> {
        self.probes.retain(|_, good_until| good_until.is_none_or(|until| now < until));
        match self.probes.get(reported) {
            None => {
                self.probes.insert(reported.clone(), None);
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
        let reported =
            HistoryEntry::new(HistoryKind::ExitReported, self.term.number, now.unix_ms).detail(reason);
        let reported = HistoryEntry { incarnation: incarnation.cloned(), ..reported.worker(&worker) };
        self.shell.history.record(reported);
        self.fleet.record_exit_reason(&worker, incarnation, reason, now);
        let refused = match self.fleet.check_exit(&worker, incarnation, now) {
            Ok(incarnation) => {
                let reported = (worker, incarnation);
                match self.exits.start_probe(&reported, now.mono) {
                    Some(begins) => {
                        if begins {
                            tracing::warn!(
                                worker.id = %reported.0, incarnation = %reported.1, reason, "exit reported; probing the worker"
                            );
                            self.probe_before_exit(reported.clone(), Duration::ZERO);
                        }
                        return self.exits.wait(reported, reply);
                    }
                    None => ExitRefused::StillAnswers { worker: reported.0 },
                }
            }
            Err(refused) => refused,
        };
        self.shell.metrics.count_refused("exit");
        tracing::debug!(reason, %refused, "exit report ignored");
        let _ = reply.send(Err(refused.into()));
    }

    fn probe_before_exit(&self, (worker, incarnation): WorkerIncarnation, pause: Duration) {
        let Some((found_at, url)) = self.fleet.probe_target(&worker) else { return };
        let (url, credentials) = (url.to_owned(), self.shell.credentials.clone());
        self.start(async move {
            tokio::time::sleep(pause).await;
            let finding = dial_back::probe_by_url(found_at, &url, &worker, &incarnation, &credentials).await;
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
        let reported = (worker, incarnation);
        let mut is_heard = false;
        if finding == Finding::Unclear && !self.fleet.is_cut_off(&reported.0, &reported.1) {
            let since = *self.exits.watched.entry(reported.clone()).or_insert(now.mono);
            is_heard = self.fleet.is_heard_after(&reported.0, &reported.1, since);
            if !is_heard && now.mono < since + WATCHED && self.fleet.knows(&reported.0, &reported.1) {
                return self.probe_before_exit(reported, PAUSE);
            }
        }
        self.exits.watched.remove(&reported);
        if is_heard {
            self.exits.probes.remove(&reported);
            self.shell.metrics.count_refused("exit");
            tracing::warn!(worker.id = %reported.0, "exit report refused: worker not reached at its address, but heard");
            let heard = || ExitRefused::StillHeard { worker: reported.0.clone() };
            return self.exits.answer(&reported.0, &reported.1, || Err(heard()));
        }
        if finding == Finding::Answers {
            self.exits.probes.insert(reported.clone(), Some(now.mono + FOUND_ALIVE));
            self.shell.metrics.count_refused("exit");
            tracing::warn!(worker.id = %reported.0, "exit report refused: worker answers at its address");
            let alive = || ExitRefused::StillAnswers { worker: reported.0.clone() };
            return self.exits.answer(&reported.0, &reported.1, || Err(alive()));
        }
        self.exits.probes.remove(&reported);
        if !finding.is_evidence() {
            self.fleet.exit_unconfirmed(&reported.0, &reported.1);
        }
        if let Err(refused) = self.fleet.accept_exit(&reported.0, Some(&reported.1), now) {
            self.exits.answer(&reported.0, &reported.1, || Err(refused.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verdict_answers_all_reports_about_its_incarnation() {
        let (worker, first, second): (WorkerId, Incarnation, Incarnation) =
            ("w".parse().unwrap(), "1".parse().unwrap(), "2".parse().unwrap());
        let mut exits = ExitReports::default();
        let mut wait = |reported: &Incarnation| {
            let (reply, answer) = oneshot::channel();
            exits.wait((worker.clone(), reported.clone()), reply);
            answer
        };
        let (one, another, mut other) = (wait(&first), wait(&first), wait(&second));
        exits.decided(&worker, &first, LeaseVerdict::Live(Duration::from_secs(1)));
        exits.decided(&worker, &first, LeaseVerdict::Revoked);
        assert_eq!(one.await.unwrap().unwrap(), first);
        assert_eq!(another.await.unwrap().unwrap(), first);
        assert!(other.try_recv().is_err(), "that incarnation is not decided");
        exits.decided(&worker, &second, LeaseVerdict::Unknown);
        assert!(matches!(other.await.unwrap(), Err(HandleError::Exit(ExitRefused::StoreUntrusted { .. }))));
    }

    #[test]
    fn one_probe_serves_all_reports_for_a_few_seconds() {
        let reported = ("w".parse().unwrap(), "1".parse().unwrap());
        let mut exits = ExitReports::default();
        assert_eq!(exits.start_probe(&reported, Duration::ZERO), Some(true));
        assert_eq!(exits.start_probe(&reported, Duration::ZERO), Some(false), "the probe is running");
        exits.probes.insert(reported.clone(), Some(FOUND_ALIVE));
        assert_eq!(exits.start_probe(&reported, FOUND_ALIVE / 2), None);
        assert_eq!(exits.start_probe(&reported, FOUND_ALIVE), Some(true));
    }

    #[test]
    fn waiting_reports_are_bounded_and_closed_ones_make_room() {
        let (worker, reported): (WorkerId, Incarnation) = ("w".parse().unwrap(), "1".parse().unwrap());
        let mut exits = ExitReports::default();
        let mut wait = || {
            let (reply, answer) = oneshot::channel();
            exits.wait((worker.clone(), reported.clone()), reply);
            answer
        };
        let mut waiting: Vec<_> = (0..WAITING).map(|_| wait()).collect();
        assert!(matches!(wait().try_recv(), Ok(Err(HandleError::Busy))));
        waiting.pop();
        assert!(wait().try_recv().is_err(), "it waits");
    }
}
