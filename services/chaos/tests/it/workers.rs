//! Workers die, fall silent, and stop all together.

use chaos::{fleet::Setup, schedule::Fault};

use crate::{fault, one_at_a_time, survives};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_shards_resume_elsewhere_and_nothing_is_lost() {
    let _turn = one_at_a_time::turn().await;
    let outcome = survives(Setup::default(), &[fault(1_000, 6_000, Fault::KillWorker(0))]).await;
    assert!(outcome.resumes >= 4, "{outcome}");
    let handled = &outcome.verdict.handled;
    let replayed: u64 = handled.values().map(|one| one.replayed).sum();
    assert!(replayed > 0, "what came after the last checkpoint comes again: {outcome}");
    assert!(handled["w0-1"].events > 0, "it has shards again: {outcome}");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_just_after_it_resumed_leaves_no_unmarked_repeats() {
    let _turn = one_at_a_time::turn().await;
    // Discord may replay the RESUMED of the first RESUME within the second one's replay: it does not end that.
    let abort = Fault::Discord(Box::new(discord_sim::Fault::Abort { shards: None }));
    let script = [fault(1_000, 0, abort), fault(1_700, 4_000, Fault::KillWorker(0))];
    let outcome = survives(Setup::default(), &script).await;
    assert!(outcome.resumes >= 16, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_stopped_handles_nothing_that_is_anothers() {
    let _turn = one_at_a_time::turn().await;
    let outcome = survives(Setup::default(), &[fault(1_000, 20_000, Fault::StopWorker(1))]).await;
    assert!(outcome.resumes >= 4, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_is_stopped_and_started_resumes() {
    let _turn = one_at_a_time::turn().await;
    let outcome = survives(Setup::default(), &[fault(1_000, 2_000, Fault::RestartFleet)]).await;
    assert!(outcome.resumes >= 12, "{outcome}");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
}
