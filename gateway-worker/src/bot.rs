//! Bot code as the shards reach it: each shard has a queue of its own, whose handlers run on threads of their own.
//!
//! Owns what is between the platform's event and a handler's call: the lease is looked at once more, and what could not be
//! handled yet can be listed for a checkpoint.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use checkpoint::PendingEvent;
use dispatch::{Closed, Delivery, Dispatcher, Handler, Item, Kind, Limits, Refused, Setup};
use fleet_model::Gap;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::BootTime,
    handler::{Context, Event, EventHandler, Mark, Tools, Wanted},
    lease::LeaseWindow,
    shard::Shard,
};

/// How often a handler that may not begin looks whether the lease is back.
const LEASE_LOOK: Duration = Duration::from_millis(50);

/// How long fresh events wait at most for a checkpoint that covers RESUMED.
const COVER: Duration = Duration::from_millis(500);

/// The name under which a gap waits for its handler, and is kept in a checkpoint.
const GAP: &str = "ALTERGOLDEN_GAP";

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
}

/// What waits for its handler.
pub(crate) enum Queued {
    Event(Event),
    /// Told before what came after it in the shard's own lane.
    Gap(Told),
}

/// A gap on its way to the handler: as text it looks like a dispatch, so that a checkpoint can hold it among the events.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    gap: Gap,
    session: u64,
    sequence: u64,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct GapPayload {
    op: u8,
    t: String,
    s: u64,
    d: GapBody,
}

#[derive(Serialize, Deserialize)]
struct GapBody {
    since_unix_ms: u64,
    until_unix_ms: u64,
    last_sequence: u64,
    reason: String,
}

impl Told {
    /// `sequence`: one that no event of the session has.
    pub(crate) fn new(gap: Gap, session: u64, sequence: u64) -> Self {
        let Gap { since_unix_ms, until_unix_ms, last_sequence, reason } = gap.clone();
        let d = GapBody { since_unix_ms, until_unix_ms, last_sequence, reason };
        let payload = GapPayload { op: 0, t: GAP.to_owned(), s: sequence, d };
        let text = serde_json::to_string(&payload).unwrap_or_default();
        Self { gap, session, sequence, text }
    }

    /// A gap that was kept as text.
    fn from_text(text: String, session: u64) -> Option<Self> {
        let payload: GapPayload =
            serde_json::from_str(&text).ok().filter(|payload: &GapPayload| payload.t == GAP)?;
        let GapBody { since_unix_ms, until_unix_ms, last_sequence, reason } = payload.d;
        let gap = Gap { since_unix_ms, until_unix_ms, last_sequence, reason };
        Some(Self { gap, session, sequence: payload.s, text })
    }
}

impl Queued {
    /// What a checkpoint kept.
    pub(crate) fn from_pending(pending: PendingEvent, mark: Mark) -> Option<Self> {
        let PendingEvent { session, sequence, received_at_unix_ms, text, .. } = pending;
        let envelope = twilight_model::gateway::event::GatewayEventDeserializer::from_json(&text)?;
        let name = envelope.event_type()?.to_owned();
        if name == GAP {
            return Told::from_text(text, session).map(Self::Gap);
        }
        let guild = guild_of(&name, &text);
        let name = Kind::from(name.as_str());
        Some(Self::Event(Event { name, session, sequence, guild, mark, received_at_unix_ms, text }))
    }

    fn as_pending(&self, started: bool) -> PendingEvent {
        let (session, sequence, received_at_unix_ms, text) = match self {
            Self::Event(event) => {
                (event.session, event.sequence, event.received_at_unix_ms, event.text.clone())
            }
            Self::Gap(told) => (told.session, told.sequence, told.gap.until_unix_ms, told.text.clone()),
        };
        PendingEvent { session, sequence, started, received_at_unix_ms, text }
    }

    /// Its session's ordinal, and its sequence there.
    fn position(&self) -> (u64, u64) {
        match self {
            Self::Event(event) => (event.session, event.sequence),
            Self::Gap(told) => (told.session, told.sequence),
        }
    }

    fn into_item(self) -> Item<Self> {
        let (kind, lane, bytes) = match &self {
            Self::Event(event) => (event.name.clone(), event.guild, event.text.len()),
            Self::Gap(told) => (Kind::from(GAP), None, told.text.len()),
        };
        let sequence = self.position().1;
        Item { sequence, lane, kind, bytes, received_at: dispatch_clock(), suspect: false, payload: self }
    }
}

