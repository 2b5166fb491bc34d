//! Short runs: one fault each, and a plan of random faults. The long run is `cargo run --release -p chaos`.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod coordinators;
mod failpoints;
mod handlers;
mod one_at_a_time;
mod peers;
mod plans;
mod poison;
mod random;
mod redis;
mod relay;
mod rotation;
mod up;
mod workers;

use std::time::Duration;

use chaos::{
    fleet::Setup,
    run::{self, Outcome},
    schedule::{Cost, Fault, Planned},
};

/// A fault of a script, in milliseconds.
fn fault(at_ms: u64, lasts_ms: u64, fault: Fault) -> Planned {
    Planned { at: Duration::from_millis(at_ms), lasts: Duration::from_millis(lasts_ms), fault }
}

/// Plays a script that Discord lets a fleet survive for free, and finds nothing wrong.
async fn survives(setup: Setup, script: &[Planned]) -> Outcome {
    let outcome = run::run(setup, script, Cost::AtMost(0)).await;
    outcome.assert_clean("a script: the same each time");
    outcome
}
