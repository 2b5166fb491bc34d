//! Planned changes: nothing is lost, nothing comes twice, no IDENTIFY is spent; and if a process dies in the middle, the step is
//! finished or undone.

use std::time::Duration;

use altergolden_proto::v1::{self, PlanState, start_plan_request::Plan as Wish};
use chaos::{
    fleet::{Fleet, Setup},
    run::{self, Outcome},
    schedule::{Cost, Link},
};

use crate::one_at_a_time;

/// Plays something that must cost nothing, and finds nothing wrong.
async fn plays(setup: Setup, play: impl AsyncFnOnce(&mut Fleet) -> Vec<String>) -> Outcome {
    let outcome = run::run_with(setup, Cost::AtMost(0), async |fleet| (Vec::new(), play(fleet).await)).await;
    outcome.assert_clean("a script: the same each time");
    outcome
}

/// The same without a death: then no event may even be marked as one that may have been handled before.
async fn changes(play: impl AsyncFnOnce(&mut Fleet) -> Vec<String>) -> Outcome {
    let outcome = plays(Setup::default(), play).await;
    let replayed: u64 = outcome.verdict.handled.values().map(|one| one.replayed).sum();
    assert_eq!(replayed, 0, "nothing comes twice: {outcome}");
    assert!(outcome.verdict.gaps.is_empty(), "{outcome}");
    outcome
}

