//! The shards' owners.

use std::time::{SystemTime, UNIX_EPOCH};

use fleet_model::{Epoch, ShardSlot, Term};
use fleet_store::{OwnerWrite, TermWrite};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use crate::{Store, owner};

const TERM: Term = Term(5);

pub(crate) async fn the_higher_epoch_owns(store: Store) {
    store.set_shard_total(TERM, 3).await.unwrap();
    let first = [owner(0, "a", "1", 10), owner(1, "a", "1", 10), owner(2, "a", "1", 10)];
    assert_eq!(store.assign(TERM, &first).await.unwrap(), vec![OwnerWrite::Written; 3]);
    let second = [owner(2, "b", "1", 11), owner(0, "b", "1", 9), owner(1, "b", "1", 11)];
    let expected = [OwnerWrite::Written, OwnerWrite::Outranked(Epoch(10)), OwnerWrite::Written];
    assert_eq!(store.assign(TERM, &second).await.unwrap(), expected, "one answer each, in order");
    let owners = store.load().await.unwrap().owners;
    let names: Vec<_> = owners.values().map(|owner| (owner.worker.as_str(), owner.epoch.0)).collect();
    assert_eq!(names, [("a", 10), ("b", 11), ("b", 11)]);
    assert_eq!(store.assign(TERM, &[]).await.unwrap(), []);
}

pub(crate) async fn the_same_epoch_has_one_owner(store: Store) {
    let mine = owner(0, "a", "1", 10);
    for _ in 0..2 {
        assert_eq!(store.assign(TERM, std::slice::from_ref(&mine)).await.unwrap(), [OwnerWrite::Written]);
    }
    for other in [owner(0, "b", "1", 10), owner(0, "a", "2", 10)] {
        assert_eq!(store.assign(TERM, &[other]).await.unwrap(), [OwnerWrite::Outranked(Epoch(10))]);
    }
}

pub(crate) async fn an_old_term_assigns_nothing(store: Store) {
    store.assign(TERM, &[owner(0, "a", "1", 10)]).await.unwrap();
    let written = store.assign(Term(4), &[owner(0, "b", "1", 99), owner(1, "b", "1", 1)]).await.unwrap();
    assert_eq!(
        written,
        [OwnerWrite::StaleTerm, OwnerWrite::Written],
        "a record knows the terms that wrote it"
    );
}

pub(crate) async fn owners_are_seen_below_the_total(store: Store) {
    store.assign(TERM, &[owner(0, "a", "1", 1), owner(1, "a", "1", 1)]).await.unwrap();
    assert!(store.load().await.unwrap().owners.is_empty(), "no total, no shards");
    store.set_shard_total(TERM, 1).await.unwrap();
    let owners = store.load().await.unwrap().owners;
    assert_eq!(owners.into_values().collect::<Vec<_>>(), [owner(0, "a", "1", 1)]);
}

pub(crate) async fn epochs_are_exact(store: Store) {
    let high = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    store.assign(TERM, &[owner(0, "a", "1", high)]).await.unwrap();
    let lower = store.assign(TERM, &[owner(0, "b", "1", high - 1)]).await.unwrap();
    assert_eq!(lower, [OwnerWrite::Outranked(Epoch(high))], "no rounding");
    assert_eq!(store.assign(TERM, &[owner(0, "b", "1", high + 1)]).await.unwrap(), [OwnerWrite::Written]);
    assert_eq!(
        store.assign(TERM, &[owner(0, "c", "1", 9)]).await.unwrap(),
        [OwnerWrite::Outranked(Epoch(high + 1))]
    );
}

/// Writers race for a few shards, some of them at once. proptest prints the case that fails.
pub(crate) async fn highest_epoch_wins_in_any_order(store: Store) {
    store.set_shard_total(TERM, 64).await.unwrap();
    let mut runner = TestRunner::new(Config::default());
    let writes = prop::collection::vec((0u32..3, 0usize..4, 1u64..200), 1..40);
    for case in 0..16u32 {
        let writes = writes.new_tree(&mut runner).unwrap().current();
        let shard = |number: u32| case * 3 + number;
        let mut highest = [0; 3];
        for at_once in writes.chunks(4) {
            let racing = at_once.iter().map(|&(number, writer, epoch)| {
                let write = owner(shard(number), ["a", "b", "c", "d"][writer], "1", epoch);
                let store = store.clone();
                async move { (number as usize, epoch, store.assign(TERM, &[write]).await.unwrap().remove(0)) }
            });
            for (number, epoch, written) in futures_util::future::join_all(racing).await {
                match written {
                    OwnerWrite::Written => highest[number] = highest[number].max(epoch),
                    OwnerWrite::Outranked(by) => {
                        assert!(by.0 >= epoch, "{by} does not outrank {epoch}: {writes:?}");
                    }
                    OwnerWrite::StaleTerm | OwnerWrite::Invalid(_) => {
                        panic!("one term, and records of ours only")
                    }
                }
            }
            let owners = store.load().await.unwrap().owners;
            for number in 0..3 {
                let epoch = owners.get(&ShardSlot(shard(number))).map_or(0, |owner| owner.epoch.0);
                assert_eq!(epoch, highest[number as usize], "shard {number} after {at_once:?} of {writes:?}");
            }
        }
    }
}

pub(crate) async fn writes_in_flight_of_an_old_term_are_refused_after_a_fence(store: Store) {
    store.set_shard_total(Term(1), 2).await.unwrap();
    store.assign(Term(1), &[owner(0, "a", "1", 7)]).await.unwrap();
    assert_eq!(store.fence(Term(2)).await.unwrap(), TermWrite::Written);
    let late = store.assign(Term(1), &[owner(0, "b", "1", 8), owner(1, "b", "1", 8)]).await.unwrap();
    assert_eq!(late, [OwnerWrite::StaleTerm, OwnerWrite::StaleTerm], "of a shard without an owner too");
    assert_eq!(store.set_shard_total(Term(1), 4).await.unwrap(), TermWrite::StaleTerm);
    let record = store.load().await.unwrap();
    assert_eq!(record.shard_total, Some(2));
    assert_eq!(record.owners.into_values().collect::<Vec<_>>(), [owner(0, "a", "1", 7)]);
    assert_eq!(store.fence(Term(1)).await.unwrap(), TermWrite::StaleTerm);
    let own = store.assign(Term(2), &[owner(1, "b", "1", 8)]).await.unwrap();
    assert_eq!(own, [OwnerWrite::Written]);
}
