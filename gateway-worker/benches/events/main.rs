//! Measures how many MESSAGE_CREATEs a worker handles per second of its processor time: `cargo bench -p gateway-worker --bench events [CASE...]`.
//!
//! A worker runs four shards in this process, with an idle coordinator. A scripted gateway in a separate process sends the events. It is
//! never more than a window ahead of the handled events, so queues do not overflow. The result counts all processor time of this process:
//! user and system, all threads. With `OTEL_EXPORTER_OTLP_ENDPOINT` and `TRACE_EVENTS` it measures what traces cost.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser as _;
use coordinator::Coordinator;
use discord_sim::{Sim, SimConfig};
use event_bus::MemoryBus;
use fleet_store::FleetMemoryStore;
use gateway_worker::{EventHandler, NoHandler, Relay, RestBudget, Worker, WorkerArgs, WorkerParts};
use process::settings::Secret;
use redis_fixture::RedisServer;
use redis_link::{LinkOptions, RedisLink};
use relay::{Caps, EventNames, RedisRelay};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod cases;
mod gateway;

use cases::{Borrowing, CountingStore, Ignoring, Typed};
use gateway::Flood;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SHARDS: u64 = 4;
/// The most events that are sent and not yet handled. The queue of one shard has room for 4,096.
const WINDOW: u64 = 3_500;
/// The rate of the paced cases, in events per second over all shards.
const RATE: u64 = 10_000;
const WARM_UP: u64 = 100_000;

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    events: u64,
    rate: Option<u64>,
    compressed: bool,
}

const fn case(name: &'static str, events: u64) -> Case {
    Case { name, events, rate: None, compressed: false }
}

const CASES: [Case; 8] = [
    case("no handler", 2_000_000),
    Case { compressed: true, ..case("no handler, zstd", 1_000_000) },
    case("handler that ignores", 1_000_000),
    case("author and content", 1_000_000),
    case("typed", 500_000),
    case("relayed", 500_000),
    Case { rate: Some(RATE), ..case("relayed at 10,000/s", 100_000) },
    Case { rate: Some(RATE), ..case("typed at 10,000/s", 100_000) },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // The exporter of spans needs the runtime.
    let entered = runtime.enter();
    let service = process::telemetry::Service { name: "events", instance: "1".to_owned() };
    let _telemetry = process::telemetry::init(&service, process::telemetry::SERVICE_FILTER).unwrap();
    drop(entered);
    if let [gateway, compressed] = args.as_slice()
        && gateway == gateway::ARGUMENT
    {
        runtime.block_on(gateway::run(compressed == "zstd"));
        return;
    }
    for case in CASES {
        if args.is_empty() || args.iter().any(|arg| arg == case.name) {
            runtime.block_on(measure(case));
        }
    }
}

