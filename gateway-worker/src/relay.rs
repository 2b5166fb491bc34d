//! A shard's events as the relay gets them: what [the relay](::relay) is for, in the words of this crate.

use std::sync::Arc;

use ::relay::{
    Bounds, EventNames, MemoryRelay, Outbox, OutboxParts, OutgoingEvent, Position, RedisRelay, RelayMetrics,
    RelayStatus, RelayStore,
};
use checkpoint::PendingEvent;
use fleet_model::{ShardNumber, WorkerId};
use shard_bridge::Bridge;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{bot::Queued, handler::Event, shard::Shard, shards::RunningShards};

mod commands;

use commands::OverBridge;

/// Whoever runs this shard keeps the streams for all: every fleet has it.
const KEEPER: ShardNumber = ShardNumber(0);

/// Where events are relayed to, and which.
#[derive(Clone)]
pub struct Relay {
    /// The streams.
    pub store: Arc<dyn RelayStore>,
    /// The same, when they are Redis's: there the relay keeps them, and reads what bots send to the gateway.
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

/// What the relays of a worker's shards have in common.
#[derive(Clone)]
pub(crate) struct Relaying {
    pub(crate) relay: Relay,
    pub(crate) bounds: Bounds,
    pub(crate) metrics: RelayMetrics,
    pub(crate) status: RelayStatus,
    pub(crate) runtime: Handle,
}

impl Relaying {
    /// Keeps Redis's streams, on whichever worker runs shard 0, and sends what bots publish for the gateway.
    pub(crate) fn serve(
        &self,
        worker: &WorkerId,
        shards: RunningShards,
        bridge: Bridge,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let Some(redis) = &self.relay.redis else { return };
        let acts = move || shards.may_act_for(KEEPER);
        tasks.spawn(::relay::keeper::run(redis.clone(), self.metrics.clone(), acts.clone(), stop.clone()));
        let send = Arc::new(OverBridge(bridge));
        let (worker, metrics) = (worker.clone(), self.metrics.clone());
        tasks.spawn(::relay::commands::run(redis.clone(), worker, send, metrics, acts, stop.clone()));
    }

    pub(crate) fn of_shard(&self, shard: &Shard) -> ShardRelay {
        let outbox = Outbox::start(OutboxParts {
            store: self.relay.store.clone(),
            bounds: self.bounds,
            metrics: self.metrics.clone(),
            status: self.status.clone(),
            shard: shard.number(),
            epoch: shard.epoch(),
            runtime: self.runtime.clone(),
        });
        ShardRelay { outbox, names: Arc::new(self.relay.names.clone()) }
    }
}

/// One shard's.
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

    /// Relays it, if it is to be.
    pub(crate) fn push(&self, queued: &Queued) {
        match queued {
            Queued::Event(event) if self.wants(event.name()) => self.outbox.push(waiting(event)),
            Queued::Gap(told) => {
                let at = position(queued.position());
                self.outbox.push(OutgoingEvent::gap(told.gap.until_unix_ms, &told.text, at));
            }
            // What was set aside was relayed when it came.
            Queued::Event(_) | Queued::Replay(_) => {}
        }
    }
}

fn position((session, sequence): (u64, u64)) -> Position {
    Position { session, sequence }
}

fn waiting(event: &Event) -> OutgoingEvent {
    OutgoingEvent {
        position: position(event.position()),
        name: event.name().into(),
        guild: event.guild(),
        received_at_unix_ms: event.received_at_unix_ms,
        mark: event.mark(),
        text: event.raw().into(),
    }
}

/// For a checkpoint: what bot code is done with, or never was given.
pub(crate) fn as_pending(waiting: &OutgoingEvent) -> ((u64, u64), PendingEvent) {
    let Position { session, sequence } = waiting.position;
    let pending = PendingEvent {
        session,
        sequence,
        started: true,
        handled: true,
        received_at_unix_ms: waiting.received_at_unix_ms,
        text: waiting.text.to_string(),
    };
    ((session, sequence), pending)
}
