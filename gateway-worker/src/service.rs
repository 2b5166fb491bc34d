//! The worker as a whole: binds its ports, serves, runs its shards, hands them off, stops.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::bot_gateway::{BotGateway, GatewayConfig, GatewayParts};
use ::relay::{RelayMetrics, RelayStatus};
use altergolden_proto::DESCRIPTORS;
use arc_swap::ArcSwap;
use checkpoint::{CheckpointStore, SetAsideStore};
use discord_rest::Rest;
use event_bus::EventBus;
use fleet_model::{Routes, WorkerId};
use fleet_store::FleetStore;
use futures_util::future::BoxFuture;
use process::{
    server::{Limits, Listener, serve_grpc},
    telemetry::health::{BindError, HealthServer},
};
use shard_bridge::{Bridge, BridgeParts, Hub};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes as GrpcRoutes, transport};

use crate::{
    bot::{BotCode, EventQueues, Suspects},
    bot_gateway,
    callbacks::CallbackSlots,
    checkpoints::{Beat, Checkpoints, Pace, SignedHeads, WrittenFormat},
    config::WorkerConfig,
    discord::{self, TokenRefused},
    figures::FigureReader,
    handler::{EventHandler, Tools},
    identify,
    link::{CoordinatorLinkError, Link, LinkParts},
    relay::{Relay, Relaying},
    rest::RestBudget,
    rpc::{WorkerServer, WorkerService},
    shards::{RunningShards, ShardParts, ShardSet},
    singleton::Singletons,
    status::{LinkStatus, WorkerHealth},
    tap::Taps,
    threads::Threads,
};

mod address;
mod metrics;
mod tasks;

use address::advertised;
use metrics::WorkerMetrics;
use tasks::Servers;

/// How long handlers that are under way may take to end when the process stops.
const HANDLERS_END: Duration = Duration::from_secs(5);

/// What the worker is given from outside.
pub struct WorkerParts {
    /// The fleet's memory: the second path of the lease.
    pub store: Arc<dyn FleetStore>,
    /// Where checkpoints are kept.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Where events are set aside.
    pub set_aside: Arc<dyn SetAsideStore>,
    /// The event bus, which carries broadcasts.
    pub bus: Arc<dyn EventBus>,
    /// Where the budget of Discord's REST limits is kept.
    pub rest: RestBudget,
    /// Bot code.
    pub handler: Arc<dyn EventHandler>,
    /// Where events are relayed to, if they are.
    pub relay: Option<Relay>,
}

