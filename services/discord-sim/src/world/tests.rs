use super::*;

mod channels;
mod large;
mod lookup;
mod names;
mod parts;

const ALL: Visibility = Visibility { presences: true, voice_states: true, large_threshold: 50 };
const BARE: Visibility = Visibility { presences: false, voice_states: false, large_threshold: 50 };

fn body(world: &World, guild: GuildIndex, visibility: Visibility) -> serde_json::Value {
    serde_json::to_value(world.guild(guild, visibility, false, &VoiceChanges::default())).unwrap()
}

fn count(body: &serde_json::Value, key: &str) -> usize {
    body[key].as_array().unwrap().len()
}

#[test]
fn same_seed_gives_same_world() {
    let (one, two, other) = (World::new(5, 20), World::new(5, 20), World::new(6, 20));
    for guild in 0..20 {
        assert_eq!(body(&one, guild, ALL), body(&two, guild, ALL));
        assert_ne!(one.head(guild).id, other.head(guild).id);
    }
}

/// Documents and other programs' tests use these values.
#[test]
fn ids_and_names_do_not_change_between_versions() {
    let world = World::new(1, 100);
    let guild = world.find(Snowflake(241_494_935_408_313_594)).unwrap();
    assert_eq!((guild, world.guild_name(guild).as_str()), (0, "Lost Lounge 4835"));
    assert_eq!(world.head(guild).members, 110);
    let channels = [241_494_935_414_025_767, 241_494_964_772_663_865, 241_494_994_135_118_091];
    assert_eq!([0, 1, 2].map(|number| world.channel_id(guild, number).0), channels);
    let user = world.find_user(Snowflake(56_436_876_905_490_215)).unwrap();
    assert_eq!((user, world.user(user).username.as_str()), (2_278, "solar.lounge2278"));
    assert_eq!(world.user(user).global_name.as_deref(), Some("Zoë"));
    assert_eq!(world.head(99).id, Snowflake(416_388_924_693_641_630));
}

#[test]
fn guilds_spread_evenly_over_shards() {
    let world = World::new(1, 1_200);
    for total in [1, 2, 3, 4, 5, 8, 12, 16, 32, 64] {
        let mut per_shard = vec![0_u32; total as usize];
        (0..1_200).for_each(|guild| per_shard[world.head(guild).id.shard(total) as usize] += 1);
        let (low, high) = (per_shard.iter().min().unwrap(), per_shard.iter().max().unwrap());
        assert!(high - low <= 1, "{total}: {per_shard:?}");
    }
    assert_eq!(
        (
            world.by_id.len() as u32,
            world.by_id.is_sorted_by(|one, two| world.head(*one).id < world.head(*two).id)
        ),
        (world.all_guilds(), true),
        "ids are unique"
    );
}

#[test]
fn guild_sizes_are_skewed() {
    let world = World::new(1, 10_000);
    let at_most = |most| (0..10_000).filter(|guild| world.head(*guild).members <= most).count();
    assert!((5_000..8_500).contains(&at_most(60)), "{}", at_most(60));
    assert!(at_most(5_000) < 10_000, "a few are in the tens of thousands");
    assert_eq!(at_most(4), 0);
    for guild in 0..200 {
        assert!((5..=60).contains(&count(&body(&world, guild, BARE), "channels")));
        assert!((3..=30).contains(&count(&body(&world, guild, BARE), "roles")));
    }
}

#[test]
fn listed_members_depend_on_intents_and_threshold() {
    let world = World::new(3, 3_000);
    let small = (0..3_000).find(|guild| world.head(*guild).members <= 50).unwrap();
    let large = (0..3_000).find(|guild| world.head(*guild).members > 1_000).unwrap();
    let in_voice = |guild| world.in_voice(guild).count();

    assert_eq!(count(&body(&world, small, ALL), "members") as u64, world.head(small).members);
    assert!((count(&body(&world, large, ALL), "members") as u64) < world.head(large).members);
    assert!(count(&body(&world, large, ALL), "presences") > 0);
    for guild in [small, large] {
        let bare = body(&world, guild, BARE);
        assert_eq!(count(&bare, "members"), 1 + in_voice(guild), "the bot and members in voice");
        assert_eq!((count(&bare, "presences"), count(&bare, "voice_states")), (0, 0));
        assert_eq!(bare["member_count"], world.head(guild).members);
        assert_eq!(bare["unavailable"], false);
    }
    assert_eq!(count(&body(&world, large, ALL), "voice_states"), in_voice(large));
    let joined = serde_json::to_value(world.guild(small, ALL, true, &VoiceChanges::default())).unwrap();
    assert!(joined.get("unavailable").is_none());
}

#[test]
fn users_are_in_several_guilds() {
    let world = World::new(9, 300);
    let shared = (0..world.pool)
        .filter(|user| (0..300).filter(|guild| world.position_of(*guild, *user).is_some()).count() > 1)
        .count();
    assert!(shared > 0);
    let position = world.head(7).members - 1;
    let user = world.user_index(7, position);
    assert_eq!(world.position_of(7, user), Some(position));
}

#[test]
fn message_has_serial_and_text_only_with_content_intent() {
    let world = World::new(2, 5);
    let message = Message { guild: 1, serial: 42, at_ms: 300_000_000_000, content: Some("hi".into()) };
    let seen = serde_json::to_value(world.message(&message, true)).unwrap();
    assert_eq!((&seen["content"], &seen["nonce"]), (&"hi".into(), &"sim-42".into()));
    let blank = serde_json::to_value(world.message(&message, false)).unwrap();
    assert_eq!(blank["content"], "");
    assert_eq!(blank["id"], seen["id"]);
}
