//! The main path of an operator: real processes, twelve shards, 1,200 guilds.

use std::{collections::BTreeSet, time::Duration};

use altergolden_proto::{
    convert,
    v1::{self, fleet_client::FleetClient, shard_bridge_client::ShardBridgeClient},
};
use discord_sim::{GuildReport, IdentifyRecord, Listed, SessionsReport, StatsReport, UserReport, Violation};
use fleet_fixture::{
    Coordinator, DEADLINE, DEMANDED_INTERVAL, IDENTIFY_INTERVAL, LEASE_TTL, Process, Worker, command, http,
    humantime, shares, until,
};
use process::credentials::Role;
use redis_fixture::RedisServer;
use serde_json::json;
use tonic::Code;

const SHARDS: u32 = 12;
const GUILDS: u32 = 1_200;

/// discord-sim as a process, asked over its control API.
struct SimProcess {
    _process: Process,
    origin: String,
}

impl SimProcess {
    async fn start() -> Self {
        let mut command = command("discord-sim");
        command
            .env("SIM_LISTEN", "127.0.0.1:0")
            .env("SIM_GUILDS", GUILDS.to_string())
            .env("SIM_MAX_CONCURRENCY", "4")
            .env("SIM_IDENTIFY_INTERVAL", humantime(DEMANDED_INTERVAL))
            .env("SIM_EVENTS_PER_SECOND", "100")
            .env("SIM_HEARTBEAT_INTERVAL", "6s");
        let mut process = Process::start("discord-sim", &mut command);
        let origin = process
            .line("its address", |line| line.strip_prefix("discord-sim listening on ").map(str::to_owned))
            .await;
        Self { _process: process, origin }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/sim/{path}", self.origin)
    }

    async fn guilds(&self) -> Vec<GuildReport> {
        http::json(&self.url(&format!("guilds?limit={GUILDS}&shard_total={SHARDS}"))).await
    }

    async fn assert_lawful(&self) {
        let violations: Listed<Violation> = http::json(&self.url("violations")).await;
        assert!(violations.items.is_empty(), "{:#?}", violations.items);
        let sessions: SessionsReport = http::json(&self.url("sessions")).await;
        for shard in sessions.shards {
            assert!(shard.open_max <= 1, "{:?} was connected {} times at once", shard.shard, shard.open_max);
        }
    }
}

struct Tour {
    redis: RedisServer,
    sim: SimProcess,
}

impl Tour {
    fn settings(&self, command: &mut std::process::Command) {
        command
            .env("DISCORD_TOKEN", "a-token-of-the-tests")
            .env("DISCORD_API_URL", &self.sim.origin)
            .env("REDIS_URL", self.redis.url())
            .env("HEALTH_PORT", "0")
            .env("MANAGER_HEALTH_PORT", "0");
    }

    async fn coordinator(&self) -> Coordinator {
        let mut command = command("coordinator");
        self.settings(&mut command);
        command
            .env("COORDINATOR_LISTEN", "127.0.0.1:0")
            .env("SHARD_COUNT", SHARDS.to_string())
            .env("LEASE_TTL", humantime(LEASE_TTL))
            .env("IDENTIFY_INTERVAL", humantime(IDENTIFY_INTERVAL))
            .env("SETTLE", "1s");
        Coordinator::start(&mut command).await
    }

