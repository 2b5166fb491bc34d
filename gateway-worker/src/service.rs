//! The worker as a whole: binds its ports, serves, runs its shards, gives them away, stops.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use ::relay::{RelayMetrics, RelayStatus};
use altergolden_proto::{DESCRIPTORS, v1::gateway_worker_server::GatewayWorkerServer};
use arc_swap::ArcSwap;
use checkpoint::{CheckpointStore, SetAsideStore};
use discord_rest::{Rest, RestMetrics};
use event_bus::EventBus;
use fleet_model::{Routes, WorkerId};
use fleet_store::FleetStore;
use futures_util::future::BoxFuture;
use process::{
    server::{Limits, Listener, serve_grpc},
    settings,
    telemetry::{
        health::{BindError, HealthServer},
        metrics::Metrics,
    },
};
use shard_bridge::{Bridge, BridgeMetrics, BridgeParts, Hub};
use tokio::{
    net::{UdpSocket, lookup_host},
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service, transport::Uri};

use crate::{
    bot::{Bot, Care},
    checkpoints::{CheckpointMetrics, Checkpoints, Pace, WrittenFormat},
    config::Config,
    discord::{self, TokenRefused},
    handler::{EventHandler, Tools},
    hooks::{HookMetrics, Places},
    identify,
    link::{Link, LinkError, LinkParts},
    metrics::{LinkMetrics, ShardMetrics, WorkerCollector},
    relay::{Relay, Relaying},
    rest::{self, RestBudget},
    rpc::WorkerService,
    shards::{RunningShards, ShardParts, ShardSet},
    status::{LinkStatus, WorkerHealth},
    threads::Threads,
};

/// How long handlers that are under way may take to end when the process stops.
const HANDLERS_END: Duration = Duration::from_secs(5);
/// How often problems are checked, to record when they began.
const OBSERVE: Duration = Duration::from_secs(1);
/// Time between two look-ups of a name that is not there yet.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(1);
/// Time between two warnings of the same problem: a name that nobody ever sets up must not be overlooked.
const WARN_AGAIN: Duration = Duration::from_mins(1);

/// What the worker is given from outside.
pub struct Parts {
    /// The fleet's memory: the second path of the lease.
    pub store: Arc<dyn FleetStore>,
    /// Where checkpoints are kept.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Where events are set aside.
    pub set_aside: Arc<dyn SetAsideStore>,
    /// The way of broadcasts.
    pub bus: Arc<dyn EventBus>,
    /// Who keeps the budget of Discord's REST limits.
    pub rest: RestBudget,
    /// Bot code.
    pub handler: Arc<dyn EventHandler>,
    /// Where events are relayed to, if they are.
    pub relay: Option<Relay>,
}

/// The worker can't start, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The gRPC port can't be had.
    #[error("can't listen on {address} (--worker-listen): {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The REST proxy's port can't be had.
    #[error("can't listen on {address} (--rest-listen): {source}")]
    RestListen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The REST proxy can't be set up.
    #[error("the REST proxy: {0}")]
    Rest(String),
    /// The health port can't be had.
    #[error(transparent)]
    Health(#[from] BindError),
    /// It listens everywhere and can't tell where that is for others.
    #[error("--worker-advertise (WORKER_ADVERTISE): must be set, as {0}")]
    Advertise(String),
    /// Discord refused the token.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The fleet does not take it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// There are no threads for shards or handlers.
    #[error("threads can't be started: {0}")]
    Threads(io::Error),
    /// Others can't reach it any more: it must not run on half alive.
    #[error("the gRPC server ended: {0}")]
    Server(String),
}

/// A worker whose ports are bound.
pub struct Worker {
    config: Config,
    parts: Parts,
    listener: Listener,
    address: SocketAddr,
    health: HealthServer,
    rest: Rest,
}

