use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use fleet_model::{Gap, ShardSlot};
use proptest::prelude::*;

use super::*;
use crate::{Appended, Caps, EntryId, EventNames, GAP, Mark, MemoryRelay, NewEntry, Page, RelayError};

const SHARD: ShardKey = ShardKey::new(3, 8);
const PATIENCE: Duration = Duration::from_secs(10);

fn at(session: u64, sequence: u64) -> Position {
    Position { session, sequence }
}

fn event(session: u64, sequence: u64) -> ShardEvent {
    ShardEvent {
        position: at(session, sequence),
        name: "MESSAGE_CREATE".into(),
        guild: Some(9),
        received_at_unix_ms: 1,
        traceparent: None,
        mark: Mark::Fresh,
        text: format!(r#"{{"t":"MESSAGE_CREATE","s":{sequence},"op":0,"d":{{}}}}"#).into(),
    }
}

fn outbox(store: impl RelayStore, epoch: u64) -> Outbox {
    Outbox::start(OutboxParts {
        store: Arc::new(store),
        bounds: Bounds { events: 8, bytes: 1024 },
        metrics: RelayMetrics::default(),
        status: RelayStatus::default(),
        shard: SHARD,
        epoch: Epoch(epoch),
        runtime: runtime::Handle::current(),
    })
}

async fn streamed(store: &MemoryRelay) -> Vec<(String, Position)> {
    let page = store.read(&EventNames::All, EntryId::default(), Duration::ZERO).await.unwrap();
    page.entries.iter().map(|entry| (entry.content.name.to_string(), entry.content.position)).collect()
}

/// A store that can be away, or forget.
#[derive(Clone)]
struct FaultyStore {
    inner: Arc<Mutex<MemoryRelay>>,
    away: Arc<AtomicBool>,
    /// Takes what it is sent, and does not say so.
    mute: Arc<AtomicBool>,
    /// Number of batches that the store has received.
    batches: Arc<AtomicUsize>,
}

impl FaultyStore {
    fn new() -> Self {
        Self {
            inner: Arc::new(Mutex::new(MemoryRelay::new(Caps::default()))),
            away: Arc::default(),
            mute: Arc::default(),
            batches: Arc::default(),
        }
    }

    fn inner(&self) -> MemoryRelay {
        self.inner.lock().unwrap().clone()
    }
}

#[async_trait]
impl RelayStore for FaultyStore {
    async fn append(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        believed: Option<Position>,
        entries: &[NewEntry],
    ) -> Result<Appended, RelayError> {
        let away = || Err(RelayError::Away("a test".to_owned()));
        self.batches.fetch_add(usize::from(!entries.is_empty()), Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return away();
        }
        let appended = self.inner().append(shard, epoch, believed, entries).await;
        if self.mute.swap(false, Ordering::SeqCst) { away() } else { appended }
    }

    async fn rewind(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        seen: Position,
        to: Position,
    ) -> Result<Appended, RelayError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(RelayError::Away("a test".to_owned()));
        }
        let moved = self.inner().rewind(shard, epoch, seen, to).await;
        if self.mute.swap(false, Ordering::SeqCst) {
            Err(RelayError::Away("a test".to_owned()))
        } else {
            moved
        }
    }

    fn reader(&self) -> Arc<dyn RelayStore> {
        Arc::new(self.clone())
    }

    async fn newest(&self) -> Result<EntryId, RelayError> {
        self.inner().newest().await
    }

    async fn generation(&self) -> Result<u64, RelayError> {
        self.inner().generation().await
    }

    async fn reached(&self, shards: &[ShardSlot]) -> Result<Vec<Option<Position>>, RelayError> {
        self.inner().reached(shards).await
    }

    async fn locate(&self, number: u64) -> Result<EntryId, RelayError> {
        self.inner().locate(number).await
    }

    async fn read(&self, names: &EventNames, after: EntryId, wait: Duration) -> Result<Page, RelayError> {
        self.inner().read(names, after, wait).await
    }
}

async fn until_empty(outbox: &Outbox) {
    let empty = outbox.shared.until(|state| state.queue.is_empty());
    tokio::time::timeout(PATIENCE, empty).await.expect("all is taken in time");
}

