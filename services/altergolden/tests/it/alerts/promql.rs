//! The questions of the guide that this project started from, as written there, asked of a real Prometheus.

use fleet_fixture::{Deployment, sim_config, until};

use super::prometheus::Prometheus;

const SHARDS: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn questions_of_the_sharding_guide_have_discords_numbers_as_answers() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(SHARDS).await;
    let (a, b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let prometheus = Prometheus::start(&[
        ("coordinator", &coordinator.health),
        ("gateway-worker", &a.health),
        ("gateway-worker", &b.health),
    ])
    .await;

    let stats = deployment.sim.control().stats(SHARDS);
    let (guilds, of_shard_0) = (stats.total.guilds as f64, stats.shards[0].guilds as f64);
    assert!(of_shard_0 > 0.0 && of_shard_0 < guilds, "{of_shard_0} of {guilds}");
    let exactly = async |query: &str, expected: f64| {
        until(&format!("{query} to be {expected}"), async || {
            let answer = prometheus.ask(query).await;
            matches!(answer[..], [(_, value)] if (value - expected).abs() < 1e-9).then_some(answer)
        })
        .await
    };
    exactly("sum(altergolden_discord_guilds_total)", guilds).await;
    let answer = exactly("altergolden_discord_guilds_total{shard_id=\"0\"}", of_shard_0).await;
    assert_eq!(answer[0].0["job"], "gateway-worker", "{answer:?}");

    // The simulator's heartbeats are 2 s apart: there is a round trip after the first.
    let (labels, latency) = until("the latency of shard 1", async || {
        prometheus.ask("altergolden_discord_gateway_latency_ms{shard_id=\"1\"}").await.pop()
    })
    .await;
    assert!(latency > 0.0 && latency < 60_000.0, "{labels} {latency}");
    let mut client = coordinator.client().await;
    let reported = until("the latency of shard 1 in its report", async || {
        let shards = client.shards("").await.ok()?;
        let known = shards.iter().find(|shard| shard.shard_id == 1)?.latency_ms;
        let asked = prometheus.ask("altergolden_discord_gateway_latency_ms{shard_id=\"1\"}").await.pop()?.1;
        // Both change with each heartbeat.
        (known.is_some_and(|known| (known - asked).abs() < 1e-9)).then_some(asked)
    })
    .await;
    assert!(reported > 0.0, "{reported}");
}
