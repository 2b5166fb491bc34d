//! Odd payloads: readable parts of a guild are kept, the others are in doubt, and nothing is counted twice.

use serde_json::{Value, json};

use super::{Missing, ShardCache};
use crate::testing::guilds::{self, begun, guild, member, user};

mod counts;
mod many;

const GUILD: u64 = 5;
const CHANNEL: u64 = 501;

/// Applies an event whose data is given as JSON text.
fn tell(cache: &ShardCache, name: &str, d: &str, sequence: u64) {
    cache.apply(name, d, sequence);
}

/// An answer as JSON.
fn json_of(found: Result<String, Missing>) -> Value {
    serde_json::from_str(&found.unwrap()).unwrap()
}

/// Guilds, users, channels and voice connections.
fn figures(cache: &ShardCache) -> (u32, u64, u32, u32) {
    let (guilds, users, channels, voice) = cache.figures();
    (guilds, users.unwrap(), channels.unwrap(), voice.unwrap())
}

/// What is firm about a guild.
#[derive(Debug, PartialEq)]
struct Sure {
    counts: bool,
    channels: bool,
    roles: bool,
}

const ALL: Sure = Sure { counts: true, channels: true, roles: true };
const NOT_COUNTS: Sure = Sure { counts: false, ..ALL };
const NOT_CHANNELS: Sure = Sure { channels: false, ..ALL };
const NOT_COUNTED_CHANNELS: Sure = Sure { counts: false, channels: false, roles: true };
const NOT_ROLES: Sure = Sure { roles: false, ..ALL };

fn sure(cache: &ShardCache) -> Sure {
    Sure {
        counts: cache.report().uncertain == 0,
        channels: matches!(cache.find_channel(GUILD, 999, &[]), Err(Missing::Absent(_))),
        roles: cache.find_roles(GUILD, &[]).is_ok(),
    }
}

