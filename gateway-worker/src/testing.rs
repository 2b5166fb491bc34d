//! Parts that the tests of several modules are made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use checkpoint::{CheckpointMemoryStore, CheckpointStore, HeadKeys};
use event_bus::MemoryBus;
use fleet_model::{Epoch, Routes, ShardKey};
use shard_bridge::{Bridge, BridgeMetrics, BridgeParts, Hub};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use twilight_model::gateway::Intents;

use crate::{
    bot::{BotCode, EventQueue, EventQueues, Suspects},
    cache::{CacheSettings, ShardCache},
    callbacks::{CallbackMetrics, CallbackSlots, ShardCallbacks},
    checkpoints::{Beat, CheckpointMetrics, Checkpoints, Keep, Pace, SignedHeads, WrittenFormat},
    clock::BootTime,
    discord,
    event::Arrived,
    gateway_address::Trust,
    handler::{EventHandler, NoHandler, Tools},
    identify,
    lease::{Lease, LeaseWindow},
    metrics::ShardMetrics,
    payload::Payload,
    shard::{Commands, Dialing, GatewayCompression, GatewaySettings, RunnerParts},
    shard_state::ShardState,
    shards::RunningShard,
    tap::Taps,
};

pub(crate) mod guilds;

pub(crate) const SHARD: ShardKey = ShardKey::new(3, TOTAL);
pub(crate) const EPOCH: Epoch = Epoch(7);
pub(crate) const TOTAL: u32 = 4;

pub(crate) fn cache(resources: &str) -> CacheSettings {
    CacheSettings {
        resources: resources.parse().unwrap(),
        messages_per_channel: 0,
        message_lifetime: None,
        intents: Intents::GUILDS,
    }
}

pub(crate) fn shard_at(epoch: Epoch, resources: &str) -> Arc<ShardState> {
    let cache = ShardCache::new(cache(resources));
    Arc::new(ShardState::new(SHARD, epoch, cache, Arc::new(Notify::new())))
}

/// An event as it arrives. Text that is not JSON has no data.
pub(crate) fn arrived(name: &str, sequence: u64, text: String) -> Arrived {
    Arrived::new(name.into(), sequence, Payload::read(&text).unwrap_or_default(), text)
}

/// A lease that holds for the test.
pub(crate) fn lease() -> LeaseWindow {
    let lease = Lease::default();
    lease.renewed(BootTime::now(), Duration::from_hours(1));
    lease.window().clone()
}

pub(crate) fn event_queues(handler: Arc<dyn EventHandler>) -> EventQueues {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let hub = Hub::new(Arc::new(MemoryBus::new()), BridgeMetrics::default());
    let (_, routes) = watch::channel(Arc::new(Routes::new(TOTAL, BTreeMap::new())));
    let tools = Tools {
        http: Arc::new(discord::client(&process::settings::Secret::new("t"), "127.0.0.1:1")),
        callbacks: Arc::new(discord::callbacks(&process::settings::Secret::new("t"), "127.0.0.1:1")),
        makes: discord::ClientMaker::new(process::settings::Secret::new("t"), "127.0.0.1:1"),
        bridge: Bridge::new(BridgeParts {
            routes,
            local: None,
            recent: None,
            hub,
            metrics: BridgeMetrics::default(),
            sender: "test",
            relay: None,
            credentials: process::credentials::Credentials::none(),
        }),
    };
    EventQueues {
        taps: Taps::default(),
        wanted: Arc::new(handler.wants()),
        code: BotCode {
            handler,
            tools: Arc::new(tools),
            runtime: tokio::runtime::Handle::current(),
            stragglers: tokio_util::task::TaskTracker::new(),
        },
        limits: dispatch::Limits::default(),
        metrics: dispatch::DispatchMetrics::default(),
        shed_order: Arc::default(),
        suspects: Suspects::new(Arc::new(CheckpointMemoryStore::new()), dispatch::DispatchMetrics::default()),
        relaying: None,
        traced: crate::event::trace::TracedRatio::default(),
    }
}

/// A shard that runs, without bot code.
pub(crate) fn running(shard: &Arc<ShardState>) -> Arc<RunningShard> {
    running_with(shard, event_queues(Arc::new(NoHandler)).queue_for(shard, &lease(), false))
}

/// A shard that runs with this queue.
pub(crate) fn running_with(shard: &Arc<ShardState>, queue: EventQueue) -> Arc<RunningShard> {
    let code = event_queues(Arc::new(NoHandler)).code;
    let callbacks =
        ShardCallbacks::new(shard.clone(), code, CallbackSlots::new(CallbackMetrics::default()), lease());
    RunningShard::new(shard.clone(), queue, callbacks)
}

/// What the task of a shard needs that connects to this gateway. Its requests for permits stay unanswered.
pub(crate) fn runner_parts(
    gateway: &str,
    stop: CancellationToken,
) -> (RunnerParts, mpsc::Receiver<identify::Message>) {
    let (identify, requests) = identify::channel();
    let (shard, lease) = (shard_at(EPOCH, "none"), lease());
    let trust = Trust::new(Some(gateway.parse().unwrap()), None);
    let parts = RunnerParts {
        event_queue: event_queues(Arc::new(NoHandler)).queue_for(&shard, &lease, false),
        checkpoints: checkpoints(memory(), Keep::Full),
        resources: Vec::new(),
        commands: Arc::new(Commands::new(shard.clone())),
        copy_slot: Arc::default(),
        ran_before: false,
        dialing: Dialing::default(),
        shard,
        settings: Arc::new(GatewaySettings {
            token: process::settings::Secret::new("t"),
            intents: Intents::empty(),
            gateway: trust.gateway("").unwrap(),
            compression: GatewayCompression::None,
        }),
        lease,
        identify,
        metrics: ShardMetrics::default(),
        stop,
    };
    (parts, requests)
}

pub(crate) fn checkpoints(store: Arc<dyn CheckpointStore>, keep: Keep) -> Checkpoints {
    Checkpoints {
        store,
        keep,
        format: WrittenFormat::up_to(checkpoint::FORMAT_MAX),
        heads: SignedHeads::new(HeadKeys::none(), "test"),
        beat: Beat::new(Duration::from_secs(1)),
        pace: Arc::new(Pace::default()),
        metrics: CheckpointMetrics::default(),
    }
}

pub(crate) fn memory() -> Arc<dyn CheckpointStore> {
    Arc::new(CheckpointMemoryStore::new())
}
