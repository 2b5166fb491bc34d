//! Plans from the command line: output and exit codes.

use altergolden_proto::v1;
use fleet_fixture::{Coordinator, Deployment, Signal, Worker, sim_config};
use serde_json::Value;

use crate::cli::altergolden;

async fn worker_of(
    deployment: &Deployment,
    coordinator: &Coordinator,
    name: &str,
    generation: &str,
) -> Worker {
    let mut command = deployment.worker_command(name, &coordinator.address);
    Worker::start(name, command.env("GENERATION", generation)).await
}

/// Two workers of generation blue with all shards.
async fn blue(deployment: &Deployment, shards: u32) -> (Coordinator, Worker, Worker) {
    let coordinator = deployment.coordinator(shards).await;
    let (a, b) = tokio::join!(
        worker_of(deployment, &coordinator, "a", "blue"),
        worker_of(deployment, &coordinator, "b", "blue")
    );
    coordinator.until_balanced(&[&a, &b]).await;
    (coordinator, a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_previewed_and_carried_out() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, mut a, mut b) = blue(&deployment, 4).await;
    let url = &coordinator.address;
    let identifies = deployment.sim.control().identifies().items.len();

    let refused = altergolden(url, &["deploy", "promote", "green", "--dry-run"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("generation green has no connected worker"), "{}", refused.err);

    let green = worker_of(&deployment, &coordinator, "g", "green").await;
    coordinator.until("green to stand by", |status| status.workers.len() == 3).await;
    let dry = altergolden(url, &["deploy", "promote", "green", "--dry-run", "--json"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    let dry: Value = serde_json::from_str(&dry.out).unwrap();
    assert_eq!((&dry["state"], &dry["identifies"]), (&"proposed".into(), &0.into()));
    assert_eq!(dry["steps"].as_array().unwrap().len(), 4);
    assert_eq!(coordinator.client().await.shards("g").await.unwrap().len(), 0, "nothing was done");

    let promoted = altergolden(url, &["deploy", "promote", "green"]);
    assert_eq!(promoted.code, 0, "{} {}", promoted.out, promoted.err);
    assert!(promoted.out.contains("4/4 shards"), "{}", promoted.out);
    assert!(promoted.out.contains("promote generation green: done, 4 shards moved in"), "{}", promoted.out);
    for worker in [&mut a, &mut b] {
        assert_eq!(worker.process.ended().await.code(), Some(0), "{}", worker.name);
    }
    coordinator.until_balanced(&[&green]).await;
    let status: Value = serde_json::from_str(&altergolden(url, &["deploy", "status", "--json"]).out).unwrap();
    assert_eq!((&status["active_generation"], &status["plan"]["state"]), (&"green".into(), &"done".into()));
    assert_eq!(deployment.sim.control().identifies().items.len(), identifies, "no IDENTIFY was spent");
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_intents_cost_one_identify_per_shard() {
    let deployment = Deployment::start(sim_config(10)).await;
    let (coordinator, _a, _b) = blue(&deployment, 4).await;
    let mut command = deployment.worker_command("g", &coordinator.address);
    let _green =
        Worker::start("g", command.env("GENERATION", "green").env("INTENTS", "GUILDS,GUILD_MEMBERS")).await;
    coordinator.until("green to stand by", |status| status.workers.len() == 3).await;
    let dry = altergolden(&coordinator.address, &["deploy", "promote", "green", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.err);
    assert!(dry.out.contains("IDENTIFYs: 4"), "{}", dry.out);
    assert!(dry.out.contains("nothing was done"), "{}", dry.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_drained_and_shards_moved_by_hand() {
    let mut deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, mut a, b) = blue(&deployment, 4).await;
    let url = &coordinator.address;
    let shard = coordinator.client().await.shards("a").await.unwrap().remove(0).shard_id.to_string();

    let moved = altergolden(url, &["move", &shard, "b"]);
    assert_eq!(moved.code, 0, "{} {}", moved.out, moved.err);
    assert_eq!(coordinator.client().await.shards("b").await.unwrap()[0].shard_id.to_string(), shard);
    let again = altergolden(url, &["move", &shard, "b"]);
    assert_eq!(again.code, 2, "{}", again.out);
    assert!(again.err.contains("has shard"), "{}", again.err);
    assert_eq!(altergolden(url, &["move", "9", "b"]).code, 1, "there is no such shard");
    assert_eq!(altergolden(url, &["rebalance"]).code, 0);
    let none = altergolden(url, &["deploy", "abort"]);
    assert!(none.code == 1 && none.err.contains("no plan is under way"), "{}", none.err);

    let drained = altergolden(url, &["drain", "a"]);
    assert_eq!(drained.code, 0, "{} {}", drained.out, drained.err);
    assert_eq!(a.process.ended().await.code(), Some(0));
    coordinator.until_balanced(&[&b]).await;
    // No other worker is left for its shards.
    let last = altergolden(url, &["drain", "b"]);
    assert!(last.code == 1 && last.err.contains("there is no room for shards 0-3:"), "{}", last.err);

    deployment.redis.kill();
    coordinator
        .until("the store to be away", |status| {
            status.problems.iter().any(|problem| problem.contains("fleet store is away"))
        })
        .await;
    let away = altergolden(url, &["rebalance"]);
    assert!(away.code == 1 && away.err.contains("the fleet store is away"), "{}", away.err);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_successor_exits_after_half_its_drain_timeout() {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(4).await;
    let mut small = deployment.worker_command("small", &coordinator.address);
    let mut large = deployment.worker_command("large", &coordinator.address);
    let (_small, mut large) = tokio::join!(
        Worker::start("small", small.env("SHARDS_PER_CLUSTER", "1")),
        Worker::start("large", large.env("DRAIN_TIMEOUT", "4s"))
    );
    coordinator.until("all shards to be ready", fleet_fixture::all_ready).await;
    let since = std::time::Instant::now();
    large.process.signal(Signal::TERM);
    assert_eq!(large.process.ended().await.code(), Some(0));
    assert!(since.elapsed() < std::time::Duration::from_secs(4), "{:?}", since.elapsed());
    // The next worker resumes the released shards: no IDENTIFY is sent again.
    let identifies = deployment.sim.control().identifies().items.len();
    let _next = deployment.worker("next", &coordinator).await;
    coordinator.until("all shards to be ready again", fleet_fixture::all_ready).await;
    assert_eq!(deployment.sim.control().identifies().items.len(), identifies);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_stay_complete_while_shards_move() {
    let deployment = Deployment::start(sim_config(60)).await;
    let (coordinator, _a, _b) = blue(&deployment, 6).await;
    let green = worker_of(&deployment, &coordinator, "g", "green").await;
    coordinator.until("green to stand by", |status| status.workers.len() == 3).await;
    let mut client = coordinator.client().await;
    let guilds = deployment.sim.control().guilds(60, 6);
    let plan = v1::start_plan_request::Plan::Promote(v1::Promote { generation: "green".to_owned() });
    client.start_plan(plan, false).await.unwrap();
    let (mut asked, mut moving) = (0, true);
    while moving {
        moving = client.shards("g").await.unwrap().len() < 6;
        let stats = client.aggregate_stats(std::time::Duration::ZERO).await.unwrap();
        assert!(stats.complete && stats.total_guilds == 60, "{stats:?}");
        for found in client.find_guilds(guilds.iter().map(|guild| guild.id.0).collect()).await.unwrap() {
            assert!(found.found && found.complete, "{found:?}");
        }
        asked += 1;
    }
    assert!(asked > 1, "the plan was over before the first lookup");
    coordinator.until_balanced(&[&green]).await;
}

/// The store keeps the choice: the next coordinator does not ask its settings.
#[tokio::test(flavor = "multi_thread")]
async fn generations_that_start_together_wait_for_a_promotion() {
    let deployment = Deployment::start(sim_config(40)).await;
    let mut command = deployment.coordinator_command(4);
    // Both workers register in that time, on a busy machine too.
    let mut coordinator = Coordinator::start(command.env("SETTLE", "5s")).await;
    let (mut a, g) = tokio::join!(
        worker_of(&deployment, &coordinator, "a", "blue"),
        worker_of(&deployment, &coordinator, "g", "green")
    );
    let code = "generation_unchosen";
    let waits = |status: &v1::FleetStatus| status.problem_details.iter().any(|problem| problem.code == code);
    let status = coordinator.until("no generation to be active", waits).await;
    assert!(status.shards.iter().all(|shard| shard.worker_id.is_empty()), "{status:?}");
    assert!(status.problem_details.iter().all(|problem| problem.code != "no_worker"), "{status:?}");
    let url = &coordinator.address;
    let shown = altergolden(url, &["status"]);
    assert!(shown.out.contains("workers of several generations (blue, green)"), "{}", shown.out);
    let shown = altergolden(url, &["deploy", "status"]);
    assert!(shown.out.contains("active generation: none yet"), "{}", shown.out);

    let dry = altergolden(url, &["deploy", "promote", "green", "--dry-run", "--json"]);
    let dry: Value = serde_json::from_str(&dry.out).unwrap();
    assert_eq!((&dry["state"], &dry["identifies"]), (&"proposed".into(), &4.into()));
    let promoted = altergolden(url, &["deploy", "promote", "green"]);
    assert_eq!(promoted.code, 0, "{} {}", promoted.out, promoted.err);
    let shards = coordinator.client().await.shards("g").await.unwrap();
    let is_ready = |shard: &v1::Shard| shard.status() == v1::ShardStatus::Ready;
    assert!(shards.len() == 4 && shards.iter().all(is_ready), "done means that all are ready: {shards:?}");
    assert_eq!(a.process.ended().await.code(), Some(0));

    coordinator.process.kill().await;
    let mut command = deployment.coordinator_command(4);
    let port = coordinator.address.split_once("://").unwrap().1;
    let coordinator =
        Coordinator::start(command.env("COORDINATOR_LISTEN", port).env("ACTIVE_GENERATION", "blue")).await;
    let _late = worker_of(&deployment, &coordinator, "a", "blue").await;
    coordinator.until("the workers to be back", |status| status.workers.len() == 2).await;
    let status = coordinator.until_balanced(&[&g]).await;
    assert_eq!(status.active_generation, "green");
    assert_eq!(deployment.sim.control().identifies().items.len(), 4);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn named_generation_gets_the_shards_of_a_new_fleet() {
    let deployment = Deployment::start(sim_config(40)).await;
    let mut command = deployment.coordinator_command(4);
    command.env("SETTLE", "5s").env("ACTIVE_GENERATION", "green");
    let coordinator = Coordinator::start(&mut command).await;
    let (_a, g) = tokio::join!(
        worker_of(&deployment, &coordinator, "a", "blue"),
        worker_of(&deployment, &coordinator, "g", "green")
    );
    let status = coordinator.until_balanced(&[&g]).await;
    assert_eq!((&*status.active_generation, status.workers.len()), ("green", 2));
    deployment.assert_lawful();
}
