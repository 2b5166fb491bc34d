//! Who may write, and how a writer learns that the store is not where it left it.

use checkpoint::{ClaimAnswer, Cursor, PageRead, Position, RecordKey, StepAnswer, StoredCheckpoint};
use fleet_model::{Epoch, ShardKey};
use futures_util::future::join_all;

use super::{
    HIGHER, LOWER, MINE, SHARD, Store, assert_holds, claim, fresh, records, remove, set, steps, with_head,
    write,
};

const A: RecordKey = RecordKey::Core(1);
const B: RecordKey = RecordKey::Core(2);

const EMPTY: StoredCheckpoint = StoredCheckpoint { serial: 0, records: 0, head: None, owner_before: None };

pub(crate) async fn an_empty_store_is_claimed(store: Store) {
    assert_eq!(claim(&store, MINE).await, EMPTY);
    assert_eq!(claim(&store, MINE).await.serial, 0, "claiming twice is no error");
    assert_eq!(store.freshness(SHARD).await.unwrap(), None);
    let nothing_written = StoredCheckpoint { owner_before: Some(MINE), ..EMPTY };
    assert_eq!(claim(&store, HIGHER).await, nothing_written, "it was claimed, that is all");
    assert_eq!(claim(&store, HIGHER).await, nothing_written, "a repeated claim gets the same answer");
    assert_eq!(
        store.write(SHARD, HIGHER, 0, &fresh(set(&[(A, "a")]))).await.unwrap(),
        StepAnswer::Yes { serial: 1 }
    );
    assert_eq!(claim(&store, HIGHER).await.owner_before, Some(MINE), "even after a write");
}

pub(crate) async fn empty_claim_needs_no_fresh_step(store: Store) {
    claim(&store, MINE).await;
    assert_eq!(write(&store, 0, set(&[(A, "a")])).await, 1);
    assert_holds(&store, 1, &[("c:1", "a")]).await;
}

pub(crate) async fn a_claim_keeps_lower_epochs_out(store: Store) {
    let serial = steps::first(&store).await;
    assert_eq!(claim(&store, HIGHER).await.serial, serial);
    assert_eq!(store.claim(SHARD, MINE).await.unwrap(), ClaimAnswer::Outranked(HIGHER));
    for step in [set(&[(A, "late")]), fresh(set(&[(A, "late")])), with_head(remove(&[A]), "late")] {
        for serial in [0, serial, serial + 1] {
            let written = store.write(SHARD, MINE, serial, &step).await.unwrap();
            assert_eq!(written, StepAnswer::Outranked(HIGHER));
        }
    }
    let read = store.read(SHARD, MINE, serial, Cursor::START).await.unwrap();
    assert_eq!(read, PageRead::Outranked(HIGHER));
    let stored = claim(&store, HIGHER).await;
    assert_eq!((stored.serial, stored.head.unwrap().bytes), (serial, "head".into()));
    let records = records(&*store, HIGHER, serial).await;
    assert_eq!(records.into_iter().collect::<Vec<_>>(), steps::FIRST.map(|(k, v)| (k.to_owned(), v.into())));
}

pub(crate) async fn claim_returns_what_the_previous_owner_left(store: Store) {
    let serial = steps::first(&store).await;
    let stored = claim(&store, HIGHER).await;
    assert_eq!((stored.serial, stored.records), (serial, steps::FIRST.len() as u64));
    assert_eq!(stored.owner_before, Some(MINE));
    assert_eq!(stored.head.unwrap().bytes, "head");
    let written = store
        .write(SHARD, HIGHER, serial, &remove(&[RecordKey::Pending(Position::new(1, 7))]))
        .await
        .unwrap();
    assert_eq!(
        written,
        StepAnswer::Yes { serial: serial + 1 },
        "the new owner goes on where the old one ended"
    );
    let freshness = store.freshness(SHARD).await.unwrap().unwrap();
    assert_eq!((freshness.epoch, freshness.total, freshness.records), (HIGHER, 16, 2));
}

pub(crate) async fn only_the_claimant_writes(store: Store) {
    let unclaimed = store.write(SHARD, MINE, 0, &set(&[(A, "a")])).await.unwrap();
    assert_eq!(unclaimed, StepAnswer::Lost { serial: 0 }, "the claim is not there, or not any more");
    let serial = steps::first(&store).await;
    let above = store.write(SHARD, HIGHER, serial, &set(&[(A, "late")])).await.unwrap();
    assert_eq!(above, StepAnswer::Lost { serial }, "the serial is right by chance alone");
    let read = store.read(SHARD, HIGHER, serial, Cursor::START).await.unwrap();
    assert_eq!(read, PageRead::Lost { serial });
    assert_holds(&store, serial, &steps::FIRST).await;
}

