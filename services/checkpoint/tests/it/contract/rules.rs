//! Each rule over each store.

use std::{sync::Arc, time::Duration};

use checkpoint::{CheckpointMemoryStore, KEPT, SET_ASIDE_KEPT};

use super::{Store, asides, fences, pages, redis_store, steps};

redis_fixture::contract! {
    memory(start_paused = true) => Arc::new(CheckpointMemoryStore::new()),
    redis(url, prefix) => Arc::new(redis_store(url, prefix)),
    fences::an_empty_store_is_claimed,
    fences::empty_claim_needs_no_fresh_step,
    fences::a_claim_keeps_lower_epochs_out,
    fences::claim_returns_what_the_previous_owner_left,
    fences::only_the_claimant_writes,
    fences::a_wrong_serial_writes_nothing,
    fences::fresh_write_continues_above_every_serial,
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
    asides::event_is_noted_within_a_bound_until_withdrawn,
    asides::notes_outlive_owners_and_sessions,
    asides::notes_of_an_owner_can_be_voided,
    asides::an_owner_before_notes_and_sets_aside_nothing,
    asides::event_set_aside_is_listed_shown_and_dropped,
    asides::setting_aside_leaves_the_notes,
    asides::oldest_of_more_than_a_hundred_is_dropped,
    asides::oldest_of_too_many_bytes_are_dropped,
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_in_memory_is_kept_for_an_hour() {
    let store: Store = Arc::new(CheckpointMemoryStore::new());
    steps::first(&store).await;
    tokio::time::advance(KEPT.saturating_sub(Duration::from_secs(1))).await;
    assert!(super::claim(&store, super::MINE).await.head.is_some());
    tokio::time::advance(KEPT).await;
    assert_eq!(store.freshness(super::SHARD).await.unwrap(), None);
    assert_eq!(super::claim(&store, super::LOWER).await.records, 0);
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_notes_for_an_hour_and_set_aside_events_for_thirty_days() {
    let store: asides::Store = Arc::new(CheckpointMemoryStore::new());
    asides::event_set_aside_is_listed_shown_and_dropped(store.clone()).await;
    asides::setting_aside_leaves_the_notes(store.clone()).await;
    tokio::time::advance(KEPT).await;
    asides::event_is_noted_within_a_bound_until_withdrawn(store.clone()).await;
    assert_eq!(store.list_aside(super::SHARD.slot()).await.unwrap().len(), 3);
    tokio::time::advance(SET_ASIDE_KEPT).await;
    assert_eq!(store.list_aside(super::SHARD.slot()).await.unwrap(), []);
}
