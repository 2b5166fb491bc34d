//! The events of one shard on their way to its handler, and into the relay's streams.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use checkpoint::{PendingEvent, SetAside};
use dispatch::{Closed, Dispatcher, Refused};
use fleet_model::{Classified, ErrorClass, Position, ShardEvent};
use tokio_util::sync::CancellationToken;

use super::{ShardHandler, gate::Gate};
use crate::{
    event::{
        Wanted,
        queued::{Queued, as_pending, from_pending, is_gap},
        trace::EventSampling,
    },
    relay::ShardRelay,
    tap::Taps,
};

/// How full the queue may be when READY arrives, as a multiple of its bound.
const SESSIONS: f64 = 2.0;

/// The events of one shard on their way to the handler, and into the relay's streams.
#[derive(Clone)]
pub(crate) struct EventQueue {
    pub(super) dispatcher: Dispatcher<Queued, ShardHandler>,
    pub(super) relay: Option<ShardRelay>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) shed_order: Arc<dispatch::ShedOrder>,
    pub(super) metrics: dispatch::DispatchMetrics,
    pub(super) taps: Taps,
    pub(super) gate: Arc<Gate>,
    pub(super) sampling: Arc<EventSampling>,
    /// Nothing more is to begin.
    pub(super) closing: CancellationToken,
}

impl std::fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventQueue").field("dispatcher", &self.dispatcher).finish_non_exhaustive()
    }
}

