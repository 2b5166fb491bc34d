use super::*;

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn entry(kind: HistoryKind) -> HistoryEntry {
    HistoryEntry::new(kind, Term(7), 1_000)
}

#[test]
fn every_kind_has_its_own_name() {
    let names: std::collections::BTreeSet<&str> = HistoryKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names.len(), HistoryKind::ALL.len());
    assert!(HistoryKind::ALL.iter().all(|kind| HistoryKind::named(kind.as_str()) == Some(*kind)));
}

#[test]
fn entry_is_one_line_for_people() {
    let moved =
        HistoryEntry { from: Some(worker("a")), ..entry(HistoryKind::ShardsMoved).worker(&worker("b")) };
    let moved = (0..4).fold(moved, |moved, shard| moved.shard(ShardSlot(shard), Epoch(9)));
    assert_eq!(moved.to_string(), "shards 0-3 moved from a to b");
    let lost =
        entry(HistoryKind::WorkerLost).worker(&worker("a")).shard(ShardSlot(5), Epoch(1)).detail("silent");
    assert_eq!(lost.to_string(), "worker a lost, with shard 5: silent");
    let began =
        HistoryEntry { code: "store_away".to_owned(), ..entry(HistoryKind::ProblemRaised).detail("why") };
    assert_eq!(began.to_string(), "problem store_away began: why");
    let exit =
        HistoryEntry { count: 3, ..entry(HistoryKind::ExitReported).worker(&worker("a")).detail("signal 9") };
    assert_eq!(exit.to_string(), "exit of worker a reported: signal 9 (3 times)");
}

#[test]
fn merged_entry_covers_both() {
    let gap = |since, sequence| Gap {
        since_unix_ms: since,
        until_unix_ms: since + 10,
        last_sequence: sequence,
        reason: "invalid session".to_owned(),
    };
    let of = |shard, at, since| HistoryEntry {
        at_unix_ms: at,
        until_unix_ms: at,
        gap: Some(gap(since, 5)),
        ..entry(HistoryKind::Gap).worker(&worker("a")).shard(ShardSlot(shard), Epoch(at))
    };
    let (mut first, second) = (of(3, 2_000, 500), of(1, 1_000, 400));
    assert_eq!(first.subject(), second.subject());
    assert_ne!(first.subject(), entry(HistoryKind::Gap).subject());
    first.merge(&second);
    assert_eq!((first.at_unix_ms, first.until_unix_ms, first.count), (1_000, 2_000, 2));
    assert_eq!(
        (first.shards.to_string().as_str(), first.epochs),
        ("1, 3", Some((Epoch(1_000), Epoch(2_000))))
    );
    let merged = first.gap.unwrap();
    assert_eq!((merged.since_unix_ms, merged.until_unix_ms, merged.last_sequence), (400, 510, 0));
}

#[test]
fn filter_selects_by_time_shard_worker_and_kind() {
    let moved = HistoryEntry {
        until_unix_ms: 3_000,
        from: Some(worker("a")),
        ..entry(HistoryKind::ShardsMoved).worker(&worker("b")).shard(ShardSlot(4), Epoch(1))
    };
    let all = HistoryFilter::default;
    let rows = [
        (all(), true),
        (HistoryFilter { since_unix_ms: Some(3_000), ..all() }, true),
        (HistoryFilter { since_unix_ms: Some(3_001), ..all() }, false),
        (HistoryFilter { until_unix_ms: Some(1_000), ..all() }, true),
        (HistoryFilter { until_unix_ms: Some(999), ..all() }, false),
        (HistoryFilter { shard: Some(ShardSlot(4)), ..all() }, true),
        (HistoryFilter { shard: Some(ShardSlot(5)), ..all() }, false),
        (HistoryFilter { worker: Some(worker("a")), ..all() }, true),
        (HistoryFilter { worker: Some(worker("b")), ..all() }, true),
        (HistoryFilter { worker: Some(worker("c")), ..all() }, false),
        (HistoryFilter { kinds: vec!["gap".to_owned(), "shards_moved".to_owned()], ..all() }, true),
        (HistoryFilter { kinds: vec!["gap".to_owned()], ..all() }, false),
    ];
    for (filter, is_wanted) in rows {
        assert_eq!(filter.matches(&moved), is_wanted, "{filter:?}");
    }
    let problem = HistoryEntry { code: "worker_held_back".to_owned(), ..entry(HistoryKind::ProblemRaised) };
    assert!(HistoryFilter { kinds: vec!["worker_held_back".to_owned()], ..all() }.matches(&problem));
}

#[test]
fn lost_entries_are_shown_to_every_filter_of_their_time() {
    let lost = entry(HistoryKind::EntriesLost);
    let filter = HistoryFilter {
        shard: Some(ShardSlot(1)),
        kinds: vec!["gap".to_owned()],
        ..HistoryFilter::default()
    };
    assert!(filter.matches(&lost));
    assert!(!HistoryFilter { since_unix_ms: Some(5_000), ..filter }.matches(&lost));
}
