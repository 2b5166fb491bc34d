//! A pass that is cut at any step leaves a checkpoint that another worker can resume from.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use checkpoint::{
    CheckpointMemoryStore, CheckpointStore, ClaimAnswer, Cursor, FORMAT_MIN, Freshness, HeadKeys, PageRead,
    Session,
};
use fleet_model::{Epoch, HeadSigning, ShardEvent, ShardKey};
use serde_json::json;

use super::*;
use crate::{
    cache::{Layouts, Restoring},
    checkpoints::{
        SignedHeads,
        restore::{Beginning, Loaded, Needs, ToRead},
    },
    event::{Event, Mark},
    handler::{Context, EventHandler},
    testing::{
        self, EPOCH, SHARD, TOTAL,
        guilds::{guild, ready, tell},
    },
};

const SESSION: u64 = 100;

/// A store that fails after a number of writes.
struct Faulty {
    inner: Mutex<Arc<dyn CheckpointStore>>,
    writes_left: AtomicUsize,
    /// The write that fails is carried out all the same.
    late: bool,
}

impl Faulty {
    fn new(late: bool) -> Arc<Self> {
        let inner: Arc<dyn CheckpointStore> = Arc::new(CheckpointMemoryStore::new());
        Arc::new(Self { inner: Mutex::new(inner), writes_left: AtomicUsize::new(usize::MAX), late })
    }

    fn inner(&self) -> Arc<dyn CheckpointStore> {
        self.inner.lock().unwrap().clone()
    }

    fn fail_after(&self, writes: usize) {
        self.writes_left.store(writes, Ordering::SeqCst);
    }

    /// It comes back with nothing.
    fn lose_everything(&self) {
        *self.inner.lock().unwrap() = Arc::new(CheckpointMemoryStore::new());
    }
}

#[async_trait]
impl CheckpointStore for Faulty {
    async fn claim(&self, shard: ShardKey, epoch: Epoch) -> Result<ClaimAnswer, CheckpointStoreError> {
        self.inner().claim(shard, epoch).await
    }

    async fn write(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        step: &WriteStep,
    ) -> Result<StepAnswer, CheckpointStoreError> {
        let inner = self.inner();
        let left =
            self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            if self.late {
                inner.write(shard, epoch, serial, step).await?;
            }
            return Err(CheckpointStoreError::Away("as the test has it".to_owned()));
        }
        inner.write(shard, epoch, serial, step).await
    }

    async fn read(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        cursor: Cursor,
    ) -> Result<PageRead, CheckpointStoreError> {
        self.inner().read(shard, epoch, serial, cursor).await
    }

    async fn freshness(&self, shard: ShardKey) -> Result<Option<Freshness>, CheckpointStoreError> {
        self.inner().freshness(shard).await
    }
}

/// Handles nothing to its end.
struct Stuck;

#[async_trait]
impl EventHandler for Stuck {
    async fn handle(&self, _: &Context, _: &Event) {
        std::future::pending::<()>().await;
    }
}

/// A worker's shard with its writer, without a socket.
struct Bench {
    pass: Pass,
    shard: Arc<ShardState>,
    event_queue: EventQueue,
    sequence: u64,
}

impl Bench {
    /// Has claimed the checkpoint; READY has come.
    async fn new(store: Arc<dyn CheckpointStore>, keep: Keep) -> Self {
        let shard = testing::shard_at(EPOCH, "all");
        let event_queue = testing::event_queues(Arc::new(Stuck)).queue_for(&shard, &testing::lease(), false);
        let Ok(ClaimAnswer::Yours(stored)) = store.claim(SHARD, EPOCH).await else { panic!("not ours") };
        let pass = Pass {
            checkpoints: testing::checkpoints(store, keep),
            shard: shard.clone(),
            event_queue: event_queue.clone(),
            serial: stored.serial,
            stored: None,
            stored_pending: BTreeSet::new(),
            stored_handled: BTreeSet::new(),
            stored_format: FORMAT_MIN,
            stored_layouts: Layouts::default(),
            doubtful_pending: BTreeSet::new(),
            in_doubt: false,
        };
        shard.cache().begin_session(SESSION, &ready(&[5, 6]));
        let session = Session {
            id: "s".to_owned(),
            resume_url: "ws://x".to_owned(),
            ordinal: SESSION,
            shard: None,
            total: TOTAL,
            intents: 1,
            transport: "json".to_owned(),
            resources: vec!["guilds".to_owned()],
            opened_at_unix_ms: 1,
        };
        shard.set_progress(Some(Progress {
            session: Arc::new(session),
            began_at: 1,
            read: 1,
            read_at_unix_ms: 1,
        }));
        Self { pass, shard, event_queue, sequence: 1 }
    }