#[test]
fn readable_parts_of_a_guild_are_kept() {
    // Pointer, value (`None`: the field is missing), figures, and what is firm.
    type Row = (&'static str, Option<Value>, (u32, u64, u32, u32), Sure);
    let whole = (1, 600, 1, 1);
    let rows: Vec<Row> = vec![
        ("/emojis/0/name", Some(json!(null)), whole, ALL),
        ("/emojis/0", Some(json!(7)), whole, ALL),
        ("/emojis/0/id", Some(json!("x")), whole, ALL),
        ("/emojis/0/roles", Some(json!([null, 7])), whole, ALL),
        ("/emojis/0/user", Some(json!("nobody")), whole, ALL),
        ("/emojis", Some(json!(null)), whole, ALL),
        ("/emojis", None, whole, ALL),
        ("/icon", Some(json!("not a hash")), whole, ALL),
        ("/icon", Some(json!({"hash": 1})), whole, ALL),
        ("/banner", Some(json!("a_zz")), whole, ALL),
        (
            "/stickers/0",
            Some(
                json!({"id": "1", "name": "s", "description": null, "tags": null, "type": 2, "format_type": 9}),
            ),
            whole,
            ALL,
        ),
        ("/stickers", Some(json!({"0": 1})), whole, ALL),
        ("/roles/0/colors", None, whole, ALL),
        ("/roles/0/permissions", Some(json!(-1)), whole, ALL),
        ("/roles/0/name", Some(json!(["a"])), whole, ALL),
        ("/roles/0/icon", Some(json!("💥")), whole, ALL),
        ("/roles/0/id", Some(json!(null)), whole, NOT_ROLES),
        ("/roles/0", Some(json!(null)), whole, NOT_ROLES),
        ("/roles", Some(json!("everyone")), whole, NOT_ROLES),
        ("/name", Some(json!(null)), whole, ALL),
        ("/name", Some(json!(12)), whole, ALL),
        ("/name", Some(json!(["guild5"])), whole, ALL),
        ("/icon", Some(json!([5])), whole, ALL),
        ("/owner_id", Some(json!([])), whole, ALL),
        ("/member_count", Some(json!([600])), (1, 3, 1, 1), NOT_COUNTS),
        ("/owner_id", Some(json!(null)), whole, ALL),
        ("/owner_id", Some(json!("0")), whole, ALL),
        ("/features", Some(json!([1, "COMMUNITY", null])), whole, ALL),
        ("/features", Some(json!(null)), whole, ALL),
        ("/nsfw_level", Some(json!("high")), whole, ALL),
        ("/verification_level", Some(json!(999)), whole, ALL),
        ("/afk_timeout", Some(json!(-7)), whole, ALL),
        ("/system_channel_flags", Some(json!(-1)), whole, ALL),
        ("/preferred_locale", Some(json!(null)), whole, ALL),
        ("/joined_at", Some(json!("yesterday")), whole, ALL),
        ("/unavailable", Some(json!("no")), whole, ALL),
        ("/large", Some(json!(1)), whole, ALL),
        ("/id", Some(json!(5)), whole, ALL),
        ("/channels/0/type", Some(json!("text")), whole, ALL),
        ("/channels/0/type", Some(json!(4711)), whole, ALL),
        ("/channels/0/name", Some(json!(5)), whole, ALL),
        ("/channels/0/permission_overwrites", Some(json!([{"id": "x"}, 3])), whole, ALL),
        ("/channels/0/parent_id", Some(json!("")), whole, ALL),
        ("/channels/0/last_pin_timestamp", Some(json!(17)), whole, ALL),
        ("/channels/0/id", Some(json!(501)), whole, ALL),
        ("/channels/0/id", None, (1, 600, 0, 1), NOT_COUNTED_CHANNELS),
        ("/channels/0", Some(json!([])), (1, 600, 0, 1), NOT_COUNTED_CHANNELS),
        ("/channels", Some(json!(null)), (1, 600, 0, 1), NOT_COUNTED_CHANNELS),
        ("/channels", None, (1, 600, 0, 1), NOT_COUNTED_CHANNELS),
        ("/threads/0/member_count", Some(json!(1000)), whole, ALL),
        ("/threads/0/thread_metadata/auto_archive_duration", Some(json!("week")), whole, ALL),
        ("/threads/0", Some(json!(1)), whole, NOT_CHANNELS),
        ("/members/0/joined_at", Some(json!("yesterday")), whole, ALL),
        ("/members/0/roles", Some(json!(null)), whole, ALL),
        ("/members/0/roles", Some(json!([null])), whole, ALL),
        ("/members/0/flags", None, whole, ALL),
        ("/members/0/user/discriminator", Some(json!("#0")), whole, ALL),
        ("/members/0/user/avatar", Some(json!("x")), whole, ALL),
        ("/members/0/user", None, whole, ALL),
        ("/members", Some(json!(null)), whole, ALL),
        ("/member_count", Some(json!(null)), (1, 3, 1, 1), NOT_COUNTS),
        ("/member_count", Some(json!("600")), (1, 3, 1, 1), NOT_COUNTS),
        ("/member_count", Some(json!(-1)), (1, 3, 1, 1), NOT_COUNTS),
        ("/member_count", Some(json!(u64::MAX)), (1, 3, 1, 1), NOT_COUNTS),
        ("/member_count", None, (1, 3, 1, 1), NOT_COUNTS),
        ("/voice_states/0/session_id", None, whole, ALL),
        ("/voice_states/0/request_to_speak_timestamp", Some(json!(0)), whole, ALL),
        ("/voice_states/0/channel_id", Some(json!({})), (1, 600, 1, 0), NOT_COUNTS),
        ("/voice_states/0/user_id", Some(json!("0x1")), (1, 600, 1, 0), NOT_COUNTS),
        ("/voice_states", Some(json!(true)), (1, 600, 1, 0), NOT_COUNTS),
        ("/presences", Some(json!([null, {}, {"user": 1}])), whole, ALL),
        ("/stage_instances/0/topic", Some(json!(1)), whole, ALL),
        ("/guild_scheduled_events/0/entity_type", Some(json!("party")), whole, ALL),
        ("/soundboard_sounds", Some(json!([{"odd": []}])), whole, ALL),
        ("/premium_tier", Some(json!(null)), whole, ALL),
    ];
    assert!(rows.len() > 60);
    for (pointer, value, expected, expected_sure) in rows {
        let mut odd = guild(GUILD);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = odd.pointer_mut(parent).unwrap();
        match (parent, value.clone()) {
            (Value::Object(parent), Some(value)) => drop(parent.insert(field.to_owned(), value)),
            (Value::Object(parent), None) => drop(parent.remove(field)),
            (parent, value) => parent[field.parse::<usize>().unwrap()] = value.unwrap(),
        }
        let cache = begun("all", &[GUILD]);
        tell(&cache, "GUILD_CREATE", &odd.to_string(), 2);
        let row = format!("{pointer} = {value:?}");
        assert_eq!(cache.pending_guilds(), 0, "{row}");
        assert_eq!(figures(&cache), expected, "{row}");
        assert_eq!(sure(&cache), expected_sure, "{row}");
        let name = cache.guild(GUILD).unwrap().name;
        assert_eq!(name.as_deref(), if pointer == "/name" { None } else { Some("guild5") }, "{row}");
        if expected.2 == 1 {
            cache.find_channel(GUILD, CHANNEL, &[]).expect(&row);
        }
    }
}

#[test]
fn almost_json_costs_only_the_odd_part() {
    let text = guild(GUILD).to_string();
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (from, to) in [
        (r#""name":"guild5""#, r#""name":"half \ud83d""#.to_owned()),
        (r#""name":"role500""#, r#""name":"\udc00\ud83d\ude00""#.to_owned()),
        (r#""nick":"nick1""#, r#""nick":"\ud83d\ud83d""#.to_owned()),
        (r#""name":"guild5""#, r#""name":"a","name":"b""#.to_owned()),
        (r#""large":true"#, format!(r#""large":true,"new":{deep}"#)),
        (r#""large":true"#, r#""large":true,"new":1e999"#.to_owned()),
        (r#""position":0"#, format!(r#""position":0,"topic":{deep}"#)),
        (r#""member_count":600"#, r#""member_count":600.0,"max_members":1e400"#.to_owned()),
    ] {
        assert!(text.contains(from), "{from}");
        let cache = begun("all", &[GUILD]);
        tell(&cache, "GUILD_CREATE", &text.replacen(from, &to, 1), 2);
        let (guilds, _, channels, voice) = figures(&cache);
        assert_eq!((guilds, channels, voice), (1, 1, 1), "{to}");
        assert!(cache.guild(GUILD).unwrap().name.is_some(), "{to}");
        cache.find_channel(GUILD, CHANNEL, &[]).expect(&to);
    }
}

#[test]
fn odd_fields_of_updates_are_kept_unchanged() {
    type Look<'a> = Box<dyn Fn(&ShardCache) -> Value + 'a>;
    let object =
        |name: &'static str| move |cache: &ShardCache| json_of(cache.find_guild(GUILD, &[]))[name].clone();
    let channel = |cache: &ShardCache| json_of(cache.find_channel(GUILD, CHANNEL, &[]));
    let role = |cache: &ShardCache| json_of(cache.find_roles(GUILD, &[]))[0].clone();
    let first = |cache: &ShardCache| json_of(cache.find_member(GUILD, 1 << 22, &[]));
    let thread = |cache: &ShardCache| json_of(cache.find_channel(GUILD, 901, &[]))["id"].clone();
    let (g, c, r) = (GUILD.to_string(), CHANNEL.to_string(), "500");
    let rows: Vec<(&str, Value, Look<'_>, Value)> = vec![
        (
            "GUILD_UPDATE",
            json!({"id": g, "name": "new", "icon": {}}),
            Box::new(move |cache| json!([object("name")(cache), object("icon")(cache)])),
            json!(["new", {}]),
        ),
        (
            "GUILD_UPDATE",
            json!({"id": g, "name": null}),
            Box::new(|cache| json!(cache.guild(GUILD).unwrap().name)),
            json!("guild5"),
        ),
        ("GUILD_UPDATE", json!({"id": g, "name": "n"}), Box::new(object("owner_id")), json!("1")),
        (
            "CHANNEL_UPDATE",
            json!({"id": c, "guild_id": g, "type": "odd", "name": 7, "topic": "t"}),
            Box::new(move |cache| json!([channel(cache)["name"], channel(cache)["topic"]])),
            json!([7, "t"]),
        ),
        (
            "GUILD_ROLE_UPDATE",
            json!({"guild_id": g, "role": {"id": r, "name": "new", "permissions": {}}}),
            Box::new(move |cache| role(cache)["permissions"].clone()),
            json!({}),
        ),
        (
            "GUILD_ROLE_CREATE",
            json!({"guild_id": g, "role": {"id": "1", "name": "new", "position": 0}}),
            Box::new(move |cache| role(cache)["name"].clone()),
            json!("new"),
        ),
        (
            "GUILD_MEMBER_UPDATE",
            json!({"guild_id": g, "user": user(1), "nick": "new", "roles": "none"}),
            Box::new(move |cache| json!([first(cache)["nick"], first(cache)["roles"], first(cache)["deaf"]])),
            json!(["new", "none", false]),
        ),
        (
            "GUILD_MEMBER_ADD",
            json!({"guild_id": g, "user": {"id": "77", "username": "new"}, "avatar": 5}),
            Box::new(|cache| json!(cache.username(77))),
            json!("new"),
        ),
        (
            "GUILD_MEMBERS_CHUNK",
            json!({"guild_id": g, "members": [{"user": {"id": "77", "username": "new"}}, null]}),
            Box::new(|cache| json!(cache.username(77))),
            json!("new"),
        ),
        (
            "VOICE_STATE_UPDATE",
            json!({"guild_id": g, "user_id": "77", "channel_id": c, "member": {"user": {}}}),
            Box::new(|cache| json!(figures(cache).3)),
            json!(2),
        ),
        (
            "CHANNEL_CREATE",
            json!({"guild_id": g, "id": "900", "type": 2, "bitrate": "high"}),
            Box::new(|cache| json!(figures(cache).2)),
            json!(2),
        ),
        (
            "CHANNEL_DELETE",
            json!({"guild_id": g, "id": c, "type": null}),
            Box::new(|cache| json!([figures(cache).2, figures(cache).3])),
            json!([0, 0]),
        ),
        (
            "THREAD_CREATE",
            json!({"guild_id": g, "id": "901", "type": 11, "member_count": 1000}),
            Box::new(thread),
            json!("901"),
        ),
        (
            "THREAD_LIST_SYNC",
            json!({"guild_id": g, "threads": [{"id": "901", "type": 11, "guild_id": g}, {"id": null}], "members": [5]}),
            Box::new(thread),
            json!("901"),
        ),
        (
            "GUILD_EMOJIS_UPDATE",
            json!({"guild_id": g, "emojis": [{"id": "1", "name": null}, 3]}),
            Box::new(move |cache| object("emojis")(cache)[1].clone()),
            json!(3),
        ),
        (
            "GUILD_DELETE",
            json!({"id": g, "unavailable": "yes"}),
            Box::new(|cache| json!(cache.guild(GUILD).map(|guild| guild.is_unavailable))),
            json!(true),
        ),
    ];
    for (name, d, look, expected) in rows {
        let cache = begun("all", &[GUILD]);
        tell(&cache, "GUILD_CREATE", &guild(GUILD).to_string(), 2);
        tell(&cache, name, &d.to_string(), 3);
        assert_eq!(look(&cache), expected, "{name} {d}");
        assert_eq!(figures(&cache).0, 1, "{name}");
    }
}

#[test]
fn unreadable_event_leaves_its_guild_in_doubt() {
    for (name, d) in [
        ("CHANNEL_CREATE", r#"{"guild_id":"5","id":null,"type":0}"#),
        ("CHANNEL_DELETE", r#"{"guild_id":"5"}"#),
        ("GUILD_MEMBER_REMOVE", r#"{"guild_id":"5","user":{}}"#),
        ("GUILD_ROLE_DELETE", r#"{"guild_id":"5","role_id":[]}"#),
        ("VOICE_STATE_UPDATE", r#"{"guild_id":"5","user_id":"7","channel_id":{}}"#),
        ("GUILD_CREATE", r#"{"id":null,"name":"which"}"#),
        ("GUILD_CREATE", "null"),
        ("GUILD_DELETE", r#"{"id":""}"#),
        ("CHANNEL_UPDATE", "{"),
    ] {
        let cache = begun("all", &[GUILD]);
        tell(&cache, "GUILD_CREATE", &guild(GUILD).to_string(), 2);
        tell(&cache, name, d, 3);
        assert_eq!(figures(&cache), (1, 600, 1, 1), "{name} {d}");
        assert!(cache.report().uncertain > 0, "{name} {d}");
        assert!(cache.users_doubt().is_some(), "{name} {d}");
        // The next session clears the doubt.
        cache.begin_session(8, &guilds::ready(&[GUILD]));
        tell(&cache, "GUILD_CREATE", &guild(GUILD).to_string(), 2);
        assert_eq!((cache.report().uncertain, cache.doubt()), (0, None), "{name} {d}");
    }
}

#[test]
fn users_are_found_while_they_are_members_of_a_guild() {
    let cache = begun("all", &[5, 6]);
    guilds::tell(&cache, "GUILD_CREATE", &guild(5), 2);
    let mut other = guild(6);
    other["members"] = json!([member(3), member(4)]);
    // The user comes again with another name, and stays a member of both guilds.
    other["members"][0]["user"]["username"] = json!("renamed");
    guilds::tell(&cache, "GUILD_CREATE", &other, 3);
    let found = |id: u64| cache.username(id << 22);
    assert_eq!([1, 3, 4].map(|id| found(id).is_some()), [true; 3]);

    guilds::tell(&cache, "GUILD_DELETE", &json!({"id": "6"}), 4);
    assert_eq!(found(4), None, "its only guild was left");
    assert!(found(3).is_some(), "still a member of the other");
    let mut again = guild(5);
    again["members"] = json!([member(1)]);
    guilds::tell(&cache, "GUILD_CREATE", &again, 5);
    assert_eq!(
        [1, 2, 3].map(|id| found(id).is_some()),
        [true, false, false],
        "the repeated guild lacks them"
    );
    guilds::tell(&cache, "GUILD_DELETE", &json!({"id": "5", "unavailable": true}), 6);
    assert!(found(1).is_some(), "an outage removes nothing");
}

#[test]
fn removed_guilds_leave_no_memory() {
    let cache = begun("all", &[]);
    let mut sequence = 1;
    for round in 0..40_u64 {
        for id in 5..15 {
            let mut came = guild(id);
            came["members"] = (0..50).map(|user| member(1 + round * 1_000 + id * 50 + user)).collect();
            sequence += 1;
            guilds::tell(&cache, "GUILD_CREATE", &came, sequence);
        }
        for id in 5..15 {
            sequence += 1;
            guilds::tell(&cache, "GUILD_DELETE", &json!({ "id": id.to_string() }), sequence);
        }
    }
    cache.write().cache.seal(0);
    let memory = cache.read().cache.memory();
    assert!(memory < 64 * 1024, "{memory}");
    assert_eq!((figures(&cache), cache.guild_ids().len()), ((0, 0, 0, 0), 0));
}
