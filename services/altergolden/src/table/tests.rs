use super::*;

#[test]
fn starts_name_kind_time_replays_and_gap() {
    let resumed = v1::StartOutcome {
        kind: v1::StartKind::Resumed.into(),
        took_ms: 180,
        replayed: 3,
        ..v1::StartOutcome::default()
    };
    assert_eq!(start_text(Some(&resumed)), "resumed in 0.2 s, 3 replayed");
    let gap = Some(v1::Gap { last_sequence: 41, ..v1::Gap::default() });
    let kind = v1::StartKind::Reidentified.into();
    let lost = v1::StartOutcome { kind, took_ms: 2_000, replayed: 0, gap, at_unix_ms: 0 };
    assert_eq!(start_text(Some(&lost)), "reidentified in 2.0 s, GAP after 41");
    assert_eq!(start_text(None), UNKNOWN);
}

#[test]
fn outside_names_cannot_forge_rows() {
    let shard = v1::Shard { detail: "x\u{1b}[2K\r\nshard 9 ready".to_owned(), ..v1::Shard::default() };
    let shown = shards(&[shard], Screen::default()).to_string();
    assert!(!shown.contains(['\u{1b}', '\r']) && shown.contains(r"x\u{1b}[2K\r\nshard 9 ready"), "{shown}");
    let problem = v1::Problem {
        shards: Vec::new(),
        message: "a\nb".to_owned(),
        code: "store_away".to_owned(),
        weight: 1,
        since_unix_ms: Some(1),
    };
    assert_eq!(problems(&[problem], 5_001).to_string(), "problem: a\\nb (store_away, began 5 s ago)\n");
}

#[test]
fn ages_use_the_largest_useful_unit() {
    let cases =
        [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7_200, "2 h ago"), (172_800, "2 d ago")];
    for (seconds, words) in cases {
        assert_eq!(ago(1_000, 1_000 + seconds * 1_000), words);
    }
    assert_eq!(ago(2_000, 1_000), "0 s ago", "clocks differ");
}

#[test]
fn set_aside_rows_name_events_as_the_command_line_takes_them() {
    let event = v1::SetAside {
        id: Some(v1::SetAsideId { shard_id: 3, session: 17, sequence: 42 }),
        name: "MESSAGE_CREATE".to_owned(),
        at_unix_ms: 70_000,
        received_at_unix_ms: 10_000,
        deaths: 2,
        payload: String::new(),
    };
    let shown = set_asides(&[event], 100_000, Screen::default()).to_string();
    let row = shown.lines().find(|line| line.contains("3/17/42")).unwrap();
    for cell in ["MESSAGE_CREATE", " 2 ", "90 s ago", "30 s ago"] {
        assert!(row.contains(cell), "{cell} is missing in {row}");
    }
    assert_eq!(set_asides(&[], 0, Screen::default()).to_string(), "no events are set aside");
}

