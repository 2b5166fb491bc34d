//! A handoff is one trace, and so is a failover.

use fleet_fixture::{Coordinator, Deployment, Worker, sim_config};

use super::collector::{Listening, Span, assert_child, assert_connected, each, has, only};
use crate::cli::altergolden;

async fn two_workers(
    deployment: &Deployment,
    collector: &Listening,
    shards: u32,
) -> (Coordinator, Worker, Worker) {
    let mut command = deployment.coordinator_command(shards);
    let coordinator = Coordinator::start(collector.trace(&mut command)).await;
    let worker = async |name| {
        let mut command = deployment.worker_command(name, &coordinator.address);
        Worker::start(name, collector.trace(&mut command)).await
    };
    let (a, b) = tokio::join!(worker("a"), worker("b"));
    coordinator.until_balanced(&[&a, &b]).await;
    (coordinator, a, b)
}

/// Where each span of these names was made: `a` and `b` for the workers, `coordinator` for it.
fn assert_made_by(spans: &[Span], maker: &str, names: &[&str]) {
    for name in names {
        let span = only(spans, name);
        let is = if span.service == "coordinator" { "coordinator" } else { &span.instance };
        assert_eq!(is, maker, "{name}: {spans:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handoff_is_one_trace() {
    const COPY_RPC: &str = "altergolden.v1.GatewayWorker/CopyShard";
    let (collector, deployment) = (Listening::start().await, Deployment::start(sim_config(10)).await);
    // One worker has two of the shards: when one of these moves, no other shard moves to balance it.
    let (coordinator, _a, _b) = two_workers(&deployment, &collector, 3).await;
    let shards = coordinator.client().await.shards("").await.unwrap();
    let of_a = shards.iter().filter(|shard| shard.worker_id == "a").count();
    let (from, to) = if of_a == 2 { ("a", "b") } else { ("b", "a") };
    let shard = shards.iter().find(|shard| shard.worker_id == from).unwrap().shard_id.to_string();
    let moved = altergolden(&coordinator.address, &["move", &shard, to]);
    assert_eq!(moved.code, 0, "{} {}", moved.out, moved.err);

    let names = [
        "handoff",
        "copy",
        "release",
        "start",
        COPY_RPC,
        "copy_shard",
        "release_shard",
        "shard.start",
        "resume",
    ];
    let traces = collector.collector.until_roots("handoff", 1, |spans| has(spans, &names)).await;
    let spans = &traces[0];
    assert_connected(spans);
    assert_made_by(spans, "coordinator", &["handoff", "copy", "release", "start"]);
    assert_made_by(spans, from, &["release_shard"]);
    assert_made_by(spans, to, &["copy_shard", "shard.start", "connect", "resume"]);
    for step in ["copy", "release", "start", "copy_shard", "release_shard", "shard.start"] {
        assert_child(spans, step, "handoff");
    }
    // Called again when the target learned of the handoff before the source did.
    for call in each(spans, COPY_RPC) {
        assert_eq!((&*call.instance, &call.parent), (from, &only(spans, "copy_shard").id), "{spans:#?}");
    }
    assert_child(spans, "resume", "shard.start");
    let whole = only(spans, "handoff");
    assert_eq!(whole.attribute("shard.id"), shard);
    assert_eq!((whole.attribute("from.id"), whole.attribute("to.id")), (from, to));
    assert_eq!((whole.attribute("outcome"), whole.attribute("gap")), ("resumed", "false"));
    assert!(whole.attribute("plan.id").parse::<u64>().is_ok(), "{whole:?}");
    assert_eq!(whole.attribute("reason"), format!("move shard {shard} to worker {to}"));
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_one_trace_for_each_shard() {
    let (collector, deployment) = (Listening::start().await, Deployment::start(sim_config(20)).await);
    let (coordinator, mut a, b) = two_workers(&deployment, &collector, 4).await;
    let shards: Vec<u32> = coordinator
        .client()
        .await
        .shards("a")
        .await
        .unwrap()
        .into_iter()
        .map(|shard| shard.shard_id)
        .collect();
    assert_eq!(shards.len(), 2);
    // So that each shard has a checkpoint to resume from.
    a.until_metric("altergolden_checkpoint_writes_total", |written| written >= 2).await;
    a.process.kill().await;
    coordinator.until_balanced(&[&b]).await;

    let names = ["failover", "detect_death", "place", "start", "restore_checkpoint", "shard.start", "resume"];
    let traces = collector.collector.until_roots("failover", 2, |spans| has(spans, &names)).await;
    let mut seen: Vec<u32> = Vec::new();
    for spans in &traces {
        assert_connected(spans);
        assert_made_by(spans, "coordinator", &["failover", "detect_death", "place", "start"]);
        assert_made_by(spans, "b", &["restore_checkpoint", "shard.start", "connect", "resume"]);
        for step in ["detect_death", "place", "start", "restore_checkpoint", "shard.start"] {
            assert_child(spans, step, "failover");
        }
        let whole = only(spans, "failover");
        assert_eq!((whole.attribute("from.id"), whole.attribute("to.id")), ("a", "b"));
        assert_eq!((whole.attribute("cause"), whole.attribute("outcome")), ("evidence", "resumed"));
        let longest = ["detect_death", "place", "start"].map(|step| only(spans, step).took_ms);
        assert!(longest.iter().sum::<u64>() <= whole.took_ms + 3, "the steps lie in the whole: {spans:#?}");
        seen.push(whole.attribute("shard.id").parse().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, shards);
    deployment.assert_lawful();
}
