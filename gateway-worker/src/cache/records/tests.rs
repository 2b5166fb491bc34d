//! A cache that is written down, cut anywhere, restored and told the rest again is the cache that was told everything.

use std::collections::BTreeMap;

use checkpoint::{FORMAT_MAX, decode_record, encode_record};
use proptest::prelude::*;
use serde_json::json;
use twilight_model::gateway::Intents;

use super::*;
use crate::{
    cache::CacheSettings,
    reading::{self, Reading, SessionStart},
};

pub(in crate::cache) const SESSION: u64 = 7;

pub(in crate::cache) fn settings(resources: &str) -> CacheSettings {
    CacheSettings { resources: resources.parse().unwrap(), messages_per_channel: 0, intents: Intents::all() }
}

pub(crate) fn event(name: &str, d: &Value) -> Reading {
    let text = json!({ "t": name, "s": 1, "op": 0, "d": d }).to_string();
    reading::read(name, &text, |_| None).unwrap()
}

pub(in crate::cache) fn user(id: u64) -> Value {
    json!({ "id": (id << 22).to_string(), "username": format!("user{id}"), "discriminator": "0", "avatar": null })
}

pub(in crate::cache) fn member(id: u64) -> Value {
    json!({
        "user": user(id), "roles": [], "deaf": false, "mute": false, "flags": 0, "nick": format!("nick{id}"),
        "joined_at": "2021-01-01T00:00:00.000000+00:00",
    })
}

fn role(id: u64) -> Value {
    json!({
        "id": id.to_string(), "name": format!("role{id}"), "color": 0, "colors": {"primary_color": 0}, "flags": 0,
        "hoist": false, "managed": false, "mentionable": false, "permissions": "0", "position": 1,
    })
}

fn channel(guild: u64, id: u64) -> Value {
    json!({ "id": id.to_string(), "type": 0, "guild_id": guild.to_string(), "name": format!("channel{id}"), "position": 0 })
}

pub(in crate::cache) fn voice(guild: u64, user: u64, channel: Option<u64>) -> Value {
    json!({
        "guild_id": guild.to_string(), "user_id": (user << 22).to_string(),
        "channel_id": channel.map(|id| id.to_string()), "session_id": "s", "deaf": false, "mute": false,
        "self_deaf": false, "self_mute": false, "self_video": false, "suppress": false,
        "request_to_speak_timestamp": null,
    })
}

pub(crate) fn guild(id: u64) -> Value {
    json!({
        "id": id.to_string(), "name": format!("guild{id}"), "owner_id": "1", "afk_timeout": 300,
        "default_message_notifications": 0, "explicit_content_filter": 0, "features": ["COMMUNITY"], "mfa_level": 0,
        "nsfw_level": 0, "preferred_locale": "en-US", "premium_progress_bar_enabled": false,
        "system_channel_flags": 0, "verification_level": 0, "premium_tier": 0, "member_count": 600, "large": true,
        "joined_at": "2021-01-01T00:00:00.000000+00:00",
        "roles": [role(id * 100)],
        "channels": [channel(id, id * 100 + 1)],
        "threads": [{
            "id": (id * 100 + 2).to_string(), "type": 11, "name": "thread", "parent_id": (id * 100 + 1).to_string(),
            "thread_metadata": {
                "archived": false, "auto_archive_duration": 60, "locked": false,
                "archive_timestamp": "2021-01-01T00:00:00.000000+00:00",
            },
        }],
        "members": [member(1), member(2), member(3)],
        "voice_states": [voice(id, 2, Some(id * 100 + 1))],
        "emojis": [{"id": (id * 100 + 30).to_string(), "name": "e", "roles": [], "require_colons": true, "managed": false, "animated": false,
            "available": true, "user": user(1)}],
        "stickers": [{"id": (id * 100 + 31).to_string(), "name": "s", "description": "d", "tags": "t", "type": 2, "format_type": 1,
            "available": true, "guild_id": id.to_string()}],
        "stage_instances": [{"id": (id * 100 + 32).to_string(), "guild_id": id.to_string(), "channel_id": "903", "topic": "t",
            "privacy_level": 2, "discoverable_disabled": false}],
        "guild_scheduled_events": [{"id": (id * 100 + 33).to_string(), "guild_id": id.to_string(), "name": "p", "privacy_level": 2,
            "status": 1, "entity_type": 3, "scheduled_start_time": "2031-01-01T00:00:00.000000+00:00",
            "scheduled_end_time": "2031-01-01T01:00:00.000000+00:00", "entity_metadata": {"location": "l"}}],
    })
}

