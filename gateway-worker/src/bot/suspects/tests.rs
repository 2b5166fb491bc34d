use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use checkpoint::{CheckpointMemoryStore, CheckpointStore as _, CheckpointStoreError};
use fleet_model::{Epoch, ShardEvent, ShardKey, ShardSlot};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::{
    bot::{EventQueue, EventQueues, KnownPending, ReplayRefused},
    cache::ShardCache,
    event::{Event, Mark},
    handler::{Context, EventHandler},
    testing::{self, EPOCH, SHARD, TOTAL},
};

const SESSION: u64 = 5;

fn at(sequence: u64) -> Position {
    Position { session: SESSION, sequence }
}

/// Tells what it is given; an event whose text is `wait` waits for the gate, one whose text is `panic` panics.
struct Teller {
    told: mpsc::UnboundedSender<(u32, u64, Mark)>,
    gate: Arc<tokio::sync::Semaphore>,
}

#[async_trait]
impl EventHandler for Teller {
    async fn handle(&self, context: &Context, event: &Event) {
        let _ = self.told.send((context.shard().slot().0, event.position().sequence, event.mark()));
        match event.raw() {
            "wait" => self.gate.acquire().await.unwrap().forget(),
            "panic" => panic!("told to"),
            _ => {}
        }
    }
}

/// A memory store that can be away.
#[derive(Default)]
struct Store {
    memory: CheckpointMemoryStore,
    away: AtomicBool,
}