impl EventQueue {
    /// Whether an event of this name is handled or relayed.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.has(name) || self.relay.as_ref().is_some_and(|relay| relay.wants(name))
    }

    /// Operators who watch the events of the worker.
    pub(crate) fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Whether bot code or the relay takes anything; then gaps are reported too.
    pub(crate) fn wants_anything(&self) -> bool {
        *self.wanted != Wanted::Nothing || self.relay.is_some()
    }

    /// Whether the handler wants it.
    fn is_for_handler(&self, event: &ShardEvent) -> bool {
        self.wanted.has(&event.name) || is_gap(event) && *self.wanted != Wanted::Nothing
    }

    fn relay(&self, event: &Arc<ShardEvent>) {
        if let Some(relay) = &self.relay {
            relay.push(event);
        }
    }

    /// Queues an event even if the queue is full: callers check for room before. Returns false when the shard has ended;
    /// the event then counts as not received.
    pub(crate) fn push(&self, event: ShardEvent) -> bool {
        let added = self.add(event);
        self.start_handlers();
        added
    }

    /// Starts the handlers of added events.
    pub(crate) fn start_handlers(&self) {
        if *self.wanted != Wanted::Nothing {
            self.dispatcher.start_all();
        }
    }

    /// Adds an event like [`EventQueue::push`], but only [`EventQueue::start_handlers`] starts its handler.
    pub(crate) fn add(&self, mut event: ShardEvent) -> bool {
        let is_for_handler = self.is_for_handler(&event);
        if is_for_handler && self.dispatcher.is_shut() {
            return false;
        }
        let trace = self.sampling.begin(&mut event);
        let event = Arc::new(event);
        self.relay(&event);
        let queued = Queued { event, is_replay: false, trace };
        !is_for_handler || self.dispatcher.add(queued.into_item(false)).is_ok()
    }

    /// Queues an event that was pending on the previous worker, also in a full queue: it was within bounds there. `handled`: only
    /// the relay lacks it.
    pub(crate) fn push_restored(&self, event: ShardEvent, handled: bool) {
        let event = Arc::new(event);
        self.relay(&event);
        if !handled && self.is_for_handler(&event) {
            let queued = Queued { event, is_replay: false, trace: None };
            // Closed: the shard ends, and what was pending stays so in the checkpoint.
            let _: Result<(), Refused<Queued>> = self.dispatcher.push_over_bound(queued.into_item(true));
        }
    }

    /// Notes that all events pending on the previous worker are queued.
    pub(crate) fn pending_came(&self) {
        if let Some(relay) = &self.relay {
            relay.outbox.begin();
        }
    }

    /// The shard's last session in the relay's streams, once it is known.
    pub(crate) fn relayed_session(&self) -> Option<u64> {
        self.relay.as_ref()?.outbox.reached().map(|reached| reached.session)
    }

    /// Queues an event that was set aside for its handler again.
    pub(crate) fn replay(&self, event: SetAside) -> Result<(), ReplayRefused> {
        let SetAside { summary, text } = event;
        let pending = PendingEvent {
            position: summary.at,
            started: true,
            handled: false,
            received_at_unix_ms: summary.received_at_unix_ms,
            text,
        };
        let event = from_pending(pending, true).ok_or(ReplayRefused::Garbled)?.into();
        let queued = Queued { event, is_replay: true, trace: None };
        let waits = self.dispatcher.pending(|all| {
            all.map(|one| &one.item.payload)
                .any(|other| other.is_replay && other.event.position == summary.at)
        });
        if waits {
            return Err(ReplayRefused::Waits);
        }
        self.dispatcher.push(queued.into_item(true)).map_err(|refused| match refused {
            Refused::Full(_) => ReplayRefused::Full,
            Refused::Closed(_) => ReplayRefused::Closed,
        })
    }

    /// Notes that no more suspects will come.
    pub(crate) fn suspects_came(&self) {
        self.dispatcher.suspects_came();
    }

    /// Whether the shard is careful: suspects are handled one at a time, and all other events wait.
    pub(crate) fn is_careful(&self) -> bool {
        self.dispatcher.is_careful()
    }

    /// Holds events after this position back until a checkpoint covers it.
    pub(crate) fn hold_until_covered(&self, position: Position) {
        self.gate.shut_until(position);
    }

    /// Notes that a checkpoint covers everything up to this position.
    pub(crate) fn covered(&self, position: Position) {
        self.gate.covered(position);
    }

    /// Whether the queue is at most half full.
    pub(crate) fn at_most_half(&self) -> bool {
        let relayed = self.relay.as_ref().is_none_or(|relay| relay.outbox.at_most_half());
        relayed && self.dispatcher.at_most_half()
    }

    /// Whether an event of this name and `bytes` fits.
    pub(crate) fn has_room(&self, name: &str, bytes: usize) -> bool {
        let relayed = self.relay_of(name).is_none_or(|relay| relay.outbox.has_room(bytes));
        relayed && (!self.wanted.has(name) || self.dispatcher.has_room(bytes))
    }

    /// Whether a READY of this size fits: up to twice the bound, so that sessions can begin while handlers are behind.
    pub(crate) fn has_room_for_session(&self, bytes: usize) -> bool {
        let relayed = self.relay.as_ref().is_none_or(|relay| relay.outbox.fill_with(bytes) <= SESSIONS);
        relayed && !self.dispatcher.is_shut() && self.dispatcher.fill_with(bytes) <= SESSIONS
    }

    /// Whether this event is dropped under pressure. Counts it if so.
    pub(crate) fn sheds(&self, name: &str, bytes: usize, age: Duration) -> bool {
        let relayed = self.relay_of(name).map_or(0.0, |relay| relay.outbox.fill_with(bytes));
        let handled = if self.wanted.has(name) { self.dispatcher.fill_with(bytes) } else { 0.0 };
        let sheds = self.shed_order.sheds(name, age, relayed.max(handled));
        if sheds {
            self.metrics.count_shed(name);
        }
        sheds
    }

    fn relay_of(&self, name: &str) -> Option<&ShardRelay> {
        self.relay.as_ref().filter(|relay| relay.wants(name))
    }

    /// Counts that the queue had no room.
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

    /// Returns what is queued, handled or relayed now, up to a position; with the events only where they are not `known`.
    pub(crate) fn pending(&self, up_to: Position, known: &KnownPending<'_>) -> Pending {
        let mut pending = Pending::default();
        self.dispatcher.pending(|all| {
            for one in all {
                let Queued { event, is_replay, .. } = &one.item.payload;
                let position = event.position;
                if position > up_to || *is_replay {
                    continue;
                }
                pending.positions.push(position);
                if !known.has(position, false) {
                    pending.unknown.push(as_pending(event, one.started, false));
                }
            }
        });
        if let Some(relay) = &self.relay {
            let handled_here: HashSet<Position> = pending.positions.iter().copied().collect();
            relay.outbox.pending(|all| {
                for waiting in all {
                    let at = waiting.position;
                    if at > up_to || handled_here.contains(&at) {
                        continue;
                    }
                    pending.positions.push(at);
                    if !known.has(at, true) {
                        // Bot code has handled it, or does not want it.
                        pending.unknown.push(as_pending(waiting, true, true));
                    }
                }
            });
        }
        pending
    }

    /// Starts no more handlers, and waits at most `patience` for running ones and the relay; slower handlers run on here. Returns what
    /// was not started or relayed, for the last checkpoint.
    pub(crate) async fn close(&self, patience: Duration) -> Vec<PendingEvent> {
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
        let unstarted = unstarted.iter().map(|item| &item.payload).filter(|queued| !queued.is_replay);
        let unrelayed = unrelayed.iter().map(|event| as_pending(event, true, true));
        // What an owner before may have begun with stays so, also if this one has not.
        let unstarted = unstarted.map(|queued| as_pending(&queued.event, queued.event.mark.is_late(), false));
        let left: BTreeMap<Position, PendingEvent> =
            unrelayed.chain(unstarted).map(|event| (event.position, event)).collect();
        left.into_values().collect()
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

    /// Returns a guard that abandons the queue on drop, however the shard's task ends.
    pub(crate) fn abandoned_on_drop(&self) -> AbandonOnDrop {
        AbandonOnDrop(self.clone())
    }
}

/// See [`EventQueue::abandoned_on_drop`].
pub(crate) struct AbandonOnDrop(EventQueue);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The pending events that a checkpoint holds already, by position.
pub(crate) struct KnownPending<'a> {
    pub(crate) written: &'a BTreeSet<Position>,
    /// The part of `written` that it holds as handled: an event that bot code has finished since it was written is written again.
    pub(crate) handled: &'a BTreeSet<Position>,
}

static NOTHING: BTreeSet<Position> = BTreeSet::new();

impl KnownPending<'_> {
    /// It holds none of them.
    pub(crate) fn nothing() -> Self {
        Self { written: &NOTHING, handled: &NOTHING }
    }

    fn has(&self, position: Position, handled: bool) -> bool {
        self.written.contains(&position) && (!handled || self.handled.contains(&position))
    }
}

/// Unhandled events.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The positions of all of them.
    pub(crate) positions: Vec<Position>,
    /// Those that were not known.
    pub(crate) unknown: Vec<PendingEvent>,
}

/// Why an event that was set aside is not queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplayRefused {
    #[error("it already waits for its handler")]
    Waits,
    #[error("the shard's queue is full")]
    Full,
    #[error("the shard is closing")]
    Closed,
    #[error("its payload is malformed")]
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
