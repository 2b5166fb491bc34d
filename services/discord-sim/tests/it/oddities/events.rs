//! Presets of events.

use super::preset;
use crate::client::{Client, first_guild, quick, start};
use discord_sim::{Fault, NewPreset, Sim};
use serde_json::{Value, json};

/// Guilds, voice and messages, without member lists.
const INTENTS: u64 = 1 | 1 << 7 | 1 << 9;

/// READY and all guilds of a new session as text, in order; sequences match positions.
async fn first_texts(sim: &Sim, events: usize) -> Vec<String> {
    let mut client = Client::connect(sim).await;
    client.identify((0, 1), INTENTS).await;
    let mut texts = Vec::new();
    for _ in 0..events {
        texts.push(client.text().await);
    }
    texts
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The bodies of all events with this name.
fn bodies(texts: &[String], name: &str) -> Vec<Value> {
    let events = texts.iter().map(|text| json(text));
    events.filter(|event| event["t"] == name).map(|event| event["d"].clone()).collect()
}

fn ready(texts: &[String]) -> Value {
    bodies(texts, "READY").remove(0)
}

fn last<'a>(guild: &'a Value, list: &str) -> &'a Value {
    guild[list].as_array().unwrap().last().unwrap()
}

fn every_guild(texts: &[String], holds: impl Fn(&Value) -> bool) -> bool {
    let guilds = bodies(texts, "GUILD_CREATE");
    guilds.len() == 8 && guilds.iter().all(holds)
}

/// Checks the start of a session.
type Check = fn(&[String]) -> bool;

const AT_START: &[(&str, usize, Check)] = &[
    ("ready_without_application", 1, |texts| ready(texts).get("application").is_none()),
    ("ready_without_resume_url", 1, |texts| ready(texts).get("resume_gateway_url").is_none()),
    ("ready_resume_url_malformed", 1, |texts| {
        ready(texts)["resume_gateway_url"] == "wss://gateway us-east1.discord.gg"
    }),
    ("ready_resume_url_empty", 1, |texts| ready(texts)["resume_gateway_url"] == ""),
    ("ready_resume_url_with_query", 1, |texts| {
        ready(texts)["resume_gateway_url"].as_str().unwrap().ends_with("/resume/?encoding=json&x=1")
    }),
    ("ready_resume_url_foreign", 1, |texts| {
        ready(texts)["resume_gateway_url"] == "wss://gateway.discord.gg.example.invalid"
    }),
    ("guild_create_before_ready", 9, |texts| {
        let [first, second] = [json(&texts[0]), json(&texts[1])];
        (&first["t"], &first["s"], &second["t"], &second["s"])
            == (&json!("GUILD_CREATE"), &json!(1), &json!("READY"), &json!(2))
            && every_guild(texts, |_| true)
    }),
    ("guild_emoji_name_null", 9, |texts| every_guild(texts, |guild| last(guild, "emojis")["name"].is_null())),
    ("guild_icon_not_hex", 9, |texts| every_guild(texts, |guild| guild["icon"] == "clan-badge-2026")),
    ("guild_sticker_odd", 9, |texts| every_guild(texts, |guild| last(guild, "stickers")["format_type"] == 9)),
    ("guild_roles_without_colors", 9, |texts| {
        every_guild(texts, |guild| last(guild, "roles").get("colors").is_none())
    }),
    ("guild_name_half_surrogate", 9, |texts| {
        texts[1..].iter().all(|text| {
            text.contains(r#""name":"half of \ud83d""#) && serde_json::from_str::<Value>(text).is_err()
        })
    }),
    ("guild_name_controls_terminal", 9, |texts| {
        every_guild(texts, |guild| guild["name"].as_str().unwrap().contains("\u{1b}[31m"))
    }),
    ("guild_member_joined_at_null", 9, |texts| {
        every_guild(texts, |guild| last(guild, "members")["joined_at"].is_null())
    }),
    ("guild_channel_type_unknown", 9, |texts| {
        every_guild(texts, |guild| last(guild, "channels")["type"] == 99)
    }),
    ("guild_large_number", 9, |texts| {
        texts[1..].iter().all(|text| text.contains(r#""system_channel_flags":9007199254740993"#))
    }),
    ("guild_create_twice", 17, |texts| bodies(texts, "GUILD_CREATE").len() == 16),
];

/// What a connected client sees next, followed by a message and a heartbeat.
const LATER: &[(&str, &[&str])] = &[
    ("guild_create_unavailable", &["GUILD_CREATE", "MESSAGE_CREATE"]),
    ("guild_create_without_members", &["GUILD_CREATE", "MESSAGE_CREATE"]),
    ("guild_on_wrong_shard", &["GUILD_CREATE", "MESSAGE_CREATE"]),
    ("channel_create_twice", &["CHANNEL_CREATE", "CHANNEL_CREATE", "MESSAGE_CREATE"]),
    ("voice_channel_deleted", &["VOICE_STATE_UPDATE", "CHANNEL_DELETE", "MESSAGE_CREATE"]),
    ("event_unknown", &["GUILD_HOLOGRAM_CREATE", "MESSAGE_CREATE"]),
    ("sequences_missing", &["op 11", "silence"]),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    AT_START.iter().map(|(name, ..)| *name).chain(LATER.iter().map(|(name, _)| *name))
}

#[tokio::test]
async fn session_presets_have_their_effects() {
    for (name, events, check) in AT_START {
        let sim = start(quick()).await;
        preset(&sim, name);
        let texts = first_texts(&sim, *events).await;
        assert!(check(&texts), "{name}: {texts:#?}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn event_presets_have_their_effects() {
    for (name, expected) in LATER {
        let sim = start(quick()).await;
        let (mut client, ..) = Client::open_all(&sim, (0, 1), INTENTS).await;
        preset(&sim, name);
        let guild_id = first_guild(&sim.control());
        sim.control().inject(Fault::Message { guild_id, content: None }).unwrap();
        client.send(json!({"op": 1, "d": null})).await;
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            let next = client.see().await;
            // The ACK may come between events; it counts only if expected.
            if next != "op 11" || expected.contains(&"op 11") {
                seen.push(next);
            }
        }
        assert_eq!(seen, *expected, "{name}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn guild_can_arrive_on_a_foreign_shard() {
    let sim = start(quick()).await;
    let guild = sim.control().guilds(1, 2)[0].clone();
    let wrong = 1 - guild.id.shard(2);
    let (mut client, ..) = Client::open_all(&sim, (wrong, 2), INTENTS).await;
    let wanted = NewPreset {
        name: "guild_on_wrong_shard".into(),
        guild_id: Some(guild.id),
        shards: Some(vec![wrong]),
        times: None,
    };
    let outcome = sim.control().inject(Fault::Preset(wanted)).unwrap();
    assert_eq!(outcome.dispatched.len(), 1);
    assert_eq!(client.event("GUILD_CREATE").await["d"]["id"], json!(guild.id));
    sim.shutdown().await;
}
