//! Measures how long a fleet takes to start, and to come back after every process was killed.
//!
//! - From nothing: the time until every shard is ready, compared with the ideal. Discord takes one IDENTIFY in 5 s for each bucket, so n shards with
//!   `max_concurrency` 1 take at least (n - 1) x 5 s.
//! - After SIGKILL of the coordinator and all workers, started again at once on the same host: the time from the kill until Discord has taken the
//!   RESUME of the last shard, and the IDENTIFYs that it cost.
//!
//! `cargo bench -p chaos --bench start`. Needs the programs in release: `cargo build --release -p coordinator -p gateway-worker`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::{Duration, Instant};

use clap::Parser;
use discord_sim::{Control, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker, all_ready};
use futures_util::future::join_all;
use tokio::time::sleep;

/// Discord's time between two IDENTIFYs of a bucket.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a fleet runs before it is killed: a coordinator trusts Redis, and writes that down, after a lease TTL (5 s) of answers.
const RUNS_FOR: Duration = Duration::from_secs(10);

/// How long a return may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Debug, Parser)]
struct Args {
    /// Runs of each kind
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Shards that start from nothing, with `max_concurrency` 1
    #[arg(long, default_value_t = 16)]
    starting_shards: u32,
    /// Shards that come back
    #[arg(long, default_value_t = 12)]
    shards: u32,
    /// Workers
    #[arg(long, default_value_t = 3)]
    workers: u32,
    /// Guilds
    #[arg(long, default_value_t = 1_200)]
    guilds: u32,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    println!("{} workers, {} guilds, {} runs of each kind", args.workers, args.guilds, args.runs);
    let ideal = INTERVAL * args.starting_shards.saturating_sub(1);
    for _ in 0..args.runs {
        let took = from_nothing(&args).await;
        println!(
            "{} shards from nothing: {:.2} s, {:.3} of the ideal ({} s)",
            args.starting_shards,
            took.as_secs_f64(),
            took.as_secs_f64() / ideal.as_secs_f64(),
            ideal.as_secs()
        );
    }
    for _ in 0..args.runs {
        let (first, last, identifies) = after_all_were_killed(&args).await;
        println!(
            "{} shards after all processes were killed: first RESUME {:.2} s, last {:.2} s, {identifies} IDENTIFYs",
            args.shards,
            first.as_secs_f64(),
            last.as_secs_f64()
        );
    }
}

/// Starts the programs with the settings that operators have.
async fn start(
    deployment: &Deployment,
    args: &Args,
    shards: u32,
    interval: Duration,
) -> (Coordinator, Vec<Worker>) {
    let mut command = deployment.coordinator_command(shards);
    command.env("IDENTIFY_INTERVAL", humantime::format_duration(interval).to_string());
    let coordinator =
        Coordinator::start(command.env("RUST_LOG", "info").env_remove("LEASE_TTL").env_remove("SETTLE"))
            .await;
    let workers = (0..args.workers).map(|number| {
        let name = format!("w{number}");
        let mut command = deployment.worker_command(&name, &coordinator.address);
        command.env("RUST_LOG", "info");
        async move { Worker::start(&name, &mut command).await }
    });
    let workers = join_all(workers).await;
    (coordinator, workers)
}

fn discord(args: &Args, shards: u32, max_concurrency: u16, identify_interval: Duration) -> SimConfig {
    SimConfig {
        guilds: args.guilds,
        shards: Some(shards),
        max_concurrency,
        identify_interval,
        ..SimConfig::default()
    }
}

/// The time until every shard is ready.
async fn from_nothing(args: &Args) -> Duration {
    let deployment = Deployment::start(discord(args, args.starting_shards, 1, INTERVAL)).await;
    let since = Instant::now();
    let (coordinator, _workers) = start(&deployment, args, args.starting_shards, INTERVAL).await;
    coordinator.until("all shards ready", all_ready).await;
    let took = since.elapsed();
    deployment.assert_lawful();
    took
}

/// The times until the first and the last RESUME, and the number of IDENTIFYs.
async fn after_all_were_killed(args: &Args) -> (Duration, Duration, usize) {
    let interval = fleet_fixture::IDENTIFY_INTERVAL;
    let deployment = Deployment::start(discord(args, args.shards, 16, interval)).await;
    let (mut coordinator, mut workers) = start(&deployment, args, args.shards, interval).await;
    coordinator.until_balanced(&workers.iter().collect::<Vec<_>>()).await;
    for worker in &workers {
        let heads = f64::from(args.shards / args.workers);
        worker.until_metric("altergolden_checkpoint_writes_total", |written| written as f64 >= heads).await;
    }
    sleep(RUNS_FOR).await;
    let control = deployment.sim.control();
    let identifies = control.identifies().items.len();
    let since = Instant::now();
    join_all(workers.iter_mut().map(|worker| worker.process.kill())).await;
    coordinator.process.kill().await;
    let (_coordinator, _workers) = start(&deployment, args, args.shards, interval).await;
    let mut first = None;
    loop {
        let back = resumed(&control);
        if back > 0 {
            first = first.or(Some(since.elapsed()));
        }
        if back >= args.shards as usize {
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{back} of {} shards came back within {PATIENCE:?}", args.shards);
        sleep(Duration::from_millis(5)).await;
    }
    let last = since.elapsed();
    deployment.assert_lawful();
    (first.unwrap_or_default(), last, control.identifies().items.len() - identifies)
}

/// The number of shards that have resumed, or begun another session, since the fleet was killed. Nothing resumes before.
fn resumed(control: &Control) -> usize {
    control.sessions().shards.iter().filter(|shard| shard.resumes > 0).count()
}
