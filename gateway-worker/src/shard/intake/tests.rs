//! What a shard begins with, accepts, and leaves behind.

use async_trait::async_trait;
use bytes::Bytes;
use checkpoint::{
    CheckpointMemoryStore, ClaimAnswer, FORMAT_MAX, Head, HeadWrite, PendingEvent, Record, RecordKey,
    Session, WriteStep, decode_head, encode_head, encode_record,
};
use fleet_model::Epoch;

use super::*;
use crate::{
    bot::KnownPending,
    event::Event,
    handler::{Context, EventHandler},
    testing::{self, EPOCH, SHARD, TOTAL, arrived},
};

const TRANSPORT: &str = "json";

/// Handles nothing to its end.
struct Stuck;

#[async_trait]
impl EventHandler for Stuck {
    async fn handle(&self, _: &Context, _: &Event) {
        std::future::pending::<()>().await;
    }
}

/// The parts of an intake: a queue with room for `room` events, and a store.
fn parts(room: usize, store: Arc<dyn checkpoint::CheckpointStore>) -> IntakeParts {
    parts_at(EPOCH, room, store)
}

/// As above, at this epoch.
pub(super) fn parts_at(
    epoch: Epoch,
    room: usize,
    store: Arc<dyn checkpoint::CheckpointStore>,
) -> IntakeParts {
    let shard = testing::shard_at(epoch, "all");
    let mut bot = testing::event_queues(Arc::new(Stuck));
    bot.limits.items = room;
    IntakeParts {
        event_queue: bot.queue_for(&shard, &testing::lease(), false),
        shard,
        checkpoints: testing::checkpoints(store, Keep::Full),
        metrics: ShardMetrics::default(),
        intents: 1,
        resources: Vec::new(),
        transport: TRANSPORT,
        handed_over: None,
        ran_before: false,
    }
}

/// An intake whose queue has room for `room` events.
pub(super) async fn intake(room: usize) -> Intake {
    Intake::begin(parts(room, testing::memory()), || true).await.unwrap()
}

fn ready(session: &str, sequence: u64) -> Arrived {
    let text = format!(
        r#"{{"op":0,"t":"READY","s":{sequence},"d":{{"session_id":"{session}","resume_gateway_url":"ws://x"}}}}"#
    );
    arrived("READY", sequence, text)
}