impl Worker {
    /// Binds the ports.
    ///
    /// # Errors
    /// A port that is taken or not allowed.
    pub async fn bind(config: Config, parts: Parts) -> Result<Self, WorkerError> {
        let fail = |source| WorkerError::Listen { address: config.listen, source };
        let listener = Listener::bind(config.listen, "grpc", Limits::GRPC).await.map_err(fail)?;
        let address = listener.address().map_err(fail)?;
        let health = HealthServer::bind(config.health_listen, "--health-port").await?;
        let rest_listen = config.rest.listen;
        let fail = |source| WorkerError::RestListen { address: rest_listen, source };
        let rest = Rest::bind(rest_listen).await.map_err(fail)?;
        Ok(Self { config, parts, listener, address, health, rest })
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

    /// Runs until `stop`; then gives its shards away, closes what is left, and returns.
    ///
    /// The future is boxed so that it is compiled in this crate, not in each program that polls it.
    ///
    /// # Errors
    /// Discord refused the token, there is no address to tell others, or another worker has its name.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), WorkerError>> {
        Box::pin(self.work(stop))
    }

    async fn work(self, stop: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, parts, listener, address, health, rest } = self;
        let (routes, routes_reader) = watch::channel(Arc::new(Routes::default()));
        // The servers outlive the shards: who is asked about a shard that closes can say so.
        let servers_stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (rest_address, rest_metrics) = (rest.address(), RestMetrics::default());
        let settings = (config.rest, config.api.as_ref());
        let known = (routes_reader.clone(), rest_metrics.clone());
        let own = (config.worker.clone(), &config.token);
        let rest = rest::start(rest, settings, own, parts.rest, known, (&tasks, &servers_stop))
            .map_err(WorkerError::Rest)?;
        if let Err(refused) = discord::check_token(&config.token, &rest.authority).await {
            servers_stop.cancel();
            tasks.close();
            tasks.wait().await;
            return Err(refused.into());
        }

        let worker = config.worker.clone();
        let incarnation = Arc::new(ArcSwap::from_pointee(settings::random_incarnation()));
        let shards = RunningShards::new(worker.clone());
        let changed = Arc::new(Notify::new());
        let (registered, registered_reader) = watch::channel(None);
        let (status, status_reader) = watch::channel(LinkStatus::default());
        let (shard_metrics, link_metrics) = (ShardMetrics::default(), LinkMetrics::default());
        let (bridge_metrics, checkpoint_metrics) = (BridgeMetrics::default(), CheckpointMetrics::default());
        let dispatch_metrics = dispatch::DispatchMetrics::default();
        let relaying = parts.relay.map(|relay| Relaying {
            relay,
            bounds: ::relay::Bounds { events: config.limits.items, bytes: config.limits.bytes },
            metrics: RelayMetrics::default(),
            status: RelayStatus::default(),
            runtime: tokio::runtime::Handle::current(),
        });
        let hook_metrics = HookMetrics::default();
        let registry = Metrics::new(&config.metrics_prefix, |registry| {
            shard_metrics.register(registry);
            link_metrics.register(registry);
            bridge_metrics.register(registry);
            checkpoint_metrics.register(registry);
            dispatch_metrics.register(registry);
            if let Some(relaying) = &relaying {
                relaying.metrics.register(registry);
            }
            shards.command_metrics().register(registry);
            hook_metrics.register(registry);
            rest_metrics.register(registry);
            let collector = WorkerCollector { shards: shards.clone(), link: status_reader.clone() };
            registry.register_collector(Box::new(collector));
        });
        let (identify, wishes) = identify::channel();
        let hub = Hub::new(parts.bus.clone(), bridge_metrics.clone());

