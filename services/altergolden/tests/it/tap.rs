//! `altergolden tap` over real processes: what it shows, what it never shows, and that it follows the shards.

use std::{
    collections::BTreeSet,
    process::Stdio,
    time::{Duration, Instant},
};

use altergolden_proto::v1;
use discord_sim::{Fault, NewInteraction};
use fleet_fixture::{Coordinator, Deployment, PATIENCE, Process, Worker, command, sim_config, until};
use serde_json::Value;

use crate::cli::altergolden;

/// The lines of a tap that ends by itself, as JSON.
fn tapped(url: &str, words: &[&str]) -> Vec<Value> {
    let shown = altergolden(url, &[&["tap", "--json", "--for=1m"], words].concat());
    assert_eq!(shown.code, 0, "{} {}", shown.out, shown.err);
    shown.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn events(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["kind"] == "event").collect()
}

/// A tap that runs beside the test.
fn start(url: &str, words: &[&str]) -> Process {
    let mut tap = command("altergolden");
    tap.args(["tap", "--json"]).args(words).env("COORDINATOR_URL", url);
    Process::start("tap", &mut tap)
}

async fn balanced(deployment: &Deployment, coordinator: &Coordinator) -> [Worker; 2] {
    let workers = [deployment.worker("a", coordinator).await, deployment.worker("b", coordinator).await];
    coordinator.until_balanced(&[&workers[0], &workers[1]]).await;
    workers
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_chosen_by_name_guild_and_shard() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(4).await;
    let _workers = balanced(&deployment, &coordinator).await;
    let url = &coordinator.address;

    let lines = tapped(url, &["--event=message_create", "--limit=5"]);
    assert_eq!(lines[0]["shows"], "all of MESSAGE_CREATE");
    assert_eq!(events(&lines).len(), 5);
    for event in events(&lines) {
        assert_eq!(event["event"], "MESSAGE_CREATE");
        assert!(
            event["bytes"].as_u64().unwrap() > 100 && event["received_at"].as_str().unwrap().ends_with('Z')
        );
        let data = event["data"].as_object().unwrap();
        assert!(data["id"].is_string() && data["author.id"].is_string(), "{event}");
        assert!(!data.contains_key("content") && !data.contains_key("author"), "content is shown: {event}");
    }

    let lines = tapped(url, &["--event=MESSAGE_CREATE", "--shard=1-2", "--content", "--limit=8"]);
    let shards: BTreeSet<u64> =
        events(&lines).iter().map(|event| event["shard_id"].as_u64().unwrap()).collect();
    assert!(shards.iter().all(|shard| (1..=2).contains(shard)), "{shards:?}");
    assert!(events(&lines).iter().all(|event| event["data"]["content"].is_string()), "{lines:?}");

    let guild = events(&lines)[0]["guild_id"].as_str().unwrap().to_owned();
    let lines = tapped(url, &["--guild", &guild, "--limit=2"]);
    assert!(events(&lines).iter().all(|event| event["guild_id"] == guild.as_str()), "{lines:?}");

    // Who watched content is in the history.
    let history = altergolden(url, &["history", "--kind=operator_call"]);
    assert!(history.out.contains("watched events with their content"), "{}", history.out);

    let text = altergolden(url, &["tap", "--event=MESSAGE_CREATE", "--limit=1"]);
    assert!(text.out.starts_with("all of MESSAGE_CREATE, ids and numbers only"), "{}", text.out);
    assert!(text.out.contains("  MESSAGE_CREATE  guild "), "{}", text.out);
    let none = altergolden(url, &["tap", "--event=NO_SUCH_EVENT", "--for=1s"]);
    assert_eq!(none.code, 0, "{}", none.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_interactions_are_never_shown() {
    let deployment = Deployment::start(sim_config(10)).await;
    let coordinator = deployment.coordinator(2).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    for content in [false, true] {
        let words = ["--event=INTERACTION_CREATE", "--limit=1", "--content"];
        let mut tap = start(&coordinator.address, if content { &words } else { &words[..2] });
        tap.line("that the worker is shown", |line| line.contains("\"shown\":true").then_some(())).await;
        let ping = NewInteraction { command: Some("ping".into()), ..NewInteraction::default() };
        deployment.sim.control().inject(Fault::Interaction(ping)).unwrap();
        assert!(tap.ended().await.success());
        let output = tap.output();
        let event: Value = output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|line: &Value| line["kind"] == "event")
            .unwrap();
        let data = event["data"].as_object().unwrap();
        if content {
            assert_eq!(
                (&data["token"], &data["data"]["name"]),
                (&"[hidden]".into(), &"ping".into()),
                "{event}"
            );
        } else {
            assert!(!output.contains("token") && !output.contains("ping"), "{output}");
            assert!(data["id"].is_string() && data["member.user.id"].is_string(), "{event}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tap_goes_on_with_the_next_owner_of_a_shard() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(2).await;
    let [mut a, b] = balanced(&deployment, &coordinator).await;
    let mut tap = start(&coordinator.address, &["--event=MESSAGE_CREATE", "--for=10m"]);
    let of = |worker: &'static str| {
        move |line: &str| {
            (line.contains("\"kind\":\"event\"") && line.contains(worker)).then(|| line.to_owned())
        }
    };
    let shown: Value =
        serde_json::from_str(&tap.line("events of a", of("\"worker_id\":\"a\"")).await).unwrap();
    tap.line("events of b", of("\"worker_id\":\"b\"")).await;
    a.process.kill().await;
    tap.line("that a is missing", |line| line.contains("\"shown\":false").then_some(())).await;
    coordinator.until_balanced(&[&b]).await;
    let shard = format!("\"shard_id\":{}", shown["shard_id"]);
    let moved =
        |line: &str| (of("\"worker_id\":\"b\"")(line).is_some() && line.contains(&shard)).then_some(());
    tap.line("events of the shard on b", moved).await;

    // A worker that was not there at the start.
    let c = deployment.worker("c", &coordinator).await;
    coordinator.until_balanced(&[&b, &c]).await;
    tap.line("events of c", of("\"worker_id\":\"c\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_and_many_taps_do_not_hold_up_a_worker() {
    let mut sim = sim_config(10);
    sim.events_per_second = 400.0;
    let deployment = Deployment::start(sim).await;
    let coordinator = deployment.coordinator(2).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;

    // Nothing reads what this one writes: its pipe fills up.
    let mut stuck = command("altergolden")
        .args(["tap", "--content", "--for=10m"])
        .env("COORDINATOR_URL", &coordinator.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let from = worker.metric("altergolden_gateway_events_total").await;
    let (began, wanted) = (Instant::now(), 2_000);
    worker.until_metric("altergolden_gateway_events_total", |events| events >= from + wanted).await;
    assert!(began.elapsed() < PATIENCE, "events came too slowly");
    let lines = tapped(&coordinator.address, &["--sample=0.1", "--limit=20"]);
    assert_eq!(events(&lines).len(), 20);

    // A worker serves a bounded number of taps, and says so.
    let mut open = Vec::new();
    let refused = loop {
        let request = v1::TapRequest { duration_ms: 60_000, ..v1::TapRequest::default() };
        match coordinator.client().await.tap(request).await {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        assert!(open.len() < 20, "taps are not limited");
    };
    assert!(refused.to_string().contains("open taps, the maximum"), "{refused}");
    drop(open);
    until("room for another tap", async || {
        let again = altergolden(&coordinator.address, &["tap", "--limit=1", "--for=5s"]);
        (again.code == 0).then_some(())
    })
    .await;
    stuck.kill().unwrap();
    stuck.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinator_that_is_gone_is_found_again() {
    let deployment = Deployment::start(sim_config(10)).await;
    let mut coordinator = deployment.coordinator(2).await;
    let address = coordinator.socket().to_string();
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let mut tap = start(&coordinator.address, &["--event=MESSAGE_CREATE", "--for=10m"]);
    tap.line("events", |line| line.contains("\"kind\":\"event\"").then_some(())).await;
    coordinator.process.kill().await;
    tap.line("that the connection is lost", |line| line.contains("\"kind\":\"lost\"").then_some(())).await;
    let mut next = deployment.coordinator_command(2);
    let next = Coordinator::start(next.env("COORDINATOR_LISTEN", address)).await;
    tap.line("that it is connected", |line| line.contains("\"kind\":\"connected\"").then_some(())).await;
    next.until_balanced(&[&worker]).await;
    let before = tap.output().matches("\"kind\":\"event\"").count();
    let until_more = async {
        while tap.output().matches("\"kind\":\"event\"").count() <= before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_more).await.expect("no events after the coordinator came back");
}
