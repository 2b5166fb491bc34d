//! Measures resident memory and CPU time of the coordinator and of each worker, idle and with 8 shards of 1,000 guilds.
//!
//! `cargo bench -p chaos --bench footprint`. Needs the programs in release:
//! `cargo build --release -p coordinator -p gateway-worker`.
//!
//! A guild has 20 roles, 30 channels, 10 members and 3 voice states in 28.5 kB, with random ids, hashes and names. Redis and
//! discord-sim are not counted.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::Duration;

use altergolden_proto::v1::FleetStatus;
use clap::Parser;
use discord_sim::{Action, Edit, Fault, Moment, Patch, Script, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Memory, Process, Worker, all_ready};
use serde_json::json;
use tokio::time::sleep;

#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the cache's benchmark uses the rest; texts are always written"
)]
#[path = "../../guild-cache/benches/guilds/world.rs"]
mod world;

use world::{Random, Size, guild};

#[derive(Debug, Parser)]
struct Args {
    /// Runs of each kind; medians are printed
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Shards
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Guilds of all shards
    #[arg(long, default_value_t = 8_000)]
    guilds: u64,
    /// Seconds without load before memory is measured
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Only the kinds whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The resources that are cached: all that the guilds have. Other kinds cache only `guilds`.
const ALL: &str = "guilds,channels,roles,members,users,voice_states,own_user,emojis,stickers";
const INTENTS: &str = "GUILDS,GUILD_MEMBERS,GUILD_MESSAGES,GUILD_VOICE_STATES";

/// A fleet to measure.
struct Kind {
    name: &'static str,
    workers: usize,
    shards: u32,
    cache: &'static str,
    /// Whether guilds are full. Otherwise each shard has one guild of the simulator.
    full: bool,
}

/// Memory and CPU time of one process.
#[derive(Clone, Copy, Default)]
struct Used {
    memory: Memory,
    /// CPU time until the last guild was cached.
    start: Duration,
    /// CPU time until memory was measured. Includes the first checkpoints.
    settled: Duration,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let full = |name, workers, cache| Kind { name, workers, shards: args.shards, cache, full: true };
    let kinds = [
        Kind { name: "coordinator alone", workers: 0, shards: 4, cache: ALL, full: false },
        Kind { name: "4 shards, 4 guilds", workers: 1, shards: 4, cache: ALL, full: false },
        full("all cached, 1 worker", 1, ALL),
        full("all cached, 4 workers", 4, ALL),
        full("guilds cached, 1 worker", 1, "guilds"),
    ];
    println!(
        "{} guilds in {} shards where guilds are full; medians of {} runs",
        args.guilds, args.shards, args.runs
    );
    println!(
        "                                       RSS  anonymous    huge    file   CPU to start  and settled"
    );
    for kind in kinds.iter().filter(|kind| kind.name.contains(&args.only)) {
        let mut runs = Vec::new();
        for _ in 0..args.runs {
            runs.push(measure(&args, kind).await);
        }
        report(kind, &runs);
    }
}

/// Starts a fleet and measures the coordinator, then each worker.
async fn measure(args: &Args, kind: &Kind) -> Vec<Used> {
    let sim = SimConfig {
        guilds: if kind.full { 0 } else { kind.shards },
        max_concurrency: 16,
        identify_interval: Duration::from_millis(500),
        ..SimConfig::default()
    };
    let deployment = Deployment::start(sim).await;
    let guilds = if kind.full { send_full_guilds(args, &deployment) } else { kind.shards.into() };
    let mut command = deployment.coordinator_command(kind.shards);
    let coordinator = Coordinator::start(command.env("LEASE_TTL", "5s").env("RUST_LOG", "info")).await;
    let mut workers = Vec::new();
    for index in 0..kind.workers {
        let name = format!("w{index}");
        let mut command = deployment.worker_command(&name, &coordinator.address);
        command.env("CACHE", kind.cache).env("INTENTS", INTENTS).env("RUST_LOG", "info");
        workers.push(Worker::start(&name, &mut command).await);
    }
    if kind.workers > 0 {
        let cached = |status: &FleetStatus| {
            let come = status.shards.iter().map(|shard| u64::from(shard.guilds)).sum::<u64>();
            all_ready(status) && come >= guilds
        };
        coordinator.until("all guilds cached", cached).await;
    }
    let processes: Vec<&Process> =
        std::iter::once(&coordinator.process).chain(workers.iter().map(|worker| &worker.process)).collect();
    let start: Vec<Duration> = processes.iter().map(|process| process.cpu_time()).collect();
    sleep(Duration::from_secs(args.settle)).await;
    let used = processes.iter().zip(start).map(|(process, start)| Used {
        memory: process.memory(),
        start,
        settled: process.cpu_time(),
    });
    let used = used.collect();
    for worker in &workers {
        let fenced = worker.metric("altergolden_gateway_fenced_total").await;
        if fenced > 0 {
            println!(
                "{}: {} closed shards {fenced} times, because its lease was not confirmed",
                kind.name, worker.name
            );
        }
    }
    used
}

/// Makes discord-sim list full guilds in READY and send them. Returns their number.
fn send_full_guilds(args: &Args, deployment: &Deployment) -> u64 {
    let mut random = Random(1);
    let shards = args.shards as usize;
    let mut texts = vec![Vec::new(); shards];
    let mut listed = vec![Vec::new(); shards];
    for _ in 0..args.guilds {
        let world = guild(&mut random, Size::USUAL);
        let shard = (world.id >> 22) as usize % shards;
        listed[shard].push(json!({"id": world.id.to_string(), "unavailable": true}));
        // READY is the first event.
        let sequence = listed[shard].len() + 1;
        let text = format!(r#"{{"t":"GUILD_CREATE","s":{sequence},"op":0,"d":{}}}"#, world.text);
        texts[shard].push(Action::Text { text, times: 1 });
    }
    let control = deployment.sim.control();
    for (shard, (texts, listed)) in (0..args.shards).zip(texts.into_iter().zip(listed)) {
        let shards = Some(vec![shard]);
        let edits = vec![Edit::Set { path: "/guilds".to_owned(), value: listed.into() }];
        let ready = Patch { event: "READY".to_owned(), shards: shards.clone(), edits, ..Patch::default() };
        control.inject(Fault::Patch(ready)).expect("a patch of READY is valid");
        let send = Script {
            name: None,
            at: Moment::Ready,
            address: None,
            shards,
            times: None,
            instead: false,
            actions: texts,
        };
        control.inject(Fault::Script(send)).expect("a script that sends texts is valid");
    }
    args.guilds
}

fn report(kind: &Kind, runs: &[Vec<Used>]) {
    let sum = |used: &[Used]| {
        used.iter().fold(Used::default(), |sum, used| Used {
            memory: sum.memory + used.memory,
            start: sum.start + used.start,
            settled: sum.settled + used.settled,
        })
    };
    let coordinators: Vec<Used> = runs.iter().filter_map(|run| run.first().copied()).collect();
    line(&format!("{}: coordinator", kind.name), &coordinators);
    if kind.workers > 0 {
        let workers: Vec<Used> = runs.iter().map(|run| sum(&run[1..])).collect();
        line(&format!("{}: {} workers", kind.name, kind.workers), &workers);
        let all: Vec<Used> = runs.iter().map(|run| sum(run)).collect();
        line(&format!("{}: all", kind.name), &all);
    }
}

fn line(name: &str, runs: &[Used]) {
    let mib = |figure: fn(&Used) -> u64| median(runs.iter().map(figure).collect()) as f64 / 1024.0;
    let seconds = |figure: fn(&Used) -> Duration| {
        median(runs.iter().map(|run| figure(run).as_millis() as u64).collect())
    };
    println!(
        "{name:<36} {:>7.1} {:>10.1} {:>7.1} {:>7.1} MiB {:>7} ms {:>9} ms",
        mib(|used| used.memory.resident),
        mib(|used| used.memory.anonymous),
        mib(|used| used.memory.huge),
        mib(|used| used.memory.file()),
        seconds(|used| used.start),
        seconds(|used| used.settled),
    );
}

fn median(mut figures: Vec<u64>) -> u64 {
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
