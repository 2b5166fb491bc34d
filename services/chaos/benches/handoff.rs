//! How long shards are away when they change hands as planned: from the last event that the worker before handled to the first
//! that the next one handles; and how long a drain and a deployment take as a whole.
//!
//! `cargo bench -p chaos --bench handoff -- --runs 10 --shards 12`. Needs every program in release:
//! `cargo build --release --workspace`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chaos::{
    fleet::{Fleet, Setup},
    line::{Book, Line},
    run::{self, Outcome},
    schedule::Cost,
};
use clap::Parser;

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
    /// Guilds of each shard
    #[arg(long, default_value_t = 250)]
    guilds_per_shard: u32,
    /// Messages a second of each shard
    #[arg(long, default_value_t = 100.0)]
    events_per_shard: f64,
    /// Only what begins like this: drain, deployment
    #[arg(long, default_value = "")]
    only: String,
    /// More settings of the workers, as NAME=VALUE
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a change took.
struct Measured {
    whole: Duration,
    /// Of each shard that changed hands.
    gaps: Vec<Duration>,
    outcome: Outcome,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let mut setup = Setup {
        shards: args.shards,
        workers: args.workers as usize,
        events_per_second: args.events_per_shard * f64::from(args.shards),
        guilds: args.guilds_per_shard * args.shards,
        heartbeat_interval: Duration::from_millis(41_250),
        worker_env: vec![("DRAIN_TIMEOUT".to_owned(), "25s".to_owned())],
        ..Setup::default()
    };
    for setting in &args.env {
        let (name, value) = setting.split_once('=').expect("--env takes NAME=VALUE");
        setup = setup.with(name, value);
    }
    println!(
        "{} shards with {} guilds each on {} workers, {} events/s each",
        args.shards, args.guilds_per_shard, args.workers, args.events_per_shard
    );
    let both = ["drain of one worker", "deployment of all workers"];
    for what in both.into_iter().filter(|what| what.starts_with(&args.only)) {
        let mut runs = Vec::new();
        for run in 0..args.runs {
            let worker = run % args.workers as usize;
            let deploys = what.starts_with("deployment");
            runs.push(measure(setup.clone(), async |fleet| change(fleet, deploys, worker).await).await);
        }
        report(what, &runs);
    }
}

async fn change(fleet: &mut Fleet, deploys: bool, worker: usize) -> Result<Duration, String> {
    if deploys {
        let generation = fleet.start_successors().await;
        let since = Instant::now();
        let wish = altergolden_proto::v1::start_plan_request::Plan::Promote(altergolden_proto::v1::Promote {
            generation,
        });
        fleet.start_plan(wish).await?;
        let plan = fleet.plan_is_over().await;
        let took = since.elapsed();
        let promoted = plan.state() == altergolden_proto::v1::PlanState::Done;
        fleet.settle_generations(promoted).await?;
        if promoted { Ok(took) } else { Err(plan.reason) }
    } else {
        let since = Instant::now();
        fleet.drain_worker(worker).await?;
        let took = since.elapsed();
        fleet.start_worker(worker);
        Ok(took)
    }
}

async fn measure(setup: Setup, change: impl AsyncFnOnce(&mut Fleet) -> Result<Duration, String>) -> Measured {
    let (mut whole, mut gaps) = (Duration::ZERO, Vec::new());
    let outcome = run::run_with(setup, Cost::AtMost(0), async |fleet| {
        let before = epochs(&fleet.books().expect("ledgers can be read"));
        let failures = match change(fleet).await {
            Ok(took) => {
                whole = took;
                Vec::new()
            }
            Err(failure) => vec![failure],
        };
        // A second of events on the new workers; the first change of hands alone is looked at.
        tokio::time::sleep(Duration::from_secs(1)).await;
        gaps = gaps_of(&fleet.books().expect("ledgers can be read"), &before);
        (Vec::new(), failures)
    })
    .await;
    Measured { whole, gaps, outcome }
}

/// The first and the last start of an event, in microseconds since the Unix epoch, by shard and epoch.
fn epochs(books: &[Book]) -> BTreeMap<(u32, u64), (u64, u64)> {
    let mut epochs: BTreeMap<(u32, u64), (u64, u64)> = BTreeMap::new();
    for line in books.iter().flat_map(|book| &book.lines) {
        let Line::Start(start) = line else { continue };
        let seen = epochs.entry((start.place.shard, start.place.epoch)).or_insert((start.at_us, start.at_us));
        *seen = (seen.0.min(start.at_us), seen.1.max(start.at_us));
    }
    epochs
}

/// From the last event under the epoch that was the newest before to the first under the next one.
fn gaps_of(books: &[Book], before: &BTreeMap<(u32, u64), (u64, u64)>) -> Vec<Duration> {
    let after = epochs(books);
    let newest = before.keys().map(|(shard, epoch)| (*shard, *epoch)).collect::<BTreeMap<u32, u64>>();
    let gaps = newest.iter().filter_map(|(shard, epoch)| {
        let (_, last) = after.get(&(*shard, *epoch))?;
        let (_, (first, _)) = after.range((*shard, epoch + 1)..(shard + 1, 0)).next()?;
        Some(Duration::from_micros(first.saturating_sub(*last)))
    });
    gaps.collect()
}

fn report(what: &str, runs: &[Measured]) {
    println!("{what}:");
    let mut identifies = 0;
    let (mut lost, mut repeated, mut replayed, mut wrong) = (0, 0, 0, 0);
    for run in runs {
        let verdict = &run.outcome.verdict;
        identifies += run.outcome.identifies_after;
        lost += verdict.lost.len();
        repeated += verdict.repeated.len();
        replayed += verdict.handled.values().map(|one| one.replayed).sum::<u64>();
        wrong += usize::from(!run.outcome.is_clean());
        if !run.outcome.is_clean() {
            println!("{}", run.outcome);
        }
    }
    summary("whole", runs.iter().map(|run| run.whole).collect());
    summary("gap of a shard", runs.iter().flat_map(|run| run.gaps.iter().copied()).collect());
    println!(
        "  {} runs: lost {lost}, repeated {repeated}, marked as replayed {replayed}, IDENTIFYs {identifies}, runs with anything \
         wrong {wrong}",
        runs.len()
    );
}

fn summary(what: &str, mut figures: Vec<Duration>) {
    figures.sort_unstable();
    let at = |part: f64| {
        let place = (part * (figures.len() - 1) as f64).round() as usize;
        figures[place].as_millis()
    };
    if figures.is_empty() {
        println!("  {what:<16} nothing was measured");
        return;
    }
    println!(
        "  {what:<16} {:>4} times: min {:>5} ms, median {:>5} ms, 95 % {:>5} ms, max {:>5} ms",
        figures.len(),
        at(0.0),
        at(0.5),
        at(0.95),
        at(1.0)
    );
}
