//! What a step writes.

use std::time::Duration;

use bytes::Bytes;
use checkpoint::{Position, RecordKey, WriteStep};

use super::{MINE, SHARD, Store, assert_holds, claim, fresh, records, remove, set, with_head, write};

/// What [`first`] leaves.
pub(crate) const FIRST: [(&str, &str); 3] = [("c:1", "core"), ("h:1", "channels"), ("p:1:7", "pending")];

/// Claims the shard and writes a little, with a head; the serial.
pub(crate) async fn first(store: &Store) -> u64 {
    let serial = claim(store, MINE).await.serial;
    let step = set(&[
        (RecordKey::Core(1), "core"),
        (RecordKey::Channels(1), "channels"),
        (RecordKey::Pending(Position::new(1, 7)), "pending"),
    ]);
    let serial = write(store, serial, fresh(step)).await;
    write(store, serial, with_head(WriteStep::default(), "head")).await
}

pub(crate) async fn a_step_sets_and_removes(store: Store) {
    let serial = first(&store).await;
    let step = WriteStep {
        remove: vec![RecordKey::Pending(Position::new(1, 7)), RecordKey::Core(1), RecordKey::Core(404)],
        set: vec![(RecordKey::Core(1), "core 2".into()), (RecordKey::Members(1, 2), "members".into())],
        ..WriteStep::default()
    };
    let serial = write(&store, serial, step).await;
    let expected = [("c:1", "core 2"), ("h:1", "channels"), ("m:1:2", "members")];
    assert_holds(&store, serial, &expected).await;
    assert_eq!(claim(&store, MINE).await.head.unwrap().bytes, "head", "a step without a head leaves it");
    let serial = write(&store, serial, WriteStep::default()).await;
    let serial = write(&store, serial, with_head(remove(&[RecordKey::Channels(1)]), "head 2")).await;
    assert_holds(&store, serial, &[("c:1", "core 2"), ("m:1:2", "members")]).await;
    assert_eq!(claim(&store, MINE).await.head.unwrap().bytes, "head 2");
}

pub(crate) async fn fresh_leaves_nothing_of_before(store: Store) {
    let serial = first(&store).await;
    let serial = write(&store, serial, fresh(set(&[(RecordKey::Roles(5), "roles")]))).await;
    assert_holds(&store, serial, &[("r:5", "roles")]).await;
    assert_eq!(claim(&store, MINE).await.head, None, "the old session's head would name records that went");
    assert_eq!(store.freshness(SHARD).await.unwrap(), None);
    let serial = write(&store, serial, fresh(with_head(set(&[]), "head"))).await;
    assert_holds(&store, serial, &[]).await;
    assert!(store.freshness(SHARD).await.unwrap().is_some());
}

pub(crate) async fn a_step_of_thousands_is_one_step(store: Store) {
    let keys: Vec<_> = (0..12_345).map(|at| RecordKey::Pending(Position::new(1, at))).collect();
    let all = keys.iter().map(|key| (*key, Bytes::from(key.to_string()))).collect();
    claim(&store, MINE).await;
    let serial = write(&store, 0, WriteStep { set: all, ..WriteStep::default() }).await;
    assert_eq!(serial, 1);
    let held = records(&*store, MINE, serial).await;
    assert_eq!(held.len(), keys.len());
    assert!(held.iter().all(|(key, bytes)| key.as_bytes() == bytes));
    let serial = write(&store, serial, remove(&keys[..12_344])).await;
    assert_holds(&store, serial, &[("p:1:12344", "p:1:12344")]).await;
}

pub(crate) async fn any_bytes_survive(store: Store) {
    claim(&store, MINE).await;
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    let step = WriteStep {
        set: vec![(RecordKey::Core(1), bytes.clone().into()), (RecordKey::Core(2), Bytes::new())],
        head: Some(checkpoint::HeadWrite { bytes: bytes.clone().into(), total: u32::MAX }),
        ..WriteStep::default()
    };
    let serial = write(&store, 0, step).await;
    let held = records(&*store, MINE, serial).await;
    assert_eq!((held["c:1"].as_ref(), held["c:2"].as_ref()), (bytes.as_slice(), &[][..]));
    assert_eq!(claim(&store, MINE).await.head.unwrap().bytes, bytes);
    assert_eq!(store.freshness(SHARD).await.unwrap().unwrap().total, u32::MAX);
}

pub(crate) async fn the_head_has_an_age(store: Store) {
    let serial = first(&store).await;
    let pause = Duration::from_millis(60);
    tokio::time::sleep(pause).await;
    // Records and claims do not make a head younger.
    write(&store, serial, set(&[(RecordKey::Core(1), "newer")])).await;
    let age = claim(&store, MINE).await.head.unwrap().age;
    // Redis counts in whole milliseconds.
    let in_bounds = |age: Duration| age + Duration::from_millis(1) >= pause && age < Duration::from_mins(1);
    assert!(in_bounds(age), "{age:?}");
    let freshness = store.freshness(SHARD).await.unwrap().unwrap();
    assert!(freshness.age >= age && in_bounds(freshness.age), "{freshness:?}");
    assert_eq!((freshness.epoch, freshness.total, freshness.records), (MINE, 16, 3));
    write(&store, serial + 1, with_head(WriteStep::default(), "head 2")).await;
    let younger = store.freshness(SHARD).await.unwrap().unwrap().age;
    assert!(younger < freshness.age, "{younger:?} after {:?}", freshness.age);
}
