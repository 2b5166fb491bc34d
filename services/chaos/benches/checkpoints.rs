//! What checkpoints cost: bytes to Redis, CPU of the worker and of Redis, while messages come; the first fill of many shards,
//! and the heads of shards to which nothing happens.
//!
//! `cargo bench -p chaos --bench checkpoints`. Needs the programs in release:
//! `cargo build --release -p coordinator -p gateway-worker`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::{Duration, Instant};

use clap::Parser;
use discord_sim::{Fault, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker};
use tokio::time::sleep;

#[derive(Debug, Parser)]
struct Args {
    /// How long each kind is measured, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Guilds of the one shard that is measured under load
    #[arg(long, default_value_t = 1_000)]
    guilds: u32,
    /// Messages a second to it
    #[arg(long, default_value_t = 100.0)]
    events_per_second: f64,
    /// Shards of the first fill, with a hundred guilds each
    #[arg(long, default_value_t = 100)]
    fill_shards: u32,
    /// Shards of the worker that writes heads only
    #[arg(long, default_value_t = 100)]
    head_shards: u16,
    /// Leave out all but the heads
    #[arg(long)]
    only_heads: bool,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

const CACHE: &str = "guilds,channels,roles,members,users,voice_states,own_user";
const INTENTS: &str = "GUILDS,GUILD_MEMBERS,GUILD_PRESENCES,GUILD_MESSAGES,GUILD_VOICE_STATES";

/// What has been used up so far.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    worker_cpu: Duration,
    redis_cpu: Duration,
    redis_in: u64,
    checkpoint_bytes: u64,
    checkpoints: u64,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    if args.only_heads {
        return heads(&args).await;
    }
    println!(
        "one shard, {} guilds, members cached, {} messages/s, {} s each",
        args.guilds, args.events_per_second, args.seconds
    );
    println!("CHECKPOINT   to Redis   of it checkpoints   writes   worker CPU   Redis CPU   worker memory");
    for keep in ["off", "session", "full"] {
        under_load(&args, keep).await;
    }
    first_fill(&args).await;
    heads(&args).await;
}

async fn fleet(sim: SimConfig, shards: u32, keep: &str) -> (Deployment, Coordinator, Worker) {
    let deployment = Deployment::start(sim).await;
    let coordinator = Coordinator::start(deployment.coordinator_command(shards).env("LEASE_TTL", "5s")).await;
    let mut command = deployment.worker_command("w", &coordinator.address);
    command.env("CHECKPOINT", keep).env("CACHE", CACHE).env("INTENTS", INTENTS).env("RUST_LOG", "info");
    let worker = Worker::start("w", &mut command).await;
    (deployment, coordinator, worker)
}

fn sim(guilds: u32, concurrency: u16) -> SimConfig {
    SimConfig {
        guilds,
        max_concurrency: concurrency,
        identify_interval: Duration::from_millis(500),
        ..SimConfig::default()
    }
}

async fn under_load(args: &Args, keep: &str) {
    let (deployment, coordinator, worker) = fleet(sim(args.guilds, 1), 1, keep).await;
    coordinator.until_balanced(&[&worker]).await;
    let rate = Fault::EventRate { per_second: args.events_per_second };
    deployment.sim.control().inject(rate).expect("a rate is a rate");
    settled(&worker, &deployment).await;
    let before = used(&worker, &deployment).await;
    sleep(Duration::from_secs(args.seconds)).await;
    let after = used(&worker, &deployment).await;
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let share = |from: Duration, to: Duration| (to.saturating_sub(from)).as_secs_f64() / seconds * 100.0;
    println!(
        "{keep:<10} {:>8.1} KiB/s {:>14.1} KiB/s {:>6.2}/s {:>11.1} % {:>9.1} % {:>11.1} MiB",
        (after.redis_in - before.redis_in) as f64 / seconds / 1024.0,
        (after.checkpoint_bytes - before.checkpoint_bytes) as f64 / seconds / 1024.0,
        (after.checkpoints - before.checkpoints) as f64 / seconds,
        share(before.worker_cpu, after.worker_cpu),
        share(before.redis_cpu, after.redis_cpu),
        worker.process.memory().resident as f64 / 1024.0,
    );
}

