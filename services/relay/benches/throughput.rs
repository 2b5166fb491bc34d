//! How many events a second the relay takes, and what they cost: `cargo bench -p relay --bench throughput`.
//!
//! Real Redis on this machine, events of about a kilobyte over sixteen shards: first 10,000 a second for ten seconds, then as many as it
//! takes. The figures are of this process (waiting, MessagePack, the client) and of Redis.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fleet_model::{Epoch, ShardEvent, ShardKey};
use redis_fixture::RedisServer;
use redis_link::{LinkOptions, RedisLink};
use relay::{
    Bounds, Caps, Mark, Outbox, OutboxParts, Position, RedisRelay, RelayMetrics, RelayStatus, StreamPrefix,
};
use tokio::runtime::Handle;

const SHARDS: u32 = 16;
const RATE: u64 = 10_000;
const SECONDS: u64 = 10;
const AT_ONCE: u64 = 200_000;

/// A message as Discord sends it, without its beginning.
const MESSAGE: &str = r#""op":0,"d":{"type":0,"tts":false,"timestamp":"2026-11-26T18:00:00.000000+00:00","pinned":false,"nonce":"1309481920000000000","mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":["1012345678901234567","1012345678901234568"],"premium_since":null,"pending":false,"nick":"somebody","mute":false,"joined_at":"2021-03-04T05:06:07.000000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},"id":"1309481920123456789","flags":0,"embeds":[],"edited_timestamp":null,"content":"a message of the length that messages have, give or take a word or two","components":[],"channel_type":0,"channel_id":"1012345678901234569","author":{"username":"somebody","public_flags":0,"primary_guild":null,"id":"1012345678901234570","global_name":"Somebody","discriminator":"0","collectibles":null,"clan":null,"avatar_decoration_data":null,"avatar":"0123456789abcdef0123456789abcdef"},"attachments":[],"guild_id":"1012345678901234571"}}"#;

fn event(sequence: u64) -> ShardEvent {
    ShardEvent {
        position: Position { session: 1, sequence },
        name: "MESSAGE_CREATE".into(),
        guild: Some(1_012_345_678_901_234_571),
        received_at_unix_ms: 1_764_180_000_000,
        traceparent: None,
        mark: Mark::Fresh,
        text: format!(r#"{{"t":"MESSAGE_CREATE","s":{sequence},{MESSAGE}"#).into(),
    }
}

/// Seconds of CPU that this process has used.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // utime and stime are the 12th and 13th fields behind the name.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

async fn redis_cpu(redis: &RedisServer) -> f64 {
    let info: String = redis.command(&["INFO", "cpu"]).await;
    let seconds = |name: &str| -> f64 {
        info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or_default()
    };
    seconds("used_cpu_sys:") + seconds("used_cpu_user:")
}

fn outboxes(redis: &RedisServer) -> Vec<Outbox> {
    let link = RedisLink::new(redis.url().parse().unwrap(), LinkOptions::default());
    let store = Arc::new(RedisRelay::new(link, StreamPrefix::default(), Caps::default()));
    let outbox = |number| {
        let outbox = Outbox::start(OutboxParts {
            store: store.clone(),
            bounds: Bounds { events: 4_096, bytes: 16 * 1024 * 1024 },
            metrics: RelayMetrics::default(),
            status: RelayStatus::default(),
            shard: ShardKey::new(number, SHARDS),
            epoch: Epoch(1),
            runtime: Handle::current(),
        });
        outbox.begin();
        outbox
    };
    (0..SHARDS).map(outbox).collect()
}

fn waiting(outboxes: &[Outbox]) -> usize {
    outboxes.iter().map(|outbox| outbox.pending(|all| all.count())).sum()
}

async fn until_empty(outboxes: &[Outbox]) {
    while waiting(outboxes) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::main]
async fn main() {
    let redis = RedisServer::start().await;
    let outboxes = outboxes(&redis);
    println!("{SHARDS} shards, {} bytes an event", event(1).text.len());

    let (cpu, their_cpu, started) = (own_cpu(), redis_cpu(&redis).await, Instant::now());
    let (mut sent, mut worst) = (0, 0);
    while started.elapsed() < Duration::from_secs(SECONDS) {
        let due = (started.elapsed().as_secs_f64() * RATE as f64) as u64;
        while sent < due {
            sent += 1;
            outboxes[(sent % u64::from(SHARDS)) as usize].push(event(sent));
        }
        worst = worst.max(waiting(&outboxes));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until_empty(&outboxes).await;
    let took = started.elapsed().as_secs_f64();
    println!(
        "paced: {:.0} events/s; of a core: this process {:.0} %, Redis {:.0} %; at most {worst} waited ({:.0} ms)",
        sent as f64 / took,
        (own_cpu() - cpu) / took * 100.0,
        (redis_cpu(&redis).await - their_cpu) / took * 100.0,
        worst as f64 / RATE as f64 * 1_000.0,
    );

    let (cpu, their_cpu, started) = (own_cpu(), redis_cpu(&redis).await, Instant::now());
    let first = sent;
    while sent - first < AT_ONCE {
        sent += 1;
        let outbox = &outboxes[(sent % u64::from(SHARDS)) as usize];
        let event = event(sent);
        while !outbox.has_room(event.text.len()) {
            outbox.drained_to_half().await;
        }
        outbox.push(event);
    }
    until_empty(&outboxes).await;
    let took = started.elapsed().as_secs_f64();
    println!(
        "as fast as it goes: {:.0} events/s; of a core: this process {:.0} %, Redis {:.0} %",
        AT_ONCE as f64 / took,
        (own_cpu() - cpu) / took * 100.0,
        (redis_cpu(&redis).await - their_cpu) / took * 100.0,
    );
}
