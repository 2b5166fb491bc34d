//! `history` and `why` over real processes: what happened is there afterwards, also for the next coordinator.

use discord_sim::Fault;
use fleet_fixture::{Coordinator, Deployment, Worker, all_ready, http, is_ready, shares, sim_config, until};
use serde_json::Value;

use crate::cli::{Output, altergolden};

/// The entries that the command line shows with these words.
fn history(url: &str, words: &[&str]) -> Vec<Value> {
    let shown = altergolden(url, &[&["history", "--json"], words].concat());
    assert_eq!(shown.code, 0, "{} {}", shown.out, shown.err);
    let answer: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(answer["complete"], true, "{answer}");
    answer["entries"].as_array().unwrap().clone()
}

/// Waits for an entry of this kind about this worker.
async fn entry(url: &str, kind: &str, worker: &str) -> Value {
    until(&format!("{kind} of {worker}"), async || {
        history(url, &["--kind", kind]).into_iter().rfind(|entry| entry["worker_id"] == worker)
    })
    .await
}

/// Waits until every entry is in the store.
async fn until_written(coordinator: &Coordinator) {
    until("the history to be written", async || {
        let (_, metrics) = http::request(&format!("{}/metrics", coordinator.health), None).await.unwrap();
        metrics.lines().any(|line| line == "altergolden_history_unwritten 0").then_some(())
    })
    .await;
}

async fn worker(deployment: &Deployment, coordinator: &Coordinator, name: &str, generation: &str) -> Worker {
    let mut command = deployment.worker_command(name, &coordinator.address);
    Worker::start(name, command.env("GENERATION", generation)).await
}

