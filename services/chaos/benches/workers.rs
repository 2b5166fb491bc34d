//! Measures the coordinator with many workers: CPU time and memory while nothing changes, the time of answers to reports, one question to
//! all workers, one shard that moves, half of the workers dying at once, and all workers connecting again at once.
//!
//! The workers are simulated in this process: each has its own connection to the coordinator, registers, and reports each second that its
//! shards are ready. The coordinator and Redis are real processes on the loopback.
//!
//! `cargo bench -p chaos --bench workers -- --workers 10,100,1000`. Needs the coordinator in release: `cargo build --release -p coordinator`;
//! with `--credentials` also `-p altergolden`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

#[path = "workers/answers.rs"]
mod answers;
#[path = "workers/chart.rs"]
mod chart;
#[path = "workers/placement.rs"]
mod placement;
#[path = "workers/simulated.rs"]
mod simulated;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use clap::Parser;
use discord_sim::SimConfig;
use fleet_fixture::{Coordinator, CredentialsFolder, Deployment, humantime};
use fleet_store::FleetRedisStore;
use process::credentials::{Credentials, Role};
use redis_link::{LinkOptions, RedisLink};
use serde::Serialize;
use tokio::time::sleep;

use simulated::{Fleet, Seen, SimulatedWorker};

/// Workers that start at once.
const STARTS: usize = 64;
/// How long a fleet may take to change.
const PATIENCE: Duration = Duration::from_mins(3);
/// Questions to all workers.
const QUESTIONS: u32 = 20;
const LEASE_TTL: Duration = Duration::from_secs(5);