    /// An event comes: cache, queue, `read`.
    fn take(&mut self, name: &str, d: &serde_json::Value) {
        self.sequence += 1;
        tell(self.shard.cache(), name, d, self.sequence);
        let text = json!({ "t": name, "s": self.sequence, "op": 0, "d": d }).to_string();
        let event = ShardEvent {
            name: name.into(),
            position: Position::new(SESSION, self.sequence),
            guild: Some(5),
            mark: Mark::Fresh,
            received_at_unix_ms: 1,
            traceparent: None,
            text: text.into(),
        };
        assert!(self.event_queue.push(event));
        self.shard.set_read(self.sequence, 1);
    }

    fn add_members(&mut self, users: std::ops::Range<u64>) {
        for user in users {
            let user = json!({ "id": (user << 22).to_string(), "username": "u", "discriminator": "0" });
            let added = json!({ "guild_id": "5", "user": user, "roles": [], "deaf": false, "mute": false,
                "flags": 0, "joined_at": "2021-01-01T00:00:00.000000+00:00" });
            self.take("GUILD_MEMBER_ADD", &added);
        }
    }
}

fn needs() -> Needs {
    Needs {
        ran_before: false,
        shard: SHARD,
        intents: 1,
        transport: "json".to_owned(),
        resources: vec!["guilds".to_owned()],
    }
}

/// Restores a cache from the records.
fn restore(shard: &ShardState, mut guilds: Restoring, head: &Head) {
    while guilds.next_guild().unwrap() {}
    shard.cache().adopt(guilds.finish(head));
}

/// The number of guilds in records.
fn guilds_in(guilds: Restoring, head: &Head) -> usize {
    let shard = testing::shard_at(EPOCH, "all");
    restore(&shard, guilds, &Head { expecting: Vec::new(), ..head.clone() });
    shard.cache().guild_ids().len()
}

/// What the next owner finds.
async fn taken_over(store: Arc<dyn CheckpointStore>, keep: Keep, needs: &Needs) -> Option<(Head, Loaded)> {
    let checkpoints = testing::checkpoints(store, keep);
    let epoch = Epoch(EPOCH.0 + 1);
    match checkpoints.claim(SHARD, epoch, needs, || false).await.unwrap() {
        Beginning::Fresh(_) => None,
        Beginning::Resume { head, serial, records, .. } => {
            let what = ToRead { shard: SHARD, epoch, serial, records };
            let cache = testing::shard_at(epoch, "all");
            let loaded = checkpoints.load(what, &head, cache.cache()).await.unwrap();
            Some((*head, loaded))
        }
    }
}