fn why(url: &str, words: &[&str]) -> (Output, Value) {
    let shown = altergolden(url, &[&["why", "--json"], words].concat());
    let answer = serde_json::from_str(&shown.out).unwrap_or_else(|_| panic!("{} {}", shown.out, shown.err));
    (shown, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_moves_deploys_and_gaps_are_there_for_the_next_coordinator() {
    let deployment = Deployment::start(sim_config(40)).await;
    let mut coordinator = deployment.coordinator(4).await;
    let mut a = worker(&deployment, &coordinator, "a", "blue").await;
    let b = worker(&deployment, &coordinator, "b", "blue").await;
    coordinator.until_balanced(&[&a, &b]).await;
    let url = coordinator.address.clone();
    let guild = deployment.sim.control().guilds(1, 4).remove(0).id.to_string();

    a.process.kill().await;
    let on_b =
        |status: &altergolden_proto::v1::FleetStatus| all_ready(status) && shares(&status.shards).len() == 1;
    coordinator.until("all shards on b", on_b).await;
    let lost = entry(&url, "worker_lost", "a").await;
    assert!(lost["message"].as_str().unwrap().starts_with("worker a lost, with shards "), "{lost}");
    assert!(lost["incarnation"].as_str().is_some_and(|life| !life.is_empty()), "{lost}");
    entry(&url, "shards_assigned", "b").await;
    entry(&url, "shards_resumed", "b").await;

    let shard = lost["shards"][0][0].to_string();
    let (shown, answer) = why(&url, &["--shard", &shard]);
    assert_eq!((shown.code, &answer["works"]), (0, &true.into()), "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("its worker died within the last hour"), "{answer}");
    let kinds: Vec<&Value> =
        answer["history"].as_array().unwrap().iter().map(|entry| &entry["kind"]).collect();
    for kind in ["worker_lost", "shards_resumed"] {
        assert!(kinds.contains(&&kind.into()), "{kind}: {answer}");
    }

    let fault = Fault::InvalidSession { shards: Some(vec![0]), resumable: false };
    deployment.sim.control().inject(fault).unwrap();
    let gap = entry(&url, "gap", "b").await;
    assert_eq!(gap["shards"], serde_json::json!([[0, 0]]), "{gap}");
    assert!(gap["gap"]["reason"].as_str().unwrap().contains("op 9"), "{gap}");

    let mut c = worker(&deployment, &coordinator, "c", "blue").await;
    coordinator
        .until("c to join", |status| status.workers.iter().any(|worker| worker.worker_id == "c"))
        .await;
    let drained = altergolden(&url, &["drain", "b"]);
    assert_eq!(drained.code, 0, "{} {}", drained.out, drained.err);
    let call = history(&url, &["--kind", "operator_call"]).pop().unwrap();
    assert_eq!(call["message"], "operator: started a plan, drain worker b", "{call}");
    let peer = call["peer"].as_str().unwrap();
    let (who, address) = peer.split_once(" at ").unwrap_or(("", peer));
    assert_eq!(who, if url.starts_with("https") { "operator/operator" } else { "" }, "{call}");
    assert!(address.starts_with("127.0.0.1:") && call["plan_id"].is_string(), "{call}");
    entry(&url, "worker_draining", "b").await;
    entry(&url, "worker_left", "b").await;
    let moved = entry(&url, "shards_moved", "c").await;
    assert_eq!(moved["from_worker_id"], "b", "{moved}");

    let _green = worker(&deployment, &coordinator, "g", "green").await;
    coordinator
        .until("g to join", |status| status.workers.iter().any(|worker| worker.worker_id == "g"))
        .await;
    let promoted = altergolden(&url, &["deploy", "promote", "green"]);
    assert_eq!(promoted.code, 0, "{} {}", promoted.out, promoted.err);
    let plans = history(&url, &["--kind", "plan_changed"]);
    let messages: Vec<&str> = plans.iter().map(|plan| plan["message"].as_str().unwrap()).collect();
    for part in ["drain worker b: running", "drain worker b: done", "promote generation green: done"] {
        assert!(messages.iter().any(|message| message.contains(part)), "{part}: {messages:?}");
    }
    assert_eq!(c.process.ended().await.code(), Some(0));
    entry(&url, "worker_left", "c").await;

    // An open entry may still grow; one that does not is in the store.
    let before = until("the history to rest", async || {
        let before = history(&url, &["--limit", "1000"]);
        until_written(&coordinator).await;
        (history(&url, &["--limit", "1000"]) == before).then_some(before)
    })
    .await;
    coordinator.process.kill().await;
    // The workers look for it at the address that they know.
    let mut command = deployment.coordinator_command(4);
    let listen = coordinator.socket().to_string();
    let next = Coordinator::start(command.env("COORDINATOR_LISTEN", listen)).await;
    next.until("the next coordinator to act", all_ready).await;
    let url = next.address.clone();
    let after = history(&url, &["--limit", "1000"]);
    let missing: Vec<&Value> = before.iter().filter(|entry| !after.contains(entry)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let began = history(&url, &["--kind", "term_began"]);
    assert_eq!(began.len(), 2, "{began:#?}");
    assert_eq!(
        began[1]["message"],
        format!(
            "coordinator acts in term {}: after term {}",
            began[1]["term"].as_str().unwrap(),
            began[0]["term"].as_str().unwrap()
        )
    );

    filters_select(&url, &lost, &shard);
    let (shown, answer) = why(&url, &[&guild]);
    assert_eq!((shown.code, &answer["works"]), (0, &true.into()), "{answer}");
    assert_eq!(answer["worker_id"], "g");
    assert!(answer["since_unix_ms"].is_u64(), "{answer}");
    let (shown, answer) = why(&url, &["1099511627776"]);
    assert_eq!(shown.code, 1, "{answer}");
    let text = altergolden(&url, &["why", &guild]);
    assert!(text.out.contains(" on worker g, epoch ") && text.out.contains("\n=> "), "{}", text.out);
    deployment.assert_lawful();
}

/// Each filter of `history` selects the death of worker a, or not.
fn filters_select(url: &str, lost: &Value, shard: &str) {
    let at = lost["at"].as_str().unwrap();
    let selects = |words: &[&str]| history(url, &[&["--limit", "1000"], words].concat()).contains(lost);
    assert!(
        selects(&["--at", at]) && selects(&["--since", "1h"]) && selects(&["--since", at, "--until", at])
    );
    assert!(selects(&["--shard", shard]) && selects(&["--worker", "a", "--kind", "gap,worker_lost"]));
    assert!(!selects(&["--until", "1h"]) && !selects(&["--worker", "b"]) && !selects(&["--kind", "gap"]));
    let text = altergolden(url, &["history", "--at", at]);
    assert!(text.out.contains(&format!("{at}  worker a lost, with shards ")), "{}", text.out);
    let none = altergolden(url, &["history", "--until", "1h"]);
    assert!(none.code == 0 && none.out.contains("no entry of the history matches; the history goes back to"));
    let newest = altergolden(url, &["history", "--limit", "1"]);
    assert!(newest.out.contains("(there are older entries"), "{}", newest.out);
    let wrong = altergolden(url, &["history", "--kind", "oops"]);
    assert!(wrong.code == 2 && wrong.err.contains("oops is no kind of history entry"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_what_is_missing_while_redis_is_away() {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(2).await;
    let mut a = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let url = &coordinator.address;
    entry(url, "shards_identified", "a").await;
    let standby = deployment.coordinator(2).await;
    until_written(&coordinator).await;
    let from_standby = until("the standby to answer", async || {
        let entries = history(&standby.address, &["--kind", "worker_joined"]);
        (!entries.is_empty()).then_some(entries)
    })
    .await;
    assert_eq!(from_standby, history(url, &["--kind", "worker_joined"]));
    let worker = altergolden(&a.address, &["history"]);
    assert!(worker.code == 2 && worker.err.contains("not the coordinator"), "{} {}", worker.code, worker.err);

    deployment.redis.pause();
    let partial = altergolden(url, &["history", "--deadline", "5s"]);
    assert_eq!(partial.code, 4, "{} {}", partial.out, partial.err);
    for part in ["worker a joined", "NOT COMPLETE: the fleet store is away", "has in memory"] {
        assert!(partial.out.contains(part), "{part}: {}", partial.out);
    }
    let (shown, answer) = why(url, &["--shard", "0", "--deadline", "5s"]);
    assert_eq!((shown.code, &answer["history_complete"]), (4, &false.into()), "{answer}");
    until("the outage to be an entry", async || {
        let shown = altergolden(url, &["history", "--kind", "store_away"]);
        shown.out.contains("problem store_away began").then_some(())
    })
    .await;
    deployment.redis.resume();
    until("the outage to be in the store", async || {
        let shown = altergolden(url, &["history", "--json", "--kind", "store_away,problem_cleared"]);
        let answer: Value = serde_json::from_str(&shown.out).unwrap();
        let entries = answer["entries"].as_array()?.clone();
        let has = |kind: &str| {
            entries.iter().any(|entry| entry["kind"] == kind && entry["problem_code"] == "store_away")
        };
        (shown.code == 0 && has("problem_raised") && has("problem_cleared")).then_some(())
    })
    .await;

    a.process.kill().await;
    coordinator.until("no shard to be ready", |status| !status.shards.iter().any(is_ready)).await;
    let guild = deployment.sim.control().guilds(1, 2).remove(0).id.to_string();
    let (shown, answer) = why(url, &[&guild]);
    assert_eq!((shown.code, &answer["works"]), (4, &false.into()), "{answer}");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("no worker") || reason.contains("cut off"), "{reason}");
}