async fn measure(case: Case) {
    let flood = Flood::start(case.compressed);
    let handled = Arc::new(AtomicU64::new(0));
    let count = handled.clone();
    let (handler, redis): (Arc<dyn EventHandler>, _) = match case.name {
        "handler that ignores" => (Arc::new(Ignoring(count)), None),
        "author and content" => (Arc::new(Borrowing(count)), None),
        "typed" | "typed at 10,000/s" => (Arc::new(Typed(count)), None),
        "relayed" | "relayed at 10,000/s" => (Arc::new(NoHandler), Some(RedisServer::start().await)),
        _ => (Arc::new(NoHandler), None),
    };
    let relay = redis.as_ref().map(|redis| {
        let link = RedisLink::new(redis.url().parse().unwrap(), LinkOptions::default());
        let redis = RedisRelay::new(link, "".parse().unwrap(), Caps { length: 20_000, ..Caps::default() });
        let store = Arc::new(CountingStore { store: redis.clone(), appended: handled.clone() });
        Relay { store, redis: Some(redis), names: EventNames::All }
    });
    let is_counted = !case.name.starts_with("no handler");
    let cluster = Cluster::start(&flood, handler, relay).await;
    flood.until_connected(SHARDS).await;

    let run = |events: u64| {
        let (flood, handled) = (&flood, &handled);
        async move {
            let (before, began) = (handled.load(Ordering::Relaxed), Instant::now());
            let mut allowed = 0;
            while allowed < events {
                let done = handled.load(Ordering::Relaxed) - before;
                let window = if is_counted { done + WINDOW } else { events };
                let due =
                    case.rate.map_or(events, |rate| (began.elapsed().as_secs_f64() * rate as f64) as u64);
                let now = window.min(due).min(events);
                if now > allowed {
                    flood.allow(now - allowed);
                    allowed = now;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            flood.until_read().await;
            while is_counted && handled.load(Ordering::Relaxed) - before < events {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    run(if case.rate.is_some() { RATE } else { WARM_UP }).await;
    let (cpu, began) = (cpu(), Instant::now());
    run(case.events).await;
    let (cpu, took) = (self::cpu() - cpu, began.elapsed().as_secs_f64());
    println!(
        "{:24} {:>9.0} events per processor second, {:>6.2} us each; {:.2} s of processor time in {took:.2} s",
        case.name,
        case.events as f64 / cpu,
        cpu / case.events as f64 * 1e6,
        cpu,
    );
    cluster.stop().await;
}

/// Seconds of processor time that this process has used.
fn cpu() -> f64 {
    let seconds = |field: usize| -> f64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let ticks: f64 = stat.rsplit(") ").next().unwrap().split(' ').nth(field).unwrap().parse().unwrap();
        ticks / rustix::param::clock_ticks_per_second() as f64
    };
    // utime and stime.
    seconds(11) + seconds(12)
}

/// One worker, a coordinator, and a simulated Discord that only answers REST.
struct Cluster {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _sim: Sim,
}

impl Cluster {
    async fn start(flood: &Flood, handler: Arc<dyn EventHandler>, relay: Option<Relay>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sim =
            Sim::start(SimConfig { identify_interval: Duration::from_millis(500), ..SimConfig::default() });
        let sim = sim.await.unwrap();
        let api = format!("--discord-api-url={}", sim.http_origin());
        let (store, bus) = (Arc::new(FleetMemoryStore::new()), Arc::new(MemoryBus::new()));
        let checkpoints = Arc::new(checkpoint::CheckpointMemoryStore::new());
        let shards = format!("--shard-count={SHARDS}");
        let args = ["coordinator", "--coordinator-listen=127.0.0.1:0", "--manager-health-port=0", &shards];
        let args = [&args[..], &["--settle=100ms", "--identify-interval=500ms", &api]].concat();
        let config = coordinator::CoordinatorArgs::try_parse_from(args).unwrap();
        let parts = coordinator::CoordinatorParts {
            store: store.clone(),
            set_aside: checkpoints.clone(),
            bus: bus.clone(),
            relay: None,
        };
        let config = config.into_config(Some(Secret::new("t"))).unwrap();
        let coordinator = Coordinator::bind(config, parts).await.unwrap();
        let url = format!("--coordinator-url=http://{}", coordinator.address());
        let gateway = format!("--discord-gateway-url={}", flood.url);
        let args = ["gateway-worker", "--health-port=0", "--worker-name=w", "--drain-timeout=100ms"];
        let config = WorkerArgs::try_parse_from([&args[..], &[&url, &gateway, &api]].concat()).unwrap();
        let parts = WorkerParts {
            store,
            set_aside: checkpoints.clone(),
            checkpoints,
            bus,
            rest: RestBudget::memory(),
            handler,
            relay,
        };
        let worker = Worker::bind(config.into_config(Some(Secret::new("t"))).unwrap(), parts).await.unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let ends = stop.clone();
        tasks.spawn(async move { coordinator.run(ends).await.unwrap() });
        let ends = stop.clone();
        tasks.spawn(async move { worker.run(ends).await.unwrap() });
        Self { stop, tasks, _sim: sim }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
