//! The metrics of a worker, by part.

use bot_gateway::GatewayMetrics;
use discord_rest::RestMetrics;
use dispatch::DispatchMetrics;
use process::telemetry::{metrics::Metrics, problems::ProblemMetrics};
use shard_bridge::BridgeMetrics;
use tokio::sync::watch;

use crate::{
    callbacks::CallbackMetrics,
    checkpoints::CheckpointMetrics,
    config::WorkerConfig,
    metrics::{LinkMetrics, ShardMetrics},
    relay::Relaying,
    shards::RunningShards,
    status::{LinkStatus, WorkerCollector},
};

/// Clones count into the same.
#[derive(Clone, Default)]
pub(super) struct WorkerMetrics {
    pub(super) shards: ShardMetrics,
    pub(super) link: LinkMetrics,
    pub(super) bridge: BridgeMetrics,
    pub(super) checkpoints: CheckpointMetrics,
    pub(super) dispatch: DispatchMetrics,
    pub(super) callbacks: CallbackMetrics,
    pub(super) rest: RestMetrics,
    pub(super) bot_gateway: GatewayMetrics,
    pub(super) problems: ProblemMetrics,
}

impl WorkerMetrics {
    /// Registers all of them, and what is read of the shards and the lease at each scrape.
    pub(super) fn registry(
        &self,
        config: &WorkerConfig,
        relaying: Option<&Relaying>,
        shards: &RunningShards,
        link: watch::Receiver<LinkStatus>,
    ) -> Metrics {
        Metrics::new(&config.metrics_prefix, |registry| {
            config.credentials.register(registry);
            config.client_facing.register(registry);
            self.shards.register(registry);
            self.link.register(registry);
            self.bridge.register(registry);
            self.checkpoints.register(registry);
            self.dispatch.register(registry);
            if let Some(relaying) = relaying {
                relaying.metrics.register(registry);
            }
            shards.command_metrics().register(registry);
            self.callbacks.register(registry);
            self.rest.register(registry);
            self.bot_gateway.register(registry);
            registry.register_collector(Box::new(self.problems.clone()));
            registry.register_collector(Box::new(WorkerCollector { shards: shards.clone(), link }));
        })
    }
}
