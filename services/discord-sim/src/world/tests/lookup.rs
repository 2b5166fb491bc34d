//! Lookups by id and name.

use super::*;
use std::time::{Duration, Instant};

/// Returns ids near this one, which must not be found.
fn neighbours(id: Snowflake) -> [Snowflake; 4] {
    [id.0 ^ 1, id.0 + 1, id.0 + (1 << 22), id.0 - (7_000 << 22)].map(Snowflake)
}

#[test]
fn channels_and_threads_are_found_by_id() {
    for (seed, guilds) in [(1, 100), (2, 0), (3, 5_000)] {
        let world = World::new(seed, guilds);
        let mut draw = Draw::new(seed, &[1_000]);
        for _ in 0..2_000 {
            let guild = draw.range(0, u64::from(world.all_guilds()) - 1) as GuildIndex;
            let number = draw.range(0, world.channel_counts(guild).total() - 1);
            let id = world.channel_id(guild, number);
            assert_eq!(world.find_channel(id), Some((guild, number)), "seed {seed}");
            assert_eq!(world.find(world.head(guild).id), Some(guild));
            assert!(neighbours(id).into_iter().all(|near| world.find_channel(near) != Some((guild, number))));
            let by_id = serde_json::to_value(world.channel_by_id(id)).unwrap();
            let counts = world.channel_counts(guild);
            if world.is_hidden(guild, counts, number) {
                assert!(by_id.is_null());
            } else {
                assert_eq!((&by_id["id"], &by_id["position"]), (&id.to_string().into(), &number.into()));
            }
            for thread in 0..world.thread_count(guild) {
                let id = world.thread_id(guild, thread);
                assert_eq!(world.find_thread(id), Some((guild, thread)), "seed {seed}");
                assert_eq!(world.find_channel(id), None);
                assert!(neighbours(id).into_iter().all(|near| world.find_thread(near).is_none()));
            }
            assert_eq!(world.find_thread(id), None);
            assert_eq!(world.find_thread(world.thread_id(guild, world.thread_count(guild))), None);
        }
        let invalid = [0, 1, u64::MAX, u64::MAX >> 1, 1 << 22].map(Snowflake);
        assert!(invalid.into_iter().all(|id| world.find_channel(id).is_none()));
        assert!(invalid.into_iter().all(|id| world.find_thread(id).is_none()));
        assert!(invalid.into_iter().all(|id| world.find_user(id).is_none()));
    }
}

#[test]
fn users_and_members_are_found_by_id() {
    let world = World::new(5, 400);
    let mut draw = Draw::new(5, &[1_000]);
    for _ in 0..3_000 {
        let user = draw.range(0, world.pool - 1);
        let id = world.user_id(user);
        assert_eq!(world.find_user(id), Some(user));
        assert!(neighbours(id).into_iter().all(|near| world.find_user(near).is_none()));
        let guild = draw.range(0, 399) as GuildIndex;
        let position = draw.range(1, world.head(guild).members - 1);
        let member = serde_json::to_value(world.member(guild, position, true)).unwrap();
        let id = Snowflake(member["user"]["id"].as_str().unwrap().parse().unwrap());
        assert_eq!(world.member_position(guild, id), Some(position));
    }
    assert_eq!(world.member_position(3, world.bot_id()), Some(0));
    assert_eq!(world.find_user(world.bot_id()), None);
    assert_eq!(world.find_user(world.user_id(world.pool)), None);
    let outside = world.user_index(3, world.head(3).members);
    assert_eq!(world.member_position(3, world.user_id(outside)), None);
}

#[test]
fn members_are_found_by_any_of_their_names() {
    let world = World::new(6, 300);
    let guild = (0..300).find(|guild| (400..2_000).contains(&world.head(*guild).members)).unwrap();
    let members = world.head(guild).members;
    let names = |position| {
        let member = serde_json::to_value(world.member(guild, position, true)).unwrap();
        let user = &member["user"];
        let names = [&user["username"], &user["global_name"], &member["nick"]];
        names.map(|name| name.as_str().map(str::to_lowercase))
    };
    let named = |prefix: &str| -> Vec<u64> {
        let is_named =
            |position: &u64| names(*position).iter().flatten().any(|name| name.starts_with(prefix));
        (0..members).filter(is_named).collect()
    };
    for prefix in
        ["", "g", "Lo", "SOLAR.", "solar.lo", "zo", "Ж", "Д", "golden ", "discord-sim", "\"", "unknown"]
    {
        let found = world.members_named(guild, prefix, usize::MAX);
        assert_eq!(found, named(&prefix.to_lowercase()), "{prefix:?}");
        assert_eq!(world.members_named(guild, prefix, 3), found.into_iter().take(3).collect::<Vec<_>>());
    }
    let whole = world.user(world.user_index(guild, 9)).username;
    assert_eq!(world.members_named(guild, &whole, 5), [9]);
    assert_eq!(world.members_named(guild, &format!("{whole}0"), 5), [0_u64; 0]);
}

#[test]
fn name_search_in_the_largest_guild_is_fast() {
    let world = World::new(1, 10).with_largest_guild(Some(250_000));
    let begun = Instant::now();
    assert!(world.members_named(0, "unknown member", 100).is_empty());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}, unoptimised and on a busy machine");
}

#[test]
fn rest_guild_has_no_gateway_only_fields() {
    let world = World::new(1, 20);
    for guild in 0..20 {
        let rest = serde_json::to_value(world.rest_guild(guild)).unwrap();
        let gateway = body(&world, guild, ALL);
        for (key, value) in rest.as_object().unwrap() {
            assert_eq!(value, &gateway[key], "{key}");
        }
        for key in ["channels", "members", "presences", "threads", "voice_states", "joined_at", "large"] {
            assert!(rest.get(key).is_none() && gateway.get(key).is_some(), "{key}");
        }
        assert_eq!(count(&rest, "roles"), world.roles(guild).len());
    }
}