pub(crate) fn ready(guilds: &[u64]) -> SessionStart {
    let guilds: Vec<Value> =
        guilds.iter().map(|id| json!({ "id": id.to_string(), "unavailable": true })).collect();
    let d = json!({
        "v": 10, "guilds": guilds, "session_id": "s", "resume_gateway_url": "ws://x",
        "user": {"id": "1", "username": "bot", "discriminator": "0", "mfa_enabled": false, "avatar": null, "bot": true},
        "application": {"id": "1", "flags": 0},
    });
    reading::session_start(&json!({ "t": "READY", "s": 1, "op": 0, "d": d }).to_string()).unwrap()
}

pub(in crate::cache) fn begun(resources: &str, guilds: &[u64]) -> ShardCache {
    let cache = ShardCache::new(settings(resources));
    cache.begin_session(SESSION, Some(&ready(guilds)));
    cache
}

/// Everything that a cache holds, in an order that does not depend on how it came in.
pub(in crate::cache) fn contents(cache: &ShardCache) -> BTreeMap<String, String> {
    cache.note_everything(SESSION);
    let mut changed = cache.take_changes(SESSION).unwrap();
    let mut all = BTreeMap::new();
    for (guild, changes) in &mut changed.guilds {
        let records = cache.records(SESSION, *guild, changes);
        for (key, record) in records.together.into_iter().chain(records.members) {
            all.insert(key.to_string(), sorted(record));
        }
    }
    all.insert("figures".to_owned(), format!("{:?}", cache.figures()));
    all.insert("pending".to_owned(), format!("{:?}", cache.pending_guilds()));
    all
}

fn sorted(record: Record) -> String {
    let list = |bytes: &Bytes| {
        let mut items: Vec<String> = match array(bytes) {
            Value::Array(items) => items.iter().map(ToString::to_string).collect(),
            other => vec![other.to_string()],
        };
        items.sort();
        items.join(",")
    };
    match record {
        Record::Core(mut core) => {
            core.in_voice.sort_unstable();
            format!(
                "{:?} {} {:?} {} {} {}",
                core.members,
                core.channels,
                core.in_voice,
                core.unavailable,
                core.object.map(|object| String::from_utf8(object.to_vec()).unwrap()).unwrap_or_default(),
                list(&core.voice_states)
            )
        }
        Record::Channels(bytes) | Record::Roles(bytes) => list(&bytes),
        Record::Extras(extras) => format!(
            "{} {} {} {}",
            // Who made an emoji is forgotten with that user's last guild, and twilight's cache is not strict about which that is.
            list(&without_users(&extras.emojis)),
            list(&extras.stickers),
            list(&extras.stage_instances),
            list(&extras.scheduled_events)
        ),
        Record::Members(members) => list(&members.list),
        Record::Pending(_) => panic!("no guild's record"),
    }
}

fn without_users(bytes: &Bytes) -> Bytes {
    let mut items = array(bytes);
    for item in items.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("user");
    }
    Bytes::from(items.to_string())
}

fn array(bytes: &Bytes) -> Value {
    if bytes.is_empty() { json!([]) } else { serde_json::from_slice(bytes).unwrap() }
}

/// What a store holds: the encoded records, and the head's part that matters here.
#[derive(Clone, Default)]
struct Store {
    records: BTreeMap<RecordKey, Bytes>,
    read: u64,
    expecting: Vec<u64>,
}

impl Store {
    /// A pass of a writer that dies after so many writes; each is one step. Something may happen in the middle of it.
    fn write(&mut self, cache: &ShardCache, read: u64, dies_after: usize, meanwhile: impl FnOnce()) {
        let mut changed = cache.take_changes(SESSION).unwrap();
        meanwhile();
        let mut steps: Vec<Vec<(RecordKey, Option<Bytes>)>> = Vec::new();
        for (guild, changes) in &mut changed.guilds {
            let records = cache.records(SESSION, *guild, changes);
            let bytes = |record| Some(encode_record(&record, FORMAT_MAX).unwrap());
            for (key, record) in records.members {
                steps.push(vec![(key, bytes(record))]);
            }
            let gone = records.gone.into_iter().map(|key| (key, None));
            let set = records.together.into_iter().map(|(key, record)| (key, bytes(record)));
            steps.push(gone.chain(set).collect());
        }
        let whole = steps.len() < dies_after;
        for (key, bytes) in steps.into_iter().take(dies_after).flatten() {
            match bytes {
                Some(bytes) => self.records.insert(key, bytes),
                None => self.records.remove(&key),
            };
        }
        if whole {
            self.read = read;
            self.expecting = cache.guilds_to_expect(false);
        }
    }

    fn restore(&self, resources: &str) -> ShardCache {
        let mut restored =
            Restored { session: SESSION, expecting: self.expecting.clone(), ..Restored::default() };
        for (key, bytes) in &self.records {
            assert!(restored.take(*key, decode_record(*key, bytes).unwrap()).is_none());
        }
        let cache = ShardCache::new(settings(resources));
        cache.restore(restored).unwrap();
        cache
    }
}