/// The worker can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The gRPC port cannot be bound.
    #[error("cannot bind {address} (--worker-listen): {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The REST proxy's port cannot be bound.
    #[error("cannot bind {address} (--rest-listen): {source}")]
    RestListen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The port of the gateway for bots cannot be bound.
    #[error("cannot bind {address} (--gateway-listen): {source}")]
    GatewayListen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The gateway for bots has no events.
    #[error("--gateway-listen (GATEWAY_LISTEN): the gateway for bots needs the relay (RELAY=redis)")]
    GatewayWithoutRelay,
    /// The REST proxy can't be set up.
    #[error("the REST proxy: {0}")]
    Rest(String),
    /// The health port cannot be bound.
    #[error(transparent)]
    Health(#[from] BindError),
    /// It listens on all addresses, and none for others was found.
    #[error("--worker-advertise (WORKER_ADVERTISE): must be set, as {0}")]
    Advertise(String),
    /// Discord refused the token.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The fleet does not take it.
    #[error(transparent)]
    Link(#[from] CoordinatorLinkError),
    /// There are no threads for shards or handlers.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// Others can't reach it any more: it must not run on half alive.
    #[error("the gRPC server ended: {0}")]
    Server(String),
}

/// A worker whose ports are bound.
pub struct Worker {
    config: WorkerConfig,
    parts: WorkerParts,
    listener: Listener,
    address: SocketAddr,
    health: HealthServer,
    rest: Rest,
    gateway: Option<BotGateway>,
}

impl Worker {
    /// Binds the ports.
    ///
    /// # Errors
    /// A port that is taken or not allowed.
    pub async fn bind(config: WorkerConfig, parts: WorkerParts) -> Result<Self, WorkerError> {
        let fail = |source| WorkerError::Listen { address: config.listen, source };
        let listener = Listener::bind(config.listen, "grpc", Limits::GRPC).await.map_err(fail)?;
        let address = listener.address().map_err(fail)?;
        let health =
            HealthServer::bind(config.health_listen, "--health-port", config.credentials.clone()).await?;
        let rest_listen = config.rest.listen;
        let fail = |source| WorkerError::RestListen { address: rest_listen, source };
        let rest = if config.rest.shares_port {
            Rest::bind_shared(rest_listen).await
        } else {
            Rest::bind(rest_listen).await
        };
        let rest = rest.map_err(fail)?;
        let gateway = match &config.bot_gateway {
            None => None,
            Some(_) if parts.relay.is_none() => return Err(WorkerError::GatewayWithoutRelay),
            Some(gateway) => {
                let address = gateway.listen;
                let bound = BotGateway::bind(address, gateway.clients).await;
                Some(bound.map_err(|source| WorkerError::GatewayListen { address, source })?)
            }
        };
        Ok(Self { config, parts, listener, address, health, rest, gateway })
    }

    /// Its name.
    pub fn name(&self) -> &WorkerId {
        &self.config.worker
    }

    /// Where the gRPC server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the health server listens.
    pub fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// Where the REST proxy listens.
    pub fn rest_address(&self) -> SocketAddr {
        self.rest.address()
    }

    /// Where the gateway for bots listens, if it is on.
    pub fn gateway_address(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(BotGateway::address)
    }

    /// Runs until `stop`; then gives its shards away, closes what is left, and returns.
    ///
    /// The future is boxed so that it is compiled in this crate, not in each program that polls it.
    ///
    /// # Errors
    /// Discord refused the token, there is no address to advertise, or another worker has its name.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), WorkerError>> {
        Box::pin(self.work(stop))
    }

    async fn work(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, parts, listener, address, health, rest, gateway } = self;
        let worker = config.worker.clone();
        let servers = Servers::default();
        let metrics = WorkerMetrics::default();
        let (routes, routes_reader) = watch::channel(Arc::new(Routes::default()));
        let (registered, registered_reader) = watch::channel(None);
        let (status, status_reader) = watch::channel(LinkStatus::default());

        let rest_address = rest.address();
        let gateway_url = config
            .bot_gateway
            .as_ref()
            .zip(gateway.as_ref())
            .map(|(settings, gateway)| settings.url(gateway.address(), config.client_facing.is_set()));
        let rest =
            servers.rest(rest, &config, parts.rest, routes_reader.clone(), &metrics, gateway_url.clone())?;
        if let Err(refused) = discord::check_token(&config.token, &rest.authority).await {
            servers.end().await;
            return Err(refused.into());
        }

        let incarnation = Arc::new(ArcSwap::from_pointee(process::life::new_incarnation()));
        let shards = RunningShards::new(worker.clone());
        let threads = Threads::start().map_err(WorkerError::Threads)?;
        let relaying = parts.relay.map(|relay| build_relaying(relay, &config, &threads));
        let registry = metrics.registry(&config, relaying.as_ref(), &shards, status_reader.clone());
        let heads = SignedHeads::new(config.head_keys.clone(), config.fleet.as_str());
        let health_source = WorkerHealth {
            worker: worker.clone(),
            link: status_reader,
            shards: shards.clone(),
            bus: parts.bus.status(),
            relay: relaying.as_ref().map(|relaying| relaying.status.clone()),
            heads: heads.clone(),
            rest: rest.status.clone(),
            rest_address,
            metrics: metrics.problems.clone(),
            clock: Mutex::default(),
            credentials: config.credentials.clone(),
            client_facing: config.client_facing.clone(),
            gateway: config.bot_gateway.as_ref().and_then(bot_gateway::BotGatewayConfig::problem),
        };
        servers.health(health, health_source, registry);
        let hub = Hub::new(parts.bus.clone(), metrics.bridge.clone());
        servers.spawn(|stop| hub.clone().run(Some(worker.clone()), stop));
        let (identify, requests) = identify::channel();
        servers.spawn(|stop| identify::client::run(requests, registered_reader, stop));
        let bridge = Bridge::new(BridgeParts {
            routes: routes_reader,
            local: Some(Arc::new(shards.clone())),
            recent: None,
            hub,
            metrics: metrics.bridge.clone(),
            sender: worker.as_str(),
            relay: relaying.as_ref().map(|relaying| relaying.relay.store.clone()),
            credentials: config.credentials.clone(),
        });
        servers.spawn(|stop| config.credentials.clone().watch(stop));
        servers.spawn(|stop| config.client_facing.clone().watch(stop));
        servers.spawn(|stop| heads.clone().follow(config.credentials.clone(), stop));
        let link_heads = heads.clone();
        if let Some(relaying) = &relaying {
            servers.relay(relaying, &worker, &shards, &bridge);
        }
        if let (Some(gateway), Some(url), Some(relaying)) = (gateway, gateway_url, &relaying) {
            let address = gateway.address();
            let parts = GatewayParts {
                config: GatewayConfig {
                    token: config.token.expose().to_owned(),
                    allows_any_token: config
                        .bot_gateway
                        .as_ref()
                        .is_some_and(|gateway| gateway.allows_any_token),
                    fleet: config.fleet.as_str().to_owned(),
                    intents: config.cache.intents.bits() as u32,
                    url: url.clone(),
                    clients: config.bot_gateway.as_ref().map_or(0, |gateway| gateway.clients),
                },
                bridge: bridge.clone(),
                relay: relaying.relay.store.clone(),
                certificate: config.client_facing.clone(),
                identity: bot_gateway::identity(&config.token, &rest.authority),
                metrics: metrics.bot_gateway.clone(),
            };
            let drain = stop.child_token();
            servers.spawn(|ended| {
                let serving = gateway.serve(parts, drain.clone());
                async move {
                    tokio::pin!(serving);
                    tokio::select! {
                        () = &mut serving => return,
                        () = ended.cancelled() => drain.cancel(),
                    }
                    serving.await;
                }
            });
            let cache_added =
                config.bot_gateway.as_ref().map_or_else(String::new, |gateway| gateway.cache_added.join(","));
            tracing::info!(%address, url, cache_added, "gateway for bots listening");
        }

        let relay_metrics = relaying.as_ref().map(|relaying| relaying.metrics.clone());
        dispatch::panics::install();
        let changed = Arc::new(Notify::new());
        let code = build_code(parts.handler, &config, &rest.authority, &bridge, &threads);
        let checkpoints = build_checkpoints(parts.checkpoints, &config, heads.clone(), &metrics);
        let event_queues = build_event_queues(&code, &config, &metrics, parts.set_aside.clone(), relaying);
        let service = WorkerService {
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            shards: shards.clone(),
            runtime: threads.shards(),
            format: checkpoints.format.clone(),
            set_aside: parts.set_aside,
            taps: event_queues.taps.clone(),
            credentials: config.credentials.clone(),
        };
        let shard_parts = ShardParts {
            cache: config.cache,
            identify,
            metrics: metrics.shards.clone(),
            checkpoints,
            event_queues,
            callback_slots: CallbackSlots::new(metrics.callbacks.clone()),
            singletons: Singletons {
                code,
                timeout: config.singleton_timeout,
                metrics: metrics.shards.clone(),
                runtime: threads.shards(),
            },
            runtime: threads.shards(),
            changed: changed.clone(),
            credentials: config.credentials.clone(),
        };
        let figures = Box::new(FigureReader::new(
            metrics.shards.clone(),
            metrics.dispatch.clone(),
            (metrics.rest.clone(), rest.status.clone()),
            relay_metrics,
            heads,
        ));
        let services = bridge.add_to(GrpcRoutes::new(WorkerServer::new(service)), config.deadlines);
        let credentials = config.credentials.clone();
        let mut server = servers
            .spawn(|stop| serve_grpc::<WorkerServer>(listener, credentials, services, DESCRIPTORS, stop));
        let drain_timeout = config.drain_timeout;

        let ended = async {
            let advertise_url = tokio::select! {
                url = advertised(&config, address, &status) => url?,
                () = stop.cancelled() => return Ok(()),
            };
            tracing::info!(worker.id = %worker, %address, advertised = %advertise_url, "gateway worker listening");
            let link = Link::new(LinkParts {
                config,
                store: parts.store,
                shards: ShardSet::new(shard_parts, shards),
                heads: link_heads,
                changed,
                advertise_url,
                incarnation,
                routes,
                registered,
                status,
                metrics: metrics.link,
                figures,
            });
            Box::pin(run_link(link, &mut server, &stop)).await
        }
        .await;
        // Handlers that are under way end before the process does, but not later than it was to end.
        threads.finish(drain_timeout.min(HANDLERS_END)).await;
        servers.end().await;
        tracing::info!("gateway worker stopped");
        ended
    }
}

