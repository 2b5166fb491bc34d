//! What Discord would send of a guild to a client with certain intents. Pure.

use std::{borrow::Cow, collections::HashSet};

use crate::object::{all_fields, close, elements, field, fields, id, is_key, number, push_field, string};

const GUILD_VOICE_STATES: u32 = 1 << 7;
const GUILD_PRESENCES: u32 = 1 << 8;

/// Guilds with more members send only the bot and users in voice
/// ([Guild Create](https://docs.discord.com/developers/events/gateway-events#guild-create)).
const MOST_SENT_MEMBERS: u64 = 75_000;

/// The lists that a GUILD_CREATE always has. Libraries read them without a check.
const LISTS: [&str; 11] = [
    "roles",
    "emojis",
    "stickers",
    "channels",
    "threads",
    "members",
    "presences",
    "voice_states",
    "stage_instances",
    "guild_scheduled_events",
    "soundboard_sounds",
];

/// What a client identified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its intents, by their bits.
    pub intents: u32,
    /// Guilds with more members are `large`.
    pub large_threshold: u8,
    /// The bot's user.
    pub own_user: u64,
}

/// The data of a GUILD_CREATE as a client gets it: with all lists, and without members, presences and voice states that its intents
/// exclude. `returns`: the guild was known to the client before, so `unavailable` is false; otherwise the field stays as it is.
pub fn guild_create_for(data: &str, view: &ClientView, returns: bool) -> String {
    let has = |intent: u32| view.intents & intent != 0;
    let [members, presences, voice, count] =
        fields(data, ["members", "presences", "voice_states", "member_count"]);
    let list = |text: Option<&'_ str>| text.and_then(elements).map_or_else(Vec::new, own);
    let (members, presences, voice) = (list(members), list(presences), list(voice));
    let count = count.and_then(number).unwrap_or(members.len() as u64);
    let is_large = count > u64::from(view.large_threshold);

    let connected = voice.iter().filter_map(|state| field(state, "user_id").and_then(id));
    let mut wanted: HashSet<u64> = connected.chain([view.own_user]).collect();
    let is_online = |presence: &String| {
        let status = field(presence, "status").and_then(string);
        status.is_some_and(|status| status != "offline" && status != "invisible")
    };
    let has_online = has(GUILD_PRESENCES) && count <= MOST_SENT_MEMBERS;
    if is_large && has_online {
        wanted.extend(presences.iter().filter(|presence| is_online(presence)).filter_map(|of| user_of(of)));
    }
    let (all, more) = (has_online && !is_large, has_online && is_large);
    let is_wanted = |member: &&String| {
        all || user_of(member).is_some_and(|user| wanted.contains(&user)) || more && stands_out(member)
    };
    let members: Vec<&String> = members.iter().filter(is_wanted).collect();
    let sent: HashSet<u64> = members.iter().filter_map(|member| user_of(member)).collect();
    let presences = presences
        .iter()
        .filter(|of| has(GUILD_PRESENCES) && user_of(of).is_some_and(|user| sent.contains(&user)));
    let voice = voice.iter().filter(|_| has(GUILD_VOICE_STATES));

    let mut set: Vec<(&str, Cow<'_, str>)> = vec![
        ("large", is_large.to_string().into()),
        ("members", joined(members.into_iter()).into()),
        ("presences", joined(presences).into()),
        ("voice_states", joined(voice).into()),
    ];
    if returns {
        set.push(("unavailable", "false".into()));
    }
    let known = all_fields(data);
    for name in LISTS {
        let has_it = known.iter().any(|(key, value)| is_key(key, name) && value.starts_with('['));
        if !has_it && !set.iter().any(|(set, _)| *set == name) {
            set.push((name, "[]".into()));
        }
    }
    let mut text = String::with_capacity(data.len() + 256);
    for (key, value) in known {
        if !set.iter().any(|(name, _)| is_key(key, name)) {
            push_field(&mut text, key, value);
        }
    }
    for (name, value) in &set {
        push_field(&mut text, name, value);
    }
    close(text)
}

