//! Random events against a naive cache: a map of JSON values with explicit merge rules. The cache must equal it after each event.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use events::{Random, event, to_value};
use guild_cache::{Codec, Head, RecordKey, Resources, Restoring, Rules, SessionGuilds, ShardCache};
use naive::Naive;
use proptest::prelude::*;
use serde_json::{Map, Value};

mod events;
mod naive;

static CODEC: LazyLock<Arc<Codec>> = LazyLock::new(|| Arc::new(Codec::new()));

/// The guilds that READY names. A fourth guild has events too.
const GUILDS: [u64; 3] = [1 << 40, 2 << 40, 3 << 40];
/// The last guild that has events.
const LAST: u64 = 4;

fn rules(resources: Resources) -> Rules {
    Rules {
        resources,
        messages_per_channel: 5,
        message_lifetime_ms: None,
        sweep_interval_ms: 0,
        notes_changes: true,
    }
}

fn start() -> SessionGuilds {
    SessionGuilds { guilds: GUILDS.to_vec(), ..SessionGuilds::default() }
}

/// A store of a checkpoint's records, and the sequence of the last event in them, as its head says.
#[derive(Default)]
struct Store {
    records: BTreeMap<RecordKey, Vec<u8>>,
    read: u64,
    own_user: Option<String>,
}

impl Store {
    /// Writes the changed records in a writer's order. Stops after `steps` steps, like a writer that dies. Returns whether all were written.
    fn write(&mut self, cache: &mut ShardCache, read: u64, mut steps: usize) -> bool {
        let mut changed = cache.take_changed();
        for guild in changed.guilds() {
            let records = cache.records(guild, &mut changed);
            for (key, bytes) in records.members {
                let Some(left) = steps.checked_sub(1) else { return false };
                steps = left;
                self.records.insert(key, bytes);
            }
            let Some(left) = steps.checked_sub(1) else { return false };
            steps = left;
            self.records.extend(records.together);
            records.removed.iter().for_each(|key| drop(self.records.remove(key)));
        }
        self.read = read;
        self.own_user = cache.own_user().map(str::to_owned);
        true
    }

    fn restore(&self, resources: Resources, expecting: Vec<u64>) -> ShardCache {
        let mut restoring = Restoring::new(rules(resources), Arc::clone(&CODEC));
        for (key, bytes) in &self.records {
            restoring.take(*key, bytes).unwrap();
        }
        let own_user = self.own_user.clone();
        restoring.finish(&Head { session: 7, expecting, own_user, ..Head::default() })
    }
}

/// A list of objects by id. Lists are compared in this form.
fn by_id(list: &Value, name: &str) -> BTreeMap<u64, Value> {
    let id = |object: &Value| naive::id_of(name, object).unwrap();
    list.as_array().unwrap().iter().map(|object| (id(object), object.clone())).collect()
}

fn check(cache: &ShardCache, naive: &Naive) {
    let ids: BTreeSet<u64> = cache.guild_ids().into_iter().collect();
    assert_eq!(ids, naive.guilds.keys().copied().collect::<BTreeSet<u64>>());
    for (id, expected) in &naive.guilds {
        let info = cache.guild(*id).unwrap();
        assert_eq!(info.members, expected.members, "members of {id}");
        assert_eq!(info.is_unavailable, expected.is_unavailable, "outage of {id}");
        assert_eq!(info.doubt.bits(), expected.doubt, "doubt about {id}");
        assert_eq!(info.channels as usize, expected.count("channels"), "channels of {id}");
        assert_eq!(info.voice_connections as usize, expected.voice.len(), "voice of {id}");
        for (user, channel) in &expected.voice {
            assert_eq!(cache.voice_channel(*id, *user), Some(*channel));
        }
        let created = cache.guild_create(*id).map(|text| to_value(&text));
        assert_eq!(created.is_some(), expected.core.is_some(), "{id}");
        let (Some(mut created), Some(core)) = (created, &expected.core) else { continue };
        let created = created.as_object_mut().unwrap();
        let mut core: Map<String, Value> = core.clone();
        for (name, list) in &expected.lists {
            if list.is_empty() && !expected.listed.contains(name) {
                continue;
            }
            assert_eq!(&by_id(&created.remove(*name).unwrap(), name), list, "{name} of {id}");
            core.remove(*name);
        }
        for (name, list) in &expected.extras {
            assert_eq!(created.remove(name).as_ref(), Some(list), "{name} of {id}");
            core.remove(name);
        }
        core.insert("member_count".to_owned(), expected.members.into());
        if expected.is_unavailable {
            core.insert("unavailable".to_owned(), true.into());
        }
        assert_eq!(*created, core, "own fields of {id}");
        let member_of = |user: u64| cache.member(*id, user).map(|text| to_value(&text));
        for (user, member) in expected.list("members") {
            assert_eq!(member_of(*user).as_ref(), Some(member));
            assert!(cache.guilds_of_user(*user).contains(id));
            let user_text = cache.user(*user).map(|text| to_value(&text)).unwrap();
            assert_eq!(naive::id(&user_text["id"]), Some(*user));
        }
        for (channel, object) in expected.list("channels").iter().chain(expected.list("threads")) {
            let mut object = object.clone();
            let fields = object.as_object_mut().unwrap();
            fields.entry("guild_id").or_insert_with(|| id.to_string().into());
            assert_eq!(cache.channel(*id, *channel).map(|text| to_value(&text)), Some(object));
        }
        for (role, object) in expected.list("roles") {
            assert_eq!(cache.role(*id, *role).map(|text| to_value(&text)).as_ref(), Some(object));
        }
    }
    assert_eq!(cache.own_user().map(to_value), naive.own_user);
    let users = naive.guilds.values().flat_map(|guild| guild.list("members").keys()).collect::<BTreeSet<_>>();
    for user in 1..200_u64 {
        let user = user << 22;
        assert_eq!(cache.is_user_known(user), users.contains(&user), "user {user}");
    }
    let figures = cache.figures();
    let sum = |of: &dyn Fn(&naive::NaiveGuild) -> u64| naive.guilds.values().map(of).sum::<u64>();
    assert_eq!(u64::from(figures.guilds), naive.guilds.len() as u64);
    assert_eq!(figures.members, sum(&|guild| guild.members.unwrap_or(0)));
    assert_eq!(figures.cached_members, sum(&|guild| guild.list("members").len() as u64));
    assert_eq!(u64::from(figures.channels), sum(&|guild| guild.count("channels") as u64));
    assert_eq!(u64::from(figures.voice_connections), sum(&|guild| guild.voice.len() as u64));
    assert_eq!(u64::from(figures.pending), sum(&|guild| u64::from(guild.is_pending)));
    assert_eq!(
        u64::from(figures.uncertain),
        sum(&|guild| u64::from(guild.members.is_none() || guild.doubt & 1 == 1))
    );
}

