//! Measures the time to encode and decode records, and their size, in formats 1 and 2: 1,000 records of each kind, with ids that
//! do not repeat. Format 3 writes events as format 2 does, and guilds as blocks, which `cargo bench -p guild-cache` measures.
//!
//! `cargo bench -p checkpoint`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use checkpoint::{
    FORMAT_MIN, FORMAT_OF_BLOCKS, GuildCore, Members, PendingEvent, Position, Record, RecordKey,
    decode_record, encode_record,
};

const GUILDS: u64 = 1000;
const CHANNELS: u64 = 30;
/// For so long each measurement goes on, in whole rounds.
const LONG: Duration = Duration::from_secs(1);

/// Numbers that do not repeat, so that ids compress no better than Discord's.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An id of the last ten years.
    fn id(&mut self) -> u64 {
        ((self.next() % 315_000_000_000) << 22) | (self.next() % (1 << 22))
    }

    fn word(&mut self) -> String {
        let words =
            ["general", "voice", "staff", "music", "off-topic", "announcements", "bots", "media", "help"];
        let word = words[self.next() as usize % words.len()];
        format!("{word}-{}", self.next() % 100)
    }
}

/// A guild's channels as Discord sends them.
fn channels(numbers: &mut Numbers) -> Bytes {
    let (guild, parent) = (numbers.id(), numbers.id());
    let mut list = String::from("[");
    for position in 0..CHANNELS {
        let comma = if position == 0 { "" } else { "," };
        let (id, name, topic, last) = (numbers.id(), numbers.word(), numbers.word(), numbers.id());
        let (role, allow, deny) = (numbers.id(), numbers.next() % (1 << 40), numbers.next() % (1 << 40));
        write!(
            list,
            r#"{comma}{{"id":"{id}","type":0,"guild_id":"{guild}","position":{position},"permission_overwrites":[{{"id":"{guild}","type":0,"allow":"0","deny":"1024"}},{{"id":"{role}","type":0,"allow":"{allow}","deny":"{deny}"}}],"name":"{name}","topic":"Talk about {topic} here","nsfw":false,"last_message_id":"{last}","rate_limit_per_user":0,"parent_id":"{parent}","flags":0}}"#
        )
        .unwrap();
    }
    list.push(']');
    list.into()
}

/// Does a round again and again; how long one takes.
fn time(mut round: impl FnMut()) -> Duration {
    round();
    let from = Instant::now();
    let mut rounds = 0;
    while from.elapsed() < LONG {
        round();
        rounds += 1;
    }
    from.elapsed() / rounds
}

fn measure(name: &str, records: &[(RecordKey, Record)], plain: usize) {
    for format in FORMAT_MIN..FORMAT_OF_BLOCKS {
        let seal = |record| encode_record(record, format).unwrap();
        let encoded: Vec<_> = records.iter().map(|(key, record)| (*key, seal(record))).collect();
        let size: usize = encoded.iter().map(|(_, bytes)| bytes.len()).sum();
        let encode = time(|| {
            for (_, record) in records {
                black_box(seal(black_box(record)));
            }
        });
        let decode = time(|| {
            for (key, bytes) in &encoded {
                black_box(decode_record(*key, black_box(bytes)).unwrap());
            }
        });
        let each = |took: Duration| took.as_secs_f64() * 1e6 / records.len() as f64;
        println!(
            "{name}, format {format}: {} bytes each, {} encoded (ratio {:.1}); encode {:.1} us, decode {:.1} us each",
            plain / records.len(),
            size / records.len(),
            plain as f64 / size as f64,
            each(encode),
            each(decode),
        );
    }
}

/// Makes the records of one kind: `make` is called with each number.
fn records(make: impl FnMut(u64) -> (RecordKey, Record)) -> Vec<(RecordKey, Record)> {
    (0..GUILDS).map(make).collect()
}

/// The JSON that is in a record.
fn plain((_, record): &(RecordKey, Record)) -> usize {
    match record {
        Record::Channels(list) | Record::Roles(list) => list.len(),
        Record::Core(core) => core.object.as_ref().map_or(0, Bytes::len) + core.voice_states.len(),
        Record::Members(members) => members.list.len(),
        Record::Pending(event) => event.text.len(),
        Record::Extras(_) => 0,
    }
}