        let health_source = WorkerHealth {
            worker: worker.clone(),
            link: status_reader,
            shards: shards.clone(),
            bus: parts.bus.status(),
            relay: relaying.as_ref().map(|relaying| relaying.status.clone()),
            rest: rest.status.clone(),
            rest_address,
            clock: Mutex::default(),
        };
        let health_source = Arc::new(health_source);
        tasks.spawn(health.serve(health_source.clone(), registry, servers_stop.clone()));
        tasks.spawn(servers_stop.clone().run_until_cancelled_owned(async move {
            let mut second = tokio::time::interval(OBSERVE);
            loop {
                second.tick().await;
                health_source.observe();
            }
        }));
        tasks.spawn(hub.clone().run(Some(worker.clone()), servers_stop.clone()));
        tasks.spawn(identify::client::run(wishes, registered_reader, servers_stop.clone()));
        let bridge = Bridge::new(BridgeParts {
            routes: routes_reader,
            local: Some(Arc::new(shards.clone())),
            recent: None,
            hub,
            metrics: bridge_metrics,
            sender: worker.as_str(),
            relay: relaying.as_ref().map(|relaying| relaying.relay.store.clone()),
        });
        if let Some(relaying) = &relaying {
            relaying.serve(&worker, shards.clone(), bridge.clone(), &tasks, &servers_stop);
        }
        dispatch::panics::install();
        let threads = Threads::start().map_err(WorkerError::Threads)?;
        let bot = Bot {
            wanted: Arc::new(parts.handler.wants()),
            handler: parts.handler,
            tools: Arc::new(Tools {
                http: Arc::new(discord::client(&config.token, &rest.authority)),
                callbacks: Arc::new(discord::callbacks(&config.token, &rest.authority)),
                bridge: bridge.clone(),
            }),
            limits: config.limits,
            runtime: threads.handlers(),
            stragglers: threads.stragglers(),
            singleton_timeout: config.singleton_timeout,
            care: Care::new(parts.set_aside.clone(), dispatch_metrics.clone()),
            metrics: dispatch_metrics,
            shed_order: Arc::default(),
            relaying,
            places: Places::new(hook_metrics),
        };
        let checkpoints = Checkpoints {
            store: parts.checkpoints,
            keep: config.keep,
            format: WrittenFormat::up_to(config.checkpoint_format_max),
            every: config.checkpoint_every,
            pace: Arc::new(Pace::default()),
            metrics: checkpoint_metrics,
        };
        let service = WorkerService {
            worker: worker.clone(),
            incarnation: incarnation.clone(),
            shards: shards.clone(),
            runtime: threads.shards(),
            format: checkpoints.format.clone(),
            set_aside: parts.set_aside,
        };
        let services = service::Routes::new(GatewayWorkerServer::new(service))
            .add_service(bridge.into_service(config.deadlines));
        let mut server = tasks.spawn(serve_grpc::<GatewayWorkerServer<WorkerService>>(
            listener,
            services,
            DESCRIPTORS,
            servers_stop.clone(),
        ));
        let drain_timeout = config.drain_timeout;

