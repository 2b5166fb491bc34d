//! The servers of a worker, and the tasks beside them.

use std::{future::Future, sync::Arc, time::Duration};

use discord_rest::{OwnGateway, Rest};
use fleet_model::{Routes, ShardSlot, WorkerId};
use process::{
    supervised::report_serving,
    telemetry::{health::HealthServer, metrics::Metrics},
};
use shard_bridge::Bridge;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{WorkerError, metrics::WorkerMetrics};
use crate::{
    config::WorkerConfig,
    relay::{BridgeSender, Relaying},
    rest::{self, Proxy, RestBudget},
    shards::RunningShards,
    status::WorkerHealth,
};

/// How often problems are checked, to record when they began.
const OBSERVE: Duration = Duration::from_secs(1);

/// The worker that runs this shard keeps the relay's streams for all: every fleet has it.
const KEEPER: ShardSlot = ShardSlot(0);

/// Servers and tasks that outlive the shards, so that callers are answered while shards close.
#[derive(Default)]
pub(super) struct Servers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Servers {
    /// Starts a task that ends at the token that it is given.
    pub(super) fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.tasks.spawn(task(self.stop.clone()))
    }

    /// Stops all of them, and waits for their ends.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts the REST proxy.
    pub(super) fn rest(
        &self,
        rest: Rest,
        config: &WorkerConfig,
        budget: RestBudget,
        routes: watch::Receiver<Arc<Routes>>,
        metrics: &WorkerMetrics,
        gateway: Option<String>,
    ) -> Result<Proxy, WorkerError> {
        let settings = (config.rest, config.client_facing.clone(), config.api.as_ref());
        let own = (config.worker.clone(), &config.token);
        let known = (routes.clone(), metrics.rest.clone());
        let gateway =
            gateway.map(|url| OwnGateway { url, shards: Arc::new(move || routes.borrow().shard_total) });
        rest::start(rest, settings, own, budget, known, gateway, (&self.tasks, &self.stop))
            .map_err(WorkerError::Rest)
    }

    /// Starts the health server, and looks for problems each second.
    pub(super) fn health(&self, server: HealthServer, source: WorkerHealth, metrics: Metrics) {
        let source = Arc::new(source);
        report_serving(Some(server.address()));
        self.spawn(|stop| server.serve(source.clone(), metrics, stop));
        self.spawn(|stop| {
            stop.run_until_cancelled_owned(async move {
                let mut second = tokio::time::interval(OBSERVE);
                loop {
                    second.tick().await;
                    source.observe();
                }
            })
        });
    }

    /// Keeps Redis's streams on the worker that runs shard 0, and sends what bots publish for the gateway.
    pub(super) fn relay(
        &self,
        relaying: &Relaying,
        worker: &WorkerId,
        shards: &RunningShards,
        bridge: &Bridge,
    ) {
        let Some(redis) = &relaying.relay.redis else { return };
        let (metrics, shards) = (relaying.metrics.clone(), shards.clone());
        let acts = move || shards.may_act_for(KEEPER);
        self.spawn(|stop| ::relay::keeper::run(redis.clone(), metrics.clone(), acts.clone(), stop));
        let send = Arc::new(BridgeSender(bridge.clone()));
        self.spawn(|stop| ::relay::commands::run(redis.clone(), worker.clone(), send, metrics, acts, stop));
    }
}
