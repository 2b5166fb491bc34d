//! The coordinator dies; a second one is started by mistake.

use chaos::{fleet::Setup, schedule::Fault};

use crate::{fault, one_at_a_time, survives};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinator_costs_nothing() {
    let _turn = one_at_a_time::turn().await;
    let outcome = survives(Setup::default(), &[fault(500, 4_000, Fault::KillCoordinator)]).await;
    assert_eq!(outcome.resumes, 0, "nothing moved: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_coordinator_moves_nothing() {
    let _turn = one_at_a_time::turn().await;
    let outcome = survives(Setup::default(), &[fault(500, 4_000, Fault::SecondCoordinator)]).await;
    assert_eq!(outcome.resumes, 0, "nothing moved: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_while_the_coordinator_is_away_is_found_dead_after() {
    let _turn = one_at_a_time::turn().await;
    let script = [fault(500, 3_000, Fault::KillCoordinator), fault(1_500, 8_000, Fault::KillWorker(2))];
    let outcome = survives(Setup::default(), &script).await;
    assert!(outcome.resumes >= 4, "{outcome}");
}
