//! The coordinator as a whole: binds its ports, serves, stops.

use std::{
    net::SocketAddr,
    sync::{Arc, Once, atomic::AtomicU64},
};

use altergolden_proto::DESCRIPTORS;
use checkpoint::SetAsideStore;
use event_bus::EventBus;
use fleet_store::FleetStore;
use futures_util::future::BoxFuture;
use live_page::LivePage;
use process::{
    server::{Limits, Listener, serve_grpc},
    supervised::is_replacement,
    telemetry::{
        health::{BindError, HealthServer},
        metrics::Metrics,
    },
};
use relay::RelayStore;
use shard_bridge::{Bridge, BridgeMetrics, BridgeParts, Hub};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service;

use crate::{
    clock::Clock,
    config::CoordinatorConfig,
    discord::{Discord, DiscordError},
    driver::Shell,
    handle,
    health::CoordinatorHealth,
    history::History,
    live_page::FleetPage,
    metrics::CoordinatorMetrics,
    rpc::{CoordinatorServer, CoordinatorService, FleetServer, FleetService},
    snapshot, term,
    webhook::{Webhook, WebhookParts},
};

/// What the coordinator is given from outside.
pub struct CoordinatorParts {
    /// The fleet's memory.
    pub store: Arc<dyn FleetStore>,
    /// Where events are set aside.
    pub set_aside: Arc<dyn SetAsideStore>,
    /// The way of broadcasts.
    pub bus: Arc<dyn EventBus>,
    /// The streams of Discord's events, if they are relayed.
    pub relay: Option<Arc<dyn RelayStore>>,
}

/// The coordinator can't start.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The gRPC port can't be had.
    #[error("cannot bind {address} (--coordinator-listen): {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The health port can't be had.
    #[error(transparent)]
    Health(#[from] BindError),
    /// Discord refused the token.
    #[error(transparent)]
    Discord(#[from] DiscordError),
    /// The problems webhook can't be used.
    #[error("cannot set up TLS for the problems webhook: {0}")]
    Webhook(#[from] rustls::Error),
}

/// A coordinator whose ports are bound.
pub struct Coordinator {
    config: CoordinatorConfig,
    parts: CoordinatorParts,
    listener: Listener,
    address: SocketAddr,
    health: HealthServer,
}

impl Coordinator {
    /// Binds the ports.
    ///
    /// # Errors
    /// A port that is taken or not allowed.
    pub async fn bind(config: CoordinatorConfig, parts: CoordinatorParts) -> Result<Self, CoordinatorError> {
        let fail = |source| CoordinatorError::Listen { address: config.listen, source };
        let listener = Listener::bind(config.listen, "grpc", Limits::GRPC).await.map_err(fail)?;
        let address = listener.address().map_err(fail)?;
        let health =
            HealthServer::bind(config.health_listen, "--manager-health-port", config.credentials.clone())
                .await?;
        Ok(Self { config, parts, listener, address, health })
    }

    /// Where the gRPC server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the health server listens.
    pub fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Serves until `stop`.
    ///
    /// The future is boxed so that it is compiled in this crate, not in each program that polls it.
    ///
    /// # Errors
    /// [`CoordinatorError::Discord`] when Discord refuses the token.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), CoordinatorError>> {
        Box::pin(self.serve(stop))
    }

    async fn serve(self, stop: CancellationToken) -> Result<(), CoordinatorError> {
        let Self { config, parts, listener, address, health } = self;
        let credentials = config.credentials.clone();
        let discord = Discord::new(&config.token, config.api.as_ref(), config.gateway.as_ref())?;
        let discord = Arc::new(discord);
        let (publisher, published) = snapshot::channel();
        let (fleet, commands) = handle::channel();
        let metrics = CoordinatorMetrics::default();
        let bridge_metrics = BridgeMetrics::default();
        let registry = Metrics::new(&config.metrics_prefix, |registry| {
            metrics.register(registry, published.clone());
            bridge_metrics.register(registry);
            credentials.register(registry);
        });
        let health_address = health.address();
        let tasks = TaskTracker::new();
        let streams = TaskTracker::new();
        let holder = process::life::new_incarnation();
        let clock = Clock::start();
        let history = History::new(parts.store.clone(), holder.clone(), clock.clone(), metrics.clone());
        if let Some(webhook) = config.webhook.clone() {
            let webhook = Webhook::new(WebhookParts {
                config: webhook,
                published: published.clone(),
                store: parts.store.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            })?;
            tasks.spawn(webhook.run(stop.clone()));
        }
        let shell = Shell {
            store: parts.store.clone(),
            discord,
            publisher,
            metrics,
            holder,
            lease_ttl: config.lease_ttl,
            reserve: config.identify_reserve,
            identify_interval: config.identify_interval,
            shard_count: config.shard_count,
            shard_buffer: config.shard_buffer,
            next_stream: AtomicU64::new(1),
            clock,
            history: history.clone(),
            reported: Once::new(),
            health: Some(health_address),
            credentials: credentials.clone(),
        };
        // The coordinator that a replacement replaces must act until this one can: it reports later.
        if !is_replacement() {
            shell.report_serving();
        }

        let hub = Hub::new(parts.bus, bridge_metrics.clone());
        tasks.spawn(hub.clone().run(None, stop.clone()));
        let recent = Arc::new(published.clone());
        let bridge = Bridge::new(BridgeParts {
            routes: published.routes.clone(),
            local: None,
            recent: Some(recent),
            hub,
            metrics: bridge_metrics,
            sender: "coordinator",
            relay: parts.relay,
            credentials: credentials.clone(),
        });
        tasks.spawn(credentials.clone().watch(stop.clone()));
        let page = FleetPage::new(published.clone(), history.clone(), bridge.clone(), &config);
        let page = LivePage::new(Arc::new(page), health_address, credentials.clone(), stop.clone());
        let health = health.with_routes(page.routes());
        tasks.spawn(page.run());
        tasks.spawn(health.serve(Arc::new(CoordinatorHealth(published.clone())), registry, stop.clone()));
        let operators = FleetService::new(
            published,
            fleet.clone(),
            parts.set_aside,
            history.clone(),
            credentials.clone(),
        );
        let service = CoordinatorService::new(
            fleet,
            parts.store,
            config.lease_ttl,
            streams.clone(),
            credentials.clone(),
        );
        let serving = async {
            let services = service::Routes::new(CoordinatorServer::new(service))
                .add_service(FleetServer::new(operators));
            let services = bridge.add_to(services, config.deadlines);
            let served =
                serve_grpc::<CoordinatorServer>(listener, credentials, services, DESCRIPTORS, stop.clone());
            if let Err(error) = served.await {
                tracing::error!(%error, "the gRPC server ended");
            }
            // Without its server a coordinator is of no use.
            stop.cancel();
        };
        tracing::info!(%address, "coordinator listening");
        // Cancelled after the last entry, about the end of the term.
        let recorded = CancellationToken::new();
        let acting = async {
            let ended = term::serve_terms(&shell, &config, commands, &stop).await;
            stop.cancel();
            recorded.cancel();
            ended
        };
        let ((), ended, ()) = tokio::join!(serving, acting, history.write(recorded.clone()));
        streams.close();
        tasks.close();
        tasks.wait().await;
        tracing::info!("coordinator stopped");
        Ok(ended?)
    }
}
