//! The long run: a fleet under load, faults from a seed for as long as one likes, and what came of it.

#![allow(clippy::print_stdout, reason = "what it is for is to be read in a terminal")]

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chaos::{
    fleet::Setup,
    run,
    schedule::{self, Kind, Shape},
};
use clap::Parser;

/// Lets faults happen to a fleet under load, and proves that nothing was lost.
///
/// Starts Redis, discord-sim, a coordinator and workers of its own on free ports; all programs must be built beside this one
/// (cargo build --release --workspace). The same seed makes the same faults. Exits with 1 when something is wrong.
#[derive(Debug, Parser)]
#[command(name = "chaos", version)]
struct Args {
    /// The faults' seed [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long faults go on
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Shards
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    shards: u32,
    /// Workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: u32,
    /// Messages a second over all guilds
    #[arg(long, value_name = "RATE", default_value_t = 500.0)]
    events_per_second: f64,
    /// Only these kinds of fault [default: all that cost neither an IDENTIFY nor an event]
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Show the plan and end
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let from_clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
    let seed = args.seed.unwrap_or_else(from_clock);
    let setup = Setup {
        shards: args.shards,
        workers: args.workers as usize,
        events_per_second: args.events_per_second,
        ..Setup::default()
    };
    let kinds = if args.only.is_empty() { Kind::DEFAULT.to_vec() } else { args.only };
    let shape =
        Shape { length: Duration::from_secs_f64(args.minutes.max(0.0) * 60.0), kinds, ..setup.shape().await };
    let plan = schedule::plan(seed, &shape);
    println!("seed {seed}: {} faults in {} minutes", plan.len(), args.minutes);
    if args.dry_run {
        for planned in &plan {
            println!("{planned}");
        }
        return ExitCode::SUCCESS;
    }
    let outcome = run::run(setup, &plan, schedule::cost(&plan, &shape)).await;
    println!("seed {seed}\n{outcome}");
    ExitCode::from(u8::from(!outcome.is_clean()))
}
