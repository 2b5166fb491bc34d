//! One query is one trace, and so is a broadcast and the start of a shard.

use std::time::Duration;

use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};

use super::collector::{Collector, Listening};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_one_trace_with_a_span_for_each_worker() {
    let listening = Listening::start().await;
    let collector = &listening.collector;
    let deployment = Deployment::start(sim_config(10)).await;
    let mut command = deployment.coordinator_command(2);
    let coordinator = Coordinator::start(listening.trace(&mut command)).await;
    let mut workers = Vec::new();
    for name in ["a", "b"] {
        let mut command = deployment.worker_command(name, &coordinator.address);
        workers.push(Worker::start(name, listening.trace(&mut command)).await);
    }
    coordinator.until_balanced(&[&workers[0], &workers[1]]).await;

    until("a trace of each shard's start in two processes", async || {
        let traces = collector.all();
        let starts = traces.iter().filter(|spans| {
            let has = |service: &str, name: &str| {
                spans.iter().any(|span| span.service == service && span.name == name)
            };
            let steps = ["connect", "wait_for_permit", "identify", "receive_guilds"];
            has("gateway-worker", "shard.start")
                && steps.iter().all(|step| has("gateway-worker", step))
                && has("coordinator", "identify_queue.wait")
        });
        (starts.count() == 2).then_some(())
    })
    .await;

    coordinator.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    let spans = until("one trace of three processes", async || {
        let traces = collector.all();
        traces
            .iter()
            .find(|spans| {
                let served = |service: &str, method: &str| {
                    spans.iter().filter(|span| span.service == service && span.name.ends_with(method)).count()
                };
                served("coordinator", "ShardBridge/GetAggregateStats") == 1
                    && served("gateway-worker", "GatewayWorker/GetShards") == 2
            })
            .cloned()
    })
    .await;
    let asked =
        spans.iter().filter(|span| span.service == "coordinator" && span.name == "ask_worker").count();
    assert_eq!(asked, 2, "{spans:?}");
    assert_eq!(
        spans.iter().filter(|span| span.service == "gateway-worker").count(),
        2,
        "one span a worker: {spans:?}"
    );

    bot_code_is_in_the_caller_s_trace(collector, &workers[0]).await;
    let data = altergolden_proto::convert::from_json(1.into());
    workers[0].client().await.broadcast("x", data).await.unwrap();
    until("one trace of a broadcast in three processes", async || {
        let traces = collector.all();
        let of_all = traces.iter().any(|spans| {
            let delivered = |service: &str| {
                spans
                    .iter()
                    .filter(|span| span.service == service && span.name == "deliver_broadcast")
                    .count()
            };
            spans.iter().any(|span| span.name.ends_with("ShardBridge/Broadcast"))
                && delivered("gateway-worker") == 2
                && delivered("coordinator") == 1
        });
        of_all.then_some(())
    })
    .await;
    let heartbeats = collector.spans().iter().any(|span| span.name.contains("Heartbeat"));
    assert!(!heartbeats, "heartbeats are not traced");
}

/// Asked of one worker, for a shard here and one elsewhere: each hook is in the trace of the question.
async fn bot_code_is_in_the_caller_s_trace(collector: &Collector, worker: &Worker) {
    let data = || altergolden_proto::convert::from_json(1.into());
    worker.client().await.request_shards(Vec::new(), "what?", data()).await.unwrap();
    for shard in [0, 1] {
        worker.client().await.send_to_shard(shard, "x", data()).await.unwrap();
    }
    for (rpc, hook, hooks, traces_of_them) in
        [("ShardBridge/Request", "handle_request", 2, 1), ("ShardBridge/SendToShard", "handle_message", 1, 2)]
    {
        until(hook, async || {
            let traces = collector.all();
            let whole = traces.iter().filter(|spans| {
                let count = |name: &str| spans.iter().filter(|span| span.name.ends_with(name)).count();
                count(rpc) == 1 && count(hook) == hooks
            });
            (whole.count() == traces_of_them).then_some(())
        })
        .await;
    }
}
