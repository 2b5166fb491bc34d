//! Queues of events for bot code: one for each shard. Handlers run on threads of their own.
//!
//! Owns the way from an event to the call of its handler: lease and shard are checked once more, and unfinished events are listed
//! for checkpoints. [`suspects`] handles events that may have killed a worker.
//!
//! When a shard ends for any reason (stopped in order, given up, aborted, taken by another worker), its queue is shut
//! at once: no handler starts after that.

use std::{sync::Arc, time::Duration};

use dispatch::{Admission, Delivery, Dispatcher, Handler, Item, Limits, Setup};
use fleet_model::ShardEvent;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{BootTime, dispatch_clock},
    event::{
        Event, Mark, Wanted,
        queued::{Queued, is_gap},
        trace::{EventSampling, TracedRatio},
    },
    handler::{Context, EventHandler, Tools},
    lease::LeaseWindow,
    relay::Relaying,
    shard_state::ShardState,
    tap::Taps,
};

mod gate;
mod queue;
mod suspects;

pub(crate) use queue::{EventQueue, KnownPending, ReplayRefused};
pub(crate) use suspects::{ShardCaution, Suspects};

use gate::Gate;
use suspects::ShardSuspects;

/// How often a waiting handler checks whether the lease is back.
const LEASE_LOOK: Duration = Duration::from_millis(50);

/// One worker's bot code, and where it runs.
#[derive(Clone)]
pub(crate) struct BotCode {
    pub(crate) handler: Arc<dyn EventHandler>,
    pub(crate) tools: Arc<Tools>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Tracks running tasks of bot code, so that the process can wait for them.
    pub(crate) stragglers: tokio_util::task::TaskTracker,
}

/// What the queues of a worker's shards share.
#[derive(Clone)]
pub(crate) struct EventQueues {
    pub(crate) code: BotCode,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) limits: Limits,
    pub(crate) metrics: dispatch::DispatchMetrics,
    pub(crate) shed_order: Arc<dispatch::ShedOrder>,
    pub(crate) suspects: Suspects,
    pub(crate) relaying: Option<Relaying>,
    pub(crate) traced: TracedRatio,
    pub(crate) taps: Taps,
}

/// Calls the handler for one shard.
struct ShardHandler {
    handler: Arc<dyn EventHandler>,
    context: Context,
    lease: LeaseWindow,
    gate: Arc<Gate>,
    suspects: ShardSuspects,
    closing: CancellationToken,
}

impl ShardHandler {
    /// Waits until an event may be handled: RESUMED is covered by a checkpoint, and the lease, which may have lapsed
    /// meanwhile, is open. Returns false when the shard ends first.
    async fn may_begin(&self, event: &ShardEvent) -> bool {
        let is_gated = event.mark == Mark::Fresh && !is_gap(event);
        // The usual case: nothing to wait for.
        if self.lease.is_open(BootTime::now()) && !(is_gated && self.gate.holds_back(event.position)) {
            return !self.closing.is_cancelled() && !self.context.shard.is_outranked();
        }
        let opens = async {
            if is_gated {
                self.gate.pass(event.position).await;
            }
            while !self.lease.is_open(BootTime::now()) {
                tokio::time::sleep(LEASE_LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => false,
            () = opens => !self.context.shard.is_outranked(),
        }
    }
}

#[async_trait::async_trait]
impl Handler<Queued> for ShardHandler {
    fn span(&self, item: &Item<Queued>) -> Option<tracing::Span> {
        let shard = &self.context.shard;
        item.payload.trace.as_ref().map(|trace| trace.handling(item, shard.key(), shard.epoch()))
    }

    async fn admit(&self, delivery: &Delivery<Queued>) -> Admission {
        if delivery.alone {
            let admission = self.suspects.admit(delivery).await;
            if admission != Admission::Handle {
                return admission;
            }
        }
        if self.may_begin(&delivery.payload().event).await {
            return Admission::Handle;
        }
        if delivery.alone {
            self.suspects.not_started(delivery).await;
        }
        Admission::PutBack
    }

    async fn not_started(&self, delivery: &Delivery<Queued>) {
        self.suspects.not_started(delivery).await;
    }

    async fn handle(&self, delivery: &Delivery<Queued>) {
        let Queued { event, trace, .. } = delivery.payload();
        let traced = trace.as_ref().map(|trace| self.context.traced(trace.of_calls()));
        let context = traced.as_ref().unwrap_or(&self.context);
        match ::relay::gap_of(event) {
            Some(gap) => self.handler.gap(context, &gap).await,
            None => self.handler.handle(context, &Event(event.clone())).await,
        }
    }

    async fn ended(&self, delivery: &Delivery<Queued>) {
        self.suspects.ended(delivery).await;
    }

    async fn let_go(&self, delivery: &Delivery<Queued>) {
        self.suspects.let_go(delivery).await;
    }
}

impl EventQueues {
    /// Creates the queue of one shard.
    pub(crate) fn queue_for(
        &self,
        shard: &Arc<ShardState>,
        lease: &LeaseWindow,
        caution: impl Into<ShardCaution>,
    ) -> EventQueue {
        let ShardCaution { level, killed } = caution.into();
        let closing = CancellationToken::new();
        let gate = Arc::new(Gate::default());
        let handler = ShardHandler {
            handler: self.code.handler.clone(),
            context: Context::new(shard.clone(), self.code.tools.clone()),
            lease: lease.clone(),
            gate: gate.clone(),
            suspects: self.suspects.of_shard(shard.clone(), closing.clone(), killed),
            closing: closing.clone(),
        };
        let setup = Setup {
            handler: Arc::new(handler),
            limits: self.limits,
            runtime: self.code.runtime.clone(),
            stragglers: self.code.stragglers.clone(),
            clock: Arc::new(dispatch_clock),
            metrics: self.metrics.clone(),
        };
        let dispatcher = Dispatcher::start(setup, shard.key().slot().0, shard.epoch().0);
        level.apply(&dispatcher, &self.code.runtime, &closing);
        EventQueue {
            dispatcher,
            relay: self.relaying.as_ref().map(|relaying| relaying.of_shard(shard)),
            wanted: self.wanted.clone(),
            shed_order: self.shed_order.clone(),
            metrics: self.metrics.clone(),
            taps: self.taps.clone(),
            gate,
            sampling: Arc::new(EventSampling::of_shard(shard.key(), shard.epoch(), self.traced)),
            closing,
        }
    }
}

#[cfg(test)]
mod tests;
