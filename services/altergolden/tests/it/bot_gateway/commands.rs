//! What clients send to Discord.

use std::collections::BTreeSet;

use fleet_fixture::{sim_config, until};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    client::Client,
    fleet::{Fleet, GUILDS, SHARDS},
};

/// A voice channel, and its guild.
fn voice_channel(client: &Client) -> (u64, Value) {
    let is_voice = |channel: &&Value| channel["type"] == 2;
    let found = client.created.iter().find_map(|(guild, data)| {
        let channel = data["channels"].as_array()?.iter().find(is_voice)?["id"].clone();
        Some((*guild, channel))
    });
    found.unwrap()
}

fn join(guild: u64, channel: &Value) -> Value {
    json!({"op": 4, "d": {"guild_id": guild.to_string(), "channel_id": channel, "self_mute": false, "self_deaf": false}})
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_and_voice_state_go_to_their_shards() {
    let fleet = Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_VOICE_STATES", &[]).await;
    let mut client = Client::identify(&fleet.gateways[0], (0, 1), 1 | 1 << 7).await;
    client.until_ready().await;
    let control = fleet.deployment.sim.control();
    let presence = |name: &str| json!({"op": 3, "d": {"since": null, "afk": false, "status": "idle", "activities": [{"name": name, "type": 0}]}});
    let shown = |name: &str| {
        let sessions = control.sessions().sessions;
        let live = sessions.iter().filter(|session| session.ended_at_ms.is_none());
        live.filter(|session| session.presence["activities"][0]["name"] == name).count()
    };
    client.send(presence("one")).await;
    until("the first presence", async || (shown("one") == SHARDS as usize).then_some(())).await;
    client.send(presence("one")).await;
    client.send(presence("two")).await;
    until("the second presence", async || (shown("two") == SHARDS as usize).then_some(())).await;
    assert_eq!(fleet.asked(3, None), 2 * SHARDS as usize, "equal ones are not sent");

    let (guild, channel) = voice_channel(&client);
    client.send(join(guild, &channel)).await;
    client
        .until("both voice events", |client| {
            ["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"].iter().all(|name| client.answered(name, guild) > 0)
        })
        .await;
    assert_eq!(fleet.asked(4, Some(guild)), 1);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn session_that_ends_leaves_the_voice_channels_that_it_joined_last() {
    let fleet = Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_VOICE_STATES", &[]).await;
    let intents = 1 | 1 << 7;
    let connected = async || {
        let mut client = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
        client.until_ready().await;
        client
    };
    let mut watcher = connected().await;
    let (guild, channel) = voice_channel(&watcher);
    let states = |client: &Client, joined: bool| {
        let states = client.answers.iter().filter(|(name, data)| {
            name == "VOICE_STATE_UPDATE" && data["guild_id"] == json!(guild.to_string())
        });
        states.filter(|(_, data)| data["channel_id"].is_string() == joined).count()
    };
    let joined = async |client: &mut Client, watcher: &mut Client| {
        let before = states(watcher, true);
        client.send(join(guild, &channel)).await;
        watcher.until("the bot in voice", |watcher| states(watcher, true) > before).await;
    };

    // Code 1000 ends the session.
    let mut client = connected().await;
    joined(&mut client, &mut watcher).await;
    client.close_with(CloseCode::Normal).await;
    watcher.until("the bot out of voice", |watcher| states(watcher, false) == 1).await;
    assert_eq!(fleet.asked(4, Some(guild)), 2);

    // A lost connection does not, nor another code, and what the session joined is known after a RESUME.
    let mut client = connected().await;
    joined(&mut client, &mut watcher).await;
    let client = client.resumes(&fleet.gateways[0]).await;
    let mut client = client.closed_and_resumed(CloseCode::Library(4_200), &fleet.gateways[0]).await;
    let info = json!({"op": 43, "d": {"guild_id": guild.to_string(), "fields": ["status"]}});
    client.send(info).await;
    client.until("an answer of the same shard", |client| client.answered("CHANNEL_INFO", guild) == 1).await;
    assert_eq!(fleet.asked(4, Some(guild)), 3, "it stays in voice");
    client.close_with(CloseCode::Away).await;
    watcher.until("the bot out of voice", |watcher| states(watcher, false) == 2).await;
    assert_eq!(fleet.asked(4, Some(guild)), 4);

    // A session that has left, or that another one has followed, leaves nothing.
    let (mut left, mut older, mut newer) = (connected().await, connected().await, connected().await);
    joined(&mut left, &mut watcher).await;
    left.send(join(guild, &Value::Null)).await;
    watcher.until("the bot out of voice", |watcher| states(watcher, false) == 3).await;
    joined(&mut older, &mut watcher).await;
    joined(&mut newer, &mut watcher).await;
    left.close_with(CloseCode::Normal).await;
    older.close_with(CloseCode::Normal).await;
    newer.close_with(CloseCode::Normal).await;
    watcher.until("the bot out of voice", |watcher| states(watcher, false) == 4).await;
    assert_eq!(
        fleet.asked(4, Some(guild)),
        9,
        "two joinings and their end, after the joining and the leaving"
    );
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn sounds_and_channel_info_are_asked_for_at_their_shards() {
    let fleet = Fleet::start().await;
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    let guilds: Vec<u64> = client.guilds.keys().copied().take(10).collect();
    let shards: BTreeSet<u64> = guilds.iter().map(|guild| (guild >> 22) % u64::from(SHARDS)).collect();
    assert!(shards.len() > 1, "of several shards");
    let ids: Vec<String> = guilds.iter().map(u64::to_string).collect();
    client.send(json!({"op": 31, "d": {"guild_ids": ids}})).await;
    client
        .until("sounds", |client| {
            guilds.iter().all(|guild| client.answered("SOUNDBOARD_SOUNDS", *guild) == 1)
        })
        .await;
    assert_eq!(fleet.asked(31, None), shards.len(), "one request for each shard");
    let fields = ["status", "voice_start_time"];
    client.send(json!({"op": 43, "d": {"guild_id": guilds[0].to_string(), "fields": fields}})).await;
    client.until("info", |client| client.answered("CHANNEL_INFO", guilds[0]) == 1).await;
    assert_eq!(fleet.asked(43, Some(guilds[0])), 1);
    fleet.deployment.assert_lawful();
}
