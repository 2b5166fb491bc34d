//! Workers that die while writing or reading a checkpoint; coordinators that die between a decision, its write and its
//! announcement.

use chaos::{fleet::Setup, run::Outcome, schedule::Fault};
use fleet_fixture::{Coordinator, Deployment};

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
async fn worker_may_die_during_a_takeover() {
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

/// Failpoints around the failover of a dead worker's shards, and while taking the term.
#[tokio::test(flavor = "multi_thread")]
async fn coordinator_may_die_at_each_step_of_a_failover() {
    let _turn = one_at_a_time::turn().await;
    // When each coordinator is restarted; it must have reached its failpoint by then. A term lapses after 3 s, and a new
    // coordinator assigns nothing for 4 s.
    let lives = [
        ("coordinator_lease_revoked:1", 4_000),
        ("coordinator_owners_written:1", 16_000),
        ("coordinator_term_claimed:1", 22_000),
        ("coordinator_term_fenced:1", 28_000),
        ("coordinator_lease_granted:2", 36_000),
    ];
    let coordinators_die_at = (0..).zip(lives.map(|(point, _)| point.to_owned())).collect();
    let setup = Setup { coordinators_die_at, ..Setup::default() };
    let mut script = vec![fault(500, 37_000, Fault::KillWorker(0))];
    script.extend(lives.map(|(_, again_at)| fault(again_at - 100, 100, Fault::KillCoordinator)));
    let outcome = survives(setup, &script).await;
    assert!(outcome.resumes >= 4, "{outcome}");
}

/// A permit that is recorded as spent but never sent costs one of the day's, and breaks no rule of Discord's.
#[tokio::test(flavor = "multi_thread")]
async fn coordinator_may_die_with_a_permit_written_but_not_sent() {
    let _turn = one_at_a_time::turn().await;
    let deployment = Deployment::start(fleet_fixture::sim_config(8)).await;
    let mut command = deployment.coordinator_command(4);
    command.env("COORDINATOR_DIE_AT", "coordinator_permit_written:2");
    let mut first = Coordinator::start(&mut command).await;
    let listen = first.socket().to_string();
    let _worker = deployment.worker("a", &first).await;
    assert!(!first.process.ended().await.success());
    let mut command = deployment.coordinator_command(4);
    let second = Coordinator::start(command.env("COORDINATOR_LISTEN", listen)).await;
    second.until("every shard is ready", fleet_fixture::all_ready).await;
    deployment.assert_lawful();
}