#[tokio::test]
async fn pass_cut_at_any_step_can_be_continued() {
    for (late, format) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
        let mut cuts = 0;
        for cut in 0.. {
            let store = Faulty::new(late);
            let mut bench = Bench::new(store.clone(), Keep::Full).await;
            bench.pass.checkpoints.format.assign(format);
            bench.take("GUILD_CREATE", &guild(5));
            assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
            let before = bench.sequence;
            // Many steps: more than a chunk of members, and of pending events.
            bench.add_members(10..2_000);
            bench.take("GUILD_CREATE", &guild(6));
            store.fail_after(cut);
            let end = bench.pass.write(None).await;
            let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
            let whole = head.read == bench.sequence;
            assert!(whole || head.read == before, "read is {} after {cut} steps", head.read);
            assert_eq!(head.session.id, "s");
            // Nothing was handled, so everything up to `read` is pending, once, in order.
            let pending: Vec<u64> = loaded.pending.iter().map(|event| event.position.sequence).collect();
            assert_eq!(pending, (2..=head.read).collect::<Vec<_>>(), "after {cut} steps");
            let other = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
            restore(&other, loaded.guilds, &head);
            // Records may be newer than the head, never older.
            assert!(other.cache().pending_guilds() <= usize::from(!whole), "after {cut} steps");
            assert!(other.cache().guild(5).is_some_and(|guild| guild.members >= Some(600)));
            if matches!(end, PassEnd::Done) {
                assert!(whole);
                break;
            }
            cuts += 1;
        }
        assert!(cuts >= 2, "a pass of several steps is cut: {cuts}");
    }
}

#[tokio::test]
async fn new_session_can_be_resumed_before_its_first_guild_is_written() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    bench.take("GUILD_CREATE", &guild(5));
    store.fail_after(1);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Away));
    let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
    assert_eq!((head.read, head.expecting.len(), guilds_in(loaded.guilds, &head)), (1, 2, 0));
}

#[tokio::test]
async fn unanswered_write_is_not_a_loss() {
    let store = Faulty::new(true);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    bench.take("GUILD_CREATE", &guild(5));
    bench.pass.write(None).await;
    let serial = bench.pass.serial;
    bench.add_members(10..12);
    store.fail_after(0);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Away));
    store.fail_after(usize::MAX);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    assert_eq!(bench.pass.serial, serial + 2, "nothing was written again");
    let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
    assert_eq!((head.read, loaded.pending.len()), (4, 3));
}

#[tokio::test]
async fn emptied_store_is_rewritten() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    bench.take("GUILD_CREATE", &guild(5));
    bench.pass.write(None).await;
    store.lose_everything();
    bench.add_members(10..11);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
    assert_eq!((head.read, loaded.pending.len()), (3, 2));
    let other = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
    restore(&other, loaded.guilds, &head);
    assert_eq!(other.cache().guild(5), bench.shard.cache().guild(5));
}

#[tokio::test]
async fn outranked_writer_stops() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    store.claim(SHARD, Epoch(EPOCH.0 + 1)).await.unwrap();
    assert!(matches!(bench.pass.write(None).await, PassEnd::Outranked));
    assert!(bench.shard.is_outranked());
}

#[tokio::test]
async fn last_checkpoint_is_exact() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    // The first of them is being handled, the second waits for it.
    bench.add_members(10..12);
    bench.pass.write(None).await;
    let left = bench.event_queue.close(Duration::from_millis(10)).await;
    bench.pass.write(Some(LastCheckpoint { pending: left, exact: true })).await;
    let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
    assert!(head.exact);
    let pending: Vec<(u64, bool)> =
        loaded.pending.iter().map(|event| (event.position.sequence, event.started)).collect();
    assert_eq!(pending, [(3, false)], "what was begun ends where it was begun");
}

#[tokio::test]
async fn changes_do_not_pile_up_without_checkpoints() {
    let mut bench = Bench::new(Faulty::new(false), Keep::Off).await;
    bench.take("GUILD_CREATE", &guild(5));
    bench.take("GUILD_DELETE", &json!({ "id": "5" }));
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    assert_eq!(bench.shard.cache().take_changes(SESSION).unwrap().records.len(), 0);
}

#[tokio::test]
async fn session_is_kept_without_guilds() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Session).await;
    bench.take("GUILD_CREATE", &guild(5));
    bench.pass.write(None).await;
    let needs = Needs { resources: Vec::new(), ..needs() };
    let (head, loaded) = taken_over(store.inner(), Keep::Session, &needs).await.unwrap();
    assert_eq!((head.read, loaded.pending.len(), guilds_in(loaded.guilds, &head)), (2, 1, 0));
    assert_eq!(head.expecting.len(), 2, "the guilds are known to be there");
}

