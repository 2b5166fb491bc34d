//! Bot code as the shards reach it: each shard has a queue of its own, whose handlers run on threads of their own.
//!
//! Owns the way from a platform event to a handler's call: it checks lease and shard once more, and lists unfinished
//! events for checkpoints. [`care`] handles suspects.
//!
//! When a shard ends for any reason (stopped in order, given up, aborted, taken by another worker), its queue is shut
//! at once: no handler starts after that.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use checkpoint::{PendingEvent, SetAside};
use dispatch::{Admission, Closed, Delivery, Dispatcher, Handler, Kind, Limits, Refused, Setup};
use fleet_model::{Classified, ErrorClass};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::BootTime,
    handler::{Context, Event, EventHandler, Mark, Tools, Wanted},
    hooks::Places,
    lease::LeaseWindow,
    relay::{Relaying, ShardRelay, as_pending},
    shard::Shard,
};

mod care;
mod gate;
mod queued;

pub(crate) use care::{Care, Caution};
pub(crate) use queued::{Queued, Told};

use care::ShardCare;
use gate::Gate;

/// How often a handler that may not begin looks whether the lease is back.
const LEASE_LOOK: Duration = Duration::from_millis(50);

/// One worker's bot code.
#[derive(Clone)]
pub(crate) struct Bot {
    pub(crate) handler: Arc<dyn EventHandler>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) tools: Arc<Tools>,
    pub(crate) limits: Limits,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) stragglers: tokio_util::task::TaskTracker,
    /// How long the singleton may take to end.
    pub(crate) singleton_timeout: Duration,
    pub(crate) metrics: dispatch::DispatchMetrics,
    pub(crate) shed_order: Arc<dispatch::ShedOrder>,
    pub(crate) care: Care,
    pub(crate) relaying: Option<Relaying>,
    /// For messages and questions to its shards.
    pub(crate) places: Places,
}

/// How full the queue may be when READY arrives, as a multiple of its bound.
const SESSIONS: f64 = 2.0;

/// The clock of the queues.
pub(crate) fn dispatch_clock() -> Duration {
    Duration::from_millis(BootTime::now().as_millis())
}

/// Calls the handler for one shard.
struct ShardHandler {
    handler: Arc<dyn EventHandler>,
    context: Context,
    lease: LeaseWindow,
    gate: Arc<Gate>,
    care: ShardCare,
    closing: CancellationToken,
}

