//! Alerts about the relay: a bot that does not read, events that fit into no stream, and its Redis, which goes away and comes
//! back empty.

use discord_sim::Fault;
use fleet_fixture::{sim_config, until};
use redis_fixture::RedisServer;
use serde_json::{Value, json};

use super::scene::Scene;

const STREAM: &str = "MESSAGE_CREATE";

/// Fields and values of an entry, after its id.
type RawEntry = (String, Vec<Vec<u8>>);

/// Lets the bot read all that it has not read; how many entries that were.
async fn read_all(redis: &RedisServer) -> usize {
    let words = ["XREADGROUP", "GROUP", "bot", "b", "COUNT", "100000", "NOACK", "STREAMS", STREAM, ">"];
    let read: Option<Vec<(String, Vec<RawEntry>)>> = redis.command(&words).await;
    read.map_or(0, |streams| streams.iter().map(|(_, entries)| entries.len()).sum())
}

/// JSON nested so deep.
fn nested(depth: u32) -> Value {
    (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_the_relay_fire_and_clear() {
    let mut redis = RedisServer::start().await;
    let mut config = sim_config(40);
    config.events_per_second = 200.0;
    let mut scene = Scene::with(config, 1).await;
    let url = redis.url();
    let relay = [("RELAY", "redis"), ("RELAY_REDIS_URL", url.as_str()), ("RELAY_MAX_LENGTH", "6000")];
    scene.start_worker("a", &relay).await;
    scene.until_ready().await;
    scene.until_scraped().await;

    // A bot that does not read: it falls behind, and then the stream is at its cap.
    let _: String = redis.command(&["XGROUP", "CREATE", STREAM, "bot", "0", "MKSTREAM"]).await;
    scene.fires("RelayGroupBehind").await;
    scene.fires("RelayGroupCut").await;
    scene.inject(Fault::EventRate { per_second: 20.0 });
    assert!(read_all(&redis).await > 1_000);
    scene.clears("RelayGroupBehind").await;
    scene.clears("RelayGroupCut").await;

    let guild_id = Some(scene.deployment.sim.control().guilds(1, 1)[0].id);
    scene.inject(Fault::Event { name: STREAM.to_owned(), guild_id, d: nested(200), shards: None });
    scene.fires("RelayGarbled").await;
    scene.clears("RelayGarbled").await;

    // It goes away, and comes back without the events, of which the worker keeps the last seconds.
    redis.kill();
    scene.fires("RelayAway").await;
    redis.restart().await;
    scene.fires("RelayGaps").await;
    scene.clears("RelayAway").await;
    scene.clears("RelayGaps").await;
    until("events to be relayed again", async || {
        let length: u64 = redis.command(&["XLEN", STREAM]).await;
        (length > 0).then_some(())
    })
    .await;
}