#[tokio::test]
async fn old_records_are_removed_when_nothing_is_kept() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Session).await;
    bench.take("GUILD_CREATE", &guild(5));
    bench.pass.write(None).await;
    bench.pass.checkpoints.keep = Keep::Off;
    bench.pass.stored = None;
    bench.pass.write(None).await;
    let Ok(ClaimAnswer::Yours(stored)) = store.claim(SHARD, EPOCH).await else { panic!("not ours") };
    assert_eq!((stored.head, stored.records), (None, 0), "the next owner must not get old records");
}

#[tokio::test]
async fn checkpoint_off_writes_nothing() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Off).await;
    bench.pass.write(None).await;
    assert!(taken_over(store.inner(), Keep::Off, &needs()).await.is_none());
}

/// The formats of all records in a store.
async fn formats(store: &dyn CheckpointStore, serial: u64) -> BTreeSet<u16> {
    let mut formats = BTreeSet::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        let PageRead::Page(page) = store.read(SHARD, EPOCH, serial, from).await.unwrap() else {
            panic!("no page")
        };
        formats.extend(page.records.iter().map(|(_, bytes)| checkpoint::format_of(bytes).unwrap()));
        cursor = page.next;
    }
    formats
}

#[tokio::test]
async fn older_format_rewrites_all_records_and_newer_format_none() {
    let store = Faulty::new(false);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    let format = bench.pass.checkpoints.format.clone();
    bench.take("GUILD_CREATE", &guild(5));
    bench.add_members(10..2_000);
    format.assign(2);
    bench.pass.write(None).await;
    assert_eq!(formats(&*store, bench.pass.serial).await, [2].into());

    format.assign(1);
    store.fail_after(1);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Away), "more than one step");
    store.fail_after(usize::MAX);
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    assert_eq!(formats(&*store, bench.pass.serial).await, [1].into());

    format.assign(2);
    bench.add_members(2_000..2_001);
    bench.pass.write(None).await;
    assert_eq!(formats(&*store, bench.pass.serial).await, [1, 2].into());
    // One that began to write newer and could not end it holds some of it.
    bench.add_members(2_001..2_002);
    store.fail_after(0);
    bench.pass.write(None).await;
    store.fail_after(usize::MAX);
    format.assign(1);
    bench.pass.write(None).await;
    assert_eq!(formats(&*store, bench.pass.serial).await, [1].into());

    let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
    assert_eq!((head.read, loaded.format), (bench.sequence, 1));
    let pending: Vec<u64> = loaded.pending.iter().map(|event| event.position.sequence).collect();
    assert_eq!(pending, (2..=head.read).collect::<Vec<_>>(), "all of it, once");
    let other = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
    restore(&other, loaded.guilds, &head);
    assert_eq!(other.cache().guild(5), bench.shard.cache().guild(5));
}

/// The names of all guild records in a store, by their first letter.
async fn names(store: &dyn CheckpointStore, serial: u64) -> BTreeSet<char> {
    let mut names = BTreeSet::new();
    let mut cursor = Some(Cursor::START);
    while let Some(from) = cursor {
        let PageRead::Page(page) = store.read(SHARD, EPOCH, serial, from).await.unwrap() else {
            panic!("no page")
        };
        names.extend(
            page.records.iter().filter_map(|(name, _)| name.chars().next()).filter(|name| *name != 'p'),
        );
        cursor = page.next;
    }
    names
}