    async fn worker(&self, name: &str, coordinator: &Coordinator) -> Worker {
        let mut command = command("gateway-worker");
        self.settings(&mut command);
        command
            .env("WORKER_NAME", name)
            .env("COORDINATOR_URL", &coordinator.address)
            .env("INTENTS", "GUILDS,GUILD_MEMBERS,GUILD_PRESENCES,GUILD_MESSAGES,GUILD_VOICE_STATES")
            .env("CACHE", "guilds,channels,members,users,voice_states");
        Worker::start(name, &mut command).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_and_lookups_hold_while_workers_join_stop_and_die() {
    let tour = Tour { redis: RedisServer::start().await, sim: SimProcess::start().await };
    let coordinator = tour.coordinator().await;
    let (mut a, mut b, c) = tokio::join!(
        tour.worker("a", &coordinator),
        tour.worker("b", &coordinator),
        tour.worker("c", &coordinator)
    );
    let status = coordinator.until_balanced(&[&a, &b, &c]).await;
    assert_eq!(status.shard_total, SHARDS);
    assert_eq!(shares(&status.shards).values().copied().collect::<Vec<_>>(), [4, 4, 4]);

    assert_counts_match_discord(&tour, &coordinator, &[&a, &b, &c]).await;
    lists_come_in_pages(&coordinator, &status.shards).await;
    every_process_finds_every_guild(&tour, &coordinator, &[&a, &b, &c], &status.shards).await;
    users_are_found(&tour, &coordinator).await;
    a_broadcast_reaches_all(&coordinator, &[&a, &b, &c]).await;
    ports_answer(&coordinator, &a).await;

    // A worker joins: it gets its share, other shards stay.
    let before = coordinator.client().await.shards("").await.unwrap();
    let d = tour.worker("d", &coordinator).await;
    let after = coordinator.until_balanced(&[&a, &b, &c, &d]).await.shards;
    let moved: BTreeSet<u32> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before.worker_id != after.worker_id)
        .map(|(_, after)| after.shard_id)
        .collect();
    assert_eq!(moved.len(), 3, "only what the new worker runs has moved: {moved:?}");

    // A worker stops: its shards move, it exits 0.
    assert_eq!(a.process.stop().await, 0, "{}", a.process.output());
    coordinator.until_balanced(&[&b, &c, &d]).await;

    // A worker is killed: its shards run elsewhere once its lease has lapsed.
    b.process.kill().await;
    coordinator.until_balanced(&[&c, &d]).await;
    assert_counts_match_discord(&tour, &coordinator, &[&c, &d]).await;

    let identifies: Listed<IdentifyRecord> = http::json(&tour.sim.url("identifies")).await;
    let refused: Vec<&IdentifyRecord> =
        identifies.items.iter().filter(|identify| identify.refused.is_some()).collect();
    assert!(refused.is_empty(), "{refused:#?} of {:#?}", identifies.items);
    // IDENTIFYs were sent only at the start: shards that move resume.
    assert_eq!(identifies.items.len(), SHARDS as usize, "{:#?}", identifies.items);
    tour.sim.assert_lawful().await;
}

async fn assert_counts_match_discord(tour: &Tour, coordinator: &Coordinator, workers: &[&Worker]) {
    let truth: StatsReport = http::json(&tour.sim.url(&format!("stats?shard_total={SHARDS}"))).await;
    let mut clients = vec![coordinator.client().await];
    for worker in workers {
        clients.push(worker.client().await);
    }
    for client in &mut clients {
        let stats = client.aggregate_stats(Duration::ZERO).await.unwrap();
        assert!(stats.complete, "{stats:?}");
        assert_eq!(stats.shard_count, SHARDS);
        assert_eq!(stats.total_guilds, GUILDS);
        assert_eq!(stats.total_users, Some(truth.total.users));
        assert_eq!(stats.total_channels.map(u64::from), Some(truth.total.channels));
        assert_eq!(stats.total_voice_connections.map(u64::from), Some(truth.total.voice_connections));
        assert_eq!(stats.shards.len(), SHARDS as usize);
    }
    // From heartbeats alone: the same guilds, with an age.
    let stale = clients[0].aggregate_stats(Duration::from_secs(30)).await.unwrap();
    assert_eq!(stale.total_guilds, GUILDS);
}

/// Pages of any size are the same list, and the totals of each page are of the whole bot.
async fn lists_come_in_pages(coordinator: &Coordinator, shards: &[v1::Shard]) {
    let mut bridge = ShardBridgeClient::new(coordinator.channel(Role::Bot).await);
    let mut fleet = FleetClient::new(coordinator.channel(Role::Operator).await);
    let all: Vec<u32> = shards.iter().map(|shard| shard.shard_id).collect();
    for page_size in [0, 1, 5, SHARDS, SHARDS + 1] {
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListShardsRequest { page_size, page_token, ..Default::default() };
            let page = fleet.list_shards(request).await.unwrap().into_inner();
            assert!(page_size == 0 || page.shards.len() <= page_size as usize);
            listed.extend(page.shards.iter().map(|shard| shard.shard_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, all, "pages of {page_size}");

        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::GetAggregateStatsRequest { page_size, page_token, ..Default::default() };
            let page = bridge.get_aggregate_stats(request).await.unwrap().into_inner();
            assert!(page.complete && page.total_guilds == GUILDS, "{page:?}");
            listed.extend(page.shards.iter().map(|shard| shard.shard_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, all, "pages of {page_size}");
    }
    let request = v1::ListWorkersRequest { page_size: 2, ..Default::default() };
    let page = fleet.list_workers(request).await.unwrap().into_inner();
    assert_eq!((page.workers.len(), &*page.next_page_token), (2, "b"));
    let request = v1::ListWorkersRequest { page_size: 2, page_token: page.next_page_token };
    let page = fleet.list_workers(request).await.unwrap().into_inner();
    assert_eq!((page.workers.len(), &*page.next_page_token), (1, ""));
    let request = v1::GetAggregateStatsRequest { page_token: "b".to_owned(), ..Default::default() };
    assert_eq!(bridge.get_aggregate_stats(request).await.unwrap_err().code(), Code::InvalidArgument);
}

/// Asks every process for guilds of every shard, so each worker for its own guilds and for guilds of other workers.
async fn every_process_finds_every_guild(
    tour: &Tour,
    coordinator: &Coordinator,
    workers: &[&Worker],
    shards: &[v1::Shard],
) {
    let guilds = tour.sim.guilds().await;
    assert_eq!(guilds.len(), GUILDS as usize);
    let mut clients = vec![coordinator.client().await];
    for worker in workers {
        clients.push(worker.client().await);
    }
    for client in &mut clients {
        for guild in guilds.iter().step_by(97) {
            let id: u64 = guild.id.to_string().parse().unwrap();
            let found = client.find_guild(id).await.unwrap();
            assert!(found.found && found.complete, "{found:?}");
            assert_eq!(found.name.as_deref(), Some(guild.name.as_str()));
            assert_eq!(found.member_count, Some(guild.member_count));
            assert_eq!(u64::from(found.shard_id), (id >> 22) % u64::from(SHARDS));
            assert_eq!(found.worker_id, shards[found.shard_id as usize].worker_id);
        }
        // All in one request, in order, with one unknown guild among them.
        let mut ids: Vec<u64> =
            guilds.iter().step_by(3).map(|guild| guild.id.to_string().parse().unwrap()).collect();
        ids.insert(5, 1 << 40);
        let found = client.find_guilds(ids.clone()).await.unwrap();
        assert_eq!(found.iter().map(|guild| guild.guild_id).collect::<Vec<_>>(), ids);
        let there = found.iter().map(|guild| (guild.found, guild.complete));
        assert!(there.enumerate().all(|(n, answer)| answer == (n != 5, true)), "{found:?}");
        assert!(client.find_guilds(vec![1; 1_001]).await.unwrap_err().to_string().contains("1000"));
        let missing = client.find_guild(1 << 40).await.unwrap();
        assert!(!missing.found && missing.complete, "{missing:?}");
    }
}

async fn users_are_found(tour: &Tour, coordinator: &Coordinator) {
    let users: Vec<UserReport> = http::json(&tour.sim.url("users?limit=200")).await;
    let mut client = coordinator.client().await;
    // A user that GUILD_CREATE contains at any size of the guild: one in a voice channel.
    let user = users.iter().find(|user| !user.in_voice.is_empty()).expect("a user is in voice");
    let id: u64 = user.id.to_string().parse().unwrap();
    let found = client.find_user(id, true).await.unwrap();
    assert!(found.found, "{found:?}");
    assert_eq!(found.username, user.username);
    let both = client.find_users(vec![1 << 40, id], true).await.unwrap();
    assert_eq!(both.iter().map(|user| user.found).collect::<Vec<_>>(), [false, true], "{both:?}");
    assert_eq!(both[1].shard_ids, found.shard_ids);
    let missing = client.find_user(1 << 40, false).await.unwrap();
    assert!(!missing.found);
    assert!(missing.complete || missing.reason.contains("partial"), "{missing:?}");
}

async fn a_broadcast_reaches_all(coordinator: &Coordinator, workers: &[&Worker]) {
    let mut streams = vec![coordinator.client().await.subscribe(Vec::new()).await.unwrap()];
    for worker in workers {
        streams.push(worker.client().await.subscribe(vec!["cacheInvalidate".to_owned()]).await.unwrap());
    }
    let data = json!({"key": "settings:*"});
    let sent = workers[0]
        .client()
        .await
        .broadcast("cacheInvalidate", convert::from_json(data.clone()))
        .await
        .unwrap();
    assert_eq!(
        (sent.workers_expected, sent.workers_acknowledged),
        (workers.len() as u32, workers.len() as u32)
    );
    for stream in &mut streams {
        let item = tokio::time::timeout(DEADLINE, stream.message()).await.unwrap().unwrap().unwrap();
        let Some(v1::subscribe_response::Item::Message(message)) = item.item else { panic!("{item:?}") };
        assert_eq!(message.message_id, sent.message_id);
        assert_eq!(message.sender, workers[0].name);
        assert_eq!(message.data.map(convert::to_json), Some(data.clone()));
    }
}

async fn ports_answer(coordinator: &Coordinator, worker: &Worker) {
    for health in [&coordinator.health, &worker.health] {
        for path in ["health", "ready", "live", "metrics"] {
            let (status, body) = http::request(&format!("{health}/{path}"), None).await.unwrap();
            assert_eq!(status, 200, "{health}/{path}: {body}");
        }
    }
    let (_, body) = coordinator.health().await;
    assert_eq!(body["status"], "healthy", "{body}");
    assert_eq!(body["totalShards"], SHARDS);
    assert_eq!(body["shards"].as_array().unwrap().len(), SHARDS as usize);
    let first = &body["shards"][0];
    assert_eq!((&first["id"], &first["status"]), (&json!(0), &json!("ready")));
    assert!(first["guilds"].as_u64().unwrap() > 0);

    // A latency is there once a heartbeat has come back.
    for name in [
        "altergolden_discord_guilds_total{shard_id=\"0\"}",
        "altergolden_discord_gateway_latency_ms{shard_id=",
    ] {
        until(name, async || {
            let (_, metrics) = http::request(&format!("{}/metrics", worker.health), None).await.unwrap();
            metrics.contains(name).then_some(())
        })
        .await;
    }
}