#[tokio::test]
async fn pending_events_go_before_new_ones() {
    let store = MemoryRelay::new(Caps::default());
    let outbox = outbox(store.clone(), 1);
    outbox.push(event(2, 1));
    outbox.push(event(1, 7));
    assert!(streamed(&store).await.is_empty());
    outbox.begin();
    until_empty(&outbox).await;
    let positions: Vec<_> = streamed(&store).await.into_iter().map(|(_, position)| position).collect();
    assert_eq!(positions, [at(1, 7), at(2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn events_that_the_store_refuses_wait_within_bounds_and_are_sent_once() {
    let store = FaultyStore::new();
    let outbox = outbox(store.clone(), 1);
    outbox.begin();
    outbox.push(event(1, 1));
    until_empty(&outbox).await;
    store.away.store(true, Ordering::SeqCst);
    for sequence in 2..=9 {
        assert!(outbox.has_room(10));
        outbox.push(event(1, sequence));
    }
    assert!(!outbox.has_room(10) && !outbox.at_most_half() && outbox.fill_with(10) > 1.0);
    // One answer is lost on its way.
    store.mute.store(true, Ordering::SeqCst);
    store.away.store(false, Ordering::SeqCst);
    tokio::time::timeout(PATIENCE, outbox.drained_to_half()).await.expect("in time");
    until_empty(&outbox).await;
    let sequences: Vec<u64> = streamed(&store.inner()).await.iter().map(|(_, at)| at.sequence).collect();
    assert_eq!(sequences, (1..=9).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn busy_shard_sends_one_batch_an_interval_unless_one_is_full() {
    let store = FaultyStore::new();
    let outbox = outbox(store.clone(), 1);
    outbox.begin();
    let began = Instant::now();
    outbox.push(event(1, 1));
    until_empty(&outbox).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "the first event waits for nothing");
    for sequence in 2..=101 {
        outbox.push(event(1, sequence));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    until_empty(&outbox).await;
    let batches = store.batches.swap(0, Ordering::SeqCst);
    // 100 ms, and the first event.
    assert!((15..=22).contains(&batches), "{batches}");
    let (began, times) = (Instant::now(), 3);
    for sequence in 0..times * 128 {
        outbox.push(event(2, sequence));
        if sequence % 128 == 127 {
            until_empty(&outbox).await;
        }
    }
    assert_eq!((began.elapsed(), store.batches.load(Ordering::SeqCst)), (Duration::ZERO, times as usize));
}

#[tokio::test]
async fn emptied_store_is_sent_the_events_again() {
    let store = FaultyStore::new();
    let outbox = outbox(store.clone(), 1);
    outbox.begin();
    outbox.push(event(1, 1));
    outbox.push(event(1, 2));
    until_empty(&outbox).await;
    // What the next store holds is as far as the first event.
    let restored = MemoryRelay::new(Caps::default());
    let first = outbox_entry(&store.inner(), 0).await;
    restored.append(SHARD, Epoch(1), None, &[first]).await.unwrap();
    *store.inner.lock().unwrap() = restored;
    outbox.push(event(1, 3));
    until_empty(&outbox).await;
    let sequences: Vec<u64> = streamed(&store.inner()).await.iter().map(|(_, at)| at.sequence).collect();
    assert_eq!(sequences, [1, 2, 3]);
}

async fn outbox_entry(store: &MemoryRelay, place: usize) -> NewEntry {
    let page = store.read(&EventNames::All, EntryId::default(), Duration::ZERO).await.unwrap();
    page.entries[place].content.clone()
}

#[tokio::test]
async fn dropped_events_become_a_gap() {
    let store = FaultyStore::new();
    let before = outbox(store.clone(), 1);
    before.begin();
    before.push(event(1, 1));
    until_empty(&before).await;
    // Another owner goes on, and has not got what the one before sent.
    let after = outbox(store.clone(), 2);
    after.begin();
    after.push(event(1, 2));
    until_empty(&after).await;
    *store.inner.lock().unwrap() = MemoryRelay::new(Caps::default());
    after.push(event(1, 3));
    until_empty(&after).await;
    let expected = [(GAP, at(1, 1)), ("MESSAGE_CREATE", at(1, 2)), ("MESSAGE_CREATE", at(1, 3))];
    assert_eq!(streamed(&store.inner()).await, expected.map(|(name, at)| (name.to_owned(), at)));
    let gap = outbox_entry(&store.inner(), 0).await.gap().unwrap();
    assert!(gap.reason.contains("lost"), "{gap:?}");
}

#[tokio::test]
async fn an_outranked_one_sends_nothing_and_fills_up_with_nothing() {
    let store = MemoryRelay::new(Caps::default());
    store.append(SHARD, Epoch(5), None, &[]).await.unwrap();
    let outbox = outbox(store.clone(), 4);
    outbox.begin();
    for sequence in 1..100 {
        outbox.push(event(1, sequence));
    }
    until_empty(&outbox).await;
    tokio::time::timeout(PATIENCE, outbox.shared.until(|state| state.outranked)).await.expect("in time");
    outbox.push(event(1, 100));
    assert!(outbox.has_room(10));
    assert!(streamed(&store).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closed_outbox_returns_unsent_events() {
    let store = FaultyStore::new();
    let outbox = outbox(store.clone(), 1);
    outbox.begin();
    outbox.push(event(1, 1));
    until_empty(&outbox).await;
    store.away.store(true, Ordering::SeqCst);
    outbox.push(event(1, 2));
    let status = outbox.shared.status.clone();
    let left = outbox.close(Duration::from_millis(250)).await;
    assert!(status.problem().is_some_and(|why| why.contains("a test")));
    assert_eq!(left.iter().map(|event| event.position).collect::<Vec<_>>(), [at(1, 2)]);
    // Nothing goes after that.
    store.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(streamed(&store.inner()).await.len(), 1);
    outbox.push(event(1, 3));
    assert_eq!(outbox.pending(|all| all.count()), 1);
    drop(outbox);
    tokio::time::timeout(PATIENCE, async {
        while status.problem().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a shard that has left has no problem");
}

#[tokio::test]
async fn event_that_cannot_be_encoded_becomes_a_gap_in_its_place() {
    let deep = format!(r#"{{"d":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for text in ["{", "", r#"{"d":1}}"#, r#"{"d":1e999}"#, r#"{"d":"secret" oops}"#, &deep] {
        let store = MemoryRelay::new(Caps::default());
        let outbox = outbox(store.clone(), 1);
        outbox.push(event(1, 1));
        outbox.push(ShardEvent { text: text.into(), ..event(1, 2) });
        outbox.push(event(1, 3));
        let gap = only_gap_between_two_events(&store, &outbox).await;
        assert!(gap.reason.contains("MESSAGE_CREATE") && !gap.reason.contains("secret"), "{gap:?}");
    }
}

#[tokio::test]
async fn event_with_an_unusable_name_becomes_a_gap_at_its_position() {
    for name in ["", "message_create", "A B", "A\u{1b}[2J", &"A".repeat(65), &"A".repeat(1 << 20)] {
        let store = MemoryRelay::new(Caps::default());
        let outbox = outbox(store.clone(), 1);
        outbox.push(event(1, 1));
        outbox.push(ShardEvent { name: name.into(), ..event(1, 2) });
        outbox.push(event(1, 3));
        let gap = only_gap_between_two_events(&store, &outbox).await;
        assert!(gap.reason.len() < 200 && !gap.reason.contains('\u{1b}'), "{gap:?}");
        let mut registry = prometheus_client::registry::Registry::default();
        outbox.shared.metrics.register(&mut registry);
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
        assert!(metrics.contains("relay_garbled_total 1\n"), "{metrics}");
    }
}

/// The gap that came in place of the second of three events.
async fn only_gap_between_two_events(store: &MemoryRelay, outbox: &Outbox) -> Gap {
    outbox.begin();
    until_empty(outbox).await;
    let expected = [("MESSAGE_CREATE", at(1, 1)), (GAP, at(1, 2)), ("MESSAGE_CREATE", at(1, 3))];
    assert_eq!(streamed(store).await, expected.map(|(name, at)| (name.to_owned(), at)));
    let gap = outbox_entry(store, 1).await.gap().unwrap();
    assert_eq!((gap.last_sequence, gap.since_unix_ms, gap.until_unix_ms), (1, 1, 1));
    gap
}

proptest! {
    /// For any repeats and any order of owners: each event is in the stream once, in order.
    #[test]
    fn each_event_is_stored_once(owners in prop::collection::vec((1u64..30, 0u64..12), 1..8)) {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = MemoryRelay::new(Caps::default());
            let mut reached: u64 = 0;
            for (epoch, (more, back)) in (1..).zip(owners) {
                let from = reached.saturating_sub(back) + 1;
                let outbox = outbox(store.clone(), epoch);
                outbox.begin();
                for sequence in from..=reached + more {
                    outbox.push(event(1, sequence));
                }
                until_empty(&outbox).await;
                reached += more;
            }
            let page = store.read(&EventNames::All, EntryId::default(), Duration::ZERO).await.unwrap();
            let sequences: Vec<u64> = page.entries.iter().map(|entry| entry.content.position.sequence).collect();
            let expected: Vec<u64> = (1..=reached).take(128).collect();
            assert_eq!(sequences, expected);
        });
    }
}
