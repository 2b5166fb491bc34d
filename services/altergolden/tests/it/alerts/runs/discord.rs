//! Alerts about what Discord refuses.

use discord_sim::{Edit, Fault, Patch};
use fleet_fixture::sim_config;
use serde_json::json;

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
    scene.fires("IdentifyBudgetShort").await;
    scene.fires("IdentifyBudgetLow").await;
    scene.fires("IdentifyQueueStuck").await;
    scene.inject(session_limit(1_000));
    scene.restart_coordinator(&[]).await;
    scene.clears("IdentifyBudgetShort").await;
    scene.clears("IdentifyBudgetLow").await;
    scene.clears("IdentifyQueueStuck").await;
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
async fn alert_about_a_nearly_full_shard_fires_and_clears() {
    let mut scene = Scene::with(sim_config(2_400), 1).await;
    scene.start_worker("a", &[]).await;
    scene.fires("ShardNearlyFull").await;
    for guild in scene.deployment.sim.control().guilds(100, 1) {
        scene.inject(Fault::GuildLeave { guild_id: guild.id });
    }
    scene.clears("ShardNearlyFull").await;
}

/// The worker counts all of them before it is scraped for the first time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_unreadable_events_fires_and_clears() {
    let mut scene = Scene::start(1).await;
    scene.until_first_counts_are_growth().await;
    let edits = vec![Edit::Set { path: "/channels/-".to_owned(), value: json!({ "id": "not a number" }) }];
    scene.inject(Fault::Patch(Patch { event: "GUILD_CREATE".to_owned(), edits, ..Patch::default() }));
    scene.start_worker("a", &[]).await;
    scene.fires("EventsUnreadable").await;
    scene.clears("EventsUnreadable").await;
}
