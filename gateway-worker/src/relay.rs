//! Feeds a shard's events to [the relay](::relay).

use std::sync::Arc;

use ::relay::{
    Bounds, EventNames, MemoryRelay, Outbox, OutboxParts, OutgoingEvent, Position, RedisRelay, RelayMetrics,
    RelayStatus, RelayStore,
};
use checkpoint::PendingEvent;
use tokio::runtime::Handle;

use crate::{
    event::{Event, queued::Queued},
    shard_state::ShardState,
};

mod commands;

pub(crate) use commands::BridgeSender;

/// Where events are relayed to, and which.
#[derive(Clone)]
pub struct Relay {
    /// The streams.
    pub store: Arc<dyn RelayStore>,
    /// The same streams in Redis, where the relay trims them and reads commands that bots publish.
    pub redis: Option<RedisRelay>,
    /// Which events.
    pub names: EventNames,
}

impl Relay {
    /// Redis streams.
    pub fn redis(redis: RedisRelay, names: EventNames) -> Self {
        Self { store: Arc::new(redis.clone()), redis: Some(redis), names }
    }

    /// Streams in this process's memory.
    pub fn memory(memory: MemoryRelay) -> Self {
        Self { store: Arc::new(memory), redis: None, names: EventNames::All }
    }
}

/// What the relays of a worker's shards share.
#[derive(Clone)]
pub(crate) struct Relaying {
    pub(crate) relay: Relay,
    pub(crate) bounds: Bounds,
    pub(crate) metrics: RelayMetrics,
    pub(crate) status: RelayStatus,
    pub(crate) runtime: Handle,
}

impl Relaying {
    pub(crate) fn of_shard(&self, shard: &ShardState) -> ShardRelay {
        let outbox = Outbox::start(OutboxParts {
            store: self.relay.store.clone(),
            bounds: self.bounds,
            metrics: self.metrics.clone(),
            status: self.status.clone(),
            shard: shard.key(),
            epoch: shard.epoch(),
            runtime: self.runtime.clone(),
        });
        ShardRelay { outbox, names: Arc::new(self.relay.names.clone()) }
    }
}

/// The part of one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardRelay {
    pub(crate) outbox: Outbox,
    names: Arc<EventNames>,
}

impl ShardRelay {
    /// Events of this name are relayed.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.has(name)
    }

    /// Relays an item if its name is relayed.
    pub(crate) fn push(&self, queued: &Queued) {
        match queued {
            Queued::Event(event) if self.wants(event.name()) => self.outbox.push(waiting(event)),
            Queued::Gap(gap) => {
                self.outbox.push(OutgoingEvent::gap(gap.gap.until_unix_ms, &gap.text, queued.position()));
            }
            // What was set aside was relayed when it came.
            Queued::Event(_) | Queued::Replay(_) => {}
        }
    }
}

fn waiting(event: &Event) -> OutgoingEvent {
    OutgoingEvent {
        position: event.position(),
        name: event.name().into(),
        guild: event.guild(),
        received_at_unix_ms: event.received_at_unix_ms,
        mark: event.mark(),
        text: event.raw().into(),
    }
}

/// Converts an entry for a checkpoint: bot code has handled it, or does not want it.
pub(crate) fn as_pending(waiting: &OutgoingEvent) -> (Position, PendingEvent) {
    let Position { session, sequence } = waiting.position;
    let pending = PendingEvent {
        session,
        sequence,
        started: true,
        handled: true,
        received_at_unix_ms: waiting.received_at_unix_ms,
        text: waiting.text.to_string(),
    };
    (waiting.position, pending)
}
