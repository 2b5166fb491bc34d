//! Workers that die at a step of a checkpoint's writing or reading.

use chaos::{fleet::Setup, run::Outcome, schedule::Fault};

use crate::{fault, one_at_a_time, survives};

fn died_at(outcome: &Outcome, process: &str, point: &str) {
    let died = outcome.verdict.handled.get(process).and_then(|handled| handled.died_at.as_deref());
    assert_eq!(died, Some(point), "{process}: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_while_it_writes_a_checkpoint() {
    let _turn = one_at_a_time::turn().await;
    // Four shards write about once a second: these come after the fleet is ready, and before the script starts them again.
    let die_at = vec![(0, "checkpoint_write_head:40".to_owned()), (1, "checkpoint_write_step:80".to_owned())];
    let setup = Setup { die_at, ..Setup::default() };
    let script = [fault(12_000, 500, Fault::KillWorker(0)), fault(22_000, 500, Fault::KillWorker(1))];
    let outcome = survives(setup, &script).await;
    died_at(&outcome, "w0-0", "checkpoint_write_head");
    died_at(&outcome, "w1-0", "checkpoint_write_step");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_die_while_it_takes_over() {
    let _turn = one_at_a_time::turn().await;
    let die_at = vec![(1, "checkpoint_read_page:1".to_owned()), (2, "checkpoint_read_end:3".to_owned())];
    let setup = Setup { die_at, ..Setup::default() };
    // 0 dies, 1 dies of taking over from it, and 2 of taking over from both.
    let script = [
        fault(1_000, 3_000, Fault::KillWorker(0)),
        fault(7_000, 500, Fault::KillWorker(1)),
        fault(12_000, 500, Fault::KillWorker(2)),
    ];
    let outcome = survives(setup, &script).await;
    died_at(&outcome, "w1-0", "checkpoint_read_page");
    died_at(&outcome, "w2-0", "checkpoint_read_end");
}
