//! A cache that is written in any format, restored, and given the remaining events equals the cache that got every event.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use checkpoint::{FORMAT_MAX, FORMAT_MIN, FORMAT_OF_BLOCKS, Head, Record, decode_record, encode_record};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    cache::{Layouts, Restoring},
    testing::guilds::{SESSION, begun, channel, guild, member, role, settings, tell, user, voice},
};

/// Everything that a cache holds.
pub(in crate::cache) fn contents(cache: &ShardCache) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for id in cache.guild_ids() {
        let created = cache.read().cache.guild_create(id).unwrap_or_else(|| "{}".to_owned());
        let created: Value = serde_json::from_str(&created).unwrap();
        all.insert(id.to_string(), json!([format!("{:?}", cache.guild(id)), created]));
    }
    all.insert("figures".to_owned(), json!(format!("{:?}", cache.figures())));
    all.insert("pending".to_owned(), json!(cache.pending_guilds()));
    all
}

/// The head of a session that was read up to its first event.
pub(in crate::cache) fn head(expecting: Vec<u64>) -> Head {
    let session = checkpoint::Session {
        id: "s".to_owned(),
        resume_url: String::new(),
        ordinal: SESSION,
        shard: None,
        total: 1,
        intents: 0,
        transport: String::new(),
        resources: Vec::new(),
        opened_at_unix_ms: 0,
    };
    Head {
        session,
        read: 1,
        read_at_unix_ms: 0,
        expecting,
        doubt: 0,
        own_user: None,
        presence: None,
        epoch: fleet_model::Epoch(1),
        exact: true,
    }
}

/// Makes a cache from records.
pub(in crate::cache) fn made(mut restoring: Restoring, head: &Head, resources: &str) -> ShardCache {
    while restoring.next_guild().unwrap() {}
    let cache = ShardCache::new(settings(resources));
    cache.adopt(restoring.finish(head));
    cache
}

/// What a store holds: the encoded records, and the head's part that matters here.
#[derive(Clone, Default)]
struct Store {
    records: BTreeMap<RecordKey, Bytes>,
    read: u64,
    expecting: Vec<u64>,
    layouts: Layouts,
}

impl Store {
    /// A pass of a writer that dies after some writes. An event may come in the middle of the pass.
    fn write(
        &mut self,
        cache: &ShardCache,
        read: u64,
        (dies_after, format): (usize, u16),
        meanwhile: impl FnOnce(),
    ) {
        let moves = self.layouts.has_other_than(format);
        if moves {
            cache.note_everything(SESSION);
        }
        self.layouts = self.layouts.and(Layouts::of(format));
        let mut changed = cache.take_changes(SESSION).unwrap();
        meanwhile();
        let mut steps: Vec<Vec<(RecordKey, Option<Bytes>)>> = Vec::new();
        for guild in changed.guilds() {
            let records = cache.records(SESSION, guild, &mut changed, WrittenAs { format, moves }).unwrap();
            for (key, bytes) in records.members {
                steps.push(vec![(key, Some(bytes))]);
            }
            let gone = records.gone.into_iter().map(|key| (key, None));
            let set = records.together.into_iter().map(|(key, bytes)| (key, Some(bytes)));
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
            self.layouts = Layouts::of(format);
        }
    }

    fn restore(&self, resources: &str) -> ShardCache {
        let mut restoring = ShardCache::new(settings(resources)).restoring();
        for (key, bytes) in &self.records {
            assert!(restoring.take(*key, bytes).unwrap().is_none());
        }
        made(restoring, &head(self.expecting.clone()), resources)
    }
}

#[test]
fn full_guild_is_restored_unchanged() {
    for (resources, format) in ["all", "guilds,channels,roles,voice_states,own_user", "channels", "none"]
        .into_iter()
        .flat_map(|resources| (FORMAT_MIN..=FORMAT_MAX).map(move |format| (resources, format)))
    {
        let cache = begun(resources, &[5]);
        tell(&cache, "GUILD_CREATE", &guild(5), 2);
        let mut store = Store::default();
        store.write(&cache, 2, (usize::MAX, format), || ());
        let back = store.restore(resources);
        let mut expected = contents(&cache);
        if resources == "none" && format < FORMAT_OF_BLOCKS {
            // The record counts the channels and does not name them.
            assert_eq!(back.report().uncertain, 1);
            expected = contents(&back);
        }
        assert_eq!(contents(&back), expected, "{resources} {format}");
        assert_eq!(back.username(2 << 22), cache.username(2 << 22));
    }
}

