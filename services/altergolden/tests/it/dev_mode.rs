//! `altergolden dev`: one command, no token, no Redis.

use fleet_fixture::{Process, Signal, binary, command};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::altergolden;

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_starts_prints_commands_that_work_and_stops() {
    let started = Instant::now();
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=40",
        "--shards=3",
        "--workers=3",
        "--coordinator-listen=127.0.0.1:0",
        "--manager-health-port=0",
        "--health-port=0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    dev.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
    let ready = started.elapsed();
    let output = dev.output();
    assert!(output.contains("3 of 3 shards ready"), "{output}");
    for worker in ["worker-0", "worker-1", "worker-2"] {
        assert!(output.contains(worker), "{output}");
    }
    // The commands that it prints work.
    let hint = output
        .lines()
        .find_map(|line| line.trim().strip_prefix("cargo run --release -p altergolden -- find-guild "));
    let words: Vec<&str> = hint.unwrap().split(' ').collect();
    let found =
        std::process::Command::new(binary("altergolden")).arg("find-guild").args(&words).output().unwrap();
    assert!(found.status.success(), "{found:?}");

    dev.signal(Signal::INT);
    let stopping = Instant::now();
    assert_eq!(dev.ended().await.code(), Some(0), "{}", dev.output());
    let stopped = stopping.elapsed();
    assert!(ready.as_secs() < 10, "ready after {ready:?}");
    assert!(stopped.as_secs() < 5, "stopped after {stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_drains_workers() {
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=40",
        "--shards=4",
        "--workers=3",
        "--coordinator-listen=127.0.0.1:0",
        "--manager-health-port=0",
        "--health-port=0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    let address = |line: &str| {
        let (_, rest) = line.split_once("coordinator   gRPC ")?;
        Some(format!("http://{}", rest.split_once(',')?.0))
    };
    let url = dev.line("the coordinator's address", address).await;
    for worker in ["worker-0", "worker-2"] {
        let drained = altergolden(&url, &["drain", worker]);
        assert_eq!(drained.code, 0, "{} {} {}", drained.out, drained.err, dev.output());
        assert!(drained.out.contains("no IDENTIFY"), "{}", drained.out);
        let left = format!("{worker} has exited");
        dev.line("the worker to leave", |line| line.contains(&left).then_some(())).await;
    }
    assert_messages_and_requests_reach_shards(&mut dev, &url).await;
    let workers = altergolden(&url, &["workers"]).out;
    assert!(workers.contains("\nworker-1 ") && workers.contains(" 0-3 "), "{workers}");
    let refused = altergolden(&url, &["deploy", "abort"]);
    assert_eq!((refused.code, refused.err.trim()), (1, "altergolden: no plan is under way"));

    dev.signal(Signal::INT);
    assert_eq!(dev.ended().await.code(), Some(0), "{}", dev.output());
}

/// All four shards are on worker-1.
async fn assert_messages_and_requests_reach_shards(dev: &mut Process, url: &str) {
    let sent = altergolden(url, &["send-to-shard", "2", "hello", r#"{"from":"me"}"#]);
    assert_eq!((sent.code, sent.out.trim()), (0, "shard 2: delivered on worker-1"), "{}", sent.err);
    let told = r#"shard 2 on worker-1 was sent "hello" by coordinator: {"from":"me"}"#;
    dev.line("what the shard was sent", |line| (line == told).then_some(())).await;

    let reply = altergolden(url, &["request", "stats", "--json"]);
    assert_eq!(reply.code, 0, "{}", reply.err);
    let reply: Value = serde_json::from_str(&reply.out).unwrap();
    let replies = reply["replies"].as_array().unwrap();
    let guilds: u64 = replies.iter().map(|reply| reply["value"]["guilds"].as_u64().unwrap()).sum();
    assert_eq!((replies.len(), guilds, &reply["complete"]), (4, 40, &json!(true)), "{reply}");
    let echo = altergolden(url, &["request", "echo", "[1,\"two\"]", "--shard", "3", "--shard", "1"]);
    assert_eq!(echo.code, 0, "{}", echo.err);
    assert!(echo.out.starts_with("2 of 2 shards replied"), "{}", echo.out);
    assert_eq!(echo.out.matches(r#"[1,"two"]"#).count(), 2, "{}", echo.out);
    assert_eq!(altergolden(url, &["request", "what"]).code, 1);

    // A subscriber for the manager receives messages to the manager, and no broadcasts.
    let mut command = command("altergolden");
    command.args(["subscribe", "--recipient", "manager", "--url", url]);
    let mut subscribed = Process::start("subscribe", &mut command);
    let line = fleet_fixture::until("a message to the manager", async || {
        assert_eq!(altergolden(url, &["broadcast", "b"]).code, 0);
        assert_eq!(altergolden(url, &["send-to-manager", "m", "7", "--shard", "3"]).code, 0);
        subscribed.output().lines().next().map(str::to_owned)
    })
    .await;
    let item: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&item["recipient"], &item["shard_id"]), (&json!("manager"), &json!(3)), "{item}");
    assert_eq!((&item["type"], &item["data"]), (&json!("m"), &json!(7)), "{item}");
    subscribed.signal(Signal::INT);
    assert_eq!(subscribed.ended().await.code(), Some(0));
}
