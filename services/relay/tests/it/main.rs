//! The streams over memory, one Redis and a Redis Cluster; and what only Redis has.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod commands;
mod contract;
mod fences;
mod redis;
mod users;

use std::time::Duration;

use bytes::Bytes;
use fleet_model::ShardKey;
use redis_link::{LinkOptions, RedisLink};
use relay::{Caps, EntryId, EventNames, Mark, NewEntry, Page, Position, RedisRelay, RelayStore};

/// Nothing here takes this long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(30);

const SHARD: ShardKey = ShardKey::new(3, 8);

fn redis_relay(url: &str, prefix: &str, caps: Caps) -> RedisRelay {
    let link = RedisLink::new(url.parse().unwrap(), LinkOptions::default());
    RedisRelay::new(link, prefix.parse().unwrap(), caps)
}

fn at(session: u64, sequence: u64) -> Position {
    Position { session, sequence }
}

fn entry(name: &str, position: Position) -> NewEntry {
    NewEntry {
        position,
        name: name.into(),
        guild: Some(7),
        received_at_unix_ms: 5,
        mark: Mark::Replayed,
        traceparent: Some("00-1-2-01".into()),
        data: Bytes::from_static(b"\x82\xa7shardId\x03\xa7payload\x80"),
    }
}

fn entries(name: &str, session: u64, sequences: std::ops::RangeInclusive<u64>) -> Vec<NewEntry> {
    sequences.map(|sequence| entry(name, at(session, sequence))).collect()
}

async fn read_from(store: &dyn RelayStore, names: &str, after: EntryId) -> Page {
    let names: EventNames = names.parse().unwrap();
    store.read(&names, after, Duration::ZERO).await.unwrap()
}

/// All that there is, page by page.
async fn read_all(store: &dyn RelayStore, names: &str) -> Vec<(String, Position)> {
    let mut all = Vec::new();
    let mut after = EntryId::default();
    loop {
        let page = read_from(store, names, after).await;
        let Some(last) = page.entries.last() else { return all };
        after = last.id;
        all.extend(page.entries.iter().map(|entry| (entry.content.name.to_string(), entry.content.position)));
    }
}
