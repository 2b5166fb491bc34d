use std::time::Duration;

use fleet_model::{
    Epoch, Gap, HistoryEntry, HistoryKind, Incarnation, Problem, ProblemCode, ShardKey, ShardSlot, StartKind,
    StartOutcome, Term, WorkerId,
};

use super::{HistoryLog, NumberedEntry, ProblemChanges, entry_of};
use crate::{Note, Now, Ownership, PlanState, RevocationCause};

const TERM: Term = Term(7);

fn at(ms: u64) -> Now {
    Now { mono: Duration::from_millis(ms), unix_ms: 1_700_000_000_000 + ms }
}

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn life() -> Incarnation {
    "1".parse().unwrap()
}

fn line(note: &Note) -> Option<String> {
    entry_of(note, TERM, at(0)).map(|entry| format!("{} | {entry}", entry.kind))
}

fn assigned(shard: u32, worker: &str, from: Option<&str>) -> Note {
    let (shard, worker) = (ShardKey::new(shard, 4_000), id(worker));
    let owner = Ownership { shard, worker, incarnation: life(), epoch: Epoch(u64::from(shard.number()) + 1) };
    Note::Assigned { owner, from: from.map(id) }
}

fn started(shard: u32, kind: StartKind, gap: Option<Gap>) -> Note {
    let outcome = StartOutcome { kind, took: Duration::from_millis(90), replayed: 0, at_unix_ms: 1, gap };
    Note::Started { shard: ShardKey::new(shard, 4_000), worker: id("a"), epoch: Epoch(9), outcome }
}

#[test]
fn notes_that_operators_ask_about_are_entries() {
    let gap =
        Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "invalid session".to_owned() };
    let lost = Note::Lost {
        worker: id("a"),
        incarnation: life(),
        shards: vec![(ShardKey::new(0, 4), Epoch(3)), (ShardKey::new(1, 4), Epoch(5))],
        cause: RevocationCause::Evidence,
        since_broken: Some(Duration::from_millis(61)),
    };
    let rows = [
        (
            Note::Joined { worker: id("a"), incarnation: life(), running: 4 },
            "worker_joined | worker a joined: it runs 4 shards already",
        ),
        (Note::Left { worker: id("a"), incarnation: life() }, "worker_left | worker a left"),
        (
            lost.clone(),
            "worker_lost | worker a lost, with shards 0-1: its process is gone, 61 ms after its stream broke",
        ),
        (assigned(3, "b", None), "shards_assigned | shard 3 assigned to b"),
        (assigned(3, "b", Some("a")), "shards_moved | shard 3 moved from a to b"),
        (started(3, StartKind::Resumed, None), "shards_resumed | shard 3 resumed on a"),
        (started(3, StartKind::Identified, None), "shards_identified | shard 3 identified on a"),
        (
            started(3, StartKind::Reidentified, Some(gap.clone())),
            "gap | gap: shard 3 on a may have lost events: reidentified: invalid session",
        ),
        (
            Note::Plan {
                id: 12,
                description: "drain worker a".to_owned(),
                state: PlanState::RollingBack,
                reason: "why".to_owned(),
            },
            "plan_changed | plan 12: drain worker a: rolling back: why",
        ),
        (Note::TotalSettled(12), "total_settled | shard total settled: 12 shards"),
    ];
    for (note, expected) in rows {
        assert_eq!(line(&note).as_deref(), Some(expected));
    }
    let entry = entry_of(&lost, TERM, at(0)).unwrap();
    assert_eq!(
        (entry.epochs, entry.incarnation, entry.term),
        (Some((Epoch(3), Epoch(5))), Some(life()), TERM)
    );
    let entry = entry_of(&started(3, StartKind::Reidentified, Some(gap.clone())), TERM, at(0)).unwrap();
    assert_eq!(entry.gap, Some(gap));
    assert_eq!(line(&Note::Contested { worker: id("a"), shards: 3 }), None);
}