fn message(sequence: u64) -> Arrived {
    let text = format!(r#"{{"op":0,"t":"MESSAGE_CREATE","s":{sequence},"d":{{"id":"1","guild_id":"5"}}}}"#);
    arrived("MESSAGE_CREATE", sequence, text)
}

#[tokio::test]
async fn session_begins_also_with_a_full_queue() {
    let mut intake = intake(3).await;
    assert_eq!(intake.take(ready("first", 1)), DispatchOutcome::Applied);
    for sequence in [2, 3] {
        assert_eq!(intake.take(message(sequence)), DispatchOutcome::Applied);
    }
    assert_eq!(intake.take(message(4)), DispatchOutcome::Full, "the queue is full");

    assert_eq!(
        intake.take(ready("second", 1)),
        DispatchOutcome::Applied,
        "else the session would be begun twice: a gap"
    );
    let progress = intake.shard.progress().unwrap();
    assert_eq!((progress.session.id.as_str(), progress.began_at, progress.read), ("second", 1, 1));
    assert_eq!(intake.take(message(2)), DispatchOutcome::Full, "only READY is let in");
    for _ in 0..9 {
        intake.take(ready("another", 1));
    }
    let before = intake.shard.progress().unwrap().session.ordinal;
    assert_eq!(intake.take(ready("one too many", 1)), DispatchOutcome::Full, "room for sessions is bounded");
    assert_eq!(intake.shard.progress().unwrap().session.ordinal, before, "nothing has changed");
    let outcome = intake.ready(true);
    assert_eq!(outcome.kind, StartKind::Reidentified);
    assert_eq!(
        outcome.gap.map(|gap| gap.last_sequence),
        Some(3),
        "the one gap there is: of the first session"
    );
}

#[tokio::test]
async fn sequence_must_grow_except_in_a_replay() {
    // The next sequence after 5, whether RESUMED has come, and what becomes of it.
    for (sequence, running, taken) in [
        (6, true, DispatchOutcome::Applied),
        (5 + MOST_AHEAD, true, DispatchOutcome::Applied),
        (6 + MOST_AHEAD, true, DispatchOutcome::Hopeless(OUT_OF_ORDER)),
        (crate::payload::LARGEST_SEQUENCE, true, DispatchOutcome::Hopeless(OUT_OF_ORDER)),
        (crate::payload::LARGEST_SEQUENCE, false, DispatchOutcome::Hopeless(OUT_OF_ORDER)),
        (5, true, DispatchOutcome::Repeated),
        // A copy of an event.
        (4, true, DispatchOutcome::Repeated),
        (1, true, DispatchOutcome::Hopeless(OUT_OF_ORDER)),
        (0, true, DispatchOutcome::Hopeless(OUT_OF_ORDER)),
        (5, false, DispatchOutcome::Repeated),
        (1, false, DispatchOutcome::Repeated),
        (6, false, DispatchOutcome::Applied),
    ] {
        let mut intake = intake(100).await;
        assert_eq!(intake.take(ready("first", 1)), DispatchOutcome::Applied);
        for sequence in 2..=5 {
            assert_eq!(intake.take(message(sequence)), DispatchOutcome::Applied);
        }
        if !running {
            intake.lost_connection();
        }
        assert_eq!(intake.take(message(sequence)), taken, "{sequence}, running: {running}");
        let read = if taken == DispatchOutcome::Applied { sequence } else { 5 };
        assert_eq!(intake.shard.progress().unwrap().read, read, "{sequence}, running: {running}");
    }
}

#[tokio::test]
async fn other_event_with_the_same_sequence_is_not_a_repeat() {
    let mut intake = intake(100).await;
    intake.take(ready("first", 1));
    intake.take(message(2));
    let mut other = message(2);
    other.event.text = other.event.text.replace(r#""id":"1""#, r#""id":"7""#).into();
    assert_eq!(intake.take(message(2)), DispatchOutcome::Repeated);
    assert_eq!(intake.take(other), DispatchOutcome::Hopeless(OUT_OF_ORDER));
}

#[tokio::test]
async fn late_event_of_a_reported_gap_ends_no_session() {
    let mut intake = intake(100).await;
    intake.take(ready("first", 1));
    for sequence in [2, 3, 7] {
        assert_eq!(intake.take(message(sequence)), DispatchOutcome::Applied);
    }
    for sequence in [4, 6, 7, 3, 2] {
        assert_eq!(intake.take(message(sequence)), DispatchOutcome::Repeated, "{sequence}");
    }
    assert_eq!(intake.take(message(1)), DispatchOutcome::Hopeless(OUT_OF_ORDER));
}

#[tokio::test]
async fn ready_far_ahead_begins_no_session() {
    let mut intake = intake(100).await;
    assert_eq!(intake.take(ready("first", MOST_AHEAD + 1)), DispatchOutcome::Hopeless(OUT_OF_ORDER));
    assert!(intake.shard.progress().is_none());
}

#[tokio::test]
async fn too_much_before_ready_ends_the_connection() {
    let mut intake = intake(100).await;
    let mut taken = (1..10_000).map(|sequence| intake.take(message(sequence)));
    let ended = taken.find(|taken| *taken != DispatchOutcome::Held);
    assert!(matches!(ended, Some(DispatchOutcome::Unusable(_))), "not the handlers' fault: {ended:?}");
}

#[tokio::test]
async fn no_session_begins_after_the_shard_has_ended() {
    let mut intake = intake(3).await;
    intake.event_queue.abandon();
    assert_eq!(intake.take(ready("first", 1)), DispatchOutcome::Full);
    assert!(intake.shard.progress().is_none(), "no checkpoint may hold this session");
}

#[tokio::test]
async fn gap_survives_a_connection_lost_while_guilds_arrive() {
    let mut intake = intake(9).await;
    intake.take(ready("first", 1));
    intake.take(message(2));
    intake.ready(true);
    intake.lost_session("op 9");
    intake.take(ready("second", 1));
    // RESUMED follows on the next connection.
    intake.lost_connection();
    intake.resumed();
    let outcome = intake.ready(false);
    assert_eq!(outcome.kind, StartKind::Reidentified, "an IDENTIFY was spent on the way");
    assert_eq!(outcome.gap.map(|gap| gap.last_sequence), Some(2));
}

/// The previous owner's session.
pub(super) const SESSION: u64 = 9;

pub(super) fn head() -> Head {
    let session = Session {
        id: "s".to_owned(),
        resume_url: "ws://x".to_owned(),
        ordinal: SESSION,
        shard: None,
        total: TOTAL,
        intents: 1,
        transport: TRANSPORT.to_owned(),
        resources: Vec::new(),
        opened_at_unix_ms: 1,
    };
    Head {
        session,
        read: 40,
        read_at_unix_ms: 77,
        expecting: Vec::new(),
        doubt: 0,
        own_user: None,
        presence: None,
        epoch: Epoch(1),
        exact: false,
    }
}

fn pending(sequence: u64) -> PendingEvent {
    PendingEvent {
        position: Position::new(SESSION, sequence),
        started: false,
        handled: false,
        received_at_unix_ms: 1,
        text: message(sequence).event.text,
    }
}

fn record(event: PendingEvent) -> (RecordKey, Bytes) {
    let key = RecordKey::Pending(event.position);
    (key, encode_record(&Record::Pending(event), FORMAT_MAX).unwrap())
}

fn broken((key, bytes): (RecordKey, Bytes)) -> (RecordKey, Bytes) {
    (key, bytes.slice(..bytes.len() - 2))
}

/// A store with a previous owner's checkpoint.
pub(super) async fn left(
    head: Option<Bytes>,
    records: Vec<(RecordKey, Bytes)>,
) -> Arc<dyn checkpoint::CheckpointStore> {
    let store: Arc<dyn checkpoint::CheckpointStore> = Arc::new(CheckpointMemoryStore::new());
    store.claim(SHARD, Epoch(1)).await.unwrap();
    let head = head.map(|bytes| HeadWrite { bytes, total: TOTAL });
    let step = WriteStep { fresh: true, set: records, head, ..WriteStep::default() };
    store.write(SHARD, Epoch(1), 0, &step).await.unwrap();
    store
}

/// Reads the checkpoint as the shard's task does.
pub(super) async fn read_checkpoint(intake: &mut Intake) {
    while intake.is_reading() {
        if let Err(why) = intake.read_and_install().await {
            intake.lost_session(&why);
        }
    }
}

/// The head, the records, CHECKPOINT and CACHE here; then the queued events, and where the gap begins.
type Row<'a> = (&'a str, Option<Bytes>, Vec<(RecordKey, Bytes)>, Keep, &'a [&'a str], &'a [u64], u64);

#[tokio::test(start_paused = true)]
async fn pending_events_survive_a_lost_session() {
    let good = || vec![record(pending(38)), record(pending(40))];
    let encoded = |head: &Head| encode_head(head, FORMAT_MAX).unwrap();
    let other_intents = Head { session: Session { intents: 7, ..head().session }, ..head() };
    let other_total = Head { session: Session { total: TOTAL * 2, ..head().session }, ..head() };
    let (fits, other_intents, other_total) =
        (encoded(&head()), encoded(&other_intents), encoded(&other_total));
    let roles =
        broken((RecordKey::Roles(5), encode_record(&Record::Roles("[]".into()), FORMAT_MAX).unwrap()));
    let unreadable = vec![broken(record(pending(38))), record(pending(40))];
    let garbled = PendingEvent { text: "{".into(), ..pending(38) };
    let with_roles = |records: Vec<_>| records.into_iter().chain([roles.clone()]).collect::<Vec<_>>();
    let rows: Vec<Row<'_>> = vec![
        ("other INTENTS", Some(other_intents.clone()), good(), Keep::Full, &[], &[38, 40], 40),
        ("above read", Some(other_intents.clone()), vec![record(pending(41))], Keep::Full, &[], &[41], 40),
        ("more in CACHE", Some(fits.clone()), good(), Keep::Full, &["members"], &[38, 40], 40),
        ("another total", Some(other_total), good(), Keep::Full, &[], &[38, 40], 40),
        ("CHECKPOINT=off", Some(fits.clone()), good(), Keep::Off, &[], &[38, 40], 40),
        ("a malformed head", Some(fits.slice(..9)), good(), Keep::Full, &[], &[38, 40], 0),
        ("no head", None, good(), Keep::Full, &[], &[38, 40], 0),
        (
            "other INTENTS, a malformed event",
            Some(other_intents.clone()),
            unreadable.clone(),
            Keep::Full,
            &[],
            &[40],
            37,
        ),
        (
            "other INTENTS, a garbled event",
            Some(other_intents),
            vec![record(garbled)],
            Keep::Full,
            &[],
            &[],
            0,
        ),
        ("a malformed guild", Some(fits.clone()), with_roles(good()), Keep::Full, &[], &[38, 40], 40),
        ("a malformed guild and event", Some(fits), with_roles(unreadable), Keep::Full, &[], &[40], 37),
    ];
    for (what, head, records, keep, resources, queued, last_sequence) in rows {
        let store = left(head, records).await;
        let mut parts = parts(100, store.clone());
        parts.checkpoints.keep = keep;
        parts.resources = resources.iter().map(|name| (*name).to_owned()).collect();
        let mut intake = Intake::begin(parts, || true).await.unwrap();
        read_checkpoint(&mut intake).await;
        assert_eq!(intake.take(ready("new", 1)), DispatchOutcome::Applied, "{what}");
        let new = intake.ordinal;
        let positions =
            intake.event_queue.pending(Position::new(u64::MAX, u64::MAX), &KnownPending::nothing()).positions;
        let expected = queued
            .iter()
            .map(|sequence| Position::new(SESSION, *sequence))
            .chain([0, 1].map(|n| Position::new(new, n)));
        assert_eq!(positions, expected.collect::<Vec<_>>(), "{what}: before anything new");
        let gap = intake.ready(true).gap.unwrap_or_else(|| panic!("{what}: no gap"));
        assert_eq!(gap.last_sequence, last_sequence, "{what}");
    }
}