        let ended = async {
            let advertise_url = tokio::select! {
                url = advertised(&config, address, &status) => url?,
                () = stop.cancelled() => return Ok(()),
            };
            tracing::info!(worker.id = %worker, %address, advertised = %advertise_url, "gateway worker listening");
            let shard_parts = ShardParts {
                cache: config.cache,
                identify,
                metrics: shard_metrics,
                checkpoints,
                bot,
                runtime: threads.shards(),
                changed: changed.clone(),
            };
            let link = Link::new(LinkParts {
                config,
                store: parts.store,
                shards: ShardSet::new(shard_parts, shards),
                changed,
                advertise_url,
                incarnation,
                routes,
                registered,
                status,
                metrics: link_metrics,
            });
            // A worker that others can't reach looks dead to them: it stops as a whole.
            let stop = stop.child_token();
            let link = link.run(stop.clone());
            tokio::pin!(link);
            tokio::select! {
                ended = &mut link => Ok(ended?),
                ended = &mut server => {
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
        .await;
        // Handlers that are under way end before the process does, but not later than it was to end.
        threads.finish(drain_timeout.min(HANDLERS_END)).await;
        servers_stop.cancel();
        tasks.close();
        tasks.wait().await;
        tracing::info!("gateway worker stopped");
        ended
    }
}

/// Where others reach this worker: as set, or the address that this machine has towards the coordinator, with the bound port.
async fn advertised(
    config: &Config,
    bound: SocketAddr,
    status: &watch::Sender<LinkStatus>,
) -> Result<String, WorkerError> {
    if let Some(advertised) = &config.advertise {
        return Ok(advertised.as_str().to_owned());
    }
    if !bound.ip().is_unspecified() {
        return Ok(format!("http://{bound}"));
    }
    let coordinator = resolved(config.coordinator.as_str(), bound.is_ipv6(), status).await;
    match address_towards(&coordinator, bound).await {
        Ok(local) => Ok(format!("http://{}", SocketAddr::new(local, bound.port()))),
        Err(why) => Err(WorkerError::Advertise(format!(
            "this worker listens on {bound} and its address towards {coordinator:?} can't be told ({why})"
        ))),
    }
}

/// This machine's address towards the first of `peers` to which there is a way; the last failure when there is none.
async fn address_towards(peers: &[SocketAddr], bound: SocketAddr) -> io::Result<IpAddr> {
    // Connecting a UDP socket sends nothing; it asks the routing table.
    let socket = UdpSocket::bind(SocketAddr::new(bound.ip(), 0)).await?;
    socket.connect(peers).await?;
    Ok(socket.local_addr()?.ip())
}

/// The coordinator's addresses, at least one. Where names come and go with containers, there is none while the coordinator is
/// down; without it a worker has nothing to do, so it is waited for.
async fn resolved(coordinator: &str, ipv6: bool, status: &watch::Sender<LinkStatus>) -> Vec<SocketAddr> {
    let uri: Uri = coordinator.parse().expect("it was parsed as a setting");
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(50051));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut warned = Warned::default();
    loop {
        let why = match lookup_host((host, port)).await {
            Ok(found) => {
                let found: Vec<_> = found.filter(|address| address.is_ipv4() || ipv6).collect();
                if !found.is_empty() {
                    return found;
                }
                "it has no IPv4 address".to_owned()
            }
            Err(error) => error.to_string(),
        };
        let problem = format!("{host} can't be looked up: {why}");
        if warned.is_due(&problem, Instant::now()) {
            tracing::warn!(coordinator, why, "the coordinator's name can't be looked up; trying again");
            status.send_modify(|status| status.coordinator = Err(problem));
        }
        tokio::time::sleep(LOOK_UP_AGAIN).await;
    }
}

/// What was last warned of, and when.
#[derive(Default)]
struct Warned(Option<(String, Instant)>);

impl Warned {
    /// Another problem than the last, or the same for so long that it is said again; then it counts as said.
    fn is_due(&mut self, problem: &str, now: Instant) -> bool {
        let due =
            self.0.as_ref().is_none_or(|(last, at)| last != problem || now.duration_since(*at) >= WARN_AGAIN);
        if due {
            self.0 = Some((problem.to_owned(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_first_address_without_a_way_is_passed_over() {
        // There is no way from an IPv4 socket to an IPv6 address.
        let [no_way, way] = ["[::1]:50051", "127.0.0.1:50051"].map(|address| address.parse().unwrap());
        let bound = "0.0.0.0:0".parse().unwrap();
        let towards = address_towards(&[no_way, way], bound).await.unwrap();
        assert_eq!(towards, IpAddr::from([127, 0, 0, 1]));
        address_towards(&[no_way], bound).await.unwrap_err();
    }

    #[test]
    fn a_problem_that_lasts_is_warned_of_once_a_minute() {
        let began = Instant::now();
        let mut warned = Warned::default();
        let due: Vec<u64> =
            (0..150).filter(|&second| warned.is_due("x", began + Duration::from_secs(second))).collect();
        assert_eq!(due, [0, 60, 120]);
        assert!(warned.is_due("y", began + Duration::from_secs(150)), "another problem is news");
    }
}
