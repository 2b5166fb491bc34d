//! The operator's tool against a running fleet: what it prints, and how it exits.

use fleet_fixture::{Deployment, sim_config};
use serde_json::Value;

use crate::asked::altergolden;

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_people_and_programs() {
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
    let nobodys = altergolden(url, &["find-guild", "1099511627776"]);
    assert_eq!(nobodys.code, 1, "{}", nobodys.out);
    assert!(nobodys.out.contains("the bot is not in it"));
    // Users are not cached by default: nobody can tell, and it says why.
    let user = altergolden(url, &["find-user", "1099511627776"]);
    assert_eq!(user.code, 4);
    assert!(user.out.contains("CACHE"), "{}", user.out);

    let id = guild.id.to_string();
    let got = altergolden(url, &["get", "guild", &id, "--fields", "name,id", "--json"]);
    let got: Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!(got, serde_json::json!({ "id": id, "name": guild.name }));
    let nobodys = altergolden(url, &["get", "roles", "1099511627776"]);
    assert_eq!(nobodys.code, 1, "{}", nobodys.err);
    let member = altergolden(url, &["get", "member", &id, "5"]);
    assert!(member.code == 1 && member.err.contains("CACHE"), "{}", member.err);

    let sent = altergolden(url, &["broadcast", "cacheInvalidate", r#"{"key":"settings:*"}"#, "--json"]);
    assert_eq!(sent.code, 0, "{}", sent.err);
    let sent: Value = serde_json::from_str(&sent.out).unwrap();
    assert_eq!((&sent["workers_expected"], &sent["workers_acknowledged"]), (&1.into(), &1.into()));

    // This worker has no bot code.
    let nobody = altergolden(url, &["send-to-shard", "1", "hello", "{}"]);
    assert_eq!(nobody.code, 1, "{}", nobody.err);
    assert_eq!(nobody.out.trim(), "shard 1: not delivered: no listener on worker solo");
    let unknown = altergolden(url, &["send-to-shard", "2", "hello"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("there is no shard 2: the bot has 2"), "{}", unknown.err);
    let empty = altergolden(url, &["send-to-shard", "0", ""]);
    assert_eq!(empty.code, 2);
    assert!(empty.err.contains("1 to 100 characters"), "{}", empty.err);
    let reply = altergolden(url, &["request", "stats"]);
    assert_eq!(reply.code, 1, "nobody knows what is asked: {}", reply.err);
    assert!(reply.out.starts_with("0 of 2 shards replied") && reply.out.contains("(unknown type)"));
    let sent = altergolden(url, &["send-to-manager", "hello", "--json"]);
    assert_eq!(sent.code, 0, "{}", sent.err);
    let sent: Value = serde_json::from_str(&sent.out).unwrap();
    assert!(!sent["message_id"].as_str().unwrap().is_empty());

    assert!(altergolden(url, &["shards"]).out.contains("solo"));
    assert!(altergolden(url, &["workers"]).out.contains("0-1"));
    let unknown = altergolden(url, &["shards", "--worker", "nobody"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("no worker is called nobody"), "{}", unknown.err);

    let nothing = altergolden(url, &["setaside", "list"]);
    assert_eq!((nothing.code, nothing.out.trim()), (0, "nothing is set aside"));
    assert_eq!(altergolden(url, &["setaside", "list", "--json"]).out.trim(), "[]");
    for what in ["show", "drop", "replay"] {
        let unknown = altergolden(url, &["setaside", what, "1/2/3"]);
        assert_eq!(unknown.code, 1, "{what}");
        assert!(unknown.err.contains("no event 1/2/3 is set aside"), "{}", unknown.err);
    }

    let live = altergolden(url, &["health", &format!("{}/live", worker.health)]);
    assert_eq!((live.code, live.out.trim()), (0, r#"{"status":"alive"}"#));
    let missing = altergolden(url, &["health", &format!("{}/nothing", worker.health)]);
    assert_eq!(missing.code, 1);

    // A worker answers lookups too, and says where the rest is to be asked.
    assert_eq!(altergolden(&worker.address, &["status"]).code, 0);
    let fleet = altergolden(&worker.address, &["workers"]);
    assert_eq!(fleet.code, 2);
    assert!(fleet.err.contains("ask the coordinator"), "{}", fleet.err);
    deployment.assert_lawful();
}

#[test]
fn what_is_wrong_is_one_clear_line() {
    for (words, code, says) in [
        (&["find-guild", "many"][..], 2, "Discord id"),
        (&["find-guild", "0"], 2, "Discord id"),
        (&["find-user", "-1"], 2, "-1"),
        (&["broadcast", "x", "{broken"], 2, "JSON"),
        (&["send-to-shard", "-1", "x"], 2, "-1"),
        (&["send-to-shard", "0", "x", "{broken"], 2, "JSON"),
        (&["send-to-manager", "x", "--shard", "lots"], 2, "--shard"),
        (&["request", "x", "--shard", "lots"], 2, "--shard"),
        (&["request", "x"], 3, "can't reach"),
        (&["subscribe", "--recipient", "nobody"], 2, "--recipient"),
        (&["status", "--deadline", "2"], 2, "unit"),
        (&["health", "nonsense"], 2, "URL"),
        (&["setaside", "show", "3/1"], 2, "setaside list"),
        (&["setaside", "list"], 3, "can't reach"),
        (&["dev", "--workers", "0"], 2, "1..=64"),
        (&["dev", "--shards", "lots"], 2, "--shards"),
        (&["dev", "--guilds", "-1"], 2, "--guilds"),
        (&["status", "--url", "nonsense"], 2, "http://127.0.0.1:50051"),
        (&["status"], 3, "can't reach"),
    ] {
        // Port 1 is nobody's.
        let answer = altergolden("http://127.0.0.1:1", words);
        assert_eq!(answer.code, code, "{words:?}: {}", answer.err);
        assert!(answer.err.contains(says), "{words:?}: {}", answer.err);
        assert_eq!(answer.err.lines().count(), 1, "{words:?}: {}", answer.err);
    }
}