/// Runs the link to its end. A worker that others can't reach looks dead to them: it stops as a whole.
async fn run_link(
    link: Link,
    server: &mut JoinHandle<Result<(), transport::Error>>,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let stop = stop.child_token();
    let link = link.run(stop.clone());
    tokio::pin!(link);
    tokio::select! {
        ended = &mut link => Ok(ended?),
        ended = server => {
            stop.cancel();
            let _ = link.await;
            let why = match ended {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            Err(WorkerError::Server(why))
        }
    }
}

/// Builds what the relays of all shards share.
fn build_relaying(relay: Relay, config: &WorkerConfig, threads: &Threads) -> Relaying {
    Relaying {
        relay,
        bounds: ::relay::Bounds { events: config.limits.items, bytes: config.limits.bytes },
        metrics: RelayMetrics::default(),
        status: RelayStatus::default(),
        runtime: threads.shards(),
    }
}

/// Builds what bot code is run with.
fn build_code(
    handler: Arc<dyn EventHandler>,
    config: &WorkerConfig,
    rest_authority: &str,
    bridge: &Bridge,
    threads: &Threads,
) -> BotCode {
    BotCode {
        handler,
        tools: Arc::new(Tools {
            http: Arc::new(discord::client(&config.token, rest_authority)),
            callbacks: Arc::new(discord::callbacks(&config.token, rest_authority)),
            bridge: bridge.clone(),
            makes: discord::ClientMaker::new(config.token.clone(), rest_authority),
        }),
        runtime: threads.handlers(),
        stragglers: threads.stragglers(),
    }
}

/// Builds what the queues of all shards share.
fn build_event_queues(
    code: &BotCode,
    config: &WorkerConfig,
    metrics: &WorkerMetrics,
    set_aside: Arc<dyn SetAsideStore>,
    relaying: Option<Relaying>,
) -> EventQueues {
    EventQueues {
        wanted: Arc::new(code.handler.wants()),
        code: code.clone(),
        limits: config.limits,
        suspects: Suspects::new(set_aside, metrics.dispatch.clone()),
        metrics: metrics.dispatch.clone(),
        shed_order: Arc::default(),
        taps: Taps::default(),
        relaying,
        traced: config.trace_events,
    }
}

/// Builds what the checkpoints of all shards are written with.
fn build_checkpoints(
    store: Arc<dyn CheckpointStore>,
    config: &WorkerConfig,
    heads: SignedHeads,
    metrics: &WorkerMetrics,
) -> Checkpoints {
    Checkpoints {
        store,
        keep: config.keep,
        format: WrittenFormat::up_to(config.checkpoint_format_max),
        heads,
        beat: Beat::new(config.checkpoint_every),
        pace: Arc::new(Pace::default()),
        metrics: metrics.checkpoints.clone(),
    }
}
