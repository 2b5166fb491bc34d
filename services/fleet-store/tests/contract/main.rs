//! The contract of [`FleetStore`], over every store there is: memory, one Redis, a Redis Cluster, Redis behind Sentinel.
//!
//! A rule is a function over a fresh store. Rules wait only for leases to lapse; in memory that costs no time.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod assignments;
mod history;
mod leases;
mod redis_faults;
mod rules;
mod terms;
mod whole;

use std::{sync::Arc, time::Duration};

use fleet_model::{Epoch, Incarnation, MAX_SHARDS, ShardKey, WorkerId};
use fleet_store::{FleetRedisStore, FleetStore, OwnerRecord, WorkerRecord};
use redis_link::{LinkOptions, RedisLink};

/// The store under test.
type Store = Arc<dyn FleetStore>;

/// Long enough to be live until the end of a test.
const LONG: Duration = Duration::from_mins(1);

/// Lapses while a test waits.
const SHORT: Duration = Duration::from_millis(40);

/// Waits until a lease or hold of [`SHORT`] has lapsed.
async fn lapse() {
    tokio::time::sleep(SHORT + Duration::from_millis(20)).await;
}

fn redis_store(url: &str, prefix: &str) -> FleetRedisStore {
    let link = RedisLink::new(url.parse().unwrap(), LinkOptions::default());
    FleetRedisStore::new(link, prefix.parse().unwrap())
}

fn incarnation(name: &str) -> Incarnation {
    name.parse().unwrap()
}

fn name(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn worker(worker: &str, life: &str) -> WorkerRecord {
    WorkerRecord {
        worker: name(worker),
        incarnation: incarnation(life),
        url: format!("http://{worker}.{life}:1"),
    }
}

fn owner(shard: u32, worker: &str, life: &str, epoch: u64) -> OwnerRecord {
    OwnerRecord {
        shard: ShardKey::new(shard, MAX_SHARDS),
        worker: name(worker),
        incarnation: incarnation(life),
        epoch: Epoch(epoch),
    }
}
