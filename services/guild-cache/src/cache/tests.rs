use std::sync::LazyLock;

use super::*;
use crate::MOST_MEMBERS;

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new()));

fn cache() -> ShardCache {
    ShardCache::new(Rules { resources: Resources::ALL, ..Rules::default() }, Arc::clone(&CODEC))
}

fn guild(id: u64, members: u64) -> String {
    let members: Vec<String> =
        (1..=members).map(|user| format!(r#"{{"user":{{"id":"{user}","username":"u{user}"}}}}"#)).collect();
    format!(
        r#"{{"id":"{id}","name":"n","member_count":{},"roles":[{{"id":"{id}","position":0}},{{"id":"3","position":2}},{{"id":"4","position":1}},{{"id":"2","position":2}}],"channels":[{{"id":"70"}},{{"id":"71"}}],"threads":[{{"id":"90","parent_id":"70"}}],"members":[{}],"voice_states":[{{"user_id":"1","channel_id":"70"}}]}}"#,
        members.len(),
        members.join(",")
    )
}

#[test]
fn outage_keeps_the_guild_and_leaving_frees_its_memory() {
    let mut cache = cache();
    let empty = cache.memory();
    cache.apply("GUILD_CREATE", &guild(7, 1_000), 1);
    cache.apply("GUILD_DELETE", r#"{"id":"7","unavailable":true}"#, 2);
    let info = cache.guild(7).unwrap();
    assert!(info.is_unavailable && info.members == Some(1_000) && cache.member(7, 5).is_some());
    assert!(cache.guild_create(7).unwrap().contains(r#""unavailable":true"#));
    cache.apply("GUILD_DELETE", r#"{"id":"7"}"#, 3);
    cache.seal(1);
    assert_eq!((cache.guild(7), cache.figures(), cache.is_user_known(5)), (None, Figures::default(), false));
    assert!(cache.memory() < empty + 1_024, "{} after {empty}", cache.memory());
}

#[test]
fn memory_returns_after_hours_of_joins_and_leaves() {
    let mut cache = cache();
    (1..=20).for_each(|id| drop(cache.apply("GUILD_CREATE", &guild(id << 40, 60), id)));
    cache.seal(1);
    let start = cache.memory();
    let (mut seed, mut sequence, mut most) = (7_u64, 20, 0);
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 9
    };
    let mut undone: Vec<(&str, String)> = Vec::new();
    let mut after = Vec::new();
    for round in 0..30_000_u64 {
        let (guild_id, id) = ((1 + random() % 20) << 40, random() | 1 << 22);
        let user =
            format!(r#"{{"guild_id":"{guild_id}","user":{{"id":"{id}","username":"joins and leaves"}}}}"#);
        let object = format!(r#"{{"guild_id":"{guild_id}","id":"{id}","parent_id":"70"}}"#);
        let role = format!(r#"{{"guild_id":"{guild_id}","role_id":"{id}","role":{object}}}"#);
        let message =
            format!(r#"{{"guild_id":"{guild_id}","id":"{id}","channel_id":"{}"}}"#, 1 + random() % 300);
        let state =
            |channel| format!(r#"{{"guild_id":"{guild_id}","user_id":"{id}","channel_id":{channel}}}"#);
        let (name, data, undoing) = match random() % 9 {
            0..3 => ("GUILD_MEMBER_ADD", user.clone(), ("GUILD_MEMBER_REMOVE", user)),
            3 => ("PRESENCE_UPDATE", user.clone(), ("GUILD_MEMBER_REMOVE", user)),
            4 => ("CHANNEL_CREATE", object.clone(), ("CHANNEL_DELETE", object)),
            5 => ("THREAD_CREATE", object.clone(), ("THREAD_DELETE", object)),
            6 => ("GUILD_ROLE_CREATE", role.clone(), ("GUILD_ROLE_DELETE", role)),
            7 => ("VOICE_STATE_UPDATE", state(r#""70""#), ("VOICE_STATE_UPDATE", state("null"))),
            _ => ("GUILD_CREATE", guild(id, 20), ("GUILD_DELETE", format!(r#"{{"id":"{id}"}}"#))),
        };
        cache.apply(name, &data, sequence + 1);
        cache.apply("MESSAGE_CREATE", &message, sequence + 2);
        undone.push(undoing);
        if undone.len() > 400 {
            let (name, data) = undone.swap_remove((random() % 400) as usize);
            cache.apply(name, &data, sequence + 3);
        }
        sequence += 3;
        if round % 100 == 0 {
            cache.seal(1);
            cache.take_changed();
            most = most.max(cache.memory());
        }
        if round % 15_000 == 14_999 {
            for (name, data) in undone.drain(..) {
                sequence += 1;
                cache.apply(name, &data, sequence);
            }
            cache.seal(u64::MAX - round);
            assert_eq!((cache.figures().guilds, cache.figures().members, cache.messages()), (20, 1_200, 0));
            after.push(cache.memory());
        }
    }
    assert!(most > start * 3, "{most} after {start}");
    // Hash tables keep free room for a while; a second round must need no more memory.
    assert!(
        after[0] < start * 2 && after[1] <= after[0] + after[0] / 20,
        "{after:?} after {start}, at most {most}"
    );
}

#[test]
fn late_event_of_a_guild_that_was_left_does_not_bring_it_back() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    cache.apply("GUILD_DELETE", r#"{"id":"7"}"#, 2);
    cache.apply("CHANNEL_UPDATE", r#"{"guild_id":"7","id":"70"}"#, 3);
    assert_eq!(cache.guild(7), None);
    cache.apply("CHANNEL_UPDATE", r#"{"guild_id":"7","id":"70"}"#, 3 + LATE_EVENTS);
    assert!(
        cache.guild(7).is_some_and(|guild| guild.is_pending),
        "much later the bot must have joined again"
    );
    cache.apply("GUILD_CREATE", &guild(8, 3), 4 + LATE_EVENTS);
    assert_eq!(cache.figures().guilds, 2);
}

#[test]
fn unknown_guild_that_was_left_is_not_expected() {
    let mut cache = cache();
    // The event is replayed: the guild's records were removed before the head reached this event.
    cache.apply("GUILD_DELETE", r#"{"id":"7"}"#, 2);
    cache.apply("CHANNEL_UPDATE", r#"{"guild_id":"7","id":"70"}"#, 3);
    assert_eq!((cache.guild(7), cache.figures().pending), (None, 0));
    cache.apply("GUILD_CREATE", &guild(7, 3), 4);
    assert_eq!((cache.figures().guilds, cache.figures().uncertain), (1, 0));
}

#[test]
fn unreadable_event_puts_its_guild_or_the_shard_in_doubt() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    let applied = cache.apply("CHANNEL_UPDATE", r#"{"guild_id":"7","id":[]}"#, 2);
    assert!(applied.is_unreadable && applied.guild == Some(7));
    assert_eq!((cache.guild(7).unwrap().doubt, cache.shard_doubt()), (Doubt::GUILD, None));
    assert_eq!(cache.figures().uncertain, 1);
    cache.apply("GUILD_CREATE", &guild(7, 3), 3);
    assert_eq!((cache.guild(7).unwrap().doubt, cache.figures().uncertain), (Doubt::NONE, 0));
    cache.apply("GUILD_MEMBER_ADD", "{", 4);
    assert_eq!(cache.shard_doubt(), Some(ShardDoubt::Event));
    assert!(cache.apply("MESSAGE_CREATE", "{", 5).is_unreadable);
    assert_eq!(cache.guild(7).unwrap().doubt, Doubt::NONE, "a message is no part of a guild");
    cache.doubt_everything();
    assert_eq!(
        (cache.guild(7).unwrap().doubt, cache.shard_doubt()),
        (Doubt::GUILD, Some(ShardDoubt::Events))
    );
}

#[test]
fn odd_field_costs_only_itself() {
    let mut cache = cache();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let text = guild(7, 3).replacen(r#""name":"n""#, &format!(r#""name":5,"deep":{deep},"odd":"\ud83d""#), 1);
    let applied = cache.apply("GUILD_CREATE", &text, 1);
    assert_eq!(applied.losses.parts().collect::<Vec<_>>(), [(Part::Field, 1)]);
    let info = cache.guild(7).unwrap();
    assert_eq!((info.name, info.members, info.doubt), (None, Some(3), Doubt::NONE));
    let object = cache.guild_object(7).unwrap();
    assert!(
        object.contains(r#""name":5"#) && object.contains(r#""odd":"\ud83d""#) && !object.contains("deep")
    );
}

#[test]
fn element_without_an_id_is_counted_and_leaves_doubt() {
    let mut cache = cache();
    let text = guild(7, 3).replace(r#"{"id":"71"}"#, r#"{"name":"no id"},5"#);
    let applied = cache.apply("GUILD_CREATE", &text, 1);
    assert_eq!(applied.losses.parts().collect::<Vec<_>>(), [(Part::Channel, 2)]);
    assert!(cache.guild(7).unwrap().doubt.has(Doubt::CHANNELS.and(Doubt::COUNTS)));
    let huge = format!(r#"{{"guild_id":"7","id":"72","name":"{}"}}"#, "x".repeat(600 * 1024));
    assert!(cache.apply("CHANNEL_CREATE", &huge, 2).is_unreadable);
    assert_eq!(cache.ids(7, Kind::Channels), [70]);
}

#[test]
fn invalid_member_count_becomes_the_number_of_listed_members() {
    let mut cache = cache();
    let text = guild(7, 3).replace(r#""member_count":3"#, &format!(r#""member_count":{}"#, MOST_MEMBERS + 1));
    cache.apply("GUILD_CREATE", &text, 1);
    let info = cache.guild(7).unwrap();
    assert_eq!((info.members, info.doubt), (Some(3), Doubt::COUNTS));
}

#[test]
fn deleted_channel_removes_its_contents() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    cache.apply("MESSAGE_CREATE", r#"{"guild_id":"7","channel_id":"70","id":"500"}"#, 2);
    assert!(cache.message(70, 500).is_some() && cache.voice_channel(7, 1) == Some(70));
    cache.apply("CHANNEL_DELETE", r#"{"guild_id":"7","id":"70"}"#, 3);
    assert_eq!((cache.message(70, 500), cache.voice_channel(7, 1), cache.channel(7, 90)), (None, None, None));
    assert_eq!((cache.figures().channels, cache.figures().voice_connections), (1, 0));
}

#[test]
fn messages_go_with_their_thread() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    cache.apply("MESSAGE_CREATE", r#"{"guild_id":"7","channel_id":"90","id":"500"}"#, 2);
    cache.apply("THREAD_LIST_SYNC", r#"{"guild_id":"7","threads":[{"id":"90","parent_id":"70"}]}"#, 3);
    assert!(cache.message(90, 500).is_some());
    cache.apply("CHANNEL_DELETE", r#"{"guild_id":"7","id":"70"}"#, 4);
    assert_eq!((cache.message(90, 500), cache.messages()), (None, 0));
}

#[test]
fn guild_of_2000_members_comes_in_one_event() {
    let mut cache = cache();
    let applied = cache.apply("GUILD_CREATE", &guild(7, 2_000), 1);
    assert!(applied.losses.is_empty());
    let info = cache.guild(7).unwrap();
    assert_eq!((info.members, info.cached_members, info.doubt), (Some(2_000), 2_000, Doubt::NONE));
    assert_eq!(cache.username(1_999).as_deref(), Some("u1999"));
    let update = r#"{"guild_id":"7","user":{"id":"1999","username":"new"},"joined_at":null}"#;
    cache.apply("GUILD_MEMBER_UPDATE", update, 2);
    cache.seal(1);
    assert_eq!(
        cache.member(7, 1_999).unwrap(),
        r#"{"user":{"id":"1999","username":"new"},"joined_at":null}"#
    );
}

#[test]
fn roles_come_by_position_and_age() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    let roles = cache.roles(7).unwrap();
    let ids: Vec<u64> = object::elements(&roles)
        .unwrap()
        .iter()
        .filter_map(|role| object::id(object::field(role, "id")?))
        .collect();
    assert_eq!(ids, [7, 4, 2, 3]);
    assert_eq!(only_fields(&cache.role(7, 4).unwrap(), &["position".to_owned()]), r#"{"position":1}"#);
}

#[test]
fn session_waits_for_the_guilds_that_ready_names() {
    let mut cache = cache();
    let start =
        SessionGuilds::read(r#"{"guilds":[{"id":"7"},{"id":"8"},{}],"user":{"id":"1","username":"bot"}}"#);
    assert!(start.names_more);
    cache.begin_session(4, &start);
    assert_eq!((cache.figures().pending, cache.figures().unknown, cache.session()), (2, 2, 4));
    assert_eq!(cache.shard_doubt(), Some(ShardDoubt::Guilds));
    assert_eq!(cache.own_user(), Some(r#"{"id":"1","username":"bot"}"#));
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    cache.apply("GUILD_DELETE", r#"{"id":"8","unavailable":true}"#, 2);
    assert_eq!((cache.figures().pending, cache.figures().unknown), (0, 1));
    assert_eq!(
        SessionGuilds::read("no json"),
        SessionGuilds { names_more: true, ..SessionGuilds::default() }
    );
}

#[test]
fn events_after_taking_are_in_the_records_that_are_written() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 3), 1);
    let mut changed = cache.take_changed();
    assert_eq!(cache.take_changed(), crate::Changed::default());
    cache.begin_copy();
    cache.apply("GUILD_ROLE_DELETE", r#"{"guild_id":"7","role_id":"3"}"#, 2);
    let records = cache.records(7, &mut changed);
    assert_eq!(records.together.last().unwrap().0.kind, Kind::Core, "the stamp goes last");
    assert_eq!(cache.take_changed(), crate::Changed::default());
    cache.give_back(changed);
    assert_eq!(cache.take_changed().guilds(), [7]);
    let since = cache.end_copy().unwrap();
    assert_eq!(since.records.iter().map(|key| key.kind).collect::<Vec<_>>(), [Kind::Roles]);
    assert_eq!(cache.end_copy(), None);
    cache.apply("GUILD_DELETE", r#"{"id":"7"}"#, 3);
    let mut changed = cache.take_changed();
    let records = cache.records(7, &mut changed);
    assert!(records.members.is_empty() && records.together.is_empty() && records.removed.len() > 5);
}

#[test]
fn cache_without_resources_still_counts() {
    let rules = Rules { resources: Resources::NONE, ..Rules::default() };
    let mut cache = ShardCache::new(rules, Arc::clone(&CODEC));
    cache.apply("GUILD_CREATE", &guild(7, 100), 1);
    let figures = cache.figures();
    assert_eq!((figures.members, figures.channels, figures.voice_connections), (100, 2, 1));
    assert_eq!((cache.guild_create(7), cache.member(7, 1), cache.channel(7, 70)), (None, None, None));
    for (name, id, sequence) in
        [("ADD", 500, 2), ("ADD", 500, 3), ("REMOVE", 5, 4), ("REMOVE", 5, 5), ("REMOVE", 6, 6)]
    {
        let text = format!(r#"{{"guild_id":"7","user":{{"id":"{id}"}}}}"#);
        cache.apply(&format!("GUILD_MEMBER_{name}"), &text, sequence);
    }
    assert_eq!(cache.figures().members, 99, "a repeated event counts once");
    assert!(cache.memory() < 3_000, "{}", cache.memory());
}

#[test]
fn open_messages_are_compressed_before_they_take_much_memory() {
    let mut cache = cache();
    cache.apply("GUILD_CREATE", &guild(7, 1), 1);
    let content = "some words that are said again ".repeat(60);
    for id in 1..=10_000_u64 {
        let text = format!(
            r#"{{"id":"{id}","guild_id":"7","channel_id":"{}","content":"{content}"}}"#,
            70 + id % 400
        );
        cache.apply("MESSAGE_CREATE", &text, 1 + id);
    }
    assert!(cache.memory() < 10 * 1024 * 1024, "{}", cache.memory());
    while cache.seal_next() {}
    assert!(cache.memory() < 2 * 1024 * 1024, "{}", cache.memory());
    assert!(cache.message(70 + 9_999 % 400, 9_999).unwrap().contains(&content));
}
