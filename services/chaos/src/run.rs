//! A whole run: a fleet under load, a plan of faults, time to settle, and the comparison.
//!
//! Owns the order of things and the [`Outcome`]. What happens when is the [plan](crate::schedule)'s, what is right is the
//! [comparer](crate::ledger)'s.

mod faults;
mod outcome;
mod settling;

pub use outcome::Outcome;

use std::time::Duration;

use discord_sim::Fault as DiscordFault;
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until};

use crate::{
    fleet::{Fleet, Setup},
    ledger::Verdict,
    schedule::{Cost, Planned},
};

/// Load before the first fault, so that every shard has a checkpoint.
const WARM_UP: Duration = Duration::from_secs(3);

/// Runs a plan against a fleet and looks at what came of it. `cost` is what Discord makes the fleet pay for the plan.
///
/// # Panics
/// A program is not built, or the fleet does not get ready in the first place.
pub async fn run(setup: Setup, plan: &[Planned], cost: Cost) -> Outcome {
    run_with(setup, cost, async |fleet| play(fleet, plan).await).await
}

/// As [`run`], with what happens done by `play`: it says what it did, and what went wrong in words.
///
/// # Panics
/// As [`run`].
pub async fn run_with(
    setup: Setup,
    cost: Cost,
    play: impl AsyncFnOnce(&mut Fleet) -> (Vec<Happened>, Vec<String>),
) -> Outcome {
    let folder = TempDir::with_prefix("chaos-").expect("a temporary folder can be made");
    let mut fleet = Fleet::start(setup.clone(), folder.path()).await;
    let control = fleet.control();
    let at_start = control.identifies().items.len() as u32;
    event_rate(&fleet, setup.events_per_second);
    tokio::time::sleep(WARM_UP).await;

    let (happened, mut failures) = play(&mut fleet).await;
    failures.extend(settling::settle(&mut fleet).await);
    event_rate(&fleet, 0.0);
    let drained = settling::drain(&fleet).await;
    failures.extend(settling::caches_are_right(&fleet, setup.shards).await);
    failures.extend(fleet.deserters());
    // Once more: something may have been repeated meanwhile.
    let verdict = match drained {
        Ok(_) => settling::drain(&fleet).await,
        Err(error) => Err(error),
    };
    let verdict = verdict.unwrap_or_else(|error| {
        failures.push(error.to_string());
        Verdict::default()
    });
    failures.extend(settling::relay_has_all(&fleet).await);
    let outcome = Outcome::new(&control, &setup, happened, cost, at_start, verdict, failures, folder);
    // While the folder is still there.
    drop(fleet);
    outcome
}

fn event_rate(fleet: &Fleet, per_second: f64) {
    fleet.control().inject(DiscordFault::EventRate { per_second }).expect("a rate is a rate");
}

/// A fault as it went.
#[derive(Clone, Debug)]
pub struct Happened {
    /// The plan's entry.
    pub planned: Planned,
    /// When it began, in milliseconds since the simulator started.
    pub began_ms: u64,
    /// When it ended.
    pub ended_ms: u64,
}

/// Makes each fault happen at its time, and end at its time.
async fn play(fleet: &mut Fleet, plan: &[Planned]) -> (Vec<Happened>, Vec<String>) {
    // What is to begin or to end, in order of time; at one time the ends first.
    let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
    for (number, planned) in plan.iter().enumerate() {
        moments.push((planned.at, true, number));
        if !planned.lasts.is_zero() {
            moments.push((planned.at + planned.lasts, false, number));
        }
    }
    moments.sort_by_key(|(at, begins, _)| (*at, *begins));

    let started = Instant::now();
    let mut failures = Vec::new();
    let mut happened: Vec<Happened> = Vec::new();
    let mut which = vec![None; plan.len()];
    for (at, begins, number) in moments {
        sleep_until(started + at).await;
        let now_ms = || fleet.control().ledger().now_ms;
        let before_ms = now_ms();
        let fault = &plan[number].fault;
        let done = if begins { faults::begin(fleet, fault).await } else { faults::end(fleet, fault).await };
        failures.extend(done.err());
        let after_ms = fleet.control().ledger().now_ms;
        if begins {
            which[number] = Some(happened.len());
            happened.push(Happened {
                planned: plan[number].clone(),
                began_ms: before_ms,
                ended_ms: after_ms,
            });
        } else if let Some(begun) = which[number].and_then(|at: usize| happened.get_mut(at)) {
            begun.ended_ms = after_ms;
        }
    }
    (happened, failures)
}