/// Adds the entries of these notes at one time.
fn add(log: &mut HistoryLog, notes: impl IntoIterator<Item = Note>, now: Now) {
    for note in notes {
        log.add(entry_of(&note, TERM, now).unwrap(), now);
    }
}

fn written(log: &mut HistoryLog) -> Vec<String> {
    let entries = log.to_write(usize::MAX);
    log.mark_written(entries.len());
    entries.iter().map(|written| written.entry.to_string()).collect()
}

#[test]
fn start_of_many_shards_is_an_entry_for_each_worker() {
    let mut log = HistoryLog::default();
    let worker = |shard: u32| if shard < 1_000 { "a" } else { "b" };
    add(&mut log, (0..2_000).map(|shard| assigned(shard, worker(shard), None)), at(0));
    assert_eq!(log.open().count(), 2);
    log.close(false, at(999));
    assert!(log.to_write(10).is_empty(), "more shards may follow");
    log.close(false, at(1_000));
    assert_eq!(written(&mut log), ["shards 0-999 assigned to a", "shards 1000-1999 assigned to b"]);
}

#[test]
fn moves_between_other_workers_are_other_entries() {
    let mut log = HistoryLog::default();
    let moves = [(0, "b", "a"), (5, "a", "b"), (1, "b", "a"), (2, "c", "a")];
    add(&mut log, moves.map(|(shard, to, from)| assigned(shard, to, Some(from))), at(0));
    log.close(true, at(0));
    assert_eq!(
        written(&mut log),
        ["shards 0-1 moved from a to b", "shard 5 moved from b to a", "shard 2 moved from a to c"]
    );
}

/// Discord ends connections now and then; in a fleet of 2,000 shards one resumes every few seconds.
#[test]
fn events_that_keep_coming_share_an_entry_a_minute() {
    let mut log = HistoryLog::default();
    let mut entries = Vec::new();
    for second in 0..3_600_u32 {
        let now = at(u64::from(second) * 1_000);
        log.close(false, now);
        entries.extend(log.to_write(usize::MAX));
        log.mark_written(usize::MAX);
        add(&mut log, [started(second % 2_000, StartKind::Resumed, None)], now);
    }
    assert!((60..80).contains(&entries.len()), "{} entries in an hour", entries.len());
    let numbers: Vec<u64> = entries.iter().map(|written| written.number).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>(), "in the order of writing");
    let open: u64 = log.open().map(|open| open.count).sum();
    assert_eq!(entries.iter().map(|written| written.entry.count).sum::<u64>() + open, 3_600);

    // After a quiet time it is written at once again.
    add(&mut log, [started(0, StartKind::Resumed, None)], at(4_000_000));
    log.close(true, at(4_000_000));
    log.mark_written(usize::MAX);
    add(&mut log, [started(0, StartKind::Resumed, None)], at(4_400_000));
    assert_eq!(log.next_close(), Some(at(4_401_000).mono));
}

#[test]
fn entries_beyond_the_bound_are_counted_and_an_entry_says_so() {
    let mut log = HistoryLog::default();
    for worker in 0..5_000 {
        let (worker, incarnation) = (id(&format!("w{worker}")), life());
        add(&mut log, [Note::Left { worker, incarnation }], at(0));
    }
    assert_eq!((log.unwritten_count(), log.lost_count()), (4_096, 904));
    log.close(true, at(60_000));
    assert_eq!(log.to_write(usize::MAX).len(), 4_096, "there is no room for the entry about the loss");
    log.mark_written(3_000);
    log.close(false, at(61_000));
    let last = log.to_write(usize::MAX).pop().unwrap();
    assert_eq!((last.number, last.entry.kind, last.entry.count), (4_097, HistoryKind::EntriesLost, 904));
    assert_eq!(
        last.entry.to_string(),
        "entries of this history were lost: 904, as too many waited to be written"
    );
    log.mark_written(usize::MAX);
    assert!(log.numbered().count() <= 512, "written entries are kept for answers, not forever");
}