#[test]
fn guilds_that_have_not_arrived_stay_expected() {
    for format in FORMAT_MIN..=FORMAT_MAX {
        let cache = begun("all", &[5, 6, 7]);
        tell(&cache, "GUILD_CREATE", &guild(5), 2);
        tell(&cache, "GUILD_DELETE", &json!({ "id": "6", "unavailable": true }), 3);
        let mut store = Store::default();
        store.write(&cache, 3, (usize::MAX, format), || ());
        let back = store.restore("all");
        assert_eq!(back.pending_guilds(), 1);
        assert_eq!(contents(&back), contents(&cache), "{format}");
    }
}

#[test]
fn own_user_is_restored() {
    let user = begun("all", &[]).own_user_text().unwrap();
    let restoring = ShardCache::new(settings("all")).restoring();
    let back = made(restoring, &Head { own_user: Some(user.clone()), ..head(Vec::new()) }, "all");
    assert_eq!(back.own_user_text(), Some(user));
}

#[test]
fn record_that_is_not_json_is_refused_and_changes_nothing() {
    let cache = begun("all", &[5]);
    tell(&cache, "GUILD_CREATE", &guild(5), 2);
    let mut store = Store::default();
    store.write(&cache, 2, (usize::MAX, 2), || ());
    let members = checkpoint::Members { stamp: 2, list: Bytes::from_static(b"{}") };
    for (key, record) in [
        (RecordKey::Channels(5), Record::Channels(Bytes::from_static(b"[{]"))),
        (RecordKey::Roles(5), Record::Roles(Bytes::from_static(b"7"))),
        (RecordKey::Members(5, 0), Record::Members(members)),
    ] {
        let mut restoring = cache.restoring();
        for (key, bytes) in &store.records {
            restoring.take(*key, bytes).unwrap();
        }
        restoring.take(key, &encode_record(&record, 2).unwrap()).unwrap();
        let error = restoring.next_guild().unwrap_err().to_string();
        assert!(error.contains("guild 5 "), "{error}");
    }
}