fn failure(result: Result<(), String>) -> Vec<String> {
    result.err().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_worker_hands_off_all_shards_and_gets_its_share_on_return() {
    let _turn = one_at_a_time::turn().await;
    let outcome = changes(async |fleet| {
        let failures = failure(fleet.drain_worker(0).await);
        fleet.start_worker(0);
        fleet.balanced().await;
        failures
    })
    .await;
    assert!(outcome.resumes >= 8, "four shards there, four back: {outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_drain_move_and_rebalance() {
    let _turn = one_at_a_time::turn().await;
    changes(async |fleet| {
        let mut failures = Vec::new();
        let shards = fleet.coordinator().client().await.shards("w0").await.unwrap();
        let moves = Wish::Move(v1::MoveShard { shard_id: shards[0].shard_id, worker_id: "w1".to_owned() });
        for wish in [moves, Wish::Rebalance(v1::Rebalance {})] {
            fleet.start_plan(wish).await.unwrap();
            let plan = fleet.plan_is_over().await;
            assert_eq!(plan.state(), PlanState::Done, "{plan:?}");
        }
        fleet.start_plan(Wish::Drain(v1::DrainWorker { worker_id: "w2".to_owned() })).await.unwrap();
        let plan = fleet.plan_is_over().await;
        assert_eq!((plan.state(), plan.steps_done), (PlanState::Done, plan.steps.len() as u32), "{plan:?}");
        failures.extend(failure(fleet.worker_ends(2).await));
        fleet.start_worker(2);
        fleet.balanced().await;
        failures
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_generation_takes_over_and_the_old_one_exits() {
    let _turn = one_at_a_time::turn().await;
    let outcome = changes(async |fleet| failure(fleet.deploy().await)).await;
    assert!(outcome.resumes >= 12, "{outcome}");
    assert!(outcome.verdict.handled["w0.g1-1"].events > 0, "{outcome}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_deployment_rolls_back() {
    let _turn = one_at_a_time::turn().await;
    changes(async |fleet| {
        let generation = fleet.start_successors().await;
        fleet.start_plan(Wish::Promote(v1::Promote { generation })).await.unwrap();
        fleet.coordinator().client().await.abort_plan().await.unwrap();
        let plan = fleet.plan_is_over().await;
        assert_eq!(plan.state(), PlanState::RolledBack, "{plan:?}");
        failure(fleet.settle_generations(false).await)
    })
    .await;
}

/// Promotes a next generation while one of its processes dies, then settles the result.
async fn promotes_while(fleet: &mut Fleet, dies: impl AsyncFnOnce(&mut Fleet)) -> Vec<String> {
    let generation = fleet.start_successors().await;
    fleet.start_plan(Wish::Promote(v1::Promote { generation })).await.unwrap();
    dies(fleet).await;
    let plan = fleet.plan_is_over().await;
    let promoted = plan.state() == PlanState::Done;
    let failures = failure(fleet.settle_generations(promoted).await);
    fleet.start_all().await;
    failures
}

#[tokio::test(flavor = "multi_thread")]
async fn target_may_die_during_a_deployment_which_then_rolls_back() {
    let _turn = one_at_a_time::turn().await;
    for point in ["handoff_copied:2", "handoff_carried:2", "checkpoint_claimed:2"] {
        let setup = Setup { successors_die_at: vec![(0, point.to_owned())], ..Setup::default() };
        plays(setup, async |fleet| {
            let generation = fleet.start_successors().await;
            fleet.start_plan(Wish::Promote(v1::Promote { generation })).await.unwrap();
            let plan = fleet.plan_is_over().await;
            assert_eq!(plan.state(), PlanState::RolledBack, "{point}: {plan:?}");
            assert!(plan.reason.contains("w0.g1 of generation g1 died"), "{point}: {plan:?}");
            fleet.kill_successor(0).await;
            failure(fleet.settle_generations(false).await)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_may_die_in_the_middle() {
    let _turn = one_at_a_time::turn().await;
    for point in ["handoff_copy_guild:9", "handoff_last_word:2"] {
        let setup = Setup { die_at: vec![(0, point.to_owned())], ..Setup::default() };
        plays(setup, async |fleet| {
            let failures = promotes_while(fleet, async |fleet| fleet.kill_worker(0).await).await;
            fleet.balanced().await;
            failures
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_continues_under_the_next_coordinator() {
    let _turn = one_at_a_time::turn().await;
    let moving = i32::from(v1::ShardStatus::Moving);
    let done = |status: &v1::FleetStatus| status.plan.as_ref().map_or(0, |plan| plan.steps_done);
    let begun = |_: &v1::FleetStatus| true;
    let asked_back = |status: &v1::FleetStatus| {
        done(status) > 0 || status.shards.iter().any(|shard| shard.status == moving)
    };
    let some_are_there = |status: &v1::FleetStatus| done(status) > 0;
    let steps: [&dyn Fn(&v1::FleetStatus) -> bool; 3] = [&begun, &asked_back, &some_are_there];
    for step in steps {
        plays(Setup::default(), async |fleet| {
            promotes_while(fleet, async |fleet| {
                fleet.coordinator().until("the plan to come so far", step).await;
                fleet.kill_coordinator().await.unwrap();
                fleet.start_coordinator().await;
            })
            .await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_not_written_down_is_not_answered_for() {
    let _turn = one_at_a_time::turn().await;
    plays(Setup::default(), async |fleet| {
        let mut client = fleet.coordinator().client().await;
        let shards = client.shards("w0").await.unwrap();
        let moves = Wish::Move(v1::MoveShard { shard_id: shards[0].shard_id, worker_id: "w1".to_owned() });
        fleet.link(Link::CoordinatorRedis).hang();
        let answer = tokio::spawn(async move { client.start_plan(moves, false).await });
        let begun = |status: &v1::FleetStatus| status.plan.is_some();
        fleet.coordinator().until("the plan to begin", begun).await;
        fleet.kill_coordinator().await.unwrap();
        let answer = answer.await.unwrap();
        assert!(answer.is_err(), "an unwritten plan was answered: {answer:?}");

        fleet.link(Link::CoordinatorRedis).heal();
        fleet.start_coordinator().await;
        fleet.balanced().await;
        // What was on its way may have come to Redis all the same.
        let over = |status: &v1::FleetStatus| {
            status.acting && status.plan.as_ref().is_none_or(|plan| plan.state() == PlanState::Done)
        };
        fleet.coordinator().until("no plan to be under way", over).await;
        Vec::new()
    })
    .await;
}

/// The operator gets no answer; the next coordinator carries the plan out. The first intent is the generation that workers began with.
#[tokio::test(flavor = "multi_thread")]
async fn coordinator_may_die_with_a_plan_written_but_not_answered() {
    let _turn = one_at_a_time::turn().await;
    let point = "coordinator_intent_written:2".to_owned();
    let setup = Setup { coordinators_die_at: vec![(0, point)], ..Setup::default() };
    plays(setup, async |fleet| {
        let generation = fleet.start_successors().await;
        fleet.start_plan(Wish::Promote(v1::Promote { generation })).await.unwrap_err();
        fleet.kill_coordinator().await.unwrap();
        fleet.start_coordinator().await;
        let plan = fleet.plan_is_over().await;
        assert_eq!(plan.state(), PlanState::Done, "{plan:?}");
        let failures = failure(fleet.settle_generations(true).await);
        fleet.start_all().await;
        failures
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_may_be_restarted_in_the_middle_and_leaves_no_shard_in_between() {
    let _turn = one_at_a_time::turn().await;
    changes(async |fleet| {
        promotes_while(fleet, async |fleet| {
            let moving = i32::from(v1::ShardStatus::Moving);
            let asked_back = |status: &v1::FleetStatus| {
                status.plan.as_ref().is_some_and(|plan| plan.steps_done > 0)
                    || status.shards.iter().any(|shard| shard.status == moving)
            };
            fleet.coordinator().until("shards to be asked back", asked_back).await;
            fleet.restart_coordinator().await.unwrap();
            let rows = fleet.coordinator().until("the next to act", |status| status.acting).await;
            for shard in rows.shards {
                assert!(!shard.worker_id.is_empty(), "shard {} has no worker", shard.shard_id);
            }
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_pauses_while_redis_is_down() {
    let _turn = one_at_a_time::turn().await;
    plays(Setup::default(), async |fleet| {
        promotes_while(fleet, async |fleet| {
            for link in fleet.redis_links() {
                fleet.link(link).cut();
            }
            let paused = |status: &v1::FleetStatus| {
                status.plan.as_ref().is_some_and(|plan| {
                    plan.state() == PlanState::Paused && plan.reason.contains("store is away")
                        || plan.state() == PlanState::Done
                })
            };
            fleet.coordinator().until("the plan to pause", paused).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            for link in fleet.redis_links() {
                fleet.link(link).heal();
            }
        })
        .await
    })
    .await;
}
