//! Feeds a shard's events to [the relay](::relay).

use std::sync::Arc;

use ::relay::{
    Bounds, EventNames, MemoryRelay, Outbox, OutboxParts, RedisRelay, RelayMetrics, RelayStatus, RelayStore,
};
use fleet_model::ShardEvent;
use tokio::runtime::Handle;

use crate::{event::queued::is_gap, shard_state::ShardState};

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

    /// Relays an event if its name is relayed, and a gap always.
    pub(crate) fn push(&self, event: &Arc<ShardEvent>) {
        if is_gap(event) || self.wants(&event.name) {
            self.outbox.push(event.clone());
        }
    }
}