#[test]
fn full_guild_is_restored_unchanged() {
    for resources in ["all", "guilds,channels,roles,voice_states,own_user", "channels", "none"] {
        let cache = begun(resources, &[5]);
        cache.apply(&event("GUILD_CREATE", &guild(5)), 2);
        let mut store = Store::default();
        store.write(&cache, 2, usize::MAX, || ());
        let back = store.restore(resources);
        assert_eq!(contents(&back), contents(&cache), "{resources}");
        assert_eq!(back.guild(5), cache.guild(5));
        assert_eq!(back.username(2 << 22), cache.username(2 << 22));
    }
}

#[test]
fn guilds_that_have_not_arrived_stay_expected() {
    let cache = begun("all", &[5, 6, 7]);
    cache.apply(&event("GUILD_CREATE", &guild(5)), 2);
    cache.apply(&event("GUILD_DELETE", &json!({ "id": "6", "unavailable": true })), 3);
    let mut store = Store::default();
    store.write(&cache, 3, usize::MAX, || ());
    let back = store.restore("all");
    assert_eq!(back.pending_guilds(), 1);
    assert_eq!(contents(&back), contents(&cache));
}

#[test]
fn own_user_is_restored() {
    let cache = begun("all", &[]);
    let user = cache.own_user().unwrap();
    let back = ShardCache::new(settings("all"));
    back.restore(Restored { session: SESSION, own_user: Some(user.clone()), ..Restored::default() }).unwrap();
    assert_eq!(back.own_user(), Some(user));
}

#[test]
fn record_that_is_not_json_is_refused_and_changes_nothing() {
    let cache = begun("all", &[5]);
    cache.apply(&event("GUILD_CREATE", &guild(5)), 2);
    let mut store = Store::default();
    store.write(&cache, 2, usize::MAX, || ());
    for broken in [
        (RecordKey::Channels(5), Record::Channels(Bytes::from_static(b"[{]"))),
        (RecordKey::Roles(5), Record::Roles(Bytes::from_static(b"7"))),
        (
            RecordKey::Members(5, 0),
            Record::Members(MemberBlock { stamp: 2, list: Bytes::from_static(b"{}") }),
        ),
    ] {
        let mut restored = Restored { session: SESSION, ..Restored::default() };
        for (key, bytes) in &store.records {
            restored.take(*key, decode_record(*key, bytes).unwrap());
        }
        restored.take(broken.0, broken.1);
        let other = begun("all", &[9]);
        let before = other.pending_guilds();
        let error = other.restore(restored).unwrap_err().to_string();
        assert!(error.contains("guild 5 "), "{error}");
        assert_eq!(other.pending_guilds(), before);
    }
}

#[derive(Clone, Debug)]
pub(in crate::cache) enum Happens {
    Created(u64),
    Left(u64),
    Outage(u64),
    Updated(u64, u8),
    Channel(u64, u64, bool),
    Role(u64, u64, bool),
    Member(u64, u64, bool),
    Nick(u64, u64),
    Voice(u64, u64, bool),
    /// A checkpoint whose writer dies after so many steps.
    Written(usize),
}

pub(in crate::cache) fn happens() -> impl Strategy<Value = Vec<Happens>> {
    let guild = 5u64..8;
    let one = prop_oneof![
        3 => guild.clone().prop_map(Happens::Created),
        1 => guild.clone().prop_map(Happens::Left),
        1 => guild.clone().prop_map(Happens::Outage),
        1 => (guild.clone(), any::<u8>()).prop_map(|(g, n)| Happens::Updated(g, n)),
        2 => (guild.clone(), 0u64..3, any::<bool>()).prop_map(|(g, c, on)| Happens::Channel(g, c, on)),
        2 => (guild.clone(), 0u64..3, any::<bool>()).prop_map(|(g, r, on)| Happens::Role(g, r, on)),
        3 => (guild.clone(), 1u64..9, any::<bool>()).prop_map(|(g, u, on)| Happens::Member(g, u, on)),
        1 => (guild.clone(), 1u64..9).prop_map(|(g, u)| Happens::Nick(g, u)),
        2 => (guild, 1u64..5, any::<bool>()).prop_map(|(g, u, on)| Happens::Voice(g, u, on)),
        3 => prop_oneof![Just(usize::MAX), 0usize..8].prop_map(Happens::Written),
    ];
    prop::collection::vec(one, 0..60)
}

