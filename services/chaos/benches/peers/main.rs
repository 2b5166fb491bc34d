//! This platform beside discord.js's ShardingManager and discord-hybrid-sharding, one after the other in one run: each with its own
//! simulated Discord, which has the same guilds and the same limits. Measures memory, processor time, answers from the whole bot, and
//! what a killed process, a stopped one and a deployment cost. Lost events and wrong answers are counted for each.
//!
//! `cargo bench -p chaos --bench peers`. Needs the programs in release (`cargo build --release --workspace --bins`), redis-server, node
//! and npm, which installs the peers at the versions in `services/chaos/peers/package-lock.json`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints what it measured, and how far it is"
)]

mod asking;
mod changes;
mod chart;
mod figures;
mod guilds;
mod install;
mod node;
mod ours;
mod phases;
mod seen;
mod stage;
mod system;
mod tables;
mod verdict;
#[allow(dead_code, clippy::unwrap_used, reason = "other benchmarks use the rest; texts are always written")]
#[path = "../../../guild-cache/benches/guilds/world.rs"]
mod world;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::Parser;
use discord_sim::{Sim, SimConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use figures::{Measured, medians};
use node::Manager;
use ours::Ours;
use phases::{guarded, measure};
use stage::Stage;
use system::Setup;

#[derive(Debug, Parser)]
struct Args {
    /// Guilds
    #[arg(long, default_value_t = 4_000)]
    guilds: u32,
    /// Shards
    #[arg(long, default_value_t = 8)]
    shards: u32,
    /// Runs of each system; medians are printed
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Seed of the guilds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time that Discord demands between two IDENTIFYs; there is one bucket, as most bots have
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    identify_interval: Duration,
    /// Only the systems whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// File for all figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// File for the chart as SVG
    #[arg(long)]
    chart: Option<PathBuf>,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long all phases of a system may take.
const RUN: Duration = Duration::from_hours(1);

const OURS: &str = "altergolden";
const SHARDING_MANAGER: &str = "ShardingManager";
const HYBRID_SHARDING: &str = "hybrid-sharding";

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = tokio::select! {
        outcome = run(&args) => outcome,
        // Dropping the run ends all processes.
        _ = tokio::signal::ctrl_c() => Err("stopped by Ctrl-C".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    let names: Vec<&str> = [OURS, SHARDING_MANAGER, HYBRID_SHARDING]
        .into_iter()
        .filter(|name| name.contains(&args.only))
        .collect();
    if names.is_empty() {
        return Err(format!("no system's name contains {:?}", args.only));
    }
    install::prepare(&node::folder(), names.iter().any(|name| *name != OURS))?;
    let begun = about(args);
    println!("{}", line(&begun));
    let mut runs: Vec<Vec<Measured>> = vec![Vec::new(); names.len()];
    for number in 0..args.runs {
        for (name, runs) in names.iter().zip(&mut runs) {
            let outcome = Box::pin(guarded(RUN, one(args, name, number))).await;
            // The others are measured all the same.
            runs.push(outcome.unwrap_or_else(|reason| {
                eprintln!("run {}, {name}: failed: {reason}", number + 1);
                Measured { failures: [("start", reason)].into(), ..Measured::default() }
            }));
        }
    }
    let systems: Vec<(&str, Measured)> =
        names.iter().zip(&runs).map(|(name, runs)| (*name, medians(runs))).collect();
    println!("\n{}", tables::markdown(&systems));
    if let Some(path) = &args.json {
        let all = names.iter().zip(&runs).map(|(name, runs)| {
            let runs: Vec<Value> =
                runs.iter().map(|run| json!({"figures": run.figures, "failures": run.failures})).collect();
            ((*name).to_owned(), json!(runs))
        });
        let whole = json!({
            "about": begun,
            "load_average_at_end": load_average(),
            "runs": all.collect::<serde_json::Map<_, _>>(),
            "medians": systems.iter().map(|(name, one)| ((*name).to_owned(), json!(one.figures))).collect::<serde_json::Map<_, _>>(),
        });
        write(path, &format!("{whole:#}\n"))?;
    }
    if let Some(path) = &args.chart {
        write(path, &chart::svg(&systems))?;
    }
    Ok(())
}

/// One run of one system, beside its own simulated Discord.
async fn one(args: &Args, name: &str, number: usize) -> Result<Measured, String> {
    let folder =
        TempDir::with_prefix("peers-").map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let (shape, written) = guilds::shape(args.seed);
    let sim = Sim::start(SimConfig {
        guilds: args.guilds,
        shards: Some(args.shards),
        seed: args.seed,
        identify_interval: args.identify_interval,
        shape_guild: Some(shape),
        ..SimConfig::default()
    });
    let sim = sim.await.map_err(|error| error.to_string())?;
    let control = sim.control();
    let truth = Arc::new(guilds::truth(&control, args.seed, args.guilds));
    if number == 0 && name == OURS {
        println!("{}", guilds::sizes(&truth, args.seed));
    }
    let setup = Setup {
        shards: args.shards,
        guilds: args.guilds,
        identify_interval: args.identify_interval,
        folder: folder.path().to_owned(),
    };
    let stage = Stage { control, truth, setup };
    let progress = |phase: &str| eprintln!("run {}, {name}: {phase}", number + 1);
    let measured = match name {
        OURS => measure(&mut Ours::prepare(sim, &stage.setup).await?, &stage, progress).await,
        SHARDING_MANAGER => {
            let mut manager = Manager::prepare("sharding-manager.mjs", sim, &stage.setup)?;
            measure(&mut manager, &stage, progress).await
        }
        _ => {
            let mut manager = Manager::prepare("hybrid-sharding.mjs", sim, &stage.setup)?;
            measure(&mut manager, &stage, progress).await
        }
    };
    eprintln!(
        "run {}, {name}: {:.0} MB of GUILD_CREATEs in all",
        number + 1,
        written.load(Ordering::Relaxed) as f64 / 1e6
    );
    if !measured.failures.is_empty() {
        let kept = folder.keep();
        eprintln!(
            "run {}, {name}: failed: {:?}; logs are in {}",
            number + 1,
            measured.failures,
            kept.display()
        );
    }
    Ok(measured)
}

/// What the figures depend on.
fn about(args: &Args) -> Value {
    let folder = node::folder();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let redis = install::output("redis-server", &["--version"]);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "guilds": args.guilds,
        "shards": args.shards,
        "runs": args.runs,
        "seed": args.seed,
        "identify_interval_ms": args.identify_interval.as_millis() as u64,
        "max_concurrency": 1,
        "node": install::output("node", &["--version"]),
        "discord.js": install::package(&folder, "discord.js"),
        "discord-hybrid-sharding": install::package(&folder, "discord-hybrid-sharding"),
        "rustc": install::output("rustc", &["--version"]),
        "redis": redis.as_deref().and_then(|line| line.split_whitespace().find_map(|word| word.strip_prefix("v="))),
        // Without the name of the build.
        "kernel": kernel.trim().split('-').next(),
        "cores": cores,
        "load_average": load_average(),
    })
}

/// The same in one line.
fn line(about: &Value) -> String {
    let fields = about.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect::<Vec<_>>()
        .join(", ")
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn write(path: &PathBuf, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