#[test]
fn scattered_shards_fill_an_entry_and_begin_another() {
    let mut log = HistoryLog::default();
    add(&mut log, (0..1_000).map(|shard| started(shard * 2, StartKind::Resumed, None)), at(0));
    assert_eq!(log.open().map(|open| open.shards.len()).collect::<Vec<_>>(), [256, 256, 256, 232]);
}

#[test]
fn written_entries_stay_for_answers() {
    let mut log = HistoryLog::default();
    add(&mut log, [started(0, StartKind::Resumed, None)], at(0));
    log.close(true, at(0));
    log.mark_written(1);
    add(&mut log, [started(1, StartKind::Identified, None)], at(1));
    let numbered: Vec<&NumberedEntry> = log.numbered().collect();
    assert_eq!((numbered.len(), log.unwritten_count()), (1, 1));
    assert!(log.to_write(10).is_empty());
}

fn observe(changes: &mut ProblemChanges, problems: &[Problem], ms: u64) -> Vec<String> {
    let entries: Vec<HistoryEntry> = changes.observe(problems, TERM, at(ms));
    entries.iter().map(ToString::to_string).collect()
}

#[test]
fn lasting_problem_is_an_entry_when_it_began_and_when_it_ended() {
    let mut changes = ProblemChanges::default();
    let away = [Problem::new(ProblemCode::StoreAway, "the fleet store is away").since(1_234)];
    assert_eq!(observe(&mut changes, &away, 0), [""; 0]);
    let began = changes.observe(&away, TERM, at(1_000));
    assert_eq!(began[0].to_string(), "problem store_away began: the fleet store is away");
    assert_eq!(began[0].at_unix_ms, 1_234, "when it began, not when it became lasting");
    assert_eq!(observe(&mut changes, &away, 8_000), [""; 0]);
    assert_eq!(
        observe(&mut changes, &[], 12_500),
        ["problem store_away ended: after 12 s: the fleet store is away"]
    );
    assert_eq!(observe(&mut changes, &[], 13_000), [""; 0]);
}

#[test]
fn problem_that_outlasts_its_term_ends_with_it() {
    let mut changes = ProblemChanges::default();
    let away = [Problem::new(ProblemCode::StoreAway, "the fleet store is away")];
    observe(&mut changes, &away, 0);
    observe(&mut changes, &away, 1_000);
    let short = Problem::new(ProblemCode::WorkerCutOff, "worker a is cut off");
    observe(&mut changes, &[away[0].clone(), short], 4_000);
    let ended = changes.end_of_term(TERM, at(5_000));
    let [entry] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(
        (entry.kind, entry.to_string().as_str()),
        (
            HistoryKind::ProblemCleared,
            "problem store_away ended: after 5 s, when the term ended: the fleet store is away"
        )
    );
    assert_eq!(changes.end_of_term(TERM, at(6_000)), []);
}

#[test]
fn moment_and_progress_are_no_entries() {
    let mut changes = ProblemChanges::default();
    let cut_off = [Problem::new(ProblemCode::WorkerCutOff, "worker a is cut off")];
    let queued = [Problem::of_shard(ProblemCode::ShardQueued, ShardSlot(1), "waiting")];
    let mut entries = observe(&mut changes, &cut_off, 0);
    for ms in [100, 2_000, 4_000] {
        entries.extend(observe(&mut changes, &queued, ms));
    }
    assert_eq!(entries, [""; 0]);
}

#[test]
fn shards_with_one_problem_share_an_entry() {
    let mut changes = ProblemChanges::default();
    let failing = |shards: std::ops::Range<u32>| {
        let shards = shards.map(ShardSlot).collect();
        [Problem { shards, ..Problem::new(ProblemCode::ShardNotReady, "reconnecting: closed with 1011") }]
    };
    observe(&mut changes, &failing(0..4), 0);
    assert_eq!(
        observe(&mut changes, &failing(0..4), 1_000),
        ["problem shard_not_ready began, shards 0-3: reconnecting: closed with 1011"]
    );
    assert_eq!(
        observe(&mut changes, &failing(0..2), 5_000),
        ["problem shard_not_ready ended, shards 2-3: after 5 s: reconnecting: closed with 1011"]
    );
}
