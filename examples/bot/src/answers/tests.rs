use std::time::Duration;

use gateway_worker::{Epoch, ShardReport};

use super::*;

fn shard(number: u32, worker: &str, status: ShardStatus) -> TimedReport {
    let mut report = ShardReport::bare(ShardSlot(number), Epoch(1), status);
    report.guilds = 25;
    report.latency_ms = Some(41.26);
    TimedReport { worker: worker.parse().unwrap(), report, age: Duration::ZERO }
}

fn stats(shards: Vec<TimedReport>, missing: &[u32]) -> FleetStats {
    let count = shards.len() + missing.len();
    let all_ready = shards.iter().all(is_ready);
    FleetStats {
        total_guilds: shards.iter().map(|shard| shard.report.guilds).sum(),
        shard_count: count as u32,
        complete: count > 0 && missing.is_empty() && all_ready,
        missing_shards: missing.iter().map(|&number| ShardKey::new(number, number + 1)).collect(),
        shards,
        ..FleetStats::default()
    }
}

fn ready(number: u32) -> TimedReport {
    shard(number, "worker-a", ShardStatus::Ready)
}

#[test]
fn ping_has_guilds_and_shards() {
    assert_eq!(ping(&stats(vec![ready(0), ready(1)], &[])), "Serving 50 servers across 2 shards");
}

#[test]
fn incomplete_ping_says_why() {
    let missing = stats(vec![ready(0)], &[1, 2]);
    assert_eq!(
        ping(&missing),
        "Serving 25 servers across 3 shards (not complete: no answer for shards 1, 2)"
    );
    let waiting = stats(vec![ready(0), shard(1, "b", ShardStatus::Identifying)], &[]);
    assert_eq!(ping(&waiting), "Serving 50 servers across 2 shards (not complete: shard 1 is not ready)");
    let filling = FleetStats { complete: false, ..stats(vec![ready(0)], &[]) };
    assert!(ping(&filling).ends_with("(not complete: some guilds are still to come)"));
    assert!(ping(&stats(vec![], &[])).ends_with("(not complete: no shard runs yet)"));
    let many: Vec<u32> = (0..500).collect();
    assert!(ping(&stats(vec![], &many)).ends_with("18, 19 and 480 more)"), "{}", ping(&stats(vec![], &many)));
}

#[test]
fn table_lists_shards_that_are_not_ready_first() {
    let mut late = shard(2, "b", ShardStatus::Resuming);
    late.report.latency_ms = None;
    late.report.guilds = 1_000;
    assert_eq!(
        shards(&stats(vec![ready(0), late], &[1])),
        "1 of 3 shards ready
```
shard  worker    state      guilds  latency
    1  –         no answer       –        –
    2  b         resuming     1000        –
    0  worker-a  ready          25  41.3 ms
```"
    );
}

#[test]
fn table_is_cut_to_one_message() {
    for count in [30, 40, 256, 5_000] {
        let all = stats((0..count).map(ready).collect(), &[]);
        let text = shards(&all);
        let length = text.chars().count();
        assert!(length <= LONGEST, "{length} characters for {count} shards");
        let rows = text.lines().filter(|line| line.contains("worker-a")).count();
        match text.rsplit_once("```").unwrap().1 {
            "" => assert_eq!(rows, count as usize),
            rest => {
                assert_eq!(rest, format!("… and {} more", count as usize - rows));
                assert!(length > LONGEST - 100, "there was room for more: {length}");
            }
        }
    }
    // Rows with the longest valid worker name fit too.
    let long =
        stats((0..300).map(|number| shard(number, &"w".repeat(64), ShardStatus::Ready)).collect(), &[]);
    assert!(shards(&long).chars().count() <= LONGEST);
}

fn found_guild() -> GuildAnswer {
    GuildAnswer {
        found: true,
        complete: true,
        guild_id: 7,
        name: Some("Lost Lounge".to_owned()),
        member_count: Some(110),
        shard: Some(ShardKey::new(3, 8)),
        worker: Some("worker-a".parse().unwrap()),
        ..GuildAnswer::default()
    }
}

#[test]
fn found_guild_has_shard_and_worker() {
    assert_eq!(guild(&found_guild()), "Lost Lounge (110 members) is on shard 3 on worker-a");
    let bare = GuildAnswer { name: None, member_count: None, unavailable: true, ..found_guild() };
    assert_eq!(guild(&bare), "Guild 7 is on shard 3 on worker-a, and has an outage");
}

#[test]
fn missing_guild_is_absent_or_unknown() {
    let absent = GuildAnswer { found: false, ..found_guild() };
    assert_eq!(guild(&absent), "The bot is not in guild 7: it would be on shard 3 on worker-a");
    let unsure = GuildAnswer {
        found: false,
        complete: false,
        reason: "worker b cannot be reached".to_owned(),
        ..found_guild()
    };
    assert_eq!(guild(&unsure), "Unknown whether the bot is in guild 7: worker b cannot be reached");
    assert!(guild(&GuildAnswer::default()).ends_with(": there was no answer"));
}

#[test]
fn user_has_shards_or_a_reason() {
    let found = UserAnswer {
        found: true,
        complete: true,
        user_id: 9,
        shards: [1, 3].map(ShardSlot).into(),
        username: "ada_l".to_owned(),
        ..UserAnswer::default()
    };
    assert_eq!(user(&found), "ada\\_l is on shards 1, 3");
    let unsure = UserAnswer {
        complete: false,
        reason: "the user cache is partial".to_owned(),
        shards: vec![ShardSlot(1)],
        ..found.clone()
    };
    assert_eq!(user(&unsure), "ada\\_l is on shard 1, and perhaps on more: the user cache is partial");
    assert_eq!(user(&UserAnswer { found: false, ..found }), "No shard knows user 9");
    let unknown = UserAnswer { found: false, ..unsure };
    assert_eq!(user(&unknown), "Unknown where user 9 is: the user cache is partial");
}

#[test]
fn names_are_escaped_and_texts_fit() {
    assert_eq!(escaped("a*b`c\n<@1>"), "a\\*b\\`c \\<\\@1\\>");
    let long = UserAnswer {
        found: true,
        shards: (0..500).map(ShardSlot).collect(),
        username: "*".repeat(32),
        reason: "_".repeat(5_000),
        ..UserAnswer::default()
    };
    assert!(user(&long).chars().count() <= LONGEST);
}
