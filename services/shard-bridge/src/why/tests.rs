use super::*;

const NOW: u64 = 10_000_000;

/// A fleet of one ready shard on a connected worker.
fn fleet() -> v1::FleetStatus {
    let shard =
        v1::Shard { worker_id: "a".to_owned(), status: ShardStatus::Ready.into(), ..v1::Shard::default() };
    let worker = v1::Worker { worker_id: "a".to_owned(), connected: true, ..v1::Worker::default() };
    v1::FleetStatus {
        acting: true,
        shard_total: 1,
        shards: vec![shard],
        workers: vec![worker],
        ..v1::FleetStatus::default()
    }
}

fn found() -> v1::FindGuildResponse {
    v1::FindGuildResponse { found: true, complete: true, ..v1::FindGuildResponse::default() }
}

fn problem(code: &str, message: &str, shards: &[(u32, u32)]) -> v1::Problem {
    let shards = shards.iter().map(|&(first, last)| v1::ShardSpan { first, last }).collect();
    v1::Problem { code: code.to_owned(), message: message.to_owned(), shards, ..v1::Problem::default() }
}

fn judge(
    status: &v1::FleetStatus,
    guild: Option<Result<v1::FindGuildResponse, String>>,
    lately: Vec<v1::HistoryEntry>,
) -> Verdict {
    let (shard_id, guild_id) = (Some(0), Some(1));
    reason(&Facts { status, shard_id, guild_id, guild: guild.as_ref(), lately: &lately, now_unix_ms: NOW })
}

/// The verdict on a found guild after a change to the fleet.
fn after(change: impl FnOnce(&mut v1::FleetStatus)) -> Verdict {
    let mut status = fleet();
    change(&mut status);
    judge(&status, Some(Ok(found())), Vec::new())
}

fn fails(verdict: &Verdict, words: &str) {
    assert!(
        matches!(verdict, Verdict::Fails(_)) && verdict.sentence().contains(words),
        "{words}: {verdict:?}"
    );
}

#[test]
fn shard_that_does_not_work_is_the_reason() {
    fails(&after(|fleet| fleet.shard_total = 0), "no shards yet");
    let state = |status: ShardStatus| {
        move |fleet: &mut v1::FleetStatus| {
            fleet.shards[0].status = status.into();
            "because".clone_into(&mut fleet.shards[0].detail);
        }
    };
    let rows = [
        (ShardStatus::Reconnecting, "lost its connection to Discord and reconnects: because"),
        (ShardStatus::Failed, "refuses shard 0: because"),
        (ShardStatus::Queued, "waits for its turn to IDENTIFY: because"),
        (ShardStatus::Silent, "nothing is heard"),
        (ShardStatus::Moving, "is moving"),
        (ShardStatus::Stopped, "has stopped shard 0"),
        (ShardStatus::Unspecified, "not known"),
    ];
    for (status, words) in rows {
        fails(&after(state(status)), words);
    }
    fails(
        &after(|fleet| fleet.workers[0].connected = false),
        "cut off from the coordinator; shard 0 was ready",
    );
}

#[test]
fn problem_of_the_shard_says_why_it_has_no_owner_or_permit() {
    let verdict = after(|fleet| {
        fleet.shards[0].worker_id.clear();
        fleet.problem_details = vec![
            problem("shard_held_back", "shard 7 held back", &[(7, 7)]),
            problem("no_room", "no worker has room for shards 0", &[]),
        ];
    });
    fails(&verdict, "no worker runs shard 0: no worker has room for shards 0 (no_room)");
    let verdict = after(|fleet| {
        fleet.shards[0].status = ShardStatus::Queued.into();
        fleet.problem_details = vec![problem("identify_halted", "no shard may identify", &[])];
    });
    fails(&verdict, "IDENTIFY: no shard may identify (identify_halted)");
}

#[test]
fn problems_of_others_are_left_out() {
    let mut status = fleet();
    status.problem_details = vec![
        problem("shard_not_ready", "shards 1-3 reconnecting", &[(1, 3)]),
        problem("guilds_missing", "shards 0-1 ready without 2 guilds", &[(0, 1)]),
        problem("worker_cut_off", "worker ab is cut off", &[]),
        problem("worker_cut_off", "worker a is cut off", &[]),
        problem("store_away", "the store is away", &[]),
    ];
    let facts = Facts {
        status: &status,
        shard_id: Some(0),
        guild_id: None,
        guild: None,
        lately: &[],
        now_unix_ms: NOW,
    };
    let codes: Vec<&str> = facts.problems().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(codes, ["shards 0-1 ready without 2 guilds", "worker a is cut off", "the store is away"]);
}

#[test]
fn guild_itself_can_be_the_reason() {
    let guild = |guild: v1::FindGuildResponse| judge(&fleet(), Some(Ok(guild)), Vec::new());
    let missing = guild(v1::FindGuildResponse { found: false, ..found() });
    assert!(matches!(&missing, Verdict::NotThere(why) if why.contains("not in this guild")), "{missing:?}");
    fails(&guild(v1::FindGuildResponse { unavailable: true, ..found() }), "outage");
    let doubtful = v1::FindGuildResponse { complete: false, reason: "no answer".to_owned(), ..found() };
    fails(&guild(doubtful), "no answer (worker a)");
    fails(&judge(&fleet(), Some(Err("refused".to_owned())), Vec::new()), "cannot be looked up: refused");
}

#[test]
fn standby_knows_a_guild_by_its_worker_alone() {
    let mut status = fleet();
    status.acting = false;
    assert!(matches!(judge(&status, Some(Ok(found())), Vec::new()), Verdict::Works(_)));
    fails(&judge(&status, None, Vec::new()), "standby");
}

#[test]
fn shard_that_works_is_told_with_what_happened_within_the_hour() {
    let entry = |kind: &str, ago: u64| v1::HistoryEntry {
        kind: kind.to_owned(),
        until_unix_ms: NOW - ago,
        gap: Some(v1::Gap { reason: "invalid session".to_owned(), ..v1::Gap::default() }),
        ..v1::HistoryEntry::default()
    };
    let rows = [
        (vec![], "nothing is wrong in the fleet"),
        (vec![entry("worker_lost", 5_000)], "its worker died within the last hour"),
        (
            vec![entry("worker_lost", 5_000), entry("gap", 4_000)],
            "lost events within the last hour: invalid session",
        ),
        (vec![entry("gap", RECENT_MS)], "nothing is wrong in the fleet"),
    ];
    for (lately, words) in rows {
        let verdict = judge(&fleet(), Some(Ok(found())), lately);
        assert!(matches!(&verdict, Verdict::Works(why) if why.contains(words)), "{verdict:?}");
    }
    assert_eq!(judge(&fleet(), None, Vec::new()), Verdict::Works("the shard works".to_owned()));
}

#[test]
fn number_beyond_the_total_is_no_shard() {
    let status = fleet();
    let facts = Facts {
        status: &status,
        shard_id: Some(9),
        guild_id: None,
        guild: None,
        lately: &[],
        now_unix_ms: NOW,
    };
    assert!(matches!(reason(&facts), Verdict::NotThere(_)));
}
