//! Alerts about what Discord refuses.

use discord_sim::Fault;
use fleet_fixture::sim_config;

use super::scene::Scene;

fn session_limit(remaining: u32) -> Fault {
    Fault::SessionLimit { max_concurrency: None, remaining: Some(remaining), shards: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_sessions_identifies_and_tokens_fire_and_clear() {
    let mut scene = Scene::start(4).await;
    scene.start_worker("a", &[]).await;
    scene.until_ready().await;

    // A connection that cannot be made again.
    scene.inject(Fault::AcceptThenClose { connections: u32::MAX });
    scene.inject(Fault::Close { shards: Some(vec![2]), code: 4000, reason: String::new() });
    scene.fires("ShardsNotReady").await;
    scene.inject(Fault::AcceptThenClose { connections: 0 });
    scene.clears("ShardsNotReady").await;
    scene.until_ready().await;

    // Only the reserve is left, and two sessions end.
    scene.inject(session_limit(100));
    scene.restart_coordinator(&[]).await;
    scene.until_ready().await;
    scene.inject(Fault::InvalidSession { shards: Some(vec![0, 1]), resumable: false });
    for alert in ["IdentifyBudgetShort", "IdentifyBudgetLow", "IdentifyQueueStuck"] {
        scene.fires(alert).await;
    }
    scene.inject(session_limit(1_000));
    scene.restart_coordinator(&[]).await;
    for alert in ["IdentifyBudgetShort", "IdentifyBudgetLow", "IdentifyQueueStuck"] {
        scene.clears(alert).await;
    }
    scene.until_ready().await;

    // The token is refused, and accepted again.
    scene.inject(Fault::RejectToken { on: true });
    scene.inject(Fault::Close { shards: Some(vec![0]), code: 4004, reason: String::new() });
    scene.fires("TokenRefused").await;
    scene.fires("ShardFailed").await;
    scene.inject(Fault::RejectToken { on: false });
    scene.restart_coordinator(&[]).await;
    scene.worker("a").process.kill().await;
    scene.forget("a");
    scene.start_worker("b", &[]).await;
    scene.clears("TokenRefused").await;
    scene.clears("ShardFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn a_shard_with_nearly_all_guilds_that_discord_allows_is_noticed() {
    let mut scene = Scene::with(sim_config(2_400), 1).await;
    scene.start_worker("a", &[]).await;
    scene.fires("ShardNearlyFull").await;
}
