//! The relay: workers die, stall or leave, and Redis fails; each event is in its stream once.

use chaos::{
    fleet::Setup,
    run,
    schedule::{Cost, Fault},
};

use crate::{fault, one_at_a_time, survives};

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_relayed_once_while_workers_die_stall_and_leave() {
    let _turn = one_at_a_time::turn().await;
    let script = [
        fault(500, 3_000, Fault::KillWorker(0)),
        fault(7_000, 8_000, Fault::StopWorker(1)),
        fault(18_000, 2_000, Fault::DrainWorker(2)),
    ];
    let outcome = survives(Setup::default().relaying(), &script).await;
    assert!(outcome.resumes >= 12, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_redis_outage_are_relayed_afterwards() {
    let _turn = one_at_a_time::turn().await;
    let new_sessions = Fault::Discord(Box::new(discord_sim::Fault::InvalidSession {
        shards: Some(vec![0, 5]),
        resumable: false,
    }));
    let script = [
        fault(500, 2_000, Fault::PauseRedis),
        fault(5_000, 4_000, Fault::RedisAway),
        fault(11_000, 0, new_sessions),
        fault(14_000, 0, Fault::Deploy),
    ];
    let outcome = run::run(Setup::default().relaying(), &script, Cost::AtMost(2)).await;
    outcome.assert_clean("a script: the same each time");
    assert_eq!(outcome.verdict.gaps.len(), 2, "{outcome}");
}
