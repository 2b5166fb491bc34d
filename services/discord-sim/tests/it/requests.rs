//! Gateway requests of identified clients: members, voice, presence and others.

use crate::client::{Client, PATIENCE, USUAL, first_guild, quick, start};
use discord_sim::{Fault, GuildReport, Intents, Sim, SimConfig, ViolationKind};
use serde_json::{Value, json};

const MEMBERS: u64 = USUAL | 1 << 1;
const PRESENCES: u64 = 1 << 8;

fn ask(op: u8, d: Value) -> Value {
    json!({"op": op, "d": d})
}

async fn large() -> (Sim, GuildReport) {
    let sim = start(SimConfig { largest_guild: Some(2_500), ..quick() }).await;
    let guild = sim.control().guilds(1, 1).remove(0);
    assert_eq!(guild.member_count, 2_500);
    (sim, guild)
}

fn unanswered(sim: &Sim) -> Vec<String> {
    let violations = sim.control().violations().items;
    assert!(violations.iter().all(|one| one.kind == ViolationKind::UnansweredRequest), "{violations:?}");
    violations.into_iter().map(|one| one.detail).collect()
}

#[tokio::test]
async fn all_members_arrive_in_chunks_of_1000_once_in_30_s() {
    let (sim, guild) = large().await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), MEMBERS).await;
    let all = json!({"guild_id": guild.id, "query": "", "limit": 0, "nonce": "n"});
    client.send(ask(8, all.clone())).await;
    let mut ids = Vec::new();
    for index in 0..3 {
        let chunk = client.event("GUILD_MEMBERS_CHUNK").await["d"].take();
        assert_eq!((&chunk["chunk_index"], &chunk["chunk_count"]), (&json!(index), &json!(3)));
        assert_eq!((&chunk["nonce"], &chunk["guild_id"]), (&json!("n"), &json!(guild.id)));
        assert!(chunk.get("presences").is_none() && chunk.get("not_found").is_none());
        ids.extend(chunk["members"].as_array().unwrap().iter().map(|one| one["user"]["id"].to_string()));
    }
    assert_eq!(ids.len(), 2_500);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2_500, "no member twice");
    client.send(ask(8, all)).await;
    let limited = client.event("RATE_LIMITED").await["d"].take();
    assert_eq!(
        (&limited["opcode"], &limited["meta"]),
        (&json!(8), &json!({"guild_id": guild.id, "nonce": "n"}))
    );
    assert!((1.0..=30.0).contains(&limited["retry_after"].as_f64().unwrap()), "{limited}");
    assert!(sim.control().violations().items.is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn members_are_found_by_id_and_name() {
    let (sim, guild) = large().await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), MEMBERS | PRESENCES).await;
    client.send(ask(8, json!({"guild_id": guild.id, "query": "", "limit": 0, "presences": true}))).await;
    let chunk = client.event("GUILD_MEMBERS_CHUNK").await["d"].take();
    assert!(!chunk["presences"].as_array().unwrap().is_empty());
    let some = chunk["members"][700]["user"].clone();
    let nonce = "x".repeat(33);
    client
        .send(ask(
            8,
            json!({"guild_id": guild.id, "user_ids": [some["id"], "12", 7], "limit": 0, "nonce": nonce}),
        ))
        .await;
    let mut chunk = json!(null);
    while chunk["chunk_count"] != 1 {
        chunk = client.event("GUILD_MEMBERS_CHUNK").await["d"].take();
    }
    assert_eq!((&chunk["members"][0]["user"], &chunk["not_found"]), (&some, &json!(["12", 7])));
    assert!(chunk.get("nonce").is_none(), "33 bytes are ignored");
    let prefix: String = some["username"].as_str().unwrap().chars().take(3).collect();
    client.send(ask(8, json!({"guild_id": guild.id, "query": prefix.to_uppercase(), "limit": 0}))).await;
    let found = client.event("GUILD_MEMBERS_CHUNK").await["d"]["members"].take();
    let found = found.as_array().unwrap();
    assert!(!found.is_empty() && found.len() <= 100, "{}", found.len());
    sim.shutdown().await;
}