pub(crate) async fn a_wrong_serial_writes_nothing(store: Store) {
    let serial = steps::first(&store).await;
    for wrong in [0, serial - 1, serial + 1, u64::MAX] {
        let step = with_head(set(&[(A, "wrong"), (RecordKey::Core(9), "wrong")]), "wrong");
        let written = store.write(SHARD, MINE, wrong, &step).await.unwrap();
        assert_eq!(written, StepAnswer::Lost { serial }, "{wrong}");
    }
    assert_holds(&store, serial, &steps::FIRST).await;
    assert_eq!(claim(&store, MINE).await.head.unwrap().bytes, "head");
}

pub(crate) async fn fresh_write_continues_above_every_serial(store: Store) {
    let serial = steps::first(&store).await;
    let next = write(&store, serial, fresh(set(&[(A, "new")]))).await;
    assert_eq!(next, serial + 1);
    let next = write(&store, next + 100, fresh(set(&[(B, "newer")]))).await;
    assert_eq!(next, serial + 102, "the store had lost some steps: their serials do not come again");
    assert_eq!(
        store.write(SHARD, MINE, u64::MAX, &fresh(set(&[]))).await.unwrap(),
        StepAnswer::Lost { serial: next }
    );
    assert_holds(&store, next, &[("c:2", "newer")]).await;
}

pub(crate) async fn a_late_fresh_write_undoes_nothing(store: Store) {
    // The connection broke, the step was sent again, and only then the first one arrived.
    let step = fresh(set(&[(A, "a")]));
    let serial = steps::first(&store).await;
    let sent_again = write(&store, serial, step.clone()).await;
    let next = write(&store, sent_again, set(&[(B, "b")])).await;
    assert_eq!(store.write(SHARD, MINE, serial, &step).await.unwrap(), StepAnswer::Lost { serial: next });
    assert_holds(&store, next, &[("c:1", "a"), ("c:2", "b")]).await;
}

pub(crate) async fn a_fresh_write_needs_no_claim(store: Store) {
    assert_eq!(write(&store, 41, fresh(set(&[(A, "a")]))).await, 42);
    assert_eq!(write(&store, 42, set(&[(B, "b")])).await, 43);
    let written = store.write(SHARD, LOWER, 43, &set(&[(A, "late")])).await.unwrap();
    assert_eq!(written, StepAnswer::Outranked(MINE));
    let written = store.write(SHARD, HIGHER, 43, &fresh(set(&[(A, "c")]))).await.unwrap();
    assert_eq!(written, StepAnswer::Yes { serial: 44 });
    assert_eq!(store.claim(SHARD, MINE).await.unwrap(), ClaimAnswer::Outranked(HIGHER));
}

pub(crate) async fn of_racing_writers_one_writes(store: Store) {
    let mut serial = steps::first(&store).await;
    for round in 0..20u64 {
        let racing = (0..4u64).map(|writer| {
            let store = store.clone();
            async move {
                let step = set(&[(RecordKey::Core(100 + round * 4 + writer), "r")]);
                store.write(SHARD, MINE, serial, &step).await.unwrap()
            }
        });
        let answers = join_all(racing).await;
        let yes = answers.iter().filter(|answer| **answer == StepAnswer::Yes { serial: serial + 1 }).count();
        let lost =
            answers.iter().filter(|answer| **answer == StepAnswer::Lost { serial: serial + 1 }).count();
        assert_eq!((yes, lost), (1, 3), "{answers:?}");
        serial += 1;
    }
    assert_eq!(records(&*store, MINE, serial).await.len(), steps::FIRST.len() + 20);
}

pub(crate) async fn numbers_are_exact(store: Store) {
    let high = Epoch(u64::MAX - 1);
    claim(&store, high).await;
    assert_eq!(
        store.claim(SHARD, Epoch(high.0 - 1)).await.unwrap(),
        ClaimAnswer::Outranked(high),
        "no rounding"
    );
    assert_eq!(store.claim(SHARD, Epoch(high.0 - 10_000)).await.unwrap(), ClaimAnswer::Outranked(high));
    let largest = 999_999_999_999_998;
    let step = fresh(set(&[(RecordKey::Members(u64::MAX, u32::MAX), "m")]));
    let written = store.write(SHARD, high, largest, &step).await.unwrap();
    assert_eq!(written, StepAnswer::Yes { serial: largest + 1 });
    assert_eq!(claim(&store, Epoch(u64::MAX)).await.serial, largest + 1);
}

pub(crate) async fn shards_are_apart(store: Store) {
    let serial = steps::first(&store).await;
    for other in [0, 1, 13, 33] {
        let ClaimAnswer::Yours(stored) = store.claim(ShardKey::new(other, 40), LOWER).await.unwrap() else {
            panic!("another shard's epoch is in the way");
        };
        assert_eq!(stored, EMPTY);
        let written =
            store.write(ShardKey::new(other, 40), LOWER, 0, &fresh(set(&[(A, "x")]))).await.unwrap();
        assert_eq!(written, StepAnswer::Yes { serial: 1 });
    }
    assert_holds(&store, serial, &steps::FIRST).await;
}
