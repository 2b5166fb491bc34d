//! Threads, emojis, stickers and scheduled events, parsed by twilight.

use super::*;
use std::collections::BTreeSet;
use twilight_model::{
    channel::{ChannelFlags, ChannelType},
    guild::Guild,
};

fn parsed(world: &World, guild: GuildIndex) -> Guild {
    let text = serde_json::to_string(&world.guild(guild, ALL, false, &VoiceChanges::default())).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn twilight_parses_every_part() {
    let world = World::new(1, 600);
    let (mut threads, mut joined, mut emojis, mut stickers, mut events, mut hidden) = (0, 0, 0, 0, 0, 0);
    for guild in 0..600 {
        let read = parsed(&world, guild);
        assert_eq!(
            read.channels.len() as u64,
            world.channel_counts(guild).total(),
            "threads are not channels"
        );
        assert_eq!(read.threads.len() as u64, world.thread_count(guild));
        let texts: BTreeSet<_> = read
            .channels
            .iter()
            .filter(|channel| channel.kind == ChannelType::GuildText)
            .map(|channel| channel.id)
            .collect();
        for (thread, number) in read.threads.iter().zip(0..) {
            assert_eq!(thread.kind, ChannelType::PublicThread);
            assert_eq!((thread.guild_id, thread.id.get()), (Some(read.id), world.thread_id(guild, number).0));
            assert!(texts.contains(&thread.parent_id.unwrap()));
            let metadata = thread.thread_metadata.as_ref().unwrap();
            assert!(!metadata.archived && metadata.create_timestamp.is_some());
            assert!(thread.total_message_sent >= thread.message_count && thread.message_count > Some(0));
            assert!((1..=50).contains(&thread.member_count.unwrap()));
            let owner = world.find_user(Snowflake(thread.owner_id.unwrap().get())).unwrap();
            assert!(world.position_of(guild, owner).is_some(), "a member owns it");
        }
        threads += read.threads.len();
        joined += read.threads.iter().filter(|thread| thread.member.is_some()).count();
        let is_hidden = |flags: &ChannelFlags| flags.contains(ChannelFlags::CHANNEL_OBFUSCATED);
        hidden +=
            read.channels.iter().filter(|channel| channel.flags.as_ref().is_some_and(is_hidden)).count();
        assert!(
            read.emojis.len() <= 50 && read.stickers.len() <= 5 && read.guild_scheduled_events.len() <= 2
        );
        let names: BTreeSet<_> = read.emojis.iter().map(|emoji| &emoji.name).collect();
        assert_eq!(names.len(), read.emojis.len());
        emojis += read.emojis.len();
        stickers += read.stickers.len();
        events += read.guild_scheduled_events.len();
        assert!(read.guild_scheduled_events.iter().all(|event| {
            event.channel_id.is_some() != event.entity_metadata.is_some() && event.guild_id == read.id
        }));
    }
    assert!((joined * 100 / threads).abs_diff(33) < 10, "{joined} of {threads}");
    assert!(emojis > 600 && stickers > 300 && hidden > 100, "{emojis} {stickers} {hidden}");
    assert!((20..150).contains(&events), "{events}");
}

#[test]
fn larger_guilds_have_more_threads() {
    let world = World::new(1, 3_000);
    let mean = |sizes: std::ops::Range<u64>| {
        let guilds = (0..3_000).filter(|guild| sizes.contains(&world.head(*guild).members));
        let counts: Vec<u64> = guilds.map(|guild| world.thread_count(guild)).collect();
        assert!(counts.iter().all(|count| *count <= 12));
        counts.iter().sum::<u64>() as f64 / counts.len() as f64
    };
    let (small, medium, large) = (mean(0..60), mean(60..500), mean(500..u64::MAX));
    assert!(small > 0.2 && small < medium && medium < large && large < 6.0, "{small} {medium} {large}");
}

#[test]
fn presences_are_never_of_the_bot() {
    let world = World::new(1, 20);
    assert!(world.presence(3, 0).is_none());
    let members = 1..world.head(0).members;
    let online: Vec<_> = members.filter_map(|position| world.presence(0, position)).collect();
    assert!(!online.is_empty(), "a guild of 110 members has some online");
    for presence in online {
        let presence = serde_json::to_value(presence).unwrap();
        assert!(
            presence["user"]["id"].is_string() && presence["client_status"]["desktop"] == presence["status"]
        );
    }
}
