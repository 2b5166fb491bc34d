//! `altergolden` against a running fleet: output and exit codes.

use fleet_fixture::{Deployment, sim_config};
use serde_json::Value;

use crate::cli::altergolden;

#[tokio::test(flavor = "multi_thread")]
async fn commands_answer_as_tables_and_as_json() {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(2).await;
    let worker = deployment.worker("solo", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let url = &coordinator.address;

    let status = altergolden(url, &["status"]);
    assert_eq!(status.code, 0, "{}", status.err);
    assert!(status.out.starts_with("20 guilds, "), "{}", status.out);
    let json: Value = serde_json::from_str(&altergolden(url, &["status", "--json"]).out).unwrap();
    assert_eq!((&json["total_guilds"], &json["complete"]), (&20.into(), &true.into()));
    assert_eq!(json["shards"][1]["status"], "ready");

    let guild = deployment.sim.control().guilds(1, 2).remove(0);
    let found = altergolden(url, &["find-guild", &guild.id.to_string()]);
    assert_eq!(found.code, 0);
    assert!(found.out.contains(&guild.name), "{}", found.out);
    let missing = altergolden(url, &["find-guild", "1099511627776"]);
    assert_eq!(missing.code, 1, "{}", missing.out);
    assert!(missing.out.contains("the bot is not in it"));
    let missing = altergolden(url, &["get", "guild", "1099511627776"]);
    assert_eq!(missing.code, 1, "as find-guild: {}", missing.err);
    // Users are not cached by default: the answer is unknown, with the reason.
    let user = altergolden(url, &["find-user", "1099511627776"]);
    assert_eq!(user.code, 4);
    assert!(user.out.contains("CACHE"), "{}", user.out);

    let id = guild.id.to_string();
    let got = altergolden(url, &["get", "guild", &id, "--fields", "name,id", "--json"]);
    let got: Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!(got, serde_json::json!({ "id": id, "name": guild.name }));
    let missing = altergolden(url, &["get", "roles", "1099511627776"]);
    assert_eq!(missing.code, 1, "{}", missing.err);
    let member = altergolden(url, &["get", "member", &id, "5"]);
    assert!(member.code == 1 && member.err.contains("CACHE"), "{}", member.err);

    let sent = altergolden(url, &["broadcast", "cacheInvalidate", r#"{"key":"settings:*"}"#, "--json"]);
    assert_eq!(sent.code, 0, "{}", sent.err);
    let sent: Value = serde_json::from_str(&sent.out).unwrap();
    assert_eq!((&sent["workers_expected"], &sent["workers_acknowledged"]), (&1.into(), &1.into()));

    // This worker has no bot code.
    let undelivered = altergolden(url, &["send-to-shard", "1", "hello", "{}"]);
    assert_eq!(undelivered.code, 1, "{}", undelivered.err);
    assert_eq!(undelivered.out.trim(), "shard 1: not delivered: no listener on worker solo");
    let unknown = altergolden(url, &["send-to-shard", "2", "hello"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("there is no shard 2: the bot has 2"), "{}", unknown.err);
    let empty = altergolden(url, &["send-to-shard", "0", ""]);
    assert_eq!(empty.code, 2);
    assert!(empty.err.contains("1 to 100 characters"), "{}", empty.err);
    let reply = altergolden(url, &["request", "stats"]);
    assert_eq!(reply.code, 1, "no shard knows the type: {}", reply.err);
    assert!(reply.out.starts_with("0 of 2 shards replied") && reply.out.contains("(unknown type)"));
    let sent = altergolden(url, &["send-to-manager", "hello", "--json"]);
    assert_eq!(sent.code, 0, "{}", sent.err);
    let sent: Value = serde_json::from_str(&sent.out).unwrap();
    assert!(!sent["message_id"].as_str().unwrap().is_empty());

    assert!(altergolden(url, &["shards"]).out.contains("solo"));
    assert!(altergolden(url, &["workers"]).out.contains("0-1"));
    let unknown = altergolden(url, &["shards", "--worker", "missing"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("no worker is called missing"), "{}", unknown.err);

    for name in ["set-aside", "setaside"] {
        let nothing = altergolden(url, &[name, "list"]);
        assert_eq!((nothing.code, nothing.out.trim()), (0, "no events are set aside"));
        assert_eq!(altergolden(url, &[name, "list", "--json"]).out.trim(), "[]");
    }
    for what in ["show", "drop", "replay"] {
        let unknown = altergolden(url, &["set-aside", what, "1/2/3"]);
        assert_eq!(unknown.code, 1, "{what}");
        assert!(unknown.err.contains("no event 1/2/3 is set aside"), "{}", unknown.err);
    }

    let live = altergolden(url, &["health", &format!("{}/live", worker.health)]);
    assert_eq!((live.code, live.out.trim()), (0, r#"{"status":"alive"}"#));
    let health = altergolden(url, &["health", &worker.health]);
    assert!(health.code == 0 && health.out.contains(r#""worker":"solo""#), "without a path: {}", health.out);
    let missing = altergolden(url, &["health", &format!("{}/nothing", worker.health)]);
    assert_eq!((missing.code, missing.out.as_str()), (1, ""), "an empty body is no line");

    // A worker answers lookups too, and refers to the coordinator for the rest.
    assert_eq!(altergolden(&worker.address, &["status"]).code, 0);
    let fleet = altergolden(&worker.address, &["workers"]);
    assert_eq!(fleet.code, 2);
    assert!(fleet.err.contains("ask the coordinator"), "{}", fleet.err);
    for health in [&coordinator.health, &worker.health] {
        let health_port = altergolden(health, &["status"]);
        assert_eq!(health_port.code, 2);
        let says = health_port.err;
        assert!(says.contains("is a health port") && says.contains("--coordinator-listen"), "{says}");
    }
    global_flags_go_before_and_after_the_subcommand(url);
    deployment.assert_lawful();
}

fn global_flags_go_before_and_after_the_subcommand(url: &str) {
    // The address in the environment is wrong, the one in the flag is right.
    for words in [
        ["--url", url, "--json", "--deadline=5s", "workers"],
        ["workers", "--url", url, "--json", "--deadline=5s"],
        ["--json", "workers", "--deadline=5s", "--url", url],
    ] {
        let workers = altergolden("http://127.0.0.1:1", &words);
        assert_eq!(workers.code, 0, "{words:?}: {}", workers.err);
        let workers: Value = serde_json::from_str(&workers.out).unwrap();
        assert_eq!(workers[0]["worker_id"], "solo", "{words:?}");
    }
    let nested = altergolden("http://127.0.0.1:1", &["--url", url, "set-aside", "--json", "list"]);
    assert_eq!((nested.code, nested.out.trim()), (0, "[]"), "{}", nested.err);
    let refused = altergolden(url, &["--deadline", "2", "status"]);
    assert!(refused.code == 2 && refused.err.contains("unit"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_of_many_shards_is_one_log_line() {
    let deployment = Deployment::start(sim_config(20)).await;
    let mut coordinator = deployment.coordinator(8).await;
    let mut worker = deployment.worker("solo", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    assert_eq!(coordinator.process.logged("shards assigned", "shards").await, "0-7");
    assert_eq!(worker.process.logged("all shards ready", "worker.id").await, "solo");
    assert_eq!(worker.process.stop().await, 0);
    assert_eq!(coordinator.process.stop().await, 0);
    let logs = [coordinator.process.output(), worker.process.output()].concat();
    let of_one_shard = |line: &&str| line.contains(r#""level":"INFO""#) && line.contains(r#""shard.id":"#);
    assert_eq!(logs.lines().filter(of_one_shard).collect::<Vec<_>>(), Vec::<&str>::new());
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_without_workers_give_a_reason_and_a_hint() {
    let deployment = Deployment::start(sim_config(2)).await;
    let coordinator = deployment.coordinator(2).await;
    for (command, code) in [("status", 4), ("workers", 0)] {
        let empty = altergolden(&coordinator.address, &[command]);
        assert_eq!(empty.code, code, "{command}: {}", empty.err);
        assert!(empty.out.contains("no worker is registered"), "{command}: {}", empty.out);
        assert!(
            empty.out.contains("COORDINATOR_URL") && !empty.out.contains("STATE"),
            "{command}: {}",
            empty.out
        );
    }
}

#[test]
fn mistakes_are_one_line_that_names_the_fix() {
    for (words, code, says) in [
        (&["find-guild", "many"][..], 2, "Discord id"),
        (&["find-guild", "0"], 2, "Discord id"),
        (&["find-user", "-1"], 2, "'-1' for '<USER_ID>': expected a Discord id"),
        (&["find-guild", "-1"], 2, "'-1' for '<GUILD_ID>': expected a Discord id"),
        (&["get", "guild", "-1"], 2, "'-1' for '<GUILD_ID>': expected a Discord id"),
        (&["statuss"], 2, "'status'"),
        (&["setasid"], 2, "subcommands exist: 'status', 'set-aside'"),
        (&["broadcast", "x", "{broken"], 2, "JSON"),
        (&["send-to-shard", "-1", "x"], 2, "'-1' for '<SHARD>': expected the number of a shard"),
        (&["send-to-shard", "abc", "hello"], 2, "'abc' for '<SHARD>': expected the number of a shard"),
        (&["move", "abc", "a"], 2, "'abc' for '<SHARD>': expected the number of a shard"),
        (&["send-to-shard", "0", "x", "{broken"], 2, "JSON"),
        (&["send-to-manager", "x", "--shard", "lots"], 2, "--shard"),
        (&["request", "x", "--shard", "lots"], 2, "--shard"),
        (&["request", "x"], 3, "cannot reach"),
        (&["subscribe", "--recipient", "unknown"], 2, "--recipient"),
        (&["status", "--deadline", "2"], 2, "unit"),
        (&["health", "nonsense"], 2, "URL"),
        (&["health", "http://127.0.0.1:1"], 3, "http://127.0.0.1:1/health: "),
        (
            &["health", "http://127.0.0.1:1", "--url", "http://127.0.0.1:1"],
            2,
            "--url has no effect on `health`",
        ),
        (&["--deadline=1s", "health", "http://127.0.0.1:1"], 2, "--deadline has no effect on `health`"),
        (&["--json", "dev"], 2, "--json has no effect on `dev`"),
        (&["dev", "--url", "http://127.0.0.1:1"], 2, "--url has no effect on `dev`"),
        (&["set-aside", "show", "3/1"], 2, "set-aside list"),
        (&["set-aside", "list"], 3, "cannot reach"),
        (&["dev", "--workers", "0"], 2, "1..=64"),
        (&["dev", "--shards", "lots"], 2, "--shards"),
        (&["dev", "--guilds", "-1"], 2, "--guilds"),
        (&["status", "--url", "nonsense"], 2, "http://127.0.0.1:50051"),
        (&["status"], 3, "cannot reach"),
    ] {
        // Nothing listens on port 1.
        let answer = altergolden("http://127.0.0.1:1", words);
        assert_eq!(answer.code, code, "{words:?}: {}", answer.err);
        assert!(answer.err.contains(says), "{words:?}: {}", answer.err);
        assert_eq!(answer.err.lines().count(), 1, "{words:?}: {}", answer.err);
    }
}