impl ShardHandler {
    /// Waits until an event may be handled: RESUMED is covered by a checkpoint, and the lease, which may have lapsed
    /// meanwhile, is open. Returns false when the shard ends first.
    async fn may_begin(&self, queued: &Queued) -> bool {
        let opens = async {
            if let Queued::Event(event @ Event { mark: Mark::Fresh, .. }) = queued {
                self.gate.pass(event.position()).await;
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
    async fn admit(&self, delivery: &Delivery<Queued>) -> Admission {
        if delivery.alone {
            let admission = self.care.admit(delivery).await;
            if admission != Admission::Handle {
                return admission;
            }
        }
        if self.may_begin(delivery.payload()).await {
            return Admission::Handle;
        }
        if delivery.alone {
            self.care.not_started(delivery).await;
        }
        Admission::PutBack
    }

    async fn not_started(&self, delivery: &Delivery<Queued>) {
        self.care.not_started(delivery).await;
    }

    async fn handle(&self, delivery: &Delivery<Queued>) {
        let mut queued = delivery.payload();
        while let Queued::Replay(replayed) = queued {
            queued = replayed;
        }
        match queued {
            Queued::Event(event) => self.handler.handle(&self.context, event).await,
            Queued::Gap(told) => self.handler.gap(&self.context, &told.gap).await,
            Queued::Replay(_) => {}
        }
    }

    async fn ended(&self, delivery: &Delivery<Queued>) {
        self.care.ended(delivery).await;
    }

    async fn let_go(&self, delivery: &Delivery<Queued>) {
        self.care.let_go(delivery).await;
    }
}

/// The events of one shard on their way to the handler, and into the relay's streams.
#[derive(Clone)]
pub(crate) struct Deliveries {
    dispatcher: Dispatcher<Queued, ShardHandler>,
    relay: Option<ShardRelay>,
    wanted: Arc<Wanted>,
    shed_order: Arc<dispatch::ShedOrder>,
    metrics: dispatch::DispatchMetrics,
    gate: Arc<Gate>,
    /// Nothing more is to begin.
    closing: CancellationToken,
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").field("dispatcher", &self.dispatcher).finish_non_exhaustive()
    }
}

impl Bot {
    /// Creates the queue of one shard.
    pub(crate) fn deliveries(
        &self,
        shard: &Arc<Shard>,
        lease: &LeaseWindow,
        caution: impl Into<Caution>,
    ) -> Deliveries {
        let Caution { level, killed } = caution.into();
        let closing = CancellationToken::new();
        let gate = Arc::new(Gate::default());
        let handler = ShardHandler {
            handler: self.handler.clone(),
            context: Context { shard: shard.clone(), tools: self.tools.clone() },
            lease: lease.clone(),
            gate: gate.clone(),
            care: self.care.of_shard(shard.clone(), closing.clone(), killed),
            closing: closing.clone(),
        };
        let setup = Setup {
            handler: Arc::new(handler),
            limits: self.limits,
            runtime: self.runtime.clone(),
            stragglers: self.stragglers.clone(),
            clock: Arc::new(dispatch_clock),
            metrics: self.metrics.clone(),
        };
        let dispatcher = Dispatcher::start(setup, shard.number().0, shard.epoch().0);
        level.apply(&dispatcher, &self.runtime, &closing);
        Deliveries {
            dispatcher,
            relay: self.relaying.as_ref().map(|relaying| relaying.of_shard(shard)),
            wanted: self.wanted.clone(),
            shed_order: self.shed_order.clone(),
            metrics: self.metrics.clone(),
            gate,
            closing,
        }
    }
}

impl Deliveries {
    /// An event of this name is handled or relayed.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.has(name) || self.relay.as_ref().is_some_and(|relay| relay.wants(name))
    }

    /// Gaps are told, and anything else.
    pub(crate) fn wants_anything(&self) -> bool {
        *self.wanted != Wanted::Nothing || self.relay.is_some()
    }

    /// It is for the handler.
    fn is_for_handler(&self, queued: &Queued) -> bool {
        match queued {
            Queued::Event(event) => self.wanted.has(event.name()),
            Queued::Gap(_) | Queued::Replay(_) => *self.wanted != Wanted::Nothing,
        }
    }

    fn relay(&self, queued: &Queued) {
        if let Some(relay) = &self.relay {
            relay.push(queued);
        }
    }

    /// Queues an item even if the queue is full: callers check for room before. Returns false when the shard has ended;
    /// the item then counts as not received.
    pub(crate) fn push(&self, queued: Queued) -> bool {
        if self.is_for_handler(&queued) && self.dispatcher.is_shut() {
            return false;
        }
        self.relay(&queued);
        !self.is_for_handler(&queued) || self.dispatcher.push_over_bound(queued.into_item(false)).is_ok()
    }

    /// Queues what was pending on another worker, room or not: it was within bounds there. `handled`: only the relay lacks it.
    pub(crate) fn push_restored(&self, queued: Queued, handled: bool) {
        self.relay(&queued);
        if !handled && self.is_for_handler(&queued) {
            // Closed: the shard ends, and what was pending stays so in the checkpoint.
            let _: Result<(), Refused<Queued>> = self.dispatcher.push_over_bound(queued.into_item(true));
        }
    }

    /// What was pending on another worker is queued.
    pub(crate) fn pending_came(&self) {
        if let Some(relay) = &self.relay {
            relay.outbox.begin();
        }
    }

    /// The shard's last session in the relay's streams, once it is known.
    pub(crate) fn relayed_session(&self) -> Option<u64> {
        self.relay.as_ref()?.outbox.reached().map(|reached| reached.session)
    }

    /// Gives something that was set aside to the handler again.
    pub(crate) fn replay(&self, event: SetAside) -> Result<(), ReplayRefused> {
        let SetAside { summary, text } = event;
        let pending = PendingEvent {
            session: summary.at.session,
            sequence: summary.at.sequence,
            started: true,
            handled: false,
            received_at_unix_ms: summary.received_at_unix_ms,
            text,
        };
        let queued = Queued::from_pending(pending, true).ok_or(ReplayRefused::Garbled)?;
        let queued = Queued::Replay(Box::new(queued));
        let waits = self.dispatcher.pending(|all| {
            all.map(|one| &one.item.payload)
                .any(|other| !other.is_for_checkpoints() && other.position() == queued.position())
        });
        if waits {
            return Err(ReplayRefused::Waits);
        }
        self.dispatcher.push(queued.into_item(true)).map_err(|refused| match refused {
            Refused::Full(_) => ReplayRefused::Full,
            Refused::Closed(_) => ReplayRefused::Closed,
        })
    }

    /// Nothing more comes that may have been begun with before.
    pub(crate) fn suspects_came(&self) {
        self.dispatcher.suspects_came();
    }

    /// What owners before may have died of is handled one at a time, and all else waits.
    pub(crate) fn is_careful(&self) -> bool {
        self.dispatcher.is_careful()
    }

    /// What comes after this position is not handled before a checkpoint covers it.
    pub(crate) fn hold_until_covered(&self, position: (u64, u64)) {
        self.gate.shut_until(position);
    }

    /// A checkpoint covers everything up to this position.
    pub(crate) fn covered(&self, position: (u64, u64)) {
        self.gate.covered(position);
    }

    /// The queue is at most half full.
    pub(crate) fn at_most_half(&self) -> bool {
        let relayed = self.relay.as_ref().is_none_or(|relay| relay.outbox.at_most_half());
        relayed && self.dispatcher.at_most_half()
    }

    /// There is room for an event of this name and so many bytes.
    pub(crate) fn has_room(&self, name: &str, bytes: usize) -> bool {
        let relayed = self.relay_of(name).is_none_or(|relay| relay.outbox.has_room(bytes));
        relayed && (!self.wanted.has(name) || self.dispatcher.has_room(bytes))
    }

    /// Whether a READY of this size fits: up to twice the bound, so that sessions can begin while handlers are behind.
    pub(crate) fn has_room_for_session(&self, bytes: usize) -> bool {
        let relayed = self.relay.as_ref().is_none_or(|relay| relay.outbox.fill_with(bytes) <= SESSIONS);
        relayed && !self.dispatcher.is_shut() && self.dispatcher.fill_with(bytes) <= SESSIONS
    }

    /// Under pressure this event is left out.
    pub(crate) fn sheds(&self, name: &str, bytes: usize, age: Duration) -> bool {
        let kind = Kind::from(name);
        let relayed = self.relay_of(name).map_or(0.0, |relay| relay.outbox.fill_with(bytes));
        let handled = if self.wanted.has(name) { self.dispatcher.fill_with(bytes) } else { 0.0 };
        let sheds = self.shed_order.sheds(&kind, age, relayed.max(handled));
        if sheds {
            self.metrics.count_shed(&kind);
        }
        sheds
    }

    fn relay_of(&self, name: &str) -> Option<&ShardRelay> {
        self.relay.as_ref().filter(|relay| relay.wants(name))
    }

    /// The queue had no room.
    pub(crate) fn count_overflow(&self) {
        self.metrics.count_overflow();
    }

    /// Waits until the queue is at most half full.
    pub(crate) async fn drained_to_half(&self) {
        self.dispatcher.drained_to_half().await;
        if let Some(relay) = &self.relay {
            relay.outbox.drained_to_half().await;
        }
    }

    pub(crate) fn figures(&self) -> dispatch::QueueFigures {
        self.dispatcher.figures()
    }

    /// What is queued, handled or relayed at the moment, up to a position, with its positions. `known`: what needs not be shown, by position,
    /// and whether bot code is done with it.
    pub(crate) fn pending(&self, up_to: (u64, u64), known: impl Fn((u64, u64), bool) -> bool) -> Pending {
        let mut pending = Pending::default();
        self.dispatcher.pending(|all| {
            for one in all {
                let position = one.item.payload.position();
                if position > up_to || !one.item.payload.is_for_checkpoints() {
                    continue;
                }
                pending.positions.push(position);
                if !known(position, false) {
                    pending.unknown.push((position, one.item.payload.as_pending(one.started)));
                }
            }
        });
        if let Some(relay) = &self.relay {
            let handled_here: HashSet<(u64, u64)> = pending.positions.iter().copied().collect();
            relay.outbox.pending(|all| {
                for waiting in all {
                    let at = (waiting.position.session, waiting.position.sequence);
                    if at > up_to || handled_here.contains(&at) {
                        continue;
                    }
                    pending.positions.push(at);
                    if !known(at, true) {
                        pending.unknown.push(as_pending(waiting));
                    }
                }
            });
        }
        pending
    }

    /// Starts nothing more, and waits so long at most for what runs and for the relay; slower handlers go on to their end here. What
    /// was not started or relayed, for the last checkpoint.
    pub(crate) async fn close(&self, patience: Duration) -> Vec<((u64, u64), PendingEvent)> {
        self.closing.cancel();
        let relaying = async {
            match &self.relay {
                Some(relay) => relay.outbox.close(patience).await,
                None => Vec::new(),
            }
        };
        let (closed, unrelayed) = tokio::join!(self.dispatcher.close(patience), relaying);
        let Closed { unstarted, still_running } = closed;
        if still_running > 0 {
            tracing::info!(still_running, "handlers that are slow end here; their events count as handled");
        }
        let unstarted =
            unstarted.iter().map(|item| &item.payload).filter(|queued| queued.is_for_checkpoints());
        // What an owner before may have begun with stays so, also if this one has not.
        let begun = |queued: &Queued| matches!(queued, Queued::Event(event) if event.mark.is_late());
        let mut left: BTreeMap<(u64, u64), PendingEvent> = unrelayed.iter().map(as_pending).collect();
        left.extend(unstarted.map(|queued| (queued.position(), queued.as_pending(begun(queued)))));
        left.into_iter().collect()
    }

    /// Shuts the queue, because the shard has ended here or belongs to another worker. Once this returns, no handler
    /// starts and nothing is relayed.
    pub(crate) fn abandon(&self) {
        self.closing.cancel();
        self.dispatcher.shut();
        if let Some(relay) = &self.relay {
            relay.outbox.abandon();
        }
    }

    /// Returns a guard that abandons the deliveries on drop, however the shard's task ends.
    pub(crate) fn abandoned_on_drop(&self) -> AbandonOnDrop {
        AbandonOnDrop(self.clone())
    }
}

/// See [`Deliveries::abandoned_on_drop`].
pub(crate) struct AbandonOnDrop(Deliveries);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// What is not handled yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// All of it.
    pub(crate) positions: Vec<(u64, u64)>,
    /// What was not known.
    pub(crate) unknown: Vec<((u64, u64), PendingEvent)>,
}

/// Something that was set aside is not given to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplayRefused {
    #[error("it waits for its handler already")]
    Waits,
    #[error("the shard's queue is full")]
    Full,
    #[error("the shard is closing")]
    Closed,
    #[error("its payload makes no sense")]
    Garbled,
}

impl Classified for ReplayRefused {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Waits => ErrorClass::AlreadyExists,
            Self::Full => ErrorClass::TooBusy,
            Self::Closed => ErrorClass::Unavailable,
            Self::Garbled => ErrorClass::DataLoss,
        }
    }
}

#[cfg(test)]
mod tests;