/// A guild as the cache keeps it, without its lists.
fn core(numbers: &mut Numbers) -> GuildCore {
    let (id, owner, name, icon) = (numbers.id(), numbers.id(), numbers.word(), numbers.next());
    let object = format!(
        r#"{{"afk_timeout":300,"default_message_notifications":1,"explicit_content_filter":0,"features":[],"icon":"{icon:016x}{icon:016x}","id":"{id}","joined_at":"2017-05-08T19:09:56.201000+00:00","large":false,"max_members":500000,"max_stage_video_channel_users":50,"max_video_channel_users":25,"member_count":{},"mfa_level":1,"name":"{name}","nsfw_level":0,"owner_id":"{owner}","preferred_locale":"en-US","premium_progress_bar_enabled":false,"premium_subscription_count":0,"premium_tier":0,"system_channel_flags":0,"system_channel_id":"{}","unavailable":false,"verification_level":3}}"#,
        numbers.next() % 1000,
        numbers.id(),
    );
    GuildCore {
        stamp: numbers.next() % 100_000,
        members: Some(numbers.next() % 1000),
        channels: 30,
        in_voice: Vec::new(),
        unavailable: false,
        object: Some(object.into()),
        voice_states: Bytes::from_static(b"[]"),
        member_blocks: 1,
        doubt: 0,
    }
}

/// The bot itself and one more, as most guilds' blocks are without the intent for members.
fn members(numbers: &mut Numbers) -> Members {
    let member = |numbers: &mut Numbers| {
        let (id, role, name) = (numbers.id(), numbers.id(), numbers.word());
        format!(
            r#"{{"deaf":false,"flags":0,"joined_at":"2018-12-27T04:54:06.373000+00:00","mute":false,"pending":false,"roles":["{role}"],"user":{{"avatar":"{:016x}{:016x}","bot":false,"discriminator":"0","id":"{id}","public_flags":0,"username":"{name}"}}}}"#,
            numbers.next(),
            numbers.next(),
        )
    };
    let list = format!("[{},{}]", member(numbers), member(numbers));
    Members { stamp: 1, list: list.into() }
}

/// A short message as Discord dispatches it.
fn message(numbers: &mut Numbers, sequence: u64) -> PendingEvent {
    let (id, channel, guild, content) = (numbers.id(), numbers.id(), numbers.id(), numbers.word());
    let (author, name, role) = (numbers.id(), numbers.word(), numbers.id());
    let text = format!(
        r#"{{"t":"MESSAGE_CREATE","s":{sequence},"op":0,"d":{{"type":0,"tts":false,"timestamp":"2026-01-02T03:04:05.678000+00:00","pinned":false,"mentions":[],"mention_roles":[],"mention_everyone":false,"member":{{"roles":["{role}"],"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"2021-05-06T07:08:09.123000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}},"id":"{id}","flags":0,"embeds":[],"edited_timestamp":null,"content":"{content}","components":[],"channel_type":0,"channel_id":"{channel}","author":{{"username":"{name}","public_flags":0,"id":"{author}","global_name":null,"discriminator":"0","avatar":null}},"attachments":[],"guild_id":"{guild}"}}}}"#
    );
    PendingEvent {
        position: Position::new(1, sequence),
        started: false,
        handled: false,
        received_at_unix_ms: 1,
        text: text.into(),
    }
}

fn main() {
    let numbers = &mut Numbers(1);
    let kinds = [
        ("channel lists", records(|guild| (RecordKey::Channels(guild), Record::Channels(channels(numbers))))),
        ("guilds", records(|guild| (RecordKey::Core(guild), Record::Core(core(numbers))))),
        ("two members", records(|guild| (RecordKey::Members(guild, 0), Record::Members(members(numbers))))),
        (
            "pending messages",
            records(|sequence| {
                (RecordKey::Pending(Position::new(1, sequence)), Record::Pending(message(numbers, sequence)))
            }),
        ),
    ];
    for (name, records) in kinds {
        let size = records.iter().map(plain).sum();
        measure(name, &records, size);
    }
}
