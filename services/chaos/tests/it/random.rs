//! A plan drawn from a seed, the same in each run of the tests. `CHAOS_SEED` sets another one; `.ci/night soak` draws new
//! ones.

use std::{env, time::Duration};

use chaos::{
    fleet::Setup,
    run,
    schedule::{self, Shape},
};

use crate::one_at_a_time;

/// Fourteen faults: a killed worker, a move, silent resume URLs, frozen connections, odd guilds, closes and resets.
const SEED: u64 = 1_795_941_431_471_845;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_random_faults_loses_nothing() {
    let _turn = one_at_a_time::turn().await;
    let seed = match env::var("CHAOS_SEED") {
        Ok(seed) => seed.parse().expect("CHAOS_SEED is a number"),
        Err(_) => SEED,
    };
    let setup = Setup::default();
    let shape =
        Shape { length: Duration::from_secs(25), longest: Duration::from_secs(6), ..setup.shape().await };
    let plan = schedule::plan(seed, &shape);
    let outcome = run::run(setup, &plan, schedule::cost(&plan, &shape)).await;
    outcome.assert_clean(&format!("CHAOS_SEED={seed} replays this"));
}