/// The guild of an event: its `guild_id`, or for an event about a guild itself its `id`.
pub(crate) fn guild_of(name: &str, text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        d: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default)]
        id: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow, default)]
        guild_id: Option<std::borrow::Cow<'a, str>>,
    }
    let payload: Payload<'_> = serde_json::from_str(text).ok()?;
    let id = match name {
        "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => payload.d.id,
        _ => payload.d.guild_id,
    };
    id?.parse().ok()
}

/// The clock of the queues.
pub(crate) fn dispatch_clock() -> Duration {
    Duration::from_millis(BootTime::now().as_millis())
}

/// Holds fresh events back after RESUMED until a checkpoint reaches as far. Discord replays RESUMED like any other dispatch: to the
/// next owner, one that no checkpoint covers looks like the end of what it must mark as replayed.
#[derive(Default)]
struct Gate {
    /// What a checkpoint must cover; `None` while it is open.
    awaited: Mutex<Option<(u64, u64)>>,
    opened: Notify,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut_until(&self, position: (u64, u64)) {
        *self.lock() = Some(position);
    }

    fn covered(&self, position: (u64, u64)) {
        let mut awaited = self.lock();
        if awaited.is_some_and(|awaited| awaited <= position) {
            *awaited = None;
            self.opened.notify_waiters();
        }
    }

    /// Waits until it is open, but not for a store that is away.
    async fn pass(&self) {
        let opened = async {
            loop {
                let mut opened = std::pin::pin!(self.opened.notified());
                opened.as_mut().enable();
                if self.lock().is_none() {
                    return;
                }
                opened.await;
            }
        };
        if tokio::time::timeout(COVER, opened).await.is_err() {
            *self.lock() = None;
            self.opened.notify_waiters();
        }
    }
}

/// Calls the handler for one shard.
struct ShardHandler {
    handler: Arc<dyn EventHandler>,
    context: Context,
    lease: LeaseWindow,
    gate: Arc<Gate>,
    stopped: CancellationToken,
}

impl ShardHandler {
    /// Whether to begin: the process may have slept past its lease since the event was queued. Waits for a lease that has
    /// lapsed to come back, or for the end.
    async fn may_begin(&self) -> bool {
        while !self.lease.is_open(BootTime::now()) {
            tokio::select! {
                () = self.stopped.cancelled() => return false,
                () = tokio::time::sleep(LEASE_LOOK) => {}
            }
        }
        true
    }
}

#[async_trait::async_trait]
impl Handler<Queued> for ShardHandler {
    async fn handle(&self, delivery: &Delivery<Queued>) {
        if let Queued::Event(Event { mark: Mark::Fresh, .. }) = delivery.payload() {
            self.gate.pass().await;
        }
        if !self.may_begin().await {
            return;
        }
        match delivery.payload() {
            Queued::Event(event) => self.handler.handle(&self.context, event).await,
            Queued::Gap(told) => self.handler.gap(&self.context, &told.gap).await,
        }
    }
}

/// The events of one shard on their way to the handler.
#[derive(Clone)]
pub(crate) struct Deliveries {
    dispatcher: Dispatcher<Queued, ShardHandler>,
    wanted: Arc<Wanted>,
    shed_order: Arc<dispatch::ShedOrder>,
    metrics: dispatch::DispatchMetrics,
    gate: Arc<Gate>,
    stopped: CancellationToken,
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").field("dispatcher", &self.dispatcher).finish_non_exhaustive()
    }
}

impl Bot {
    /// The queue of one shard.
    pub(crate) fn deliveries(&self, shard: &Arc<Shard>, lease: &LeaseWindow) -> Deliveries {
        let (stopped, gate) = (CancellationToken::new(), Arc::new(Gate::default()));
        let handler = ShardHandler {
            handler: self.handler.clone(),
            context: Context { shard: shard.clone(), tools: self.tools.clone() },
            lease: lease.clone(),
            gate: gate.clone(),
            stopped: stopped.clone(),
        };
        let setup = Setup {
            handler: Arc::new(handler),
            limits: self.limits,
            runtime: self.runtime.clone(),
            stragglers: self.stragglers.clone(),
            clock: Arc::new(dispatch_clock),
            metrics: self.metrics.clone(),
        };
        Deliveries {
            dispatcher: Dispatcher::start(setup, shard.number().0, shard.epoch().0),
            wanted: self.wanted.clone(),
            shed_order: self.shed_order.clone(),
            metrics: self.metrics.clone(),
            gate,
            stopped,
        }
    }
}

