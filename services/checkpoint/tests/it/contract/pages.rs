//! Reading everything back.

use std::collections::BTreeSet;

use bytes::Bytes;
use checkpoint::{Cursor, Page, PageRead, RecordKey, WriteStep};

use super::{MINE, SHARD, Store, claim, set, write};

async fn page(store: &Store, serial: u64, cursor: Cursor) -> Page {
    match store.read(SHARD, MINE, serial, cursor).await.unwrap() {
        PageRead::Page(page) => page,
        refused => panic!("{refused:?}"),
    }
}

async fn pages(store: &Store, serial: u64) -> Vec<Page> {
    let mut pages = vec![page(store, serial, Cursor::START).await];
    while let Some(next) = pages.last().unwrap().next {
        pages.push(page(store, serial, next).await);
    }
    pages
}

/// Writes `count` records of `bytes` bytes each, and a head; returns the serial.
async fn fill(store: &Store, count: u64, bytes: usize) -> u64 {
    let mut serial = claim(store, MINE).await.serial;
    let keys: Vec<_> = (0..count).map(|guild| RecordKey::Members(guild, guild as u32)).collect();
    for keys in keys.chunks(1000) {
        let set = keys.iter().map(|key| (*key, Bytes::from(vec![b'x'; bytes]))).collect();
        serial = write(store, serial, WriteStep { set, ..WriteStep::default() }).await;
    }
    write(store, serial, super::with_head(WriteStep::default(), "head")).await
}

pub(crate) async fn pages_bring_every_record(store: Store) {
    let serial = fill(&store, 10_000, 200).await;
    let pages = pages(&store, serial).await;
    let keys: BTreeSet<_> = pages.iter().flat_map(|page| &page.records).map(|(key, _)| key.clone()).collect();
    let expected: BTreeSet<_> = (0..10_000u64).map(|guild| format!("m:{guild}:{guild}")).collect();
    assert_eq!(keys, expected, "all of them, and nothing about the whole");
    assert!(pages.len() > 4 && pages.len() < 40, "{} pages", pages.len());
    assert_eq!(claim(&store, MINE).await.records, 10_000);
}

pub(crate) async fn large_records_make_small_pages(store: Store) {
    let serial = fill(&store, 300, 100_000).await;
    let pages = pages(&store, serial).await;
    let mut sizes = pages.iter().map(|page| page.records.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    let first = sizes.next().unwrap();
    assert!(first < 16 * 1024 * 1024, "the first cannot know: {first}");
    // Redis may add a bucket's worth.
    assert!(sizes.clone().all(|size| size < 2 * 1024 * 1024), "{:?}", sizes.collect::<Vec<_>>());
}

pub(crate) async fn an_empty_checkpoint_has_one_empty_page(store: Store) {
    claim(&store, MINE).await;
    assert_eq!(pages(&store, 0).await, [Page { records: Vec::new(), next: None }]);
}

pub(crate) async fn a_reader_learns_that_the_state_is_another(store: Store) {
    let missing = store.read(SHARD, MINE, 0, Cursor::START).await.unwrap();
    assert_eq!(missing, PageRead::Lost { serial: 0 });
    let serial = fill(&store, 500, 200).await;
    let next = page(&store, serial, Cursor::START).await.next.unwrap();
    write(&store, serial, set(&[(RecordKey::Core(1), "more")])).await;
    let read = store.read(SHARD, MINE, serial, next).await.unwrap();
    assert_eq!(read, PageRead::Lost { serial: serial + 1 });
}