/// Older workers read a guild's lists as a GUILD_CREATE of twilight's types.
#[test]
fn lists_are_read_by_older_workers() {
    let cache = begun("all", &[5]);
    // Discord cuts an emoji in two at a length limit. A serde_json value cannot hold half an emoji.
    let text = guild(5).to_string();
    let text = ["\"guild5\"", "\"role500\"", "\"channel501\"", "\"nick1\"", "\"d\""]
        .into_iter()
        .fold(text, |text, name| text.replace(name, r#""cut \ud83d""#));
    cache.apply("GUILD_CREATE", &text, 2);
    assert_eq!(cache.guild(5).unwrap().name.as_deref(), Some("cut \u{fffd}"));
    let mut core = None;
    let (mut lists, mut members) = (BTreeMap::new(), Vec::new());
    let records = cache.all_records(SESSION, 5, 2).unwrap();
    for (key, bytes) in records.members.into_iter().chain(records.together) {
        match decode_record(key, &bytes).unwrap() {
            Record::Core(found) => core = Some(found),
            Record::Channels(list) => drop(lists.insert("channels", list)),
            Record::Roles(list) => drop(lists.insert("roles", list)),
            Record::Members(record) => {
                let list: Vec<Value> = serde_json::from_slice(&record.list).unwrap();
                members.extend(list);
            }
            Record::Extras(extras) => {
                lists.insert("emojis", extras.emojis);
                lists.insert("stickers", extras.stickers);
                lists.insert("stage_instances", extras.stage_instances);
                lists.insert("guild_scheduled_events", extras.scheduled_events);
            }
            Record::Pending(_) => panic!("no record of a guild"),
        }
    }
    let core = core.unwrap();
    lists.insert("voice_states", core.voice_states);
    lists.insert("members", serde_json::to_vec(&members).unwrap().into());
    let mut whole: Value = serde_json::from_slice(&core.object.unwrap()).unwrap();
    for (name, list) in lists {
        assert_eq!(whole.get(name), None);
        whole[name] = serde_json::from_slice(&list).unwrap();
    }
    let whole: twilight_model::guild::Guild = serde_json::from_str(&whole.to_string()).unwrap();
    assert_eq!((whole.channels.len(), whole.members.len(), whole.roles.len()), (2, 3, 1));
    assert_eq!((core.stamp, core.members, core.channels, core.in_voice), (2, Some(600), 1, vec![2 << 22]));
}

/// Number of records of guild 5's members, from its core.
fn member_records(cache: &ShardCache) -> u32 {
    let records = cache.all_records(SESSION, 5, 2).unwrap();
    let cores =
        records.together.iter().filter_map(|(key, bytes)| match decode_record(*key, bytes).unwrap() {
            Record::Core(core) => Some(core.member_blocks),
            _ => None,
        });
    cores.last().unwrap()
}

#[test]
fn members_are_spread_by_their_number_before_they_are_cached() {
    let cache = begun("all", &[5]);
    tell(&cache, "GUILD_DELETE", &json!({ "id": "5", "unavailable": true }), 2);
    assert_eq!(member_records(&cache), 0);
    let mut large = guild(5);
    large["member_count"] = json!(250_000);
    tell(&cache, "GUILD_CREATE", &large, 3);
    assert_eq!(member_records(&cache), 1024);
    // The number of records stays when members leave.
    large["member_count"] = json!(3);
    tell(&cache, "GUILD_CREATE", &large, 4);
    assert_eq!(member_records(&cache), 1024);
}

#[test]
fn cache_is_locked_only_while_lists_are_collected() {
    let cache = begun("all", &[5]);
    let mut large = guild(5);
    large["members"] = (1..=3_000).map(member).collect();
    tell(&cache, "GUILD_CREATE", &large, 2);
    let keys: BTreeSet<_> = cache.read().cache.record_keys(5).into_iter().collect();
    let collect = || cache.write().collect(5, keys.clone(), WrittenAs::only(2));
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..5 {
        let began = Instant::now();
        let collected = collect();
        fastest[0] = fastest[0].min(began.elapsed());
        let began = Instant::now();
        let records = collected.encode().unwrap();
        fastest[1] = fastest[1].min(began.elapsed());
        assert!(records.members.len() > 2);
    }
    assert!(fastest[0] * 4 < fastest[1], "{fastest:?}");

    let (collected, before) = (collect(), collect().encode().unwrap());
    tell(&cache, "GUILD_DELETE", &json!({ "id": "5" }), 3);
    let after = collected.encode().unwrap();
    assert_eq!((after.members, after.together), (before.members, before.together));
}

#[tokio::test]
async fn no_block_is_split_or_joined_after_the_last_part_of_a_copy() {
    let cache = begun("all", &[5]);
    tell(&cache, "GUILD_CREATE", &guild(5), 2);
    let event = |id: u64| {
        let mut one = member(id);
        one["guild_id"] = json!("5");
        one
    };
    (10..60).for_each(|id| tell(&cache, "GUILD_MEMBER_ADD", &event(id), id));
    cache.seal(1).await;
    cache.begin_copy(SESSION).unwrap();
    // The remaining objects fit into fewer blocks, so the next seal would join blocks.
    (12..58).for_each(|id| tell(&cache, "GUILD_MEMBER_REMOVE", &event(id), 100 + id));
    let last = cache.end_copy(SESSION, FORMAT_OF_BLOCKS).unwrap().unwrap();
    assert!(last.iter().any(|records| records.members.len() > 1));
    cache.take_changes(SESSION).unwrap();
    cache.seal(2).await;
    assert_eq!(cache.take_changes(SESSION).unwrap().records.len(), 0);
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
    /// A checkpoint in a format, whose writer dies after some steps.
    Written(usize, u16),
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
        3 => (prop_oneof![Just(usize::MAX), 0usize..8], FORMAT_MIN..=FORMAT_MAX)
            .prop_map(|(steps, format)| Happens::Written(steps, format)),
    ];
    prop::collection::vec(one, 0..60)
}

pub(in crate::cache) fn as_event(happens: &Happens) -> Option<(&'static str, Value)> {
    let id = |id: u64| id.to_string();
    Some(match *happens {
        Happens::Created(g) => ("GUILD_CREATE", guild(g)),
        Happens::Left(g) => ("GUILD_DELETE", json!({ "id": id(g) })),
        Happens::Outage(g) => ("GUILD_DELETE", json!({ "id": id(g), "unavailable": true })),
        Happens::Updated(g, n) => {
            let mut updated = guild(g);
            updated["name"] = json!(format!("renamed{n}"));
            ("GUILD_UPDATE", updated)
        }
        Happens::Channel(g, c, true) => ("CHANNEL_CREATE", channel(g, g * 100 + 10 + c)),
        Happens::Channel(g, c, false) => ("CHANNEL_DELETE", channel(g, g * 100 + 10 + c)),
        Happens::Role(g, r, true) => {
            ("GUILD_ROLE_CREATE", json!({ "guild_id": id(g), "role": role(g * 100 + 20 + r) }))
        }
        Happens::Role(g, r, false) => {
            ("GUILD_ROLE_DELETE", json!({ "guild_id": id(g), "role_id": id(g * 100 + 20 + r) }))
        }
        Happens::Member(g, u, true) => {
            let mut added = member(u);
            added["guild_id"] = json!(id(g));
            ("GUILD_MEMBER_ADD", added)
        }
        Happens::Member(g, u, false) => {
            ("GUILD_MEMBER_REMOVE", json!({ "guild_id": id(g), "user": user(u) }))
        }
        Happens::Nick(g, u) => (
            "GUILD_MEMBER_UPDATE",
            json!({
                "guild_id": id(g), "user": user(u), "roles": [], "nick": "changed", "flags": 0,
                "joined_at": "2021-01-01T00:00:00.000000+00:00", "deaf": false, "mute": false,
            }),
        ),
        Happens::Voice(g, u, on) => ("VOICE_STATE_UPDATE", voice(g, u, on.then_some(g * 100 + 1))),
        Happens::Written(..) => return None,
    })
}

/// The state of a guild that Discord has sent.
#[derive(Default)]
pub(in crate::cache) struct SentGuild {
    is_available: bool,
    /// Whether these users are members.
    members: BTreeMap<u64, bool>,
}

/// Discord sends events of a guild only while the guild is available. It sends each join and each departure once, because records do not
/// say which were counted.
pub(in crate::cache) fn is_sent(happens: &Happens, there: &mut BTreeMap<u64, SentGuild>) -> bool {
    let is_available = |guild: &u64| there.get(guild).is_some_and(|sent| sent.is_available);
    match *happens {
        Happens::Created(guild) => {
            let is_new = !is_available(&guild);
            if is_new {
                let members = (1..=3).map(|user| (user, true)).collect();
                there.insert(guild, SentGuild { is_available: true, members });
            }
            is_new
        }
        Happens::Outage(guild) => {
            there.get_mut(&guild).is_some_and(|sent| std::mem::take(&mut sent.is_available))
        }
        Happens::Left(guild) => there.remove(&guild).is_some(),
        Happens::Member(guild, user, on) => {
            let sent = there.get_mut(&guild).filter(|sent| sent.is_available);
            sent.is_some_and(|sent| sent.members.insert(user, on) != Some(on))
        }
        Happens::Updated(guild, _)
        | Happens::Channel(guild, ..)
        | Happens::Role(guild, ..)
        | Happens::Nick(guild, _)
        | Happens::Voice(guild, ..) => is_available(&guild),
        Happens::Written(..) => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn restore_from_any_cut_and_a_replay_of_the_rest_give_the_same_cache(happens in happens()) {
        let cache = begun("all", &[5, 6, 7]);
        let mut store = Store { read: 1, expecting: vec![5, 6, 7], ..Store::default() };
        let mut sent = Vec::new();
        let mut sequence = 1;
        let mut died = false;
        let mut there = BTreeMap::new();
        let mut rest = happens.iter().filter(|one| is_sent(one, &mut there)).peekable();
        let mut send = |(name, d): (&'static str, Value)| {
            sequence += 1;
            tell(&cache, name, &d, sequence);
            sent.push((sequence, name, d));
            sequence
        };
        let mut read = 1;
        while let Some(one) = rest.next() {
            match *one {
                // A writer that died does not continue.
                Happens::Written(..) if died => {}
                Happens::Written(dies_after, format) => {
                    died = dies_after != usize::MAX;
                    let at = read;
                    let next = rest.next_if(|next| !matches!(next, Happens::Written(..))).and_then(as_event);
                    store.write(&cache, at, (dies_after, format), || {
                        if let Some(event) = next {
                            read = send(event);
                        }
                    });
                }
                _ => {
                    if let Some(event) = as_event(one) {
                        read = send(event);
                    }
                }
            }
        }
        let back = store.restore("all");
        for (at, name, d) in &sent {
            if *at > store.read {
                tell(&back, name, d, *at);
            }
        }
        prop_assert_eq!(contents(&back), contents(&cache));
    }
}
