//! Limits on time and size for large guilds and worlds.

use super::*;
use std::time::{Duration, Instant};

/// Generous limit, for unoptimised code on a busy machine.
const QUICK: Duration = Duration::from_secs(5);

#[test]
fn largest_guild_setting_changes_only_that_guild() {
    let (plain, world) = (World::new(1, 50), World::new(1, 50).with_largest_guild(Some(250_000)));
    assert_eq!(world.head(0).members, 250_000);
    assert!(world.pool >= 250_000);
    for guild in 0..world.all_guilds() {
        assert_eq!(world.head(guild).id, plain.head(guild).id);
        assert_eq!(world.guild_name(guild), plain.guild_name(guild));
        assert!(guild == 0 || world.head(guild).members == plain.head(guild).members);
    }
    let last = world.user_index(0, 249_999);
    assert_eq!(world.position_of(0, last), Some(249_999));
}

#[test]
fn guild_create_is_bounded_for_any_guild_size() {
    for (members, listed, most_bytes) in [(74_000, 1_000, 800_000), (250_000, 0, 100_000)] {
        let world = World::new(1, 10).with_largest_guild(Some(members));
        let begun = Instant::now();
        let text = serde_json::to_string(&world.guild(0, ALL, false, &VoiceChanges::default())).unwrap();
        assert!(begun.elapsed() < QUICK, "{members}: {:?}", begun.elapsed());
        assert!(text.len() < most_bytes, "{members}: {} bytes", text.len());
        let body: serde_json::Value = serde_json::from_str(&text).unwrap();
        let others = count(&body, "members") - 1 - world.in_voice(0).count();
        assert_eq!((others, &body["member_count"]), (listed, &members.into()));
    }
}

#[test]
fn fifty_thousand_guilds_take_under_two_megabytes() {
    let world = World::new(1, 50_000).with_largest_guild(Some(250_000));
    let heads = world.heads.capacity() * size_of::<GuildHead>();
    let order = world.by_id.capacity() * size_of::<GuildIndex>();
    assert!(heads + order < 2_000_000, "{heads} and {order}");
}
