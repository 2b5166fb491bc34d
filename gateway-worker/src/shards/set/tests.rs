//! Tasks of shards that are given up, and what the next ones know.

use super::*;
use fleet_model::WorkerId;

use crate::{callbacks::CallbackMetrics, handler::NoHandler, testing};

#[tokio::test]
async fn shard_that_was_given_up_keeps_its_waits() {
    let (runner, _requests) = testing::runner_parts("ws://127.0.0.1:1", CancellationToken::new());
    let event_queues = testing::event_queues(Arc::new(NoHandler));
    let parts = ShardParts {
        credentials: process::credentials::Credentials::none(),
        cache: testing::cache("none"),
        identify: runner.identify.clone(),
        metrics: ShardMetrics::default(),
        checkpoints: runner.checkpoints.clone(),
        callback_slots: CallbackSlots::new(CallbackMetrics::default()),
        singletons: Singletons {
            code: event_queues.code.clone(),
            timeout: Duration::from_secs(5),
            metrics: ShardMetrics::default(),
            runtime: Handle::current(),
        },
        event_queues,
        runtime: Handle::current(),
        changed: Arc::default(),
    };
    let published = RunningShards::new(WorkerId::try_from("w".to_owned()).unwrap());
    let mut set = ShardSet::new(parts, published);
    let mut failures = Vec::new();
    for epoch in 1..=3 {
        let shards = BTreeMap::from([(testing::SHARD, Epoch(epoch))]);
        let assignment = Assignment { shard_total: testing::TOTAL, shards, ..Assignment::default() };
        set.apply(&assignment, &runner.lease, &runner.settings);
        failures.push(set.dialing[&testing::SHARD].failures());
        // Two looks, as the process may have slept before the first.
        let now = BootTime::now();
        for seconds in [60, 120] {
            set.give_up_stuck(Duration::from_secs(30), now.after(Duration::from_secs(seconds)));
        }
        assert!(set.tasks.is_empty());
    }
    assert_eq!(failures, [0, 1, 2]);
}
