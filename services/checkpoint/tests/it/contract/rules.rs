//! Each rule over each store.

use std::{sync::Arc, time::Duration};

use checkpoint::{KEPT, MemoryStore};
use redis_fixture::{RedisCluster, RedisSentinel, RedisServer};

use super::{Store, fences, pages, redis_store, steps};

macro_rules! rules {
    ($($module:ident::$rule:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test(start_paused = true)]
            async fn $rule() {
                $module::$rule(Arc::new(MemoryStore::new())).await;
            })*
        }

        mod redis {
            use super::*;
            $(#[tokio::test]
            async fn $rule() {
                let server = RedisServer::start().await;
                $module::$rule(Arc::new(redis_store(&server.url(), "test"))).await;
            })*
        }

        /// All rules one after the other, each under a prefix of its own.
        async fn all(url: &str) {
            $(
                eprintln!("rule {}", stringify!($rule));
                let store: Store = Arc::new(redis_store(url, stringify!($rule)));
                $module::$rule(store).await;
            )*
        }
    };
}

rules! {
    fences::an_empty_store_is_claimed,
    fences::what_was_claimed_empty_needs_no_fresh_step,
    fences::a_claim_keeps_lower_epochs_out,
    fences::a_claim_tells_what_the_owner_before_left,
    fences::only_who_claimed_writes,
    fences::a_wrong_serial_writes_nothing,
    fences::a_fresh_write_goes_on_above_every_serial,
    fences::a_late_fresh_write_undoes_nothing,
    fences::a_fresh_write_needs_no_claim,
    fences::of_racing_writers_one_writes,
    fences::numbers_are_exact,
    fences::shards_are_apart,
    steps::a_step_sets_and_removes,
    steps::fresh_leaves_nothing_of_before,
    steps::a_step_of_thousands_is_one_step,
    steps::any_bytes_survive,
    steps::the_head_has_an_age,
    pages::pages_bring_every_record,
    pages::large_records_make_small_pages,
    pages::an_empty_checkpoint_has_one_empty_page,
    pages::a_reader_learns_that_the_state_is_another,
}

#[tokio::test]
async fn over_a_cluster() {
    let cluster = RedisCluster::start().await;
    all(&cluster.url()).await;
}

#[tokio::test]
async fn over_a_sentinel() {
    let sentinel = RedisSentinel::start().await;
    all(&sentinel.url()).await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_in_memory_is_kept_for_an_hour() {
    let store: Store = Arc::new(MemoryStore::new());
    steps::first(&store).await;
    tokio::time::advance(KEPT.saturating_sub(Duration::from_secs(1))).await;
    assert!(super::claim(&store, super::MINE).await.head.is_some());
    tokio::time::advance(KEPT).await;
    assert_eq!(store.freshness(super::SHARD).await.unwrap(), None);
    assert_eq!(super::claim(&store, super::LOWER).await.records, 0);
}
