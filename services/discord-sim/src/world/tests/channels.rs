//! Hidden channels.

use super::*;
use std::collections::BTreeSet;

const OBFUSCATED: u64 = 1 << 17;

fn hidden(body: &serde_json::Value) -> BTreeSet<String> {
    let channels = body["channels"].as_array().unwrap().iter();
    let hidden = channels.filter(|channel| channel["flags"] == OBFUSCATED);
    hidden.map(|channel| channel["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn few_channels_are_hidden_and_never_the_first() {
    let world = World::new(1, 2_000);
    let (mut all, mut unseen) = (0, 0);
    for guild in 0..2_000 {
        let counts = world.channel_counts(guild);
        let is_hidden = |number: &u64| world.is_hidden(guild, counts, *number);
        all += counts.text + counts.voice;
        unseen += (0..counts.total()).filter(is_hidden).count() as u64;
        assert!(!(0..=counts.categories).any(|number| is_hidden(&number)));
        assert!(!is_hidden(&(counts.categories + counts.text)));
    }
    assert!((25..60).contains(&(unseen * 1_000 / all)), "{unseen} of {all}");
}

#[test]
fn hidden_channels_are_obfuscated_on_the_gateway_and_missing_in_rest() {
    let world = World::new(4, 200);
    let mut seen_kinds = BTreeSet::new();
    for guild in 0..200 {
        let body = body(&world, guild, ALL);
        let hidden = hidden(&body);
        for channel in body["channels"].as_array().unwrap() {
            assert!(channel.get("guild_id").is_none());
            if channel["flags"] != OBFUSCATED {
                assert_ne!(channel["name"], "___hidden___");
                continue;
            }
            seen_kinds.insert(channel["type"].as_u64().unwrap());
            let overwrites = serde_json::json!([
                { "id": body["id"], "type": 0, "allow": "0", "deny": "1024" },
            ]);
            assert_eq!(
                (&channel["name"], &channel["permission_overwrites"]),
                (&"___hidden___".into(), &overwrites)
            );
            assert!(channel["parent_id"].is_string() && channel["position"].is_u64());
            for blank in ["topic", "last_message_id", "rtc_region"] {
                assert!(channel.get(blank).is_none_or(serde_json::Value::is_null));
            }
            assert_eq!((&channel["nsfw"], &channel["rate_limit_per_user"]), (&false.into(), &0.into()));
        }
        let visible = serde_json::to_value(world.visible_channels(guild)).unwrap();
        let visible = visible.as_array().unwrap();
        assert_eq!(visible.len() + hidden.len(), count(&body, "channels"));
        assert!(visible.iter().all(|channel| channel["guild_id"] == body["id"] && channel["flags"] == 0));
        for place in body["threads"].as_array().unwrap() {
            assert!(!hidden.contains(place["parent_id"].as_str().unwrap()));
        }
        for state in body["voice_states"].as_array().unwrap() {
            assert!(!hidden.contains(state["channel_id"].as_str().unwrap()));
        }
        for serial in 0..50 {
            let message = Message { guild, serial, at_ms: 300_000_000_000, content: None };
            let message = serde_json::to_value(world.message(&message, true)).unwrap();
            assert!(!hidden.contains(message["channel_id"].as_str().unwrap()));
        }
    }
    assert_eq!(seen_kinds, [0, 2].into(), "text and voice channels are among them");
}

#[test]
fn administrators_see_every_channel() {
    let world = World::new(4, 200);
    let mut administered = 0;
    for guild in 0..200 {
        let body = body(&world, guild, BARE);
        let held = body["members"][0]["roles"].as_array().unwrap();
        let mut roles = body["roles"].as_array().unwrap().iter();
        if roles.any(|role| role["permissions"] == "8" && held.contains(&role["id"])) {
            administered += 1;
            assert!(hidden(&body).is_empty());
        }
    }
    assert!(administered > 20);
}
