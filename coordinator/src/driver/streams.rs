//! The workers' heartbeat streams.

use std::net::IpAddr;

use fleet_model::{Directive, Incarnation, WorkerId, WorkerReport};
use tokio::sync::mpsc;

use super::Driver;
use crate::handle::OpenedStream;
use fleet::{LeaseAnswer, Now};

/// Directives that may wait for a worker. A worker that lets them pile up loses its stream, registers again and gets the
/// whole current state.
const DIRECTIVES: usize = 64;

/// The close code for a refused token
/// ([codes](https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes)).
const TOKEN_REFUSED: u16 = 4004;

/// One worker's stream.
pub(super) struct WorkerStream {
    pub(super) stream: u64,
    pub(super) incarnation: Incarnation,
    pub(super) directives: mpsc::Sender<Directive>,
}

impl Driver<'_> {
    /// Opens a worker's heartbeat stream. It replaces an older one.
    pub(super) fn open_heartbeat(
        &mut self,
        worker: WorkerId,
        incarnation: Incarnation,
        peer: Option<IpAddr>,
    ) -> Option<OpenedStream<Directive>> {
        if !self.fleet.knows(&worker, &incarnation) {
            return None;
        }
        self.fleet.stream_opened(&worker, &incarnation, peer);
        let (directives, messages) = mpsc::channel(DIRECTIVES);
        let stream = self.shell.new_stream();
        self.workers.insert(worker.clone(), WorkerStream { stream, incarnation, directives });
        // What was decided between the registration and this stream, and who runs what.
        if let Some(mut assignment) = self.fleet.assignment(&worker).cloned() {
            assignment.traces = self.traces.of_workers().remove(&worker).unwrap_or_default();
            self.tickets.add_to(&mut assignment, &worker);
            self.send(&worker, Directive::Assignment(Box::new(assignment)));
        }
        self.drain(&worker);
        self.send(&worker, Directive::RoutingTable(self.shell.publisher.routes()));
        Some(OpenedStream { stream, term: self.term.number, messages })
    }

    /// Sends a directive. A worker without a stream gets the state of that moment when it has one again.
    pub(super) fn send(&mut self, worker: &WorkerId, directive: Directive) {
        let Some(open) = self.workers.get(worker) else { return };
        if open.directives.try_send(directive).is_err() {
            self.shell.metrics.count_stream_overflow();
            tracing::warn!(worker.id = %worker, "worker does not read its directives; closing stream");
            let stream = open.stream;
            self.heartbeat_ended(stream, self.shell.now());
        }
    }

    pub(super) fn take_report(&mut self, stream: u64, sequence: u64, report: WorkerReport, now: Now) {
        let open = self.workers.iter().find(|(_, open)| open.stream == stream);
        let Some((worker, incarnation)) = open.map(|(name, open)| (name.clone(), open.incarnation.clone()))
        else {
            return;
        };
        // A close code counts only from the shard's own owner and epoch, and once: a failed shard repeats it.
        let refused = report.shards.iter().find(|shard| {
            shard.close_code == Some(TOKEN_REFUSED)
                && self.fleet.last_close_code(shard) != Some(TOKEN_REFUSED)
                && self.fleet.owner(shard.shard) == Some((&worker, shard.epoch))
        });
        if let Some(shard) = refused.map(|report| report.shard) {
            self.token_in_doubt(&worker, &incarnation, shard);
        }
        let leaving = report.leaving;
        match self.fleet.report(&worker, &incarnation, report, now) {
            Ok(heard) => {
                if heard == LeaseAnswer::Renewed && self.term.may_act {
                    let ttl = self.shell.lease_ttl;
                    self.send(&worker, Directive::LeaseRenewed { report_sequence: sequence, ttl });
                }
                if leaving {
                    self.workers.remove(&worker);
                }
            }
            Err(unknown) => self.refuse_lease(&worker, unknown.to_string()),
        }
    }

    /// Tells a worker to give its shards away and exit.
    pub(super) fn drain(&mut self, worker: &WorkerId) {
        if let Some(reason) = self.fleet.drain_reason(worker) {
            let reason = reason.to_owned();
            self.send(worker, Directive::Drain { reason });
        }
    }

    /// Tells a worker that its lease is over, and closes its stream.
    pub(super) fn refuse_lease(&mut self, worker: &WorkerId, reason: String) {
        self.send(worker, Directive::LeaseRefused { reason });
        self.workers.remove(worker);
    }

    pub(super) fn heartbeat_ended(&mut self, stream: u64, now: Now) {
        let open = self.workers.iter().find(|(_, open)| open.stream == stream);
        let Some(worker) = open.map(|(name, _)| name.clone()) else { return };
        if let Some(ended) = self.workers.remove(&worker) {
            self.fleet.stream_ended(&worker, &ended.incarnation, now);
            self.publishing.dirty = true;
        }
    }
}