#[tokio::test]
async fn guilds_move_between_the_keys_of_formats_in_place() {
    for cut in 0..6 {
        let store = Faulty::new(false);
        let mut bench = Bench::new(store.clone(), Keep::Full).await;
        let format = bench.pass.checkpoints.format.clone();
        bench.take("GUILD_CREATE", &guild(5));
        bench.take("GUILD_CREATE", &guild(6));
        bench.add_members(10..1_000);
        for (to, expected) in [(2, "chmrx"), (3, "b"), (1, "chmrx"), (3, "b")] {
            format.assign(to);
            // A pass that stops early leaves guilds with both kinds of keys.
            store.fail_after(cut);
            bench.pass.write(None).await;
            store.fail_after(usize::MAX);
            if bench.pass.stored.is_some() {
                let (head, loaded) = taken_over(copy_of(&store).await, Keep::Full, &needs()).await.unwrap();
                let other = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
                restore(&other, loaded.guilds, &head);
                assert_eq!(other.cache().guild_ids().len(), 2, "{to} after {cut} steps");
            }
            assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
            let names = names(&*store, bench.pass.serial).await;
            assert_eq!(names.into_iter().collect::<String>(), expected, "{to} after {cut} steps");
        }
        let (head, loaded) = taken_over(store.inner(), Keep::Full, &needs()).await.unwrap();
        let other = testing::shard_at(Epoch(EPOCH.0 + 1), "all");
        restore(&other, loaded.guilds, &head);
        for id in [5, 6] {
            assert_eq!(other.cache().guild(id), bench.shard.cache().guild(id), "after {cut} steps");
        }
    }
}

/// A store with the same contents, for another owner to claim.
async fn copy_of(store: &Faulty) -> Arc<dyn CheckpointStore> {
    let Ok(ClaimAnswer::Yours(stored)) = store.claim(SHARD, EPOCH).await else { panic!("not ours") };
    let mut step = WriteStep { fresh: true, ..WriteStep::default() };
    step.head = stored.head.map(|head| HeadWrite { bytes: head.bytes, total: TOTAL });
    let mut cursor = (stored.records > 0).then_some(Cursor::START);
    while let Some(from) = cursor {
        let PageRead::Page(page) = store.read(SHARD, EPOCH, stored.serial, from).await.unwrap() else {
            panic!("no page")
        };
        step.set.extend(page.records.into_iter().map(|(name, bytes)| (name.parse().unwrap(), bytes)));
        cursor = page.next;
    }
    let copy: Arc<dyn CheckpointStore> = Arc::new(CheckpointMemoryStore::new());
    copy.claim(SHARD, EPOCH).await.unwrap();
    copy.write(SHARD, EPOCH, 0, &step).await.unwrap();
    copy
}

/// A key that signs changes nothing but the head, and each pass signs again.
#[tokio::test]
async fn head_is_signed_as_the_fleet_says() {
    let store = Faulty::new(true);
    let mut bench = Bench::new(store.clone(), Keep::Full).await;
    let keys = HeadKeys::new(["the key of this fleet"]).unwrap();
    let id = keys.ids().first().copied();
    bench.pass.checkpoints.heads = SignedHeads::new(keys, "test");
    let heads = bench.pass.checkpoints.heads.clone();
    let accepted = async |heads: &SignedHeads| {
        let Ok(ClaimAnswer::Yours(stored)) = store.claim(SHARD, EPOCH).await else { panic!("not ours") };
        heads.decode(&stored.head.unwrap().bytes, SHARD, stored.serial, 0)
    };
    bench.take("GUILD_CREATE", &guild(5));
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    let strict = SignedHeads::new(HeadKeys::new(["the key of this fleet"]).unwrap(), "test");
    strict.assign(HeadSigning { by: id, required: true });
    assert!(accepted(&strict).await.is_err(), "unsigned before the fleet signs");
    heads.assign(HeadSigning { by: id, required: false });
    assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
    accepted(&strict).await.unwrap();
    // The step is carried out, and its answer lost: the head is right at the next serial too.
    for _ in 0..3 {
        store.fail_after(0);
        bench.pass.write(None).await;
        store.fail_after(usize::MAX);
        accepted(&strict).await.unwrap();
        assert!(matches!(bench.pass.write(None).await, PassEnd::Done));
        accepted(&strict).await.unwrap();
    }
}
