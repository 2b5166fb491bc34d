//! Commands of the RPCs.

use fleet::{Now, PlanBudget, PlanRefused, PlanView, RegistrationRefused, identify::unknown_permits_end};
use fleet_model::{HistoryEntry, HistoryKind, IdentifyMessage};

use process::credentials::Caller;

use super::Driver;
use crate::handle::{Admission, DriverCommand, HandleError};

impl Driver<'_> {
    /// Handles one command.
    pub(super) fn handle_command(&mut self, command: DriverCommand) {
        let now = self.shell.now();
        match command {
            DriverCommand::MayJoin { registration, reply } => {
                let answer = self
                    .fleet
                    .may_join(&registration.worker, &registration.incarnation)
                    .and_then(|()| self.fleet.check_claims(&registration, now))
                    .map_err(|refused| self.refuse(refused));
                let _ = reply.send(self.require_confirmed_term().and(answer).map(|()| self.term.number));
            }
            DriverCommand::Join { reply, .. } if !self.term.may_act => drop(reply.send(Err(self.in_doubt()))),
            DriverCommand::Join { registration, reply } => {
                let worker = registration.worker.clone();
                if !registration.running.shards.is_empty() && !self.term.had_predecessor {
                    // A running fleet without records: its permits are unknown.
                    self.term.had_predecessor = true;
                    self.permits
                        .queue
                        .hold_until(now.mono + unknown_permits_end(self.shell.identify_interval));
                }
                let joined = self.fleet.join(*registration, now).map(|mut assignment| {
                    self.tickets.add_to(&mut assignment, &worker);
                    Admission {
                        term: self.term.number,
                        assignment,
                        lease_ttl: self.shell.lease_ttl,
                        gateway_url: self.term.gateway_url.clone(),
                    }
                });
                if joined.is_ok() {
                    // The new incarnation's directives go over its new stream.
                    self.workers.remove(&worker);
                }
                let _ = reply.send(joined.map_err(|refused| self.refuse(refused)));
            }
            DriverCommand::OpenHeartbeat { worker, incarnation, peer, reply } => {
                let _ = reply
                    .send(self.open_heartbeat(worker, incarnation, peer).ok_or(HandleError::UnknownWorker));
            }
            DriverCommand::Report(waiting) => {
                let stream = waiting.stream();
                if let Some((sequence, report)) = waiting.take() {
                    self.take_report(stream, sequence, *report, now);
                }
            }
            DriverCommand::HeartbeatEnded { stream, at } => {
                // A busy driver hears of it later.
                let ended = Now { mono: now.mono.saturating_sub(at.elapsed()), ..now };
                self.heartbeat_ended(stream, ended);
            }
            DriverCommand::Exited { worker, incarnation, reason, reply } => {
                self.exit_reported(worker, incarnation.as_ref(), &reason, reply, now);
            }
            DriverCommand::OpenIdentify { worker, incarnation, reply } => {
                let _ =
                    reply.send(self.open_identify(worker, &incarnation).ok_or(HandleError::UnknownWorker));
            }
            DriverCommand::Permit { stream, message } => match message {
                IdentifyMessage::Request { ticket, shard, epoch, traceparent } => {
                    self.request_permit(stream, ticket, shard, epoch, &traceparent, now.mono);
                }
                IdentifyMessage::Used { ticket } => self.identify_used(stream, ticket, now.mono),
                IdentifyMessage::Cancel { ticket } => self.identify_cancelled(stream, ticket, now.mono),
            },
            DriverCommand::IdentifyEnded { stream } => self.identify_ended(stream, now.mono),
            DriverCommand::StartPlan { kind, dry_run, peer, reply } => {
                let means = self.plan_budget();
                if dry_run {
                    drop(reply.send(self.fleet.propose_plan(kind, means, now).map_err(HandleError::Plan)));
                } else {
                    let wanted = kind.to_string();
                    let plan = self.fleet.start_plan(kind, means, now);
                    self.record_call(&format!("started a plan, {wanted}"), &plan, peer);
                    self.answer_plan(reply, plan);
                }
            }
            DriverCommand::AbortPlan { peer, reply } => {
                let plan = self.fleet.abort_plan(now);
                self.record_call("aborted the plan", &plan, peer);
                self.answer_plan(reply, plan);
            }
        }
    }

    /// Records an operator's call about a plan, before the notes about what it changes.
    fn record_call(&self, done: &str, plan: &Result<PlanView, PlanRefused>, peer: Option<Caller>) {
        let entry = HistoryEntry::new(HistoryKind::OperatorCall, self.term.number, self.shell.now().unix_ms);
        let (plan, detail) = match plan {
            Ok(plan) => (Some(plan.id), done.to_owned()),
            Err(refused) => (None, format!("{done}: refused: {refused}")),
        };
        self.shell.history.record(HistoryEntry { plan, ..entry.detail(detail).peer(peer) });
    }

    /// Returns the IDENTIFYs that a plan may use.
    fn plan_budget(&self) -> PlanBudget {
        let budget = self.permits.queue.budget();
        let left = if self.permits.queue.halted().is_some() { 0 } else { budget.remaining };
        PlanBudget {
            identifies: left.saturating_sub(budget.reserve),
            max_concurrency: self.permits.queue.max_concurrency(),
            identify_interval: self.shell.identify_interval,
        }
    }

    fn refuse(&mut self, refused: RegistrationRefused) -> HandleError {
        self.note_refusal(&refused);
        HandleError::Refused { refused, lease_ttl: self.shell.lease_ttl }
    }
}