#[tokio::test]
async fn pending_events_survive_an_unusable_copy() {
    let mut parts = parts(100, testing::memory());
    let restoring = parts.shard.cache().restoring();
    let head = Head { session: Session { intents: 7, ..head().session }, exact: true, ..head() };
    parts.handed_over =
        Some(HandoffState { guilds: restoring.finish(&head), head, pending: vec![pending(39)] });
    let mut intake = Intake::begin(parts, || false).await.unwrap();
    intake.take(ready("new", 1));
    let positions =
        intake.event_queue.pending(Position::new(u64::MAX, u64::MAX), &KnownPending::nothing()).positions;
    assert_eq!(positions.first(), Some(&Position::new(SESSION, 39)));
    assert_eq!(intake.ready(true).gap.map(|gap| gap.last_sequence), Some(40));
}

#[tokio::test(start_paused = true)]
async fn last_checkpoint_is_exact_only_without_repeats() {
    // Whether the restored head was exact, what came since, and whether the last one is exact.
    for (found, came, exact) in [
        (false, None, false),
        (false, Some("RESUMED"), true),
        (false, Some("READY"), true),
        (true, None, true),
    ] {
        let head = Head { exact: found, ..head() };
        let store = left(Some(encode_head(&head, FORMAT_MAX).unwrap()), vec![record(pending(40))]).await;
        let mut intake = Intake::begin(parts(100, store.clone()), || true).await.unwrap();
        read_checkpoint(&mut intake).await;
        match came {
            Some("READY") => assert_eq!(intake.take(ready("new", 1)), DispatchOutcome::Applied),
            Some(name) => {
                let text = message(41).event.text.replace("MESSAGE_CREATE", name);
                intake.take(arrived(name, 41, text));
                intake.resumed();
            }
            None => {}
        }
        let shard = intake.shard.clone();
        let copy_slot = CopySlot::default();
        let copy = copy_slot.begin(&shard, 3).unwrap();
        intake.finish(Duration::from_millis(1), &copy_slot).await;
        let copied = decode_head(&copy.last.await.unwrap().head).unwrap();
        let ClaimAnswer::Yours(stored) = store.claim(SHARD, Epoch(EPOCH.0 + 1)).await.unwrap() else {
            panic!()
        };
        let written = decode_head(&stored.head.unwrap().bytes).unwrap();
        assert_eq!((copied.exact, written.exact), (exact, exact), "{found} {came:?}");

        // A later owner's mark depends on the head.
        let mut next = parts(100, testing::memory());
        let restoring = next.shard.cache().restoring();
        next.handed_over =
            Some(HandoffState { guilds: restoring.finish(&copied), head: copied, pending: Vec::new() });
        let next = Intake::begin(next, || true).await.unwrap();
        assert_eq!(next.mark == Mark::Fresh, exact, "{found} {came:?}");
    }
}