impl Store {
    fn there(&self) -> Result<&CheckpointMemoryStore, CheckpointStoreError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(CheckpointStoreError::Away("told to be".to_owned()));
        }
        Ok(&self.memory)
    }

    /// By how many owners an event is noted.
    async fn notes(&self, at: Position) -> u32 {
        match self.memory.note(SHARD, Epoch(99), at, 0).await.unwrap() {
            NoteAnswer::No { before } => before,
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl SetAsideStore for Store {
    async fn note(
        &self,
        s: ShardKey,
        e: Epoch,
        at: Position,
        below: u32,
    ) -> Result<NoteAnswer, CheckpointStoreError> {
        self.there()?.note(s, e, at, below).await
    }

    async fn void_notes(
        &self,
        s: ShardKey,
        e: Epoch,
        at: Option<Position>,
        owners: &[Epoch],
    ) -> Result<Fenced, CheckpointStoreError> {
        self.there()?.void_notes(s, e, at, owners).await
    }

    async fn take_back(&self, s: ShardKey, e: Epoch, at: Position) -> Result<Fenced, CheckpointStoreError> {
        self.there()?.take_back(s, e, at).await
    }

    async fn set_aside(
        &self,
        s: ShardKey,
        e: Epoch,
        event: &SetAside,
    ) -> Result<Fenced, CheckpointStoreError> {
        self.there()?.set_aside(s, e, event).await
    }

    async fn list_aside(&self, s: ShardSlot) -> Result<Vec<SetAsideSummary>, CheckpointStoreError> {
        self.there()?.list_aside(s).await
    }

    async fn get_aside(&self, s: ShardSlot, at: Position) -> Result<Option<SetAside>, CheckpointStoreError> {
        self.there()?.get_aside(s, at).await
    }

    async fn drop_aside(&self, s: ShardSlot, at: Position) -> Result<bool, CheckpointStoreError> {
        self.there()?.drop_aside(s, at).await
    }
}

/// A worker that has a careful shard.
struct Worker {
    store: Arc<Store>,
    bot: EventQueues,
    gate: Arc<tokio::sync::Semaphore>,
    told: mpsc::UnboundedReceiver<(u32, u64, Mark)>,
    shard: Arc<ShardState>,
    event_queue: EventQueue,
}

impl Worker {
    fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let store = Arc::new(Store::default());
        let bot = testing::event_queues(Arc::new(Teller { told: tell, gate: gate.clone() }));
        let suspects = Suspects::new(store.clone(), bot.metrics.clone());
        let bot = EventQueues { suspects, ..bot };
        let shard = testing::shard_at(EPOCH, "");
        let event_queue = bot.queue_for(&shard, &testing::lease(), true);
        Self { store, bot, gate, told, shard, event_queue }
    }

    async fn told(&mut self) -> (u64, Mark) {
        let (_, sequence, mark) = self.told.recv().await.unwrap();
        (sequence, mark)
    }

    /// Waits until the store says so of an event's notes.
    async fn until_noted(&self, at: Position, by: u32) {
        while self.store.notes(at).await != by {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn until_not_careful(&self) {
        while self.event_queue.is_careful() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn pending(&self) -> Vec<u64> {
        let pending = self.event_queue.pending(Position::new(SESSION, u64::MAX), &KnownPending::nothing());
        pending.positions.into_iter().map(|at| at.sequence).collect()
    }
}

fn event(sequence: u64, mark: Mark, text: &str) -> ShardEvent {
    ShardEvent {
        name: "MESSAGE_CREATE".into(),
        position: at(sequence),
        guild: Some(sequence),
        mark,
        received_at_unix_ms: 1,
        traceparent: None,
        text: text.into(),
    }
}

fn aside(sequence: u64) -> SetAside {
    let summary = SetAsideSummary {
        at: at(sequence),
        name: "MESSAGE_CREATE".to_owned(),
        received_at_unix_ms: 1,
        set_aside_at_unix_ms: 2,
        noted: 2,
    };
    SetAside { summary, text: format!(r#"{{"op":0,"t":"MESSAGE_CREATE","s":{sequence},"d":{{}}}}"#).into() }
}

#[tokio::test(start_paused = true)]
async fn suspect_is_noted_while_it_is_handled_and_fresh_events_wait() {
    let mut worker = Worker::new();
    worker.event_queue.push(event(1, Mark::Replayed, "wait"));
    worker.event_queue.push(event(2, Mark::Replayed, "panic"));
    worker.event_queue.push(event(3, Mark::Fresh, ""));
    assert_eq!(worker.told().await, (1, Mark::Replayed));
    assert_eq!((worker.store.notes(at(1)).await, worker.store.notes(at(2)).await), (1, 0));
    worker.gate.add_permits(1);
    assert_eq!(worker.told().await, (2, Mark::Replayed));
    assert_eq!(worker.store.notes(at(1)).await, 0, "it came to its end");
    worker.until_noted(at(2), 0).await;
    assert!(worker.event_queue.is_careful(), "more may come");
    worker.event_queue.suspects_came();
    assert_eq!(worker.told().await, (3, Mark::Fresh));
    assert!(!worker.event_queue.is_careful());
    assert_eq!(worker.store.notes(at(3)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn pending_event_is_noted_with_any_mark() {
    let mut worker = Worker::new();
    worker.event_queue.push_restored(event(1, Mark::Fresh, "wait"), false);
    assert_eq!(worker.told().await, (1, Mark::Fresh));
    assert_eq!(worker.store.notes(at(1)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn event_noted_by_two_owners_is_set_aside_and_counts_as_handled() {
    let mut worker = Worker::new();
    for epoch in [EPOCH.0 - 2, EPOCH.0 - 1] {
        worker.store.memory.note(SHARD, Epoch(epoch), at(1), 9).await.unwrap();
    }
    worker.event_queue.push(event(1, Mark::Replayed, "the payload"));
    worker.event_queue.push(event(2, Mark::Fresh, ""));
    worker.event_queue.suspects_came();
    assert_eq!(worker.told().await, (2, Mark::Fresh));
    assert!(worker.pending().iter().all(|sequence| *sequence != 1));
    let kept = worker.store.get_aside(SHARD.slot(), at(1)).await.unwrap().unwrap();
    assert_eq!((&*kept.text, kept.summary.noted), ("the payload", 2));
    assert_eq!(kept.summary.name, "MESSAGE_CREATE");
    assert_eq!(worker.store.notes(at(1)).await, 2, "until a checkpoint is without it it may come again");
}

#[tokio::test(start_paused = true)]
async fn event_noted_by_one_owner_is_handled_alone_on_the_worker() {
    let mut worker = Worker::new();
    let other = Arc::new(ShardState::new(
        ShardKey::new(1, TOTAL),
        EPOCH,
        ShardCache::new(testing::cache("")),
        Arc::new(Notify::new()),
    ));
    let others = worker.bot.queue_for(&other, &testing::lease(), true);
    others.push(event(7, Mark::Replayed, "wait"));
    assert_eq!(worker.told.recv().await.unwrap(), (1, 7, Mark::Replayed));
    worker.store.memory.note(SHARD, Epoch(EPOCH.0 - 1), at(1), 9).await.unwrap();
    worker.event_queue.push(event(1, Mark::Replayed, "wait"));
    others.push(event(8, Mark::Replayed, ""));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(worker.told.try_recv().is_err(), "another suspect is in its handler");
    assert_eq!(worker.store.notes(at(1)).await, 1, "it waits, and is not noted for that");
    worker.gate.add_permits(1);
    assert_eq!(worker.told().await, (1, Mark::Replayed));
    assert_eq!(worker.store.notes(at(1)).await, 2);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(worker.told.try_recv().is_err(), "now it is the others that wait");
    worker.gate.add_permits(1);
    assert_eq!(worker.told.recv().await.unwrap(), (1, 8, Mark::Replayed));
    worker.until_noted(at(1), 0).await;
}

#[tokio::test(start_paused = true)]
async fn slow_suspect_releases_the_worker_lock() {
    let mut worker = Worker::new();
    worker.store.memory.note(SHARD, Epoch(EPOCH.0 - 1), at(1), 9).await.unwrap();
    worker.event_queue.push(event(1, Mark::Replayed, "wait"));
    worker.event_queue.push(event(2, Mark::Replayed, ""));
    assert_eq!(worker.told().await.0, 1);
    let began = Instant::now();
    assert_eq!(worker.told().await.0, 2);
    assert!(began.elapsed() >= dispatch::dispatcher::LONGEST_ALONE);
    assert_eq!(worker.store.notes(at(1)).await, 1, "only the note of the previous owner is left");
    assert_eq!(worker.store.notes(at(2)).await, 0, "other suspects beside it have none either");
}

#[tokio::test(start_paused = true)]
async fn notes_of_killed_owners_are_void() {
    let worker = Worker::new();
    let killed = vec![Epoch(EPOCH.0 - 1)];
    let caution = ShardCaution { level: CareLevel::Full, killed };
    let event_queue = worker.bot.queue_for(&worker.shard, &testing::lease(), caution);
    let mut worker = Worker { event_queue, ..worker };
    for epoch in [EPOCH.0 - 2, EPOCH.0 - 1] {
        worker.store.memory.note(SHARD, Epoch(epoch), at(1), 9).await.unwrap();
    }
    worker.event_queue.push(event(1, Mark::Replayed, "wait"));
    assert_eq!(worker.told().await, (1, Mark::Replayed));
    assert_eq!(worker.store.notes(at(1)).await, 2, "a previous owner's note and this one's");
}

#[tokio::test(start_paused = true)]
async fn suspect_that_did_not_start_loses_its_note() {
    let worker = Worker::new();
    let lapsed = crate::lease::Lease::default();
    let event_queue = worker.bot.queue_for(&worker.shard, lapsed.window(), true);
    event_queue.push(event(1, Mark::Replayed, ""));
    worker.until_noted(at(1), 1).await;
    let unstarted = event_queue.close(Duration::from_secs(1)).await;
    assert_eq!(unstarted.len(), 1);
    worker.until_noted(at(1), 0).await;
}

#[tokio::test(start_paused = true)]
async fn brief_care_delays_fresh_events_by_seconds_at_most() {
    let worker = Worker::new();
    let caution = ShardCaution { level: CareLevel::Brief, killed: Vec::new() };
    let event_queue = worker.bot.queue_for(&worker.shard, &testing::lease(), caution);
    let mut worker = Worker { event_queue, ..worker };
    let began = Instant::now();
    // RESUMED has not come, so suspects may still follow.
    worker.event_queue.push(event(1, Mark::Replayed, ""));
    worker.event_queue.push(event(2, Mark::Fresh, ""));
    assert_eq!(worker.told().await, (1, Mark::Replayed));
    assert_eq!(worker.told().await, (2, Mark::Fresh));
    assert!(began.elapsed() >= BRIEFLY && began.elapsed() < BRIEFLY * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn store_that_is_away_is_waited_for_30_s_once() {
    let mut worker = Worker::new();
    worker.store.away.store(true, Ordering::Relaxed);
    let began = Instant::now();
    for sequence in 1..=3 {
        worker.event_queue.push(event(sequence, Mark::Replayed, ""));
    }
    assert_eq!(worker.told().await.0, 1);
    assert!(began.elapsed() >= WAIT_FOR_NOTE);
    assert_eq!(worker.told().await.0, 2);
    assert_eq!(worker.told().await.0, 3);
    assert!(began.elapsed() < WAIT_FOR_NOTE * 3 / 2, "not each is waited for: {:?}", began.elapsed());
    worker.store.away.store(false, Ordering::Relaxed);
    worker.event_queue.push(event(4, Mark::Replayed, "wait"));
    assert_eq!(worker.told().await.0, 4);
    assert_eq!(worker.store.notes(at(4)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn setting_aside_waits_for_the_store() {
    let mut worker = Worker::new();
    for epoch in [EPOCH.0 - 2, EPOCH.0 - 1] {
        worker.store.memory.note(SHARD, Epoch(epoch), at(1), 9).await.unwrap();
    }
    worker.store.away.store(true, Ordering::Relaxed);
    worker.event_queue.push(event(1, Mark::Replayed, ""));
    worker.event_queue.suspects_came();
    tokio::time::sleep(Duration::from_secs(10)).await;
    worker.store.away.store(false, Ordering::Relaxed);
    worker.until_not_careful().await;
    assert!(worker.told.try_recv().is_err());
    assert_eq!(worker.store.list_aside(SHARD.slot()).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn outranked_owner_starts_nothing_and_closes() {
    let mut worker = Worker::new();
    worker.store.memory.claim(SHARD, Epoch(EPOCH.0 + 1)).await.unwrap();
    worker.event_queue.push(event(1, Mark::Replayed, ""));
    while !worker.shard.is_outranked() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let unstarted = worker.event_queue.close(Duration::from_secs(1)).await;
    assert_eq!(unstarted.len(), 1);
    assert!(worker.told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn unstarted_suspect_is_left_for_the_next_owner() {
    let mut worker = Worker::new();
    worker.store.away.store(true, Ordering::Relaxed);
    worker.event_queue.push(event(1, Mark::Replayed, ""));
    worker.event_queue.push_restored(event(2, Mark::Fresh, ""), false);
    worker.event_queue.push(event(3, Mark::Fresh, ""));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let unstarted = worker.event_queue.close(Duration::from_millis(250)).await;
    let unstarted: Vec<_> = unstarted.iter().map(|event| (event.position.sequence, event.started)).collect();
    assert_eq!(
        unstarted,
        [(1, true), (2, false), (3, false)],
        "an owner before may have begun with the first"
    );
    assert!(worker.told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn replayed_event_is_kept_until_its_handler_ends_and_in_no_checkpoint() {
    let worker = Worker::new();
    // Of a shard that is not careful, as most are then.
    let event_queue = worker.bot.queue_for(&worker.shard, &testing::lease(), false);
    let mut worker = Worker { event_queue, ..worker };
    worker.event_queue.push(event(1, Mark::Fresh, "wait"));
    assert_eq!(worker.told().await.0, 1);
    let mut waiting = aside(9);
    waiting.text = waiting.text.replace("{}", r#"{"guild_id":"1"}"#).into();
    worker.store.set_aside(SHARD, EPOCH, &waiting).await.unwrap();
    worker.event_queue.replay(waiting.clone()).unwrap();
    assert_eq!(worker.event_queue.replay(waiting), Err(ReplayRefused::Waits));
    assert_eq!(worker.pending(), [1], "it is in its guild's queue, and nothing for a checkpoint");
    assert!(worker.store.get_aside(SHARD.slot(), at(9)).await.unwrap().is_some());
    worker.gate.add_permits(1);
    assert_eq!(worker.told().await, (9, Mark::Replayed));
    while worker.store.get_aside(SHARD.slot(), at(9)).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(worker.event_queue.close(Duration::from_secs(1)).await.is_empty());
    assert_eq!(worker.event_queue.replay(aside(10)), Err(ReplayRefused::Closed));
}

#[tokio::test(start_paused = true)]
async fn careful_shard_handles_replayed_events() {
    let mut worker = Worker::new();
    for epoch in [EPOCH.0 - 2, EPOCH.0 - 1] {
        worker.store.memory.note(SHARD, Epoch(epoch), at(9), 9).await.unwrap();
    }
    worker.store.set_aside(SHARD, EPOCH, &aside(9)).await.unwrap();
    worker.event_queue.replay(aside(9)).unwrap();
    assert_eq!(worker.told().await, (9, Mark::Replayed));
    let garbled = SetAside { text: "{".into(), ..aside(10) };
    assert_eq!(worker.event_queue.replay(garbled), Err(ReplayRefused::Garbled));
}