/// From the first IDENTIFY until everything is written down once.
async fn first_fill(args: &Args) {
    let shards = args.fill_shards;
    let deployment_sim = sim(shards * 100, shards.try_into().unwrap_or(u16::MAX));
    let (deployment, coordinator, worker) = fleet(deployment_sim, shards, "full").await;
    let before = used(&worker, &deployment).await;
    coordinator.until_balanced(&[&worker]).await;
    let ready = before.at.elapsed();
    let last = settled(&worker, &deployment).await;
    let after = used(&worker, &deployment).await;
    println!(
        "\nfirst fill: {shards} shards with 100 guilds each: ready after {:.1} s, all written after {:.1} s; {:.1} MiB to Redis, \
         {:.2} s of Redis's CPU, {:.1} s of the worker's; Redis holds {:.1} MiB",
        ready.as_secs_f64(),
        last.duration_since(before.at).as_secs_f64(),
        (after.checkpoint_bytes - before.checkpoint_bytes) as f64 / 1024.0 / 1024.0,
        (after.redis_cpu.saturating_sub(before.redis_cpu)).as_secs_f64(),
        (after.worker_cpu.saturating_sub(before.worker_cpu)).as_secs_f64(),
        info(&deployment, "memory", "used_memory").await / 1024.0 / 1024.0,
    );
}

/// What Redis spends on the heads of shards that have nothing else to write.
async fn heads(args: &Args) {
    let shards = args.head_shards;
    let (deployment, coordinator, worker) = fleet(sim(shards.into(), shards), shards.into(), "full").await;
    coordinator.until_balanced(&[&worker]).await;
    settled(&worker, &deployment).await;
    let before = used(&worker, &deployment).await;
    sleep(Duration::from_secs(args.seconds)).await;
    let after = used(&worker, &deployment).await;
    let redis = after.redis_cpu.saturating_sub(before.redis_cpu);
    let written = after.checkpoints - before.checkpoints;
    println!(
        "heads: {shards} shards on one worker, {:.1} writes/s: {:.1} us of Redis's CPU a write, {:.1} us of the worker's",
        written as f64 / after.at.duration_since(before.at).as_secs_f64(),
        redis.as_secs_f64() * 1e6 / written as f64,
        after.worker_cpu.saturating_sub(before.worker_cpu).as_secs_f64() * 1e6 / written as f64,
    );
}

/// Waits until the first fill is over: what is written no longer grows by more than changes. When that was.
async fn settled(worker: &Worker, deployment: &Deployment) -> Instant {
    let mut last = used(worker, deployment).await;
    let mut quiet = 0;
    let mut since = last.at;
    while quiet < 4 {
        sleep(Duration::from_millis(500)).await;
        let now = used(worker, deployment).await;
        if now.checkpoint_bytes - last.checkpoint_bytes > 64 * 1024 {
            (quiet, since) = (0, now.at);
        } else {
            quiet += 1;
        }
        last = now;
    }
    since
}

async fn used(worker: &Worker, deployment: &Deployment) -> Used {
    let user = info(deployment, "cpu", "used_cpu_user").await;
    let system = info(deployment, "cpu", "used_cpu_sys").await;
    Used {
        at: Instant::now(),
        worker_cpu: worker.process.cpu_time(),
        redis_cpu: Duration::from_secs_f64(user + system),
        redis_in: info(deployment, "stats", "total_net_input_bytes").await as u64,
        checkpoint_bytes: worker.metric("altergolden_checkpoint_bytes_total").await,
        checkpoints: worker.metric("altergolden_checkpoint_writes_total").await,
    }
}

/// A figure of Redis's INFO.
async fn info(deployment: &Deployment, section: &str, name: &str) -> f64 {
    let text: String = deployment.redis.command(&["INFO", section]).await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in INFO {section}"))
}