#[test]
fn replies_are_cut_and_failures_name_their_kind() {
    use v1::shard_reply::Outcome;
    let reply = |shard_id, worker: &str, outcome| v1::ShardReply {
        shard_id,
        worker_id: worker.to_owned(),
        outcome: Some(outcome),
        value_json: String::new(),
    };
    let value = |json| Outcome::Value(convert::from_json(json));
    let late = v1::ReplyFailure { kind: 3, reason: "worker b did not answer".to_owned() };
    let newer = v1::ReplyFailure { kind: 77, reason: "who knows".to_owned() };
    let answer = v1::RequestResponse {
        complete: false,
        replies: vec![
            reply(0, "a", value(serde_json::json!({"guilds": 25}))),
            reply(1, "a", value("é".repeat(1_000).into())),
            reply(2, "b", Outcome::Failure(late)),
            reply(3, "", Outcome::Failure(newer)),
        ],
    };
    let shown = replies(&answer, Screen::default()).to_string();
    assert!(shown.starts_with("2 of 4 shards replied\n"), "{shown}");
    for cell in [r#"{"guilds":25}"#, "… (2002 bytes: --json", "(too late) worker b did not", "(77) who knows"]
    {
        assert!(shown.contains(cell), "{cell} is missing in {shown}");
    }
    assert!(shown.lines().all(|line| line.chars().count() < 300), "{shown}");
}

#[test]
fn touching_ranges_are_joined() {
    let range = |first, last, epoch| v1::ShardRange { first, last, epoch };
    assert_eq!(ranges(&[range(0, 2, 1), range(3, 3, 2), range(7, 7, 1)]), "0-3, 7");
    assert_eq!(ranges(&[]), UNKNOWN);
}

fn worker(name: &str) -> v1::Worker {
    v1::Worker {
        worker_id: name.to_owned(),
        url: "http://127.0.0.1:41235".to_owned(),
        version: "0.1.0".to_owned(),
        generation: "default".to_owned(),
        shards: vec![v1::ShardRange { first: 0, last: 11, epoch: 1 }],
        capacity: 64,
        rss_bytes: 99 << 20,
        connected: true,
        last_heard_ms: 312,
        ..v1::Worker::default()
    }
}

fn shard(shard_id: u32) -> v1::ShardStats {
    let kind = v1::StartKind::Identified.into();
    v1::ShardStats {
        shard_id,
        worker_id: "worker-0".to_owned(),
        status: v1::ShardStatus::Ready.into(),
        guilds: 2_500,
        users: Some(180_000),
        channels: Some(40_000),
        voice_connections: Some(900),
        latency_ms: Some(41.3),
        uptime_seconds: 7_300,
        outcome: Some(v1::StartOutcome { kind, took_ms: 212, ..v1::StartOutcome::default() }),
        ..v1::ShardStats::default()
    }
}

#[test]
fn tables_fit_80_columns() {
    let screen = Screen { width: Some(80), colour: false };
    let answer = v1::GetAggregateStatsResponse {
        shards: (0..16).map(shard).collect(),
        ..v1::GetAggregateStatsResponse::default()
    };
    for shown in [stats(&answer, screen), workers(&[worker("worker-0"), worker(&"w".repeat(60))], screen)] {
        let shown = shown.to_string();
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        for stays in ["WORKER", "STATE", "worker-0"] {
            assert!(shown.contains(stays), "{shown}");
        }
    }
    let lines = stats(&answer, screen).to_string().lines().count();
    assert_eq!(lines, 3 + 16 + 1, "totals, heading, rule, a line per shard, and the columns left out");
}

#[test]
fn many_shards_are_shown_by_worker_and_those_not_ready_in_full() {
    let worker = |id| ["worker-0", "worker-1"][(id / 16) as usize].to_owned();
    let mut shards: Vec<_> =
        (0..32).map(|id| v1::ShardStats { worker_id: worker(id), ..shard(id) }).collect();
    shards[20].status = v1::ShardStatus::Failed.into();
    shards[20].users = None;
    let answer = v1::GetAggregateStatsResponse { shards, ..v1::GetAggregateStatsResponse::default() };
    let shown = stats(&answer, Screen { width: Some(80), colour: false }).to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[1..5],
        [
            "WORKER    SHARDS  READY     GUILDS    USERS  WORST LATENCY",
            "──────────────────────────────────────────────────────────",
            "worker-0  0-15    16 of 16   40000  2880000        41.3 ms",
            "worker-1  16-31   15 of 16   40000        –        41.3 ms",
        ]
    );
    let at = lines.iter().position(|line| *line == "not ready: 1").unwrap();
    assert!(lines[at + 3].contains("20  worker-1  failed"), "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    let piped = stats(&answer, Screen::default()).to_string();
    assert_eq!(piped.lines().count(), 3 + 32, "a pipe gets every shard: {piped}");
    let started = started(&[], Screen { width: Some(80), colour: false });
    assert_eq!(started.to_string(), "no shards are assigned");
}

#[test]
fn piped_tables_have_every_column() {
    let shown = workers(&[worker("worker-0")], Screen::default()).to_string();
    let mut lines = shown.lines();
    let heading =
        "WORKER    GENERATION  SHARDS  CAPACITY    MEMORY  STATE      LAST SEEN  ADDRESS          VERSION";
    assert_eq!(lines.next(), Some(heading));
    assert!(lines.next().unwrap().chars().all(|c| c == '─'));
    let row =
        "worker-0  default     0-11          64  99.0 MiB  connected  0.3 s ago  127.0.0.1:41235  0.1.0";
    assert_eq!((lines.next(), lines.next()), (Some(row), None));
}

#[test]
fn colour_follows_the_state() {
    let screen = Screen { width: None, colour: true };
    let failed = v1::Shard { status: v1::ShardStatus::Failed.into(), ..v1::Shard::default() };
    let ready = v1::Shard { status: v1::ShardStatus::Ready.into(), ..v1::Shard::default() };
    let shown = shards(&[failed, ready], screen).to_string();
    assert!(
        shown.contains("\u{1b}[31mfailed\u{1b}[0m") && shown.contains("\u{1b}[32mready\u{1b}[0m"),
        "{shown}"
    );
}

#[test]
fn empty_fleets_give_a_reason_and_a_hint() {
    for shown in [no_shards(Some(0)), workers(&[], Screen::default())] {
        let shown = shown.to_string();
        assert!(shown.contains("no worker is registered") && shown.contains("COORDINATOR_URL"), "{shown}");
    }
}

#[test]
fn unanswered_shards_are_named_even_if_no_shard_answered() {
    let stats = |missing_shards: &[u32]| {
        let missing_shards = missing_shards.to_vec();
        let stats = v1::GetAggregateStatsResponse { shard_count: 8, missing_shards, ..Default::default() };
        self::stats(&stats, Screen::default()).to_string()
    };
    let none = stats(&[7, 0, 1, 2, 3, 4, 5, 6]);
    assert!(none.ends_with("on 8 shards (NOT COMPLETE, no answer for shards 0-7)\n"), "{none}");
    assert!(stats(&[4]).contains("no answer for shard 4)"));
    assert!(stats(&[4, 5, 7]).contains("no answer for shards 4-5, 7)"));
}
