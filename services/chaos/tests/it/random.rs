//! A plan from a seed: another one each time, the one in `CHAOS_SEED` when it is set.

use std::{
    env,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chaos::{
    fleet::Setup,
    run,
    schedule::{self, Shape},
};

use crate::one_at_a_time;

#[tokio::test(flavor = "multi_thread")]
async fn a_random_plan_loses_nothing() {
    let _turn = one_at_a_time::turn().await;
    let seed = match env::var("CHAOS_SEED") {
        Ok(seed) => seed.parse().expect("CHAOS_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64,
    };
    let setup = Setup::default();
    let shape =
        Shape { length: Duration::from_secs(25), longest: Duration::from_secs(6), ..setup.shape().await };
    let plan = schedule::plan(seed, &shape);
    let outcome = run::run(setup, &plan, schedule::cost(&plan, &shape)).await;
    outcome.assert_clean(&format!("CHAOS_SEED={seed} replays this"));
}