fn check_messages(cache: &ShardCache, naive: &Naive) {
    for (channel, messages) in &naive.messages {
        let newest: BTreeSet<u64> = messages.keys().rev().take(5).copied().collect();
        assert_eq!(cache.message_ids(*channel).into_iter().collect::<BTreeSet<u64>>(), newest);
        for (id, message) in messages {
            let got = cache.message(*channel, *id).map(|text| to_value(&text));
            assert_eq!(got.as_ref(), newest.contains(id).then_some(message));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn cache_is_what_the_naive_one_is(seeds in proptest::collection::vec(any::<u64>(), 1..150), kept in 0..3_usize) {
        let resources = ["all", "roles,members", "messages,reactions,voice_states,emojis"][kept].parse().unwrap();
        let mut cache = ShardCache::new(rules(resources), Arc::clone(&CODEC));
        cache.begin_session(7, &start());
        let mut naive = Naive::new(&GUILDS, resources);
        for (sequence, seed) in seeds.iter().enumerate() {
            let mut random = Random(*seed);
            let (name, data) = event(&mut random, LAST);
            let text = random.text_of(&data);
            let applied = cache.apply(name, &text, sequence as u64 + 1);
            naive.apply(name, &data, sequence as u64 + 1);
            prop_assert!(!applied.is_unreadable, "{name} {text}");
            if random.below(8) == 0 {
                cache.seal(sequence as u64);
            }
        }
        check(&cache, &naive);
        check_messages(&cache, &naive);
        cache.seal(1);
        check(&cache, &naive);
        check_messages(&cache, &naive);
    }

    #[test]
    fn restored_cache_is_what_was_written_and_comes_to_the_same_after_a_cut(
        seeds in proptest::collection::vec(any::<u64>(), 1..120),
        cut in 0_usize..40,
        kept in any::<bool>(),
    ) {
        let passing = Resources::MESSAGES.and(Resources::PRESENCES);
        let resources = if kept { Resources::ALL.without(passing) } else { "roles,members".parse().unwrap() };
        let mut cache = ShardCache::new(rules(resources), Arc::clone(&CODEC));
        cache.begin_session(7, &start());
        let mut naive = Naive::new(&GUILDS, resources);
        let mut store = Store::default();
        let mut events = Vec::new();
        let mut expecting = GUILDS.to_vec();
        for (place, seed) in seeds.iter().enumerate() {
            let sequence = place as u64 + 1;
            let mut random = Random(*seed);
            let (name, data) = event(&mut random, LAST);
            if naive.is_late(name, &data) || naive.is_repeated(name, &data) {
                continue;
            }
            let text = random.text_of(&data);
            cache.apply(name, &text, sequence);
            naive.apply(name, &data, sequence);
            events.push((name, text, sequence));
            match random.below(10) {
                0 => cache.seal(sequence),
                1 => {
                    prop_assert!(store.write(&mut cache, sequence, usize::MAX));
                    expecting = cache.pending_guilds();
                    check(&store.restore(resources, expecting.clone()), &naive);
                }
                _ => {}
            }
        }
        if store.write(&mut cache, seeds.len() as u64, cut) {
            expecting = cache.pending_guilds();
        }
        let mut restored = store.restore(resources, expecting);
        for (name, text, sequence) in events.iter().filter(|(_, _, sequence)| *sequence > store.read) {
            restored.apply(name, text, *sequence);
        }
        check(&restored, &naive);
        restored.seal(1);
        check(&restored, &naive);
        // The restored cache can be written and restored again.
        store.write(&mut restored, 0, usize::MAX);
        check(&store.restore(resources, restored.pending_guilds()), &naive);
    }
}
