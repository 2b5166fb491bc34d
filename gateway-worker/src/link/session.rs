//! Serves an open heartbeat stream: sends reports, applies directives, and renews the lease through the store as well.

use std::time::Duration;

use fleet_model::{Directive, SentReport};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{Link, Membership, numbers, until};
use crate::{
    clock::unix_ms,
    coordinator::{CoordinatorConnection, Directives, LONGEST_TTL, TermDirective},
};

/// The least time between two reports that a change of status asks for.
const BETWEEN_REPORTS: Duration = Duration::from_millis(50);
/// How long the coordinator may take to confirm that the worker leaves.
const LEAVE: Duration = Duration::from_secs(1);

/// Why a stream is not used any more.
pub(super) enum SessionEnd {
    /// The process stops, and is done.
    Stopped,
    /// The lease was refused.
    Refused,
    /// The coordinator must learn of new head keys: the worker registers again.
    NewKeys,
    /// The stream broke.
    Broken(String),
}

/// When the next report goes up.
pub(super) enum ReportDue {
    /// With the heartbeat.
    InTime,
    /// At once: the coordinator waits for it.
    Now,
}

struct Session {
    reports: mpsc::Sender<SentReport>,
    directives: Directives,
}

impl Link {
    /// Serves one heartbeat stream to its end.
    pub(super) async fn serve_session(
        &mut self,
        membership: &mut Membership,
        connection: CoordinatorConnection,
        stop: &CancellationToken,
    ) -> SessionEnd {
        let first = self.next_report(membership, false);
        let mut session = match connection.heartbeat(first, membership.ttl).await {
            Ok((reports, directives)) => Session { reports, directives },
            Err(why) => return SessionEnd::Broken(why),
        };
        let mut heartbeat = tokio::time::interval(membership.interval);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report_soon = None;
        let changed = self.parts.changed.clone();
        let mut new_keys = self.parts.heads.new_keys();
        if new_keys.borrow_and_update().ids() != membership.head_keys {
            return SessionEnd::NewKeys;
        }
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.is_stopping() => {
                    self.begin_stopping();
                    report_soon = Some(Instant::now());
                }
                () = until(self.drain_ends_at()) => {
                    if !self.parts.config.drain_timeout.is_zero() {
                        tracing::warn!("drain timed out (DRAIN_TIMEOUT); closing the remaining shards");
                    }
                    return self.leave(membership, session).await;
                }
                word = membership.renewals.news() => {
                    if !self.take_store_answer(word) {
                        return SessionEnd::Refused;
                    }
                }
                Ok(()) = new_keys.changed(), if !self.is_stopping() => return SessionEnd::NewKeys,
                // The coordinator waits for it.
                () = self.parts.shards.one_closed() => report_soon = Some(Instant::now()),
                // Many changes are one report, and none puts it off.
                () = changed.notified(), if report_soon.is_none() => {
                    report_soon = Some(Instant::now() + BETWEEN_REPORTS);
                    continue;
                }
                _ = heartbeat.tick() => report_soon = Some(Instant::now()),
                () = until(report_soon) => {}
                // Last, so that a flood of them does not delay reports.
                directive = session.directives.next() => {
                    match self.take_directive(membership, directive) {
                        Ok(ReportDue::InTime) => {}
                        Ok(ReportDue::Now) => report_soon = Some(Instant::now()),
                        Err(end) => return end,
                    }
                }
            }
            if let Some(draining) = &mut self.draining {
                draining.observe(self.parts.shards.count_running(), Instant::now());
                if self.nothing_to_wait_for() {
                    return self.leave(membership, session).await;
                }
            }
            if report_soon.is_some_and(|due| due <= Instant::now()) {
                report_soon = None;
                let report = self.next_report(membership, false);
                if session.reports.try_send(report).is_err() {
                    self.parts.metrics.count_overflow();
                    return SessionEnd::Broken("the coordinator does not take reports".to_owned());
                }
            }
        }
    }

    /// Takes a directive.
    fn take_directive(
        &mut self,
        membership: &mut Membership,
        directive: Result<Option<TermDirective>, String>,
    ) -> Result<ReportDue, SessionEnd> {
        let broken = |why| Err(SessionEnd::Broken(why));
        let (term, directive) = match directive {
            Ok(Some(directive)) => directive,
            Ok(None) => return broken("the coordinator closed the stream".to_owned()),
            Err(why) => return broken(format!("the stream broke: {why}")),
        };
        if term < self.term {
            return broken(format!("the coordinator is of an older term: {term}, not {}", self.term));
        }
        numbers::check(term, None, unix_ms()).map_err(SessionEnd::Broken)?;
        self.term = term;
        match directive {
            Ok(Directive::LeaseRenewed { report_sequence, ttl }) => {
                membership.lease.report_acknowledged(report_sequence, ttl.min(LONGEST_TTL));
            }
            Ok(Directive::Assignment(assignment)) => {
                if assignment.revision >= self.assignment.revision {
                    numbers::check(self.term, Some(&*assignment), unix_ms()).map_err(SessionEnd::Broken)?;
                    self.apply_assignment(membership, *assignment);
                    return Ok(ReportDue::Now);
                }
            }
            Ok(Directive::RoutingTable(routes)) => self.take_routes(routes),
            Ok(Directive::RoutingUpdate(update)) => return Ok(self.take_routing_update(&update)),
            Ok(Directive::LeaseRefused { reason }) => {
                tracing::warn!(reason, "coordinator refused the lease");
                membership.lease.refused();
                return Err(SessionEnd::Refused);
            }
            Ok(Directive::Drain { reason }) => {
                if self.draining.is_none() {
                    tracing::info!(reason, "coordinator requested drain; handing off all shards");
                }
                self.begin_requested_drain();
                return Ok(ReportDue::Now);
            }
            Ok(Directive::Unknown { kind }) => {
                tracing::warn!(kind, "unknown directive refused");
                self.refuse_directive(kind);
                return Ok(ReportDue::Now);
            }
            Err(error) => tracing::warn!(%error, "malformed directive ignored"),
        }
        Ok(ReportDue::InTime)
    }

    /// A worker that drains is done when nothing runs, or when no other worker could take what runs.
    fn nothing_to_wait_for(&self) -> bool {
        let routes = self.parts.routes.borrow();
        let takers =
            routes.workers().iter().filter(|(worker, route)| *worker != self.worker && !route.draining);
        self.parts.shards.is_empty() || takers.count() == 0 || self.parts.config.drain_timeout.is_zero()
    }

    /// Closes what still runs, and reports to the coordinator that the worker leaves.
    async fn leave(&mut self, membership: &mut Membership, mut session: Session) -> SessionEnd {
        self.parts.shards.stop_all().await;
        // Nothing may write the lease again behind the goodbye.
        membership.renewals.stop();
        let report = self.next_report(membership, true);
        if session.reports.try_send(report).is_ok() {
            // The coordinator closes the stream when it has written us off.
            let heard = async { while let Ok(Some(_)) = session.directives.next().await {} };
            if tokio::time::timeout(LEAVE, heard).await.is_err() {
                tracing::debug!("coordinator did not close the stream in time");
            }
        }
        membership.lease.refused();
        SessionEnd::Stopped
    }
}