pub(in crate::cache) fn as_event(happens: &Happens) -> Option<Reading> {
    let id = |id: u64| id.to_string();
    Some(match *happens {
        Happens::Created(g) => event("GUILD_CREATE", &guild(g)),
        Happens::Left(g) => event("GUILD_DELETE", &json!({ "id": id(g) })),
        Happens::Outage(g) => event("GUILD_DELETE", &json!({ "id": id(g), "unavailable": true })),
        Happens::Updated(g, n) => {
            let mut updated = guild(g);
            updated["name"] = json!(format!("renamed{n}"));
            event("GUILD_UPDATE", &updated)
        }
        Happens::Channel(g, c, true) => event("CHANNEL_CREATE", &channel(g, g * 100 + 10 + c)),
        Happens::Channel(g, c, false) => event("CHANNEL_DELETE", &channel(g, g * 100 + 10 + c)),
        Happens::Role(g, r, true) => {
            event("GUILD_ROLE_CREATE", &json!({ "guild_id": id(g), "role": role(g * 100 + 20 + r) }))
        }
        Happens::Role(g, r, false) => {
            event("GUILD_ROLE_DELETE", &json!({ "guild_id": id(g), "role_id": id(g * 100 + 20 + r) }))
        }
        Happens::Member(g, u, true) => {
            let mut added = member(u);
            added["guild_id"] = json!(id(g));
            event("GUILD_MEMBER_ADD", &added)
        }
        Happens::Member(g, u, false) => {
            event("GUILD_MEMBER_REMOVE", &json!({ "guild_id": id(g), "user": user(u) }))
        }
        Happens::Nick(g, u) => event(
            "GUILD_MEMBER_UPDATE",
            &json!({
                "guild_id": id(g), "user": user(u), "roles": [], "nick": "changed", "flags": 0,
                "joined_at": "2021-01-01T00:00:00.000000+00:00", "deaf": false, "mute": false,
            }),
        ),
        Happens::Voice(g, u, on) => event("VOICE_STATE_UPDATE", &voice(g, u, on.then_some(g * 100 + 1))),
        Happens::Written(_) => return None,
    })
}

/// What Discord has told of a guild.
#[derive(Default)]
pub(in crate::cache) struct Told {
    is_available: bool,
    /// Whether these users are members.
    members: BTreeMap<u64, bool>,
}

/// Discord tells of what happens in a guild only while that is there, and of each join and each departure once: which
/// were told before is not in the records.
pub(in crate::cache) fn is_told(happens: &Happens, there: &mut BTreeMap<u64, Told>) -> bool {
    let is_available = |guild: &u64| there.get(guild).is_some_and(|told| told.is_available);
    match *happens {
        Happens::Created(guild) => {
            let is_new = !is_available(&guild);
            if is_new {
                let members = (1..=3).map(|user| (user, true)).collect();
                there.insert(guild, Told { is_available: true, members });
            }
            is_new
        }
        Happens::Outage(guild) => {
            there.get_mut(&guild).is_some_and(|told| std::mem::take(&mut told.is_available))
        }
        Happens::Left(guild) => there.remove(&guild).is_some(),
        Happens::Member(guild, user, on) => {
            let told = there.get_mut(&guild).filter(|told| told.is_available);
            told.is_some_and(|told| told.members.insert(user, on) != Some(on))
        }
        Happens::Updated(guild, _)
        | Happens::Channel(guild, ..)
        | Happens::Role(guild, ..)
        | Happens::Nick(guild, _)
        | Happens::Voice(guild, ..) => is_available(&guild),
        Happens::Written(_) => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn restore_from_any_cut_and_a_replay_of_the_rest_give_the_same_cache(happens in happens()) {
        let cache = begun("all", &[5, 6, 7]);
        let mut store = Store { read: 1, expecting: vec![5, 6, 7], ..Store::default() };
        let mut told = Vec::new();
        let mut sequence = 1;
        let mut died = false;
        let mut there = BTreeMap::new();
        let mut rest = happens.iter().filter(|one| is_told(one, &mut there)).peekable();
        let mut tell = |event: Reading| {
            sequence += 1;
            cache.apply(&event, sequence);
            told.push((sequence, event));
            sequence
        };
        let mut read = 1;
        while let Some(one) = rest.next() {
            match *one {
                // Whoever died writes no more.
                Happens::Written(_) if died => {}
                Happens::Written(dies_after) => {
                    died = dies_after != usize::MAX;
                    let at = read;
                    let next = rest.next_if(|next| !matches!(next, Happens::Written(_))).and_then(as_event);
                    store.write(&cache, at, dies_after, || {
                        if let Some(event) = next {
                            read = tell(event);
                        }
                    });
                }
                _ => {
                    if let Some(event) = as_event(one) {
                        read = tell(event);
                    }
                }
            }
        }
        let back = store.restore("all");
        for (at, event) in &told {
            if *at > store.read {
                back.apply(event, *at);
            }
        }
        prop_assert_eq!(contents(&back), contents(&cache));
    }
}
