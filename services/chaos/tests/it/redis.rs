//! Redis is away, or comes back empty.

use chaos::{fleet::Setup, schedule::Fault};

use crate::{fault, one_at_a_time, survives};

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_while_redis_is_away_and_checkpoints_catch_up() {
    let _turn = one_at_a_time::turn().await;
    // Longer than a lease; then what was caught up is needed.
    let script = [fault(500, 5_000, Fault::RedisAway), fault(8_500, 4_000, Fault::KillWorker(0))];
    let outcome = survives(Setup::default(), &script).await;
    assert!(outcome.resumes >= 4, "{outcome}");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_written_again_to_an_emptied_redis() {
    let _turn = one_at_a_time::turn().await;
    let script = [fault(500, 300, Fault::EmptyRedis), fault(6_500, 4_000, Fault::KillWorker(1))];
    let outcome = survives(Setup::default(), &script).await;
    assert!(outcome.resumes >= 4, "{outcome}");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
}
