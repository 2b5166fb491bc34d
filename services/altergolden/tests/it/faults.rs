//! What must hold when things go wrong.

use std::{collections::BTreeMap, time::Duration};

use altergolden_proto::v1::{self, coordinator_client::CoordinatorClient};
use discord_sim::Fault;
use fleet_fixture::{
    Coordinator, DEADLINE, Deployment, LEASE_TTL, Process, Proxy, Signal, Worker, all_ready, is_ready,
    shares, sim_config, until,
};
use process::credentials::Role;
use tokio::time::Instant;

const SHARDS: u32 = 4;

/// Each shard's owner and epoch.
fn owners(shards: &[v1::Shard]) -> BTreeMap<u32, (String, u64)> {
    shards.iter().map(|shard| (shard.shard_id, (shard.worker_id.clone(), shard.epoch))).collect()
}

/// Two workers with two shards each, everything ready.
async fn pair(deployment: &Deployment) -> (Coordinator, Worker, Worker) {
    let coordinator = deployment.coordinator(SHARDS).await;
    let (a, b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    (coordinator, a, b)
}

fn identifies(deployment: &Deployment) -> usize {
    deployment.sim.control().identifies().items.len()
}

/// Waits until the workers have received more events than now.
async fn events_flow(worker: &Worker) {
    let before = worker.metric("altergolden_gateway_events_total").await;
    worker.until_metric("altergolden_gateway_events_total", |events| events > before + 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_restarts_moves_nothing() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (mut coordinator, a, b) = pair(&deployment).await;
    let before = owners(&coordinator.client().await.shards("").await.unwrap());
    let spent = identifies(&deployment);

    coordinator.process.kill().await;
    for worker in [&a, &b] {
        events_flow(worker).await;
    }
    // Workers ask each other while it is away.
    let stats = a.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    assert!(stats.complete, "{stats:?}");

    // Back on the same port, with another total in its settings.
    let address = coordinator.socket().to_string();
    let mut command = deployment.coordinator_command(16);
    let coordinator = Coordinator::start(command.env("COORDINATOR_LISTEN", address)).await;
    let status = coordinator.until_balanced(&[&a, &b]).await;
    assert_eq!(owners(&status.shards), before);
    // Past its grace, when it would move something if it wanted to.
    tokio::time::sleep(LEASE_TTL + Duration::from_secs(2)).await;
    let after = coordinator.client().await.shards("").await.unwrap();
    assert_eq!(owners(&after), before);
    assert!(after.iter().all(is_ready));
    assert_eq!(identifies(&deployment), spent, "no IDENTIFY was spent");
    let (_, health) = coordinator.health().await;
    assert!(health["problems"].to_string().contains("16 are wanted"), "{health}");
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_of_one_host_that_end_at_once_are_back_without_waiting_for_leases() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (mut coordinator, mut a, mut b) = pair(&deployment).await;
    until("the store to be trusted", async || {
        let trusted = deployment.redis.command::<bool>(&["HEXISTS", "{altergolden}:fleet", "trusted"]).await;
        trusted.then_some(())
    })
    .await;
    let spent = identifies(&deployment);

    for process in [&mut coordinator.process, &mut a.process, &mut b.process] {
        process.kill().await;
    }
    let mut command = deployment.coordinator_command(SHARDS);
    let mut next =
        Coordinator::start(command.env("COORDINATOR_LISTEN", coordinator.socket().to_string())).await;
    let (a, b) = tokio::join!(deployment.worker("a", &next), deployment.worker("b", &next));
    let has_ended =
        |line: &str| line.contains("process on this host has ended; taking its term").then_some(());
    next.process.line("that the first coordinator has ended", has_ended).await;
    for name in ["a", "b"] {
        let name = format!("\"{name}\"");
        let has_ended = |line: &str| {
            (line.contains("the worker's process on this host has ended") && line.contains(&name))
                .then_some(())
        };
        next.process.line("that a worker has ended", has_ended).await;
    }
    next.until_balanced(&[&a, &b]).await;
    for worker in [&a, &b] {
        events_flow(worker).await;
    }
    assert_eq!(identifies(&deployment), spent, "sessions are resumed");
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_coordinator_answers_and_moves_nothing_until_the_first_is_gone() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (mut first, a, b) = pair(&deployment).await;
    let before = owners(&first.client().await.shards("").await.unwrap());
    let second = deployment.coordinator(SHARDS).await;

    let status =
        second.until("the second to know the fleet", |status| status.shards.len() == SHARDS as usize).await;
    assert!(!status.acting);
    let mut client = second.client().await;
    let stats = client.aggregate_stats(Duration::ZERO).await.unwrap();
    assert!(stats.complete && stats.total_guilds == 40, "{stats:?}");
    let guild = deployment.sim.control().guilds(1, SHARDS).remove(0);
    assert!(client.find_guild(guild.id.to_string().parse().unwrap()).await.unwrap().found);
    // A worker that asks it is sent away in words.
    let mut lost = Process::start("lost", &mut deployment.worker_command("lost", &second.address));
    lost.line("why it is not taken", |line| line.contains("does not act").then_some(())).await;
    assert_eq!(lost.stop().await, 0);
    assert_eq!(owners(&first.client().await.shards("").await.unwrap()), before);

    // The first goes: the second acts, and what runs is left alone.
    assert_eq!(first.process.stop().await, 0);
    second.until("the second to act", |status| status.acting).await;
    for worker in [&a, &b] {
        events_flow(worker).await;
    }
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_come_late() {
    let mut deployment = Deployment::start(sim_config(10)).await;
    deployment.redis.kill();
    let mut coordinator = deployment.coordinator(2).await;
    let mut worker = deployment.worker("a", &coordinator).await;
    let process = &mut coordinator.process;
    process.line("that it waits", |line| line.contains("waiting for the fleet store").then_some(())).await;
    worker.process.line("that it waits", |line| line.contains("does not act").then_some(())).await;
    deployment.redis.restart().await;
    coordinator.until_balanced(&[&worker]).await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_on_while_redis_is_away() {
    let mut deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, a, b) = pair(&deployment).await;
    let before = owners(&coordinator.client().await.shards("").await.unwrap());
    let spent = identifies(&deployment);

    deployment.redis.kill();
    let refused = until("broadcasts to be refused", async || {
        coordinator.client().await.broadcast("x", altergolden_proto::convert::from_json(1.into())).await.err()
    })
    .await;
    assert!(refused.to_string().contains("event bus is away"), "{refused}");
    until("/health to say so", async || {
        let (status, body) = coordinator.health().await;
        let degraded = body["status"] == "degraded" && body["problems"].to_string().contains("store is away");
        (status == 200 && degraded).then_some(())
    })
    .await;
    // Longer than a lease: the coordinator's word alone keeps it.
    let until = Instant::now() + LEASE_TTL * 2;
    while Instant::now() < until {
        for worker in [&a, &b] {
            events_flow(worker).await;
        }
    }
    deployment.redis.restart().await;
    coordinator.until("the store to be back", |status| all_ready(status) && status.problems.is_empty()).await;
    fleet_fixture::until("broadcasts to be heard by all", async || {
        let sent =
            coordinator.client().await.broadcast("x", altergolden_proto::convert::from_json(1.into())).await;
        sent.is_ok_and(|sent| sent.workers_acknowledged == 2).then_some(())
    })
    .await;
    // It came back empty: the fleet has written itself down again.
    fleet_fixture::until("the store to know who runs what", async || {
        let owner: Option<String> =
            deployment.redis.command(&["HGET", "{altergolden:shard:0}", "worker"]).await;
        owner.filter(|owner| *owner == before[&0].0)
    })
    .await;
    assert_eq!(owners(&coordinator.client().await.shards("").await.unwrap()), before);
    assert_eq!(identifies(&deployment), spent);
    assert_eq!(a.metric("altergolden_gateway_fenced_total").await, 0);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_costs_the_deadline_and_handles_nothing_when_it_wakes() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, a, b) = pair(&deployment).await;
    a.process.signal(Signal::STOP);

    let asked = Instant::now();
    let stats = coordinator.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    assert!(asked.elapsed() < DEADLINE, "{:?}", asked.elapsed());
    assert!(!stats.complete);
    assert_eq!(stats.missing_shards.len(), 2, "{stats:?}");
    assert_eq!(stats.total_guilds, 20, "what answered is there");
    let guilds = deployment.sim.control().guilds(40, SHARDS);
    let on_a = guilds.iter().map(|guild| guild.id.to_string().parse::<u64>().unwrap());
    let on_a = on_a
        .filter(|id| stats.missing_shards.contains(&((id >> 22) as u32 % SHARDS)))
        .take(1)
        .next()
        .unwrap();
    let unknown = coordinator.client().await.find_guild(on_a).await.unwrap();
    assert!(!unknown.found && !unknown.complete && unknown.reason.contains("worker a"), "{unknown:?}");

    // Its lease lapses, its shards run on the other.
    coordinator
        .until("all shards on b", |status| all_ready(status) && shares(&status.shards).len() == 1)
        .await;
    // Everything that was sent to it meanwhile waits in its sockets. Nothing new comes while it wakes.
    deployment.sim.control().inject(Fault::EventRate { per_second: 0.0 }).unwrap();
    a.process.signal(Signal::CONT);
    // Its own clock or the coordinator's refusal ends the lease first; its shards close either way.
    a.until_metric("altergolden_lease_refused_total", |refused| refused >= 1).await;
    deployment.sim.control().inject(Fault::EventRate { per_second: 40.0 }).unwrap();
    coordinator.until_balanced(&[&a, &b]).await;
    let violations = deployment.sim.control().violations();
    let rules = violations.items.iter().filter(|violation| {
        // A stopped process can't send heartbeats: that one is the signal's doing.
        violation.kind != discord_sim::ViolationKind::MissedHeartbeat
    });
    assert_eq!(rules.count(), 0, "{:#?}", violations.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_closes_its_shards_in_time() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(2).await;
    let to_coordinator = Proxy::to(coordinator.socket()).await;
    let to_redis = Proxy::to(([127, 0, 0, 1], deployment.redis.port()).into()).await;
    let mut command = deployment.worker_command("a", &to_coordinator.address().to_string());
    command.env("REDIS_URL", format!("redis://{}", to_redis.address()));
    let worker = Worker::start("a", &mut command).await;
    coordinator.until_balanced(&[&worker]).await;

    // One path is enough.
    to_redis.cut();
    tokio::time::sleep(LEASE_TTL + Duration::from_secs(1)).await;
    assert_eq!(worker.metric("altergolden_gateway_fenced_total").await, 0);

    to_coordinator.cut();
    let cut = Instant::now();
    let control = deployment.sim.control();
    let closed = control
        .wait_until(LEASE_TTL, |control| control.sessions().shards.iter().all(|shard| shard.open == 0))
        .await;
    assert!(closed, "still connected {:?} after the cut", cut.elapsed());
    // Resumably: the sessions live on.
    assert!(control.ledger().sessions.iter().all(|session| session.ended_at_ms.is_none()));
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_coordinator_fences_no_worker() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, a, b) = pair(&deployment).await;
    let before = owners(&coordinator.client().await.shards("").await.unwrap());
    let spent = identifies(&deployment);
    // It accepts connections and answers nothing: the store alone keeps the leases.
    coordinator.process.signal(Signal::STOP);
    let until = Instant::now() + LEASE_TTL * 3;
    while Instant::now() < until {
        for worker in [&a, &b] {
            events_flow(worker).await;
        }
    }
    coordinator.process.signal(Signal::CONT);
    coordinator.until_balanced(&[&a, &b]).await;
    for worker in [&a, &b] {
        assert_eq!(worker.metric("altergolden_gateway_fenced_total").await, 0);
    }
    assert_eq!(owners(&coordinator.client().await.shards("").await.unwrap()), before);
    assert_eq!(identifies(&deployment), spent);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_that_stops_as_a_whole_does_not_wait_for_itself() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (mut coordinator, mut a, mut b) = pair(&deployment).await;
    // A request that never ends does not delay the exit.
    let address = a.health.trim_start_matches("http://").to_owned();
    let mut half = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"GET /health HTTP/1.1\r\n").await.unwrap();
    let asked = Instant::now();
    a.process.signal(Signal::TERM);
    b.process.signal(Signal::TERM);
    assert_eq!(a.process.ended().await.code(), Some(0), "{}", a.process.output());
    assert_eq!(b.process.ended().await.code(), Some(0), "{}", b.process.output());
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
    assert_eq!(coordinator.process.stop().await, 0);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_takes_many_shards_at_once() {
    let mut config = sim_config(200);
    config.max_concurrency = 100;
    let deployment = Deployment::start(config).await;
    let coordinator = deployment.coordinator(100).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    // One stream carried it all.
    let registrations = worker.process.output().matches("\"registered\"").count();
    assert_eq!(registrations, 1, "{}", worker.process.output());
    assert_eq!(identifies(&deployment), 100);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_one_owner() {
    let deployment = Deployment::start(sim_config(10)).await;
    let (coordinator, a, b) = pair(&deployment).await;
    let mut twin = Process::start("twin", &mut deployment.worker_command("a", &coordinator.address));
    assert_eq!(twin.ended().await.code(), Some(2), "{}", twin.output());
    let said = twin.output();
    let last = said.lines().last().unwrap();
    assert!(last.contains("--worker-name") && last.contains("the name a is taken by"), "{said}");
    coordinator.until_balanced(&[&a, &b]).await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_reports_are_refused_with_a_reason() {
    let deployment = Deployment::start(sim_config(10)).await;
    let coordinator = deployment.coordinator(2).await;
    let mut client = CoordinatorClient::new(coordinator.channel(Role::Worker).await);
    coordinator.until("it to act", |status| status.acting).await;
    let good = v1::RegisterRequest {
        worker_id: "w".to_owned(),
        incarnation: "1".to_owned(),
        advertise_url: "http://127.0.0.1:1".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        ..v1::RegisterRequest::default()
    };
    let range = |first, last| v1::ShardRange { first, last, epoch: 1 };
    for (request, code, says) in [
        (
            v1::RegisterRequest { protocol_min: 7, protocol_max: 9, ..good.clone() },
            tonic::Code::FailedPrecondition,
            "speaks 7 to 9",
        ),
        (good.clone(), tonic::Code::FailedPrecondition, "WORKER_ADVERTISE"),
        (
            v1::RegisterRequest { worker_id: "a/b".to_owned(), ..good.clone() },
            tonic::Code::InvalidArgument,
            "a/b",
        ),
        (
            v1::RegisterRequest { running: vec![range(5, 4)], ..good.clone() },
            tonic::Code::InvalidArgument,
            "5 to 4",
        ),
        (
            v1::RegisterRequest { running: vec![range(0, u32::MAX)], ..good.clone() },
            tonic::Code::InvalidArgument,
            "no range",
        ),
    ] {
        let refused = client.register(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn token_refused_later_stops_identifies_and_is_reported() {
    let deployment = Deployment::start(sim_config(10)).await;
    let (coordinator, _a, _b) = pair(&deployment).await;
    let control = deployment.sim.control();
    control.inject(Fault::RejectToken { on: true }).unwrap();
    control.inject(Fault::InvalidSession { shards: Some(vec![0]), resumable: false }).unwrap();
    let status = coordinator
        .until("the refusal to be shown", |status| {
            status.problems.iter().any(|problem| problem.contains("4004"))
        })
        .await;
    let failed = &status.shards[0];
    assert!(failed.detail.contains("DISCORD_TOKEN"), "{failed:?}");
    let tries = identifies(&deployment);
    // Another shard loses its session: it is not let near the gateway.
    control.inject(Fault::InvalidSession { shards: Some(vec![1]), resumable: false }).unwrap();
    coordinator
        .until("shard 1 to wait", |status| status.shards[1].detail.contains("refused the token"))
        .await;
    assert_eq!(identifies(&deployment), tries, "no retry storm");
    let (_, health) = coordinator.health().await;
    assert_eq!(health["status"], "degraded", "{health}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_accepts_and_closes_is_not_stormed() {
    let deployment = Deployment::start(sim_config(10)).await;
    let coordinator = deployment.coordinator(1).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let control = deployment.sim.control();
    control.inject(Fault::AcceptThenClose { connections: 1_000_000 }).unwrap();
    control.inject(Fault::Abort { shards: None }).unwrap();
    worker.until_metric("altergolden_gateway_reconnects_total", |reconnects| reconnects >= 3).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let reconnects = worker.metric("altergolden_gateway_reconnects_total").await;
    assert!(reconnects < 12, "{reconnects} connections in a few seconds");
    control.inject(Fault::AcceptThenClose { connections: 0 }).unwrap();
    coordinator.until_balanced(&[&worker]).await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn op_7_and_lost_connections_resume() {
    let deployment = Deployment::start(sim_config(40)).await;
    let (coordinator, a, b) = pair(&deployment).await;
    let spent = identifies(&deployment);
    let control = deployment.sim.control();
    for fault in [
        Fault::Reconnect { shards: None },
        Fault::Abort { shards: None },
        Fault::Close { shards: None, code: 4000, reason: String::new() },
    ] {
        let before = resumes(&deployment);
        control.inject(fault).unwrap();
        let resumed =
            control.wait_until(Duration::from_secs(20), |_| resumes(&deployment) >= before + SHARDS).await;
        assert!(resumed, "{} resumes", resumes(&deployment));
        coordinator.until_balanced(&[&a, &b]).await;
    }
    assert_eq!(identifies(&deployment), spent, "a RESUME spends no IDENTIFY");
    let stats = coordinator.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    assert_eq!(stats.total_guilds, 40, "the caches are whole");
    deployment.assert_lawful();
}

fn resumes(deployment: &Deployment) -> u32 {
    deployment.sim.control().sessions().shards.iter().map(|shard| shard.resumes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_not_a_removal() {
    let deployment = Deployment::start(sim_config(10)).await;
    let coordinator = deployment.coordinator(1).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let control = deployment.sim.control();
    let guild = control.guilds(1, 1).remove(0);
    let id: u64 = guild.id.to_string().parse().unwrap();
    let mut client = coordinator.client().await;

    control.inject(Fault::GuildOutage { guild_id: guild.id, on: true }).unwrap();
    let found = until("the outage to be seen", async || {
        let found = client.find_guild(id).await.unwrap();
        found.unavailable.then_some(found)
    })
    .await;
    assert!(found.found && found.name.as_deref() == Some(guild.name.as_str()), "{found:?}");
    let stats = client.aggregate_stats(Duration::ZERO).await.unwrap();
    assert_eq!(stats.total_guilds, 10);

    control.inject(Fault::GuildOutage { guild_id: guild.id, on: false }).unwrap();
    control.inject(Fault::GuildLeave { guild_id: guild.id }).unwrap();
    until("the guild to be gone", async || {
        let found = client.find_guild(id).await.unwrap();
        (!found.found && found.complete).then_some(())
    })
    .await;
    assert_eq!(client.aggregate_stats(Duration::ZERO).await.unwrap().total_guilds, 9);
    deployment.assert_lawful();
}

/// A dead worker can have a longer lease than the coordinator grants now: after a change of LEASE_TTL, or after a repair.
#[tokio::test(flavor = "multi_thread")]
async fn worker_waits_for_the_long_lease_of_a_dead_one_of_its_name() {
    let deployment = Deployment::start(sim_config(4)).await;
    let coordinator = deployment.coordinator(1).await;
    let key = "{altergolden:worker:a}";
    let now: Vec<u64> = deployment.redis.command(&["TIME"]).await;
    let left = 3 * LEASE_TTL + Duration::from_secs(2);
    let ends = (now[0] * 1_000 + left.as_millis() as u64).to_string();
    let record =
        ["incarnation", "dead", "url", "http://127.0.0.1:1", "expires_at_ms", &ends, "ttl_ms", "60000"];
    deployment.redis.command::<()>(&[&["HSET", key], &record[..]].concat()).await;
    // It would give up after twice the TTL and a second.
    let mut command = deployment.worker_command("a", &coordinator.address);
    let a = Worker::start("a", &mut command).await;
    coordinator.until_balanced(&[&a]).await;
    deployment.assert_lawful();
}