#[derive(Debug, Parser)]
struct Args {
    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    workers: Vec<u32>,
    /// Shards of each worker
    #[arg(long, default_value_t = 25)]
    shards: u32,
    /// Seconds without changes that are measured
    #[arg(long, default_value_t = 20)]
    idle: u64,
    /// With TLS and certificates
    #[arg(long)]
    credentials: bool,
    /// Write the measurements to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a chart of CPU time and memory to this file as SVG
    #[arg(long)]
    chart: Option<PathBuf>,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was measured with one number of workers. Times in milliseconds.
#[derive(Debug, Serialize)]
struct Measured {
    workers: u32,
    shards: u32,
    credentials: bool,
    /// From the first registration until every shard is ready.
    start_ms: f64,
    /// While nothing changes: percent of a core, and resident memory.
    idle_cpu_percent: f64,
    idle_mib: f64,
    /// From a report to its answer.
    renewal_p50_ms: f64,
    renewal_p99_ms: f64,
    /// Of one question to all workers.
    stats_cpu_ms: f64,
    stats_ms: f64,
    /// Bytes to each worker for one shard that changes its owner.
    change_bytes: f64,
    /// From the death of half of the workers until all shards run again.
    half_died_ms: f64,
    /// From the break of all connections until every lease is renewed.
    reconnected_ms: f64,
    /// A decision on all shards: from nothing, after the death of half of the workers, and without a change.
    placement_ms: [f64; 3],
    /// The longest time between two renewals of one lease then, and leases that were lost.
    longest_renewal_ms: f64,
    lost_leases: u32,
    peak_mib: f64,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let mut all = Vec::new();
    for &workers in &args.workers {
        let measured = measure(&args, workers).await;
        println!("{}", serde_json::to_string_pretty(&measured).expect("it is a plain structure"));
        all.push(measured);
    }
    print_table(&all);
    for one in &all {
        let [from_nothing, half_died, unchanged] = one.placement_ms;
        println!(
            "placement of {} shards on {} workers: {from_nothing:.1} ms from nothing, {half_died:.1} ms after half died, {unchanged:.1} ms unchanged",
            one.shards, one.workers
        );
    }
    if let Some(file) = &args.json {
        let json = serde_json::to_string_pretty(&all).expect("it is a plain structure");
        std::fs::write(file, json).expect("the file can be written");
    }
    if let Some(file) = &args.chart {
        let of = |value: fn(&Measured) -> f64| all.iter().map(|one| (one.workers, value(one))).collect();
        let svg = chart::svg(&of(|one| one.idle_cpu_percent), &of(|one| one.idle_mib));
        std::fs::write(file, svg).expect("the file can be written");
    }
}

fn print_table(all: &[Measured]) {
    println!(
        "| workers | shards | idle CPU | memory | renewal p50 / p99 | stats: CPU, time | one shard's change | half died | all reconnected | longest between renewals | leases lost |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for one in all {
        println!(
            "| {} | {} | {:.1} % | {:.0} MiB | {:.1} / {:.1} ms | {:.1} ms, {:.1} ms | {:.0} bytes | {:.0} ms | {:.0} ms | {:.0} ms | {} |",
            one.workers,
            one.shards,
            one.idle_cpu_percent,
            one.idle_mib,
            one.renewal_p50_ms,
            one.renewal_p99_ms,
            one.stats_cpu_ms,
            one.stats_ms,
            one.change_bytes,
            one.half_died_ms,
            one.reconnected_ms,
            one.longest_renewal_ms,
            one.lost_leases
        );
    }
}

/// A fleet of simulated workers.
struct Scene {
    coordinator: Coordinator,
    workers: Vec<SimulatedWorker>,
    shards: u32,
}

impl Scene {
    fn seen(&self) -> impl Iterator<Item = MutexGuard<'_, Seen>> {
        self.workers.iter().map(|worker| worker.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until every shard has one owner, and returns how long that took.
    async fn until_placed(&self, since: Instant) -> Duration {
        loop {
            let mut owners: BTreeMap<u32, u64> = BTreeMap::new();
            for seen in self.seen() {
                owners.extend(&seen.shards);
            }
            if owners.len() == self.shards as usize {
                return since.elapsed();
            }
            assert!(since.elapsed() < PATIENCE, "{} of {} shards run", owners.len(), self.shards);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn measure(args: &Args, workers: u32) -> Measured {
    let shards = workers * args.shards;
    let sim = SimConfig { guilds: 1, events_per_second: 0.0, max_concurrency: 16, ..SimConfig::default() };
    let deployment = Deployment::start(sim).await;
    let folder = args.credentials.then(CredentialsFolder::new);
    let mut command = deployment.coordinator_command(shards);
    command.env("LEASE_TTL", humantime(LEASE_TTL)).env("SETTLE", "2s").env("RUST_LOG", "info");
    if let Some(folder) = &folder {
        command.env("CREDENTIALS", folder.path());
    }
    let coordinator = Coordinator::start(&mut command).await;
    let credentials = folder.as_ref().map_or_else(Credentials::none, |folder| folder.of(Role::Worker));
    let link = RedisLink::new(deployment.redis.url().parse().expect("it is a URL"), LinkOptions::default());
    let store = FleetRedisStore::new(link, "altergolden".parse().expect("it is a prefix"));
    let fleet = Fleet { coordinator: coordinator.address.clone(), credentials, lease_ttl: LEASE_TTL, store };

    let begun = Instant::now();
    let mut scene = Scene { coordinator, workers: Vec::new(), shards };
    let numbers: Vec<u32> = (0..workers).collect();
    for some in numbers.chunks(STARTS) {
        let starting = some.iter().map(|number| SimulatedWorker::start(fleet.clone(), *number));
        scene.workers.extend(futures_util::future::join_all(starting).await);
    }
    let start = scene.until_placed(begun).await;
    // Moves of the workers that came late.
    sleep(Duration::from_secs(5)).await;

    scene.seen().for_each(|mut seen| seen.renewals.clear());
    let process = &scene.coordinator.process;
    let (before, since) = (process.cpu_time(), Instant::now());
    sleep(Duration::from_secs(args.idle)).await;
    let idle = process.cpu_time().saturating_sub(before).as_secs_f64() / since.elapsed().as_secs_f64();
    let idle_mib = mib(process.memory().resident);
    let mut renewals: Vec<Duration> = scene.seen().flat_map(|seen| seen.renewals.clone()).collect();
    renewals.sort_unstable();
    let renewal = |percent: usize| renewals.get(renewals.len() * percent / 100).copied().unwrap_or_default();

    println!("{workers} workers: {:.1} % of a core, {idle_mib:.0} MiB while nothing changes", idle * 100.0);

    let mut client = scene.coordinator.client().await;
    // The first questions make the connections.
    let connecting = Instant::now();
    while !client.aggregate_stats(Duration::ZERO).await.is_ok_and(|stats| stats.complete) {
        assert!(connecting.elapsed() < PATIENCE, "not all workers answer");
    }
    println!("all workers connected to for questions after {:.0} ms", ms(connecting.elapsed()));
    let (before, since) = (process.cpu_time(), Instant::now());
    for _ in 0..QUESTIONS {
        let stats = client.aggregate_stats(Duration::ZERO).await.expect("the coordinator answers");
        assert!(stats.complete, "{} shards are missing", stats.missing_shards.len());
    }
    let took = since.elapsed();
    let in_between = idle * took.as_secs_f64();
    let stats_cpu = process.cpu_time().saturating_sub(before).as_secs_f64() - in_between;

    scene.seen().for_each(|mut seen| seen.directive_bytes = 0);
    scene.workers[0].release_one();
    sleep(Duration::from_secs(4)).await;
    let bytes: u64 = scene.seen().skip(2).map(|seen| seen.directive_bytes).sum();
    let change_bytes = bytes as f64 / f64::from(workers.saturating_sub(2).max(1));

    scene.seen().for_each(|mut seen| (seen.lost_leases, seen.renewals) = (0, Vec::new()));
    let since = Instant::now();
    for worker in &scene.workers {
        worker.reconnect(Duration::ZERO).await;
    }
    let mut longest = Duration::ZERO;
    let reconnected = loop {
        let ages = scene.seen().filter_map(|seen| Some(seen.renewed?.elapsed()));
        longest = longest.max(ages.max().unwrap_or_default());
        // The report that was answered was sent after the break.
        if scene.seen().all(|seen| seen.answered.is_some_and(|answered| answered > since)) {
            break since.elapsed();
        }
        assert!(since.elapsed() < PATIENCE, "not all leases are renewed");
        sleep(Duration::from_millis(20)).await;
    };
    let lost_leases = scene.seen().map(|seen| seen.lost_leases).sum();
    println!("all connected again after {:.0} ms", ms(reconnected));
    scene.until_placed(since).await;
    sleep(Duration::from_secs(5)).await;

    let since = Instant::now();
    let half = scene.workers.len() / 2;
    scene.workers.drain(..half).for_each(SimulatedWorker::kill);
    let half_died = scene.until_placed(since).await;
    let peak_mib = mib(scene.coordinator.process.peak_memory());
    Measured {
        workers,
        shards,
        credentials: args.credentials,
        start_ms: ms(start),
        idle_cpu_percent: idle * 100.0,
        idle_mib,
        renewal_p50_ms: ms(renewal(50)),
        renewal_p99_ms: ms(renewal(99)),
        stats_cpu_ms: stats_cpu.max(0.0) * 1000.0 / f64::from(QUESTIONS),
        stats_ms: ms(took) / f64::from(QUESTIONS),
        change_bytes,
        half_died_ms: ms(half_died),
        reconnected_ms: ms(reconnected),
        placement_ms: placement::times(workers, workers * args.shards).map(ms),
        longest_renewal_ms: ms(longest),
        lost_leases,
        peak_mib,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
