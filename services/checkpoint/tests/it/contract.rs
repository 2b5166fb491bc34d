//! The contract of [`CheckpointStore`], over every store there is: memory, one Redis, a Redis Cluster, Redis behind Sentinel.
//!
//! A rule is a function over a fresh store.

mod asides;
mod fences;
mod pages;
mod redis_faults;
mod rules;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use checkpoint::{
    CheckpointRedisStore, CheckpointStore, ClaimAnswer, Cursor, HeadWrite, PageRead, RecordKey, StepAnswer,
    StoredCheckpoint, WriteStep,
};
use fleet_model::{Epoch, ShardKey};
use redis_link::{LinkOptions, RedisLink};

/// The store under test.
type Store = Arc<dyn CheckpointStore>;

/// The shard of most tests, and the epoch of its owner.
const SHARD: ShardKey = ShardKey::new(3, 8);
const MINE: Epoch = Epoch(1_760_000_000_000);
const LOWER: Epoch = Epoch(MINE.0 - 1);
const HIGHER: Epoch = Epoch(MINE.0 + 1);

fn redis_link(url: &str) -> RedisLink {
    RedisLink::new(url.parse().unwrap(), LinkOptions::default())
}

fn redis_store(url: &str, prefix: &str) -> CheckpointRedisStore {
    CheckpointRedisStore::new(redis_link(url), prefix.parse().unwrap())
}

fn set(records: &[(RecordKey, &'static str)]) -> WriteStep {
    let set = records.iter().map(|(key, text)| (*key, Bytes::from(*text))).collect();
    WriteStep { set, ..WriteStep::default() }
}

fn remove(keys: &[RecordKey]) -> WriteStep {
    WriteStep { remove: keys.to_vec(), ..WriteStep::default() }
}

fn fresh(step: WriteStep) -> WriteStep {
    WriteStep { fresh: true, ..step }
}

fn with_head(step: WriteStep, text: &'static str) -> WriteStep {
    WriteStep { head: Some(HeadWrite { bytes: Bytes::from(text), total: 16 }), ..step }
}

async fn claim(store: &Store, epoch: Epoch) -> StoredCheckpoint {
    match store.claim(SHARD, epoch).await.unwrap() {
        ClaimAnswer::Yours(stored) => stored,
        ClaimAnswer::Outranked(by) => panic!("outranked by {by}"),
    }
}

/// Writes a step that must be written; the next serial.
async fn write(store: &Store, serial: u64, step: WriteStep) -> u64 {
    match store.write(SHARD, MINE, serial, &step).await.unwrap() {
        StepAnswer::Yes { serial } => serial,
        refused => panic!("{refused:?} for {step:?}"),
    }
}

/// All records, read page by page at the store's serial. A record that comes twice has to come alike.
async fn records(store: &dyn CheckpointStore, epoch: Epoch, serial: u64) -> BTreeMap<String, Bytes> {
    let mut records = BTreeMap::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        match store.read(SHARD, epoch, serial, from).await.unwrap() {
            PageRead::Page(page) => {
                for (key, bytes) in page.records {
                    let before = records.insert(key, bytes.clone());
                    assert!(before.is_none_or(|before| before == bytes));
                }
                cursor = page.next;
            }
            refused => panic!("{refused:?}"),
        }
    }
    records
}

/// Asserts what is there, as texts.
async fn assert_holds(store: &Store, serial: u64, expected: &[(&str, &str)]) {
    let records = records(&**store, MINE, serial).await;
    let held: Vec<(&str, &str)> =
        records.iter().map(|(key, bytes)| (key.as_str(), std::str::from_utf8(bytes).unwrap())).collect();
    assert_eq!(held, expected);
    assert_eq!(claim(store, MINE).await.records, expected.len() as u64);
}