#[tokio::test]
async fn unanswered_requests_are_recorded() {
    let (sim, guild) = large().await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let many: Vec<_> = (0..101).map(|id| id.to_string()).collect();
    for request in [
        ask(8, json!({"guild_id": guild.id, "query": "", "limit": 0})),
        ask(8, json!({"guild_id": guild.id, "user_ids": many})),
        ask(8, json!({"guild_id": guild.id})),
        ask(8, json!({"guild_id": "12", "query": "a", "limit": 1})),
        ask(43, json!({"guild_id": guild.id, "fields": ["nonsense"]})),
        ask(4, json!({"guild_id": guild.id, "channel_id": "12", "self_mute": false, "self_deaf": false})),
    ] {
        client.send(request).await;
    }
    client.send(ask(1, json!(null))).await;
    assert_eq!(client.payload().await["op"], 11, "only the heartbeat is answered");
    let why = unanswered(&sim);
    assert_eq!(why.len(), 6, "{why:?}");
    assert!(why[0].contains("GUILD_MEMBERS") && why[3].contains("not on shard"), "{why:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn sounds_and_channel_info_are_answered() {
    let (sim, guild) = large().await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    client.send(ask(31, json!({"guild_ids": [guild.id]}))).await;
    assert_eq!(client.event("SOUNDBOARD_SOUNDS").await["d"]["guild_id"], json!(guild.id));
    client.send(ask(43, json!({"guild_id": guild.id, "fields": ["status"]}))).await;
    assert_eq!(client.event("CHANNEL_INFO").await["d"]["guild_id"], json!(guild.id));
    assert!(unanswered(&sim).is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn voice_moves_of_the_bot_reach_every_session_of_the_shard() {
    let sim = start(quick()).await;
    let (mut other, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let (mut client, _, guilds) = Client::open_all(&sim, (0, 1), USUAL).await;
    let guild = &guilds[0]["d"];
    let channels = guild["channels"].as_array().unwrap();
    let room = channels.iter().find(|one| one["type"] == 2 && one["flags"] == 0).unwrap();
    let before = sim.control().stats(1).total.voice_connections;
    let to = |channel: Value| {
        ask(4, json!({"guild_id": guild["id"], "channel_id": channel, "self_mute": true, "self_deaf": false}))
    };
    client.send(to(room["id"].clone())).await;
    let state = client.event("VOICE_STATE_UPDATE").await["d"].take();
    assert_eq!((&state["channel_id"], &state["self_mute"]), (&room["id"], &json!(true)));
    assert_eq!(state["member"]["user"]["bot"], true);
    let server = client.event("VOICE_SERVER_UPDATE").await["d"].take();
    assert_eq!(server["guild_id"], guild["id"]);
    assert_eq!(other.event("VOICE_STATE_UPDATE").await["d"]["session_id"], state["session_id"]);
    assert_eq!(sim.control().stats(1).total.voice_connections, before + 1);

    let (_late, _, guilds) = Client::open_all(&sim, (0, 1), USUAL).await;
    let again = guilds.iter().find(|one| one["d"]["id"] == guild["id"]).unwrap();
    let states = again["d"]["voice_states"].as_array().unwrap();
    assert!(states.iter().any(|one| one["user_id"] == state["user_id"]), "GUILD_CREATE has it too");

    client.close(1000).await;
    let left = other.event("VOICE_STATE_UPDATE").await["d"].take();
    assert_eq!(
        (&left["user_id"], &left["channel_id"]),
        (&state["user_id"], &json!(null)),
        "the session has ended"
    );
    assert_eq!(sim.control().stats(1).total.voice_connections, before);
    sim.shutdown().await;
}

#[tokio::test]
async fn voice_moves_of_people_are_dispatched() {
    let sim = start(quick()).await;
    let control = sim.control();
    let (mut client, _, guilds) = Client::open_all(&sim, (0, 1), USUAL).await;
    let user = control.users(1).remove(0);
    let guild_id = user.in_voice[0];
    let before = control.stats(1).total.voice_connections;
    control.inject(Fault::Voice { guild_id, user_id: user.id, channel_id: None }).unwrap();
    assert_eq!(client.event("VOICE_STATE_UPDATE").await["d"]["channel_id"], json!(null));
    assert_eq!(control.stats(1).total.voice_connections, before - 1);
    let guild = guilds.iter().find(|one| one["d"]["id"] == json!(guild_id)).unwrap();
    let text = guild["d"]["channels"].as_array().unwrap().iter().find(|one| one["type"] == 0).unwrap();
    let text = serde_json::from_value(text["id"].clone()).unwrap();
    assert!(control.inject(Fault::Voice { guild_id, user_id: user.id, channel_id: Some(text) }).is_err());
    sim.shutdown().await;
}

#[tokio::test]
async fn five_presence_updates_in_20_s_are_applied() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    let presence = |name: &str| json!({"since": null, "activities": [{"name": name, "type": 0}], "status": "dnd", "afk": false});
    for count in 0..6 {
        client.send(ask(3, presence(&count.to_string()))).await;
    }
    let control = sim.control();
    let limited = control.wait_until(PATIENCE, |control| {
        control.violations().items.iter().any(|one| one.kind == ViolationKind::PresenceLimit)
    });
    assert!(limited.await);
    assert_eq!(control.sessions().sessions[0].presence, presence("4"), "the sixth was ignored");
    client.send(ask(3, json!({"status": "nonsense"}))).await;
    assert_eq!(client.close_code().await, 4002);
    sim.shutdown().await;
}

#[tokio::test]
async fn compressed_payloads_are_separate_binary_frames() {
    use std::io::Read as _;
    use tokio_tungstenite::tungstenite::Message;
    let sim = start(quick()).await;
    let mut client = Client::connect(&sim).await;
    let mut identify = crate::client::identify("t", (0, 1), USUAL);
    identify["d"]["compress"] = json!(true);
    client.send(identify).await;
    let mut guilds = 0;
    while guilds < 8 {
        let text = match client.raw().await {
            Some(Message::Binary(bytes)) => {
                let mut text = String::new();
                flate2::read::ZlibDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
                text
            }
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        };
        let payload: Value = serde_json::from_str(&text).unwrap();
        guilds += usize::from(payload["t"] == "GUILD_CREATE");
    }
    sim.shutdown().await;
}

/// Checks every event in Discord's list of intents against a session with all intents except the one it needs.
#[tokio::test]
async fn every_intent_gates_its_events() {
    let gated: [(u64, &[&str]); 15] = [
        (
            0,
            &[
                "GUILD_UPDATE",
                "GUILD_ROLE_CREATE",
                "CHANNEL_UPDATE",
                "THREAD_CREATE",
                "STAGE_INSTANCE_CREATE",
            ],
        ),
        (1, &["GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE", "GUILD_MEMBER_REMOVE"]),
        (2, &["GUILD_BAN_ADD", "GUILD_AUDIT_LOG_ENTRY_CREATE"]),
        (3, &["GUILD_EMOJIS_UPDATE", "GUILD_STICKERS_UPDATE", "GUILD_SOUNDBOARD_SOUND_CREATE"]),
        (4, &["GUILD_INTEGRATIONS_UPDATE", "INTEGRATION_CREATE"]),
        (5, &["WEBHOOKS_UPDATE"]),
        (6, &["INVITE_CREATE", "INVITE_DELETE"]),
        (7, &["VOICE_STATE_UPDATE", "VOICE_CHANNEL_EFFECT_SEND"]),
        (8, &["PRESENCE_UPDATE"]),
        (9, &["MESSAGE_UPDATE", "MESSAGE_DELETE", "MESSAGE_DELETE_BULK"]),
        (10, &["MESSAGE_REACTION_ADD", "MESSAGE_REACTION_REMOVE_ALL"]),
        (11, &["TYPING_START"]),
        (16, &["GUILD_SCHEDULED_EVENT_CREATE"]),
        (21, &["AUTO_MODERATION_ACTION_EXECUTION"]),
        (24, &["MESSAGE_POLL_VOTE_ADD"]),
    ];
    let sim = start(quick()).await;
    let control = sim.control();
    let guild_id = first_guild(&control);
    for (bit, names) in gated {
        let (_with, with, _) = Client::open_all(&sim, (0, 1), 1 | 1 << bit).await;
        let without = Intents::ALL.without(Intents(1 << bit)).0;
        let (_without, without) = Client::open(&sim, (0, 1), without).await;
        for name in names {
            let event =
                Fault::Event { name: (*name).into(), guild_id: Some(guild_id), d: json!({}), shards: None };
            let dispatched = control.inject(event).unwrap().dispatched;
            let got = |session: &str| dispatched.iter().any(|one| one.session_id == session);
            assert!(got(&with.session_id), "{name} with intent bit {bit}");
            assert!(!got(&without.session_id), "{name} without intent bit {bit}");
        }
    }
    sim.shutdown().await;
}