fn own(elements: Vec<&str>) -> Vec<String> {
    elements.into_iter().map(str::to_owned).collect()
}

/// The user of a member or presence.
fn user_of(element: &str) -> Option<u64> {
    field(field(element, "user")?, "id").and_then(id)
}

/// Of a large guild Discord sends members with a nickname or a role.
fn stands_out(member: &str) -> bool {
    let [nick, roles] = fields(member, ["nick", "roles"]);
    nick.is_some_and(|nick| nick != "null") || roles.and_then(elements).is_some_and(|roles| !roles.is_empty())
}

fn joined<'a>(elements: impl Iterator<Item = &'a String>) -> String {
    let mut text = String::from("[");
    for element in elements {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(element);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ALL: u32 = u32::MAX;

    fn guild() -> Value {
        let member = |user: &str, nick: Value, roles: Value| json!({"user": {"id": user}, "nick": nick, "roles": roles});
        json!({
            "id": "1", "name": "g", "icon": null, "member_count": 60, "channels": [{"id": "5"}], "roles": [],
            "members": [
                member("7", Value::Null, json!([])), member("8", Value::Null, json!([])),
                member("9", json!("n"), json!([])), member("10", Value::Null, json!(["2"])),
                member("11", Value::Null, json!([])),
            ],
            "presences": [{"user": {"id": "8"}, "status": "online"}, {"user": {"id": "11"}, "status": "offline"}],
            "voice_states": [{"user_id": "11", "channel_id": "5"}],
        })
    }

    fn seen(guild: &Value, intents: u32, large_threshold: u8) -> Value {
        let view = ClientView { intents, large_threshold, own_user: 7 };
        serde_json::from_str(&guild_create_for(&guild.to_string(), &view, true)).unwrap()
    }

    fn users(seen: &Value) -> Vec<&str> {
        seen["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["user"]["id"].as_str().unwrap())
            .collect()
    }

    #[test]
    fn members_follow_intents_and_size() {
        let guild = guild();
        let small = seen(&guild, ALL, 250);
        assert_eq!((users(&small), &small["large"]), (vec!["7", "8", "9", "10", "11"], &json!(false)));
        assert_eq!(small["presences"], guild["presences"]);
        let large = seen(&guild, ALL, 50);
        assert_eq!((users(&large), &large["large"]), (vec!["7", "8", "9", "10", "11"], &json!(true)));
        let mut silent = guild.clone();
        silent["voice_states"] = json!([]);
        assert_eq!(users(&seen(&silent, ALL, 50)), ["7", "8", "9", "10"]);
        let without = seen(&guild, ALL & !GUILD_PRESENCES, 250);
        assert_eq!((users(&without), &without["presences"]), (vec!["7", "11"], &json!([])));
        assert_eq!(seen(&guild, 1, 50)["voice_states"], json!([]));
        let mut huge = guild;
        huge["member_count"] = json!(75_001);
        assert_eq!(users(&seen(&huge, ALL, 250)), ["7", "11"]);
    }

    #[test]
    fn all_lists_are_there_and_other_fields_stay() {
        let seen = seen(
            &json!({"id": "1", "icon": null, "emojis": null, "new": {"a": [1]}, "unavailable": true}),
            1,
            50,
        );
        for list in LISTS {
            assert_eq!(seen[list], json!([]), "{list}");
        }
        assert_eq!(
            (&seen["icon"], &seen["new"], &seen["unavailable"]),
            (&Value::Null, &json!({"a": [1]}), &json!(false))
        );
        let view = ClientView { intents: 1, large_threshold: 50, own_user: 7 };
        let joined: Value = serde_json::from_str(&guild_create_for(r#"{"id":"1"}"#, &view, false)).unwrap();
        assert!(joined.get("unavailable").is_none());
    }
}
