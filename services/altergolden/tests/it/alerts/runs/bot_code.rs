//! Alerts about bot code: slow handlers, an event that kills its workers, a singleton that does not end, too many commands.

use std::path::Path;

use altergolden_proto::v1::{
    RequestGuildMembersRequest, request_guild_members_request::Which, shard_bridge_client::ShardBridgeClient,
};
use discord_sim::Fault;
use fleet_fixture::sim_config;
use process::credentials::Role;
use tokio::task::JoinSet;

use super::scene::Scene;
use crate::cli::altergolden;

/// Starts a worker whose bot code writes a ledger into this folder.
async fn start_bot(scene: &mut Scene, name: &str, folder: &Path, settings: &[(&str, &str)]) {
    let ledger = folder.join(name).display().to_string();
    let mut settings = settings.to_vec();
    settings.push(("LEDGER_FILE", &ledger));
    scene.start_program("ledger-bot", name, &settings).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_slow_handlers_fire_and_clear() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::with(sim_config(10), 1).await;
    scene.until_first_counts_are_growth().await;
    // One event a second, of the 40 that arrive.
    let slow = [("LEDGER_HANDLE_MS", "1000"), ("HANDLERS_AT_ONCE", "1"), ("QUEUE_EVENTS", "64")];
    start_bot(&mut scene, "a", folder.path(), &slow).await;
    scene.fires("HandlerQueueFull").await;
    scene.fires("EventsShed").await;
    scene.fires("HandlersBehind").await;
    scene.inject(Fault::EventRate { per_second: 0.0 });
    scene.clears("HandlersBehind").await;
    scene.clears("HandlerQueueFull").await;
    scene.clears("EventsShed").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_an_event_that_kills_its_workers_fire_and_clear() {
    const POISON: &str = "a poisonous message";
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(1).await;
    let intents = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    // It kills three, and the fourth sets it aside.
    for name in ["a", "b", "c", "d"] {
        start_bot(&mut scene, name, folder.path(), &[("LEDGER_ABORT_ON", POISON), ("INTENTS", intents)])
            .await;
    }
    scene.until_workers(4).await;
    scene.until_ready().await;
    let guild_id = scene.deployment.sim.control().guilds(1, 1)[0].id;
    scene.inject(Fault::Message { guild_id, content: Some(POISON.to_owned()) });
    scene.fires("WorkersHeldBack").await;
    scene.fires("EventSetAside").await;
    scene.clears("WorkersHeldBack").await;
    scene.clears("EventSetAside").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_two_singletons_fires_and_clears() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(1).await;
    let blocks = [("LEDGER_SINGLETON_BLOCKS_MS", "30000"), ("SINGLETON_TIMEOUT", "500ms")];
    start_bot(&mut scene, "a", folder.path(), &blocks).await;
    scene.until_ready().await;
    start_bot(&mut scene, "b", folder.path(), &blocks).await;
    scene.until_workers(2).await;
    // The singleton of the first worker blocks its thread, so it outlives the move.
    let moved = altergolden(&scene.coordinator.address, &["move", "0", "b"]);
    assert_eq!(moved.code, 0, "{} {}", moved.out, moved.err);
    scene.fires("SingletonTwice").await;
    scene.clears("SingletonTwice").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_too_many_commands_fires_and_clears() {
    let mut scene = Scene::start(1).await;
    scene.start_worker("a", &[("INTENTS", "GUILDS,GUILD_MEMBERS")]).await;
    scene.until_ready().await;
    scene.until_scraped().await;
    let guild = scene.deployment.sim.control().guilds(1, 1)[0].id;
    let bridge = ShardBridgeClient::new(scene.coordinator.channel(Role::Bot).await);
    let mut flood = JoinSet::new();
    // Discord takes 120 commands in a minute on one connection.
    for _ in 0..300 {
        let mut bridge = bridge.clone();
        let request = RequestGuildMembersRequest {
            guild_id: guild.0,
            which: Some(Which::Query("a".to_owned())),
            limit: 1,
            deadline_ms: Some(3_000),
            ..RequestGuildMembersRequest::default()
        };
        flood.spawn(async move { bridge.request_guild_members(request).await.is_ok() });
    }
    let sent = flood.join_all().await.into_iter().filter(|sent| *sent).count();
    assert!((1..=120).contains(&sent), "{sent} of 300 were sent");
    scene.fires("CommandsRefused").await;
    scene.clears("CommandsRefused").await;
}
