//! The workers' heartbeat streams.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use fleet_model::{Directive, Incarnation, Routes, RoutesUpdate, RoutingUpdates, WorkerId, WorkerReport};
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
struct WorkerStream {
    stream: u64,
    incarnation: Incarnation,
    directives: mpsc::Sender<Directive>,
    /// How the worker takes the routing table; `None` before its first report.
    routing: Option<RoutingUpdates>,
}

/// The open streams, at most one of each worker.
#[derive(Default)]
pub(super) struct WorkerStreams {
    by_worker: BTreeMap<WorkerId, WorkerStream>,
    names: HashMap<u64, WorkerId>,
    /// The whole table for workers that take updates, since the last change of it.
    whole: Option<Arc<RoutesUpdate>>,
}

impl WorkerStreams {
    fn insert(&mut self, worker: WorkerId, open: WorkerStream) {
        self.names.insert(open.stream, worker.clone());
        if let Some(older) = self.by_worker.insert(worker, open) {
            self.names.remove(&older.stream);
        }
    }

    pub(super) fn remove(&mut self, worker: &WorkerId) {
        if let Some(ended) = self.by_worker.remove(worker) {
            self.names.remove(&ended.stream);
        }
    }

    /// Returns the worker of a stream and its incarnation.
    fn named(&self, stream: u64) -> Option<(WorkerId, Incarnation)> {
        let worker = self.names.get(&stream)?;
        Some((worker.clone(), self.by_worker.get(worker)?.incarnation.clone()))
    }

    /// Returns the whole routing table for a worker.
    fn table(&mut self, routing: RoutingUpdates, routes: &Arc<Routes>) -> Directive {
        if routing == RoutingUpdates::Whole {
            return Directive::RoutingTable(routes.clone());
        }
        let whole =
            self.whole.take_if(|whole| (whole.term, whole.revision) != (routes.term, routes.revision));
        drop(whole);
        Directive::RoutingUpdate(self.whole.get_or_insert_with(|| Arc::new(routes.whole())).clone())
    }
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
        let open = WorkerStream { stream, incarnation, directives, routing: None };
        self.workers.insert(worker.clone(), open);
        // What was decided between the registration and this stream.
        if let Some(mut assignment) = self.fleet.assignment(&worker).cloned() {
            assignment.traces = self.traces.of_workers().remove(&worker).unwrap_or_default();
            self.tickets.add_to(&mut assignment, &worker);
            self.send(&worker, Directive::Assignment(Box::new(assignment)));
        }
        self.drain(&worker);
        Some(OpenedStream { stream, term: self.term.number, messages })
    }

    /// Sends a directive. A worker without a stream gets the state of that moment when it has one again.
    pub(super) fn send(&mut self, worker: &WorkerId, directive: Directive) {
        let Some(open) = self.workers.by_worker.get(worker) else { return };
        if open.directives.try_send(directive).is_err() {
            self.shell.metrics.count_stream_overflow();
            tracing::warn!(worker.id = %worker, "worker does not read its directives; closing stream");
            let stream = open.stream;
            self.heartbeat_ended(stream, self.shell.now());
        }
    }

    pub(super) fn take_report(&mut self, stream: u64, sequence: u64, report: WorkerReport, now: Now) {
        let Some((worker, incarnation)) = self.workers.named(stream) else { return };
        // A close code counts only from the shard's own owner and epoch, and once: a failed shard repeats it.
        let refused = report.shards.iter().find(|shard| {
            shard.close_code == Some(TOKEN_REFUSED)
                && self.fleet.last_close_code(shard) != Some(TOKEN_REFUSED)
                && self.fleet.owner(shard.shard) == Some((&worker, shard.epoch))
        });
        if let Some(shard) = refused.map(|report| report.shard) {
            self.token_in_doubt(&worker, &incarnation, shard);
        }
        let (leaving, routing) = (report.leaving, report.routing);
        match self.fleet.report(&worker, &incarnation, report, now) {
            Ok(heard) => {
                if heard == LeaseAnswer::Renewed && self.term.may_act {
                    let ttl = self.shell.lease_ttl;
                    self.send(&worker, Directive::LeaseRenewed { report_sequence: sequence, ttl });
                }
                if leaving {
                    self.workers.remove(&worker);
                }
                self.send_missing_table(&worker, routing);
            }
            Err(unknown) => self.refuse_lease(&worker, unknown.to_string()),
        }
    }

    /// Sends the whole routing table to a worker that has none of this stream, or has missed an update.
    fn send_missing_table(&mut self, worker: &WorkerId, routing: RoutingUpdates) {
        let Some(open) = self.workers.by_worker.get_mut(worker) else { return };
        let known = open.routing.replace(routing);
        if known.is_none() || routing == RoutingUpdates::Missed {
            let table = self.workers.table(routing, &self.shell.publisher.routes());
            self.send(worker, table);
        }
    }

    /// Sends all workers what has changed in the routing table.
    pub(super) fn send_routes(&mut self, before: &Routes, routes: &Arc<Routes>) {
        let update = Arc::new(routes.update_since(before));
        let workers = self.workers.by_worker.iter();
        let workers: Vec<_> =
            workers.filter_map(|(name, open)| Some((name.clone(), open.routing?))).collect();
        for (worker, routing) in workers {
            let directive = match routing {
                RoutingUpdates::Whole => Directive::RoutingTable(routes.clone()),
                RoutingUpdates::Changes | RoutingUpdates::Missed => Directive::RoutingUpdate(update.clone()),
            };
            self.send(&worker, directive);
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
        let Some((worker, incarnation)) = self.workers.named(stream) else { return };
        self.workers.remove(&worker);
        self.fleet.stream_ended(&worker, &incarnation, now);
        self.publishing.dirty = true;
    }
}
