//! How fast records become bytes and back, and how small they get: channel lists of 30 channels for 1,000 guilds.
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
use checkpoint::{FORMAT_MAX, PendingEvent, Record, RecordKey, decode_record, encode_record};

const GUILDS: u64 = 1000;
const CHANNELS: u64 = 30;
/// For so long each measurement goes on, in whole rounds.
const LONG: Duration = Duration::from_secs(2);

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
    let encoded: Vec<_> =
        records.iter().map(|(key, record)| (*key, encode_record(record, FORMAT_MAX).unwrap())).collect();
    let size: usize = encoded.iter().map(|(_, bytes)| bytes.len()).sum();
    let encode = time(|| {
        for (_, record) in records {
            black_box(encode_record(black_box(record), FORMAT_MAX).unwrap());
        }
    });
    let decode = time(|| {
        for (key, bytes) in &encoded {
            black_box(decode_record(*key, black_box(bytes)).unwrap());
        }
    });
    let speed = |took: Duration| plain as f64 / 1e6 / took.as_secs_f64();
    let each = |took: Duration| took.as_secs_f64() * 1e6 / records.len() as f64;
    println!(
        "{name}: {} records, {:.1} kB each, {:.1} kB encoded (ratio {:.1}); encode {:.0} MB/s ({:.1} us each), \
         decode {:.0} MB/s ({:.1} us each)",
        records.len(),
        plain as f64 / 1e3 / records.len() as f64,
        size as f64 / 1e3 / records.len() as f64,
        plain as f64 / size as f64,
        speed(encode),
        each(encode),
        speed(decode),
        each(decode),
    );
}

fn main() {
    let mut numbers = Numbers(1);
    let lists: Vec<Bytes> = (0..GUILDS).map(|_| channels(&mut numbers)).collect();
    let plain = lists.iter().map(Bytes::len).sum();
    let records: Vec<_> = (0..GUILDS)
        .zip(lists)
        .map(|(guild, list)| (RecordKey::Channels(guild), Record::Channels(list)))
        .collect();
    measure("channel lists", &records, plain);
    let pending: Vec<_> = (0..GUILDS)
        .map(|sequence| {
            let (id, channel, content) = (numbers.id(), numbers.id(), numbers.word());
            let text = format!(
                r#"{{"t":"MESSAGE_CREATE","s":{sequence},"op":0,"d":{{"id":"{id}","channel_id":"{channel}","content":"{content}","type":0,"tts":false,"pinned":false,"mentions":[],"mention_roles":[],"attachments":[],"embeds":[],"flags":0}}}}"#
            );
            let event = PendingEvent { session: 1, sequence, started: false, received_at_unix_ms: 1, text };
            (RecordKey::Pending(1, sequence), Record::Pending(event))
        })
        .collect();
    let text = |record: &Record| if let Record::Pending(event) = record { event.text.len() } else { 0 };
    let plain = pending.iter().map(|(_, record)| text(record)).sum();
    measure("pending messages", &pending, plain);
}