impl Deliveries {
    /// An event of this name is handled.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.has(name)
    }

    /// Gaps are told, and anything else.
    pub(crate) fn wants_anything(&self) -> bool {
        *self.wanted != Wanted::Nothing
    }

    /// Queues something. False when there is no room, or the end has come: then it counts as not received.
    pub(crate) fn push(&self, queued: Queued) -> bool {
        self.dispatcher.push(queued.into_item()).is_ok()
    }

    /// Queues something, room or not: what was pending on another worker, which was within bounds there; a gap, and READY.
    pub(crate) fn push_over_bound(&self, queued: Queued) {
        // Closed: the shard ends, and what was pending stays so in the checkpoint.
        let _: Result<(), Refused<Queued>> = self.dispatcher.push_over_bound(queued.into_item());
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
        self.dispatcher.at_most_half()
    }

    /// There is room for an event of so many bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.dispatcher.has_room(bytes)
    }

    /// Under pressure this event is left out.
    pub(crate) fn sheds(&self, name: &str, bytes: usize, age: Duration) -> bool {
        let kind = Kind::from(name);
        let sheds = self.shed_order.sheds(&kind, age, self.dispatcher.fill_with(bytes));
        if sheds {
            self.metrics.count_shed(&kind);
        }
        sheds
    }

    /// The queue had no room.
    pub(crate) fn count_overflow(&self) {
        self.metrics.count_overflow();
    }

    /// Waits until the queue is at most half full.
    pub(crate) async fn drained_to_half(&self) {
        self.dispatcher.drained_to_half().await;
    }

    pub(crate) fn figures(&self) -> dispatch::Figures {
        self.dispatcher.figures()
    }

    /// What is queued or handled at the moment, up to a position, with its positions.
    pub(crate) fn pending(&self, up_to: (u64, u64), known: impl Fn((u64, u64)) -> bool) -> Pending {
        let mut pending = Pending::default();
        self.dispatcher.pending(|all| {
            for one in all {
                let position = one.item.payload.position();
                if position > up_to {
                    continue;
                }
                pending.positions.push(position);
                if !known(position) {
                    pending.unknown.push((position, one.item.payload.as_pending(one.started)));
                }
            }
        });
        pending
    }

    /// Starts nothing more, and waits so long at most for what runs; slower handlers go on to their end here. What was not
    /// started, for the last checkpoint.
    pub(crate) async fn close(&self, patience: Duration) -> Vec<((u64, u64), PendingEvent)> {
        let Closed { unstarted, still_running } = self.dispatcher.close(patience).await;
        if still_running > 0 {
            tracing::info!(still_running, "handlers that are slow end here; their events count as handled");
        }
        self.stopped.cancel();
        unstarted.into_iter().map(|item| (item.payload.position(), item.payload.as_pending(false))).collect()
    }

    /// The shard is not ours any more: what waits is not handled here.
    pub(crate) fn abandon(&self) {
        self.stopped.cancel();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guild_of_an_event_is_its_guild_id_or_its_own_id() {
        let of = |name: &str, d: &str| guild_of(name, &format!(r#"{{"t":"{name}","s":1,"op":0,"d":{d}}}"#));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","guild_id":"5","author":{"id":"9"}}"#), Some(5));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","message_reference":{"guild_id":"5"}}"#), None);
        assert_eq!(of("GUILD_DELETE", r#"{"id":"7","unavailable":true}"#), Some(7));
        assert_eq!(of("RESUMED", r#"{"_trace":["\u00e9"]}"#), None);
        assert_eq!(of("USER_UPDATE", r#"{"id":"7","guild_id":null}"#), None);
        assert_eq!(guild_of("X", "no json"), None);
    }

    #[test]
    fn a_gap_survives_a_checkpoint() {
        let gap =
            Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "a \"why\"".to_owned() };
        let pending = Queued::Gap(Told::new(gap.clone(), 7, 4)).as_pending(false);
        match Queued::from_pending(pending, Mark::Replayed) {
            Some(Queued::Gap(told)) => assert_eq!((told.gap, told.session, told.sequence), (gap, 7, 4)),
            _ => panic!("no gap"),
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_event() {
        let pending = PendingEvent {
            session: 1,
            sequence: 1,
            started: false,
            received_at_unix_ms: 0,
            text: "{".to_owned(),
        };
        assert!(Queued::from_pending(pending, Mark::Replayed).is_none());
    }
}