#[tokio::test]
async fn session_begins_above_the_fence_of_the_relay() {
    use ::relay::{Bounds, Caps, MemoryRelay, NewEntry, Position, RelayStore as _};

    // Another worker, whose clock is an hour ahead, has relayed events of the shard.
    let memory = MemoryRelay::new(Caps::default());
    let ahead = unix_ms() + 3_600_000;
    let relayed = NewEntry {
        position: Position { session: ahead, sequence: 9 },
        name: "MESSAGE_CREATE".into(),
        guild: None,
        received_at_unix_ms: 0,
        mark: Mark::Fresh,
        traceparent: None,
        data: Bytes::new(),
    };
    memory.append(SHARD, Epoch(1), None, &[relayed]).await.unwrap();

    let shard = testing::shard_at(EPOCH, "all");
    let mut bot = testing::event_queues(Arc::new(Stuck));
    bot.relaying = Some(crate::relay::Relaying {
        relay: crate::Relay::memory(memory),
        bounds: Bounds { events: 100, bytes: 100_000 },
        metrics: ::relay::RelayMetrics::default(),
        status: ::relay::RelayStatus::default(),
        runtime: tokio::runtime::Handle::current(),
    });
    let parts = IntakeParts {
        event_queue: bot.queue_for(&shard, &testing::lease(), false),
        shard,
        checkpoints: testing::checkpoints(testing::memory(), Keep::Full),
        metrics: ShardMetrics::default(),
        intents: 1,
        resources: Vec::new(),
        transport: TRANSPORT,
        handed_over: None,
        ran_before: false,
    };
    let mut intake = Intake::begin(parts, || true).await.unwrap();
    while intake.event_queue.relayed_session().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(intake.take(ready("first", 1)), DispatchOutcome::Applied);
    assert_eq!(intake.shard.progress().unwrap().session.ordinal, ahead + 1);
}
