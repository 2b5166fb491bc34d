//! `altergolden dev`: one command, no token, no Redis.

use fleet_fixture::{Deployment, Process, Signal, binary, command, sim_config};
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
        "--rest-listen=127.0.0.1:0",
        "--sim-listen=127.0.0.1:0",
        "--gateway-listen=127.0.0.1:0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    dev.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
    let ready = started.elapsed();
    let output = dev.output();
    assert!(output.contains("3 of 3 shards ready"), "{output}");
    for worker in ["worker-0", "worker-1", "worker-2"] {
        assert!(output.contains(worker), "{output}");
    }
    // The gateway that it prints serves bots.
    let gateway = output.lines().find_map(|line| line.trim().strip_prefix("gateway ")).unwrap().trim();
    crate::bot_gateway::assert_serves(gateway, 40).await;
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
        "--rest-listen=127.0.0.1:0",
        "--sim-listen=127.0.0.1:0",
        "--gateway-listen=127.0.0.1:0",
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

/// Dev mode on free ports.
fn dev(flags: &[&str]) -> std::process::Command {
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=4",
        "--shards=1",
        "--workers=1",
        "--manager-health-port=0",
        "--health-port=0",
    ]);
    for listen in ["--coordinator-listen", "--rest-listen", "--sim-listen", "--gateway-listen"] {
        if !flags.iter().any(|flag| flag.starts_with(listen)) {
            command.arg(format!("{listen}=127.0.0.1:0"));
        }
    }
    command.args(flags);
    command
}

/// Runs dev mode to its end. Returns its exit code and all that it printed.
async fn run_dev(mut command: std::process::Command) -> (i32, String) {
    let mut process = Process::start("dev", &mut command);
    let code = process.ended().await.code().unwrap();
    (code, process.output())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_dev_mode_after_it_has_named_the_token() {
    let mut config = sim_config(1);
    config.token = Some("the-right-one".to_owned());
    let deployment = Deployment::start(config).await;
    let mut command = dev(&[]);
    command.env("DISCORD_TOKEN", "hunter2").env("DISCORD_API_URL", deployment.sim.http_origin());
    let (code, said) = run_dev(command).await;
    assert_eq!(code, 78, "{said}");
    let first = said.lines().find(|line| line.starts_with("Discord: ")).unwrap();
    assert!(first.contains("not simulated") && first.contains("the token in DISCORD_TOKEN"), "{said}");
    assert!(said.contains("altergolden: Discord refused the token"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    assert!(deployment.sim.control().identifies().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_ignores_a_token_and_names_each_unused_variable() {
    let mut command = dev(&["--simulate"]);
    command.envs([
        ("DISCORD_TOKEN", "hunter2"),
        ("DISCORD_GATEWAY_URL", "ws://127.0.0.1:1"),
        ("WORKER_NAME", "mine"),
    ]);
    let mut process = Process::start("dev", command.env("INTENTS", "GUILDS"));
    process.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
    let said = process.output();
    assert!(said.contains("Discord: simulated, 4 guilds; relay of events: in memory"), "{said}");
    for name in ["DISCORD_TOKEN", "DISCORD_GATEWAY_URL", "WORKER_NAME"] {
        assert!(said.contains(&format!("{name} is set but not used: ")), "{said}");
    }
    assert!(!said.contains("INTENTS is set") && !said.contains("hunter2"), "{said}");
    process.signal(Signal::INT);
    assert_eq!(process.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_names_the_setting_that_it_cannot_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    for flag in ["--rest-listen", "--sim-listen", "--coordinator-listen", "--gateway-listen"] {
        let (code, said) = run_dev(dev(&[&format!("{flag}={taken}")])).await;
        assert!(code == 2 && said.contains(&format!("cannot bind {taken} ({flag})")), "{code} {said}");
    }
    let mut command = dev(&[]);
    command.env("RELAY", "redis");
    let (code, said) = run_dev(command).await;
    assert!(code == 2 && said.contains("--relay (RELAY): `redis` needs a Redis"), "{code} {said}");
    let (code, said) = run_dev(dev(&["--redis-url=redis://:hunter2@127.0.0.1:1"])).await;
    assert!(code == 3 && said.contains("--redis-url (REDIS_URL): redis://***@127.0.0.1:1"), "{code} {said}");
    assert!(!said.contains("hunter2"), "{said}");
}
