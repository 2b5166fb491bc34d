//! How long the shards of a worker that died are away: from its end to the coordinator's word that it is dead, and to the RESUME
//! of the last of them on another worker.
//!
//! `cargo bench -p chaos --bench failover -- --runs 10 --shards 12`. Needs every program in release:
//! `cargo build --release --workspace`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chaos::fleet::{Fleet, Setup};
use clap::Parser;
use discord_sim::{Control, Fault};
use fleet_fixture::Signal;
use serde_json::Value;
use tokio::time::sleep;

/// Load before the failure, so that checkpoints are written.
const LOAD: Duration = Duration::from_secs(4);

/// How long a failover may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Args {
    /// Runs of each kind
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Shards of the whole fleet
    #[arg(long, default_value_t = 12)]
    shards: u32,
    /// Workers
    #[arg(long, default_value_t = 3)]
    workers: u32,
    /// Messages a second over all guilds
    #[arg(long, default_value_t = 500.0)]
    events_per_second: f64,
    /// Guilds
    #[arg(long, default_value_t = 1_200)]
    guilds: u32,
    /// The lease's time to live, in seconds
    #[arg(long, default_value_t = 5)]
    lease_ttl: u64,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// One failover.
struct Measured {
    /// Shards that the worker had.
    shards: usize,
    /// Until the coordinator said that it is dead.
    dead: Duration,
    /// Until Discord had taken the RESUME of the first of them.
    first: Duration,
    /// Until Discord had taken the RESUME of the last of them.
    last: Duration,
    /// IDENTIFYs that it cost.
    identifies: usize,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let setup = Setup {
        shards: args.shards,
        workers: args.workers as usize,
        events_per_second: args.events_per_second,
        guilds: args.guilds,
        lease_ttl: Duration::from_secs(args.lease_ttl),
        heartbeat_interval: Duration::from_millis(41_250),
        ..Setup::default()
    };
    println!(
        "{} shards on {} workers, {} guilds, {} events/s, lease of {} s",
        args.shards, args.workers, args.guilds, args.events_per_second, args.lease_ttl
    );
    for (what, kill) in [("SIGKILL", true), ("SIGSTOP", false)] {
        let mut runs = Vec::new();
        for run in 0..args.runs {
            runs.push(one(&setup, run % args.workers as usize, kill).await);
        }
        report(what, &runs);
    }
}

/// One failover of a fleet that has had none: after several deaths in a row the coordinator waits before it gives a shard to the
/// next worker.
async fn one(setup: &Setup, worker: usize, kill: bool) -> Measured {
    let folder = tempfile::TempDir::with_prefix("failover-").expect("a temporary folder can be made");
    let mut fleet = Fleet::start(setup.clone(), folder.path()).await;
    let control = fleet.control();
    control.inject(Fault::EventRate { per_second: setup.events_per_second }).expect("a rate is a rate");
    sleep(LOAD).await;
    let measured = measure(&mut fleet, folder.path(), worker, kill).await;
    if !kill {
        fleet.signal_worker(worker, Signal::CONT);
    }
    measured
}

/// Kills or stops a worker and waits for the RESUMEs of its shards.
async fn measure(fleet: &mut Fleet, folder: &Path, worker: usize, kill: bool) -> Measured {
    let name = format!("w{worker}");
    let shards = fleet.coordinator().client().await.shards(&name).await.expect("the coordinator answers");
    let owned: Vec<u32> = shards.iter().map(|shard| shard.shard_id).collect();
    let control = fleet.control();
    let identifies = control.identifies().items.len();
    let before: Vec<u32> = owned.iter().map(|shard| resumes(&control, *shard)).collect();
    let since_unix = unix();
    let since = Instant::now();
    if kill {
        fleet.kill_worker(worker).await;
    } else {
        fleet.signal_worker(worker, Signal::STOP);
    }
    let (mut first, mut last) = (None, None);
    while last.is_none() {
        assert!(since.elapsed() < PATIENCE, "the shards of {name} did not come back within {PATIENCE:?}");
        let back = owned.iter().zip(&before).filter(|(shard, before)| resumes(&control, **shard) > **before);
        let back = back.count();
        if back > 0 {
            first = first.or(Some(since.elapsed()));
        }
        if back == owned.len() {
            last = Some(since.elapsed());
        }
        sleep(Duration::from_millis(2)).await;
    }
    let dead = declared_dead(folder, &name, since_unix);
    Measured {
        shards: owned.len(),
        dead,
        first: first.unwrap_or_default(),
        last: last.unwrap_or_default(),
        identifies: control.identifies().items.len() - identifies,
    }
}

fn resumes(control: &Control, shard: u32) -> u32 {
    let shards = control.sessions().shards;
    shards.iter().filter(|one| one.shard.number == shard).map(|one| one.resumes).sum()
}

/// When the coordinator's log first says that it lost this worker, counted from a moment.
fn declared_dead(folder: &Path, worker: &str, since_unix: Duration) -> Duration {
    let log = std::fs::read_to_string(folder.join("coordinator-0.log")).expect("the coordinator has a log");
    let said = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("worker lost") && line["worker.id"] == worker
    });
    let times = said.filter_map(|line| {
        humantime::parse_rfc3339(line["timestamp"].as_str()?).ok()?.duration_since(UNIX_EPOCH).ok()
    });
    let after = times.filter(|time| *time >= since_unix).min();
    let said = after.expect("the coordinator says that a worker is lost before its shards go to others");
    said.saturating_sub(since_unix)
}

fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn report(what: &str, runs: &[Measured]) {
    println!("{what}: each run, in milliseconds: shards, known dead, first RESUME, last RESUME; IDENTIFYs");
    for run in runs {
        let millis = |time: Duration| time.as_millis();
        println!(
            "  {:>3} {:>6} {:>6} {:>6} {:>3}",
            run.shards,
            millis(run.dead),
            millis(run.first),
            millis(run.last),
            run.identifies
        );
    }
    summary("known dead", runs, |run| run.dead);
    summary("first RESUME", runs, |run| run.first);
    summary("last RESUME", runs, |run| run.last);
    summary("last RESUME after known dead", runs, |run| run.last.saturating_sub(run.dead));
}

fn summary(what: &str, runs: &[Measured], figure: impl Fn(&Measured) -> Duration) {
    let mut figures: Vec<u128> = runs.iter().map(|run| figure(run).as_millis()).collect();
    figures.sort_unstable();
    let (Some(least), Some(most)) = (figures.first(), figures.last()) else { return };
    let middle = figures.len() / 2;
    let median =
        if figures.len() % 2 == 1 { figures[middle] } else { figures[middle - 1].midpoint(figures[middle]) };
    println!("  {what:<30} min {least:>6} ms, median {median:>6} ms, max {most:>6} ms");
}
