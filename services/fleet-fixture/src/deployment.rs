//! A whole deployment on this machine: Redis, discord-sim, a coordinator, workers.

use std::{collections::BTreeMap, net::SocketAddr, process::Command, time::Duration};

use altergolden_proto::{convert::status_from_wire, v1};
use discord_sim::{Sim, SimConfig};
use fleet_model::ShardStatus;
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use redis_fixture::RedisServer;
use serde_json::Value;
use shard_bridge::{BridgeClient, ClientError};
use tonic::transport::Channel;

use crate::{PATIENCE, Process, command, http, until};

/// A short lease, so that tests do not wait long; long enough for a busy machine.
pub const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long a bridge call may take in these tests.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How often a client's connection is checked.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Redis and Discord, before anything of ours runs.
pub struct Deployment {
    /// Its own `redis-server`.
    pub redis: RedisServer,
    /// discord-sim, in this process.
    pub sim: Sim,
}

/// A coordinator process.
pub struct Coordinator {
    /// The process.
    pub process: Process,
    /// The URL of its gRPC server.
    pub address: String,
    /// The URL of its health server.
    pub health: String,
    /// What clients of it prove, if not what the process's folder has.
    secured: Option<Credentials>,
}

/// A worker process.
pub struct Worker {
    /// The process.
    pub process: Process,
    /// Its name in the fleet.
    pub name: String,
    /// The URL of its gRPC server.
    pub address: String,
    /// The URL of its health server.
    pub health: String,
}

/// What the simulated Discord is like in most tests: small, and four may identify at once, often.
pub fn sim_config(guilds: u32) -> SimConfig {
    SimConfig {
        guilds,
        max_concurrency: 4,
        identify_interval: DEMANDED_INTERVAL,
        heartbeat_interval: Duration::from_secs(2),
        events_per_second: 40.0,
        ..SimConfig::default()
    }
}

/// Discord's 5 s, shortened: what coordinators wait for, beside their slack.
pub const IDENTIFY_INTERVAL: Duration = Duration::from_millis(900);

/// What the simulator demands between two IDENTIFYs of a bucket. It is less than coordinators wait for, as the time from a worker to
/// the simulator varies by more than the slack on a busy machine.
pub const DEMANDED_INTERVAL: Duration = Duration::from_millis(200);

impl Deployment {
    /// Starts both.
    pub async fn start(sim: SimConfig) -> Self {
        let (redis, sim) = tokio::join!(RedisServer::start(), Sim::start(sim));
        Self { redis, sim: sim.unwrap() }
    }

    /// The settings that every process of ours needs.
    pub fn shared(&self, name: &str) -> Command {
        let mut command = command(name);
        command
            .env("DISCORD_TOKEN", "a-token-of-the-tests")
            .env("DISCORD_API_URL", self.sim.http_origin())
            .env("REDIS_URL", self.redis.url())
            .env("HEALTH_PORT", "0")
            .env("MANAGER_HEALTH_PORT", "0");
        command
    }

    /// The command of a coordinator on a free port.
    pub fn coordinator_command(&self, shards: u32) -> Command {
        let mut command = self.shared("coordinator");
        command
            .env("COORDINATOR_LISTEN", "127.0.0.1:0")
            .env("SHARD_COUNT", shards.to_string())
            .env("LEASE_TTL", humantime(LEASE_TTL))
            .env("IDENTIFY_INTERVAL", humantime(IDENTIFY_INTERVAL))
            .env("SETTLE", "500ms");
        command
    }

    /// Starts a coordinator on a free port.
    pub async fn coordinator(&self, shards: u32) -> Coordinator {
        Coordinator::start(&mut self.coordinator_command(shards)).await
    }

    /// The command of a worker without bot code.
    pub fn worker_command(&self, name: &str, coordinator: &str) -> Command {
        self.bot_command("gateway-worker", name, coordinator)
    }

    /// The command of a worker whose bot code is in this program.
    pub fn bot_command(&self, program: &str, name: &str, coordinator: &str) -> Command {
        let mut command = self.shared(program);
        command.env("WORKER_NAME", name).env("COORDINATOR_URL", coordinator);
        command
    }

    /// Starts a worker without bot code.
    pub async fn worker(&self, name: &str, coordinator: &Coordinator) -> Worker {
        Worker::start(name, &mut self.worker_command(name, &coordinator.address)).await
    }

    /// No rule of Discord's was broken, and no shard was ever connected twice at once.
    pub fn assert_lawful(&self) {
        let control = self.sim.control();
        let violations = control.violations();
        assert!(violations.items.is_empty(), "{:#?}", violations.items);
        for shard in control.sessions().shards {
            assert!(
                shard.open_max <= 1,
                "shard {:?} was connected {} times at once",
                shard.shard,
                shard.open_max
            );
        }
    }
}

/// A duration as our settings take it.
pub fn humantime(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

impl Coordinator {
    /// Starts one and waits until it listens.
    pub async fn start(command: &mut Command) -> Self {
        Self::listening(Process::start("coordinator", command)).await
    }

    /// Waits until this process, which is a coordinator, listens.
    pub async fn listening(mut process: Process) -> Self {
        let health = process.logged("health endpoints listening", "address").await;
        let address = process.logged("coordinator listening", "address").await;
        Self::at(process, &address, &health)
    }

    /// A process that answers as a coordinator at these addresses.
    pub fn at(process: Process, address: &str, health: &str) -> Self {
        let credentials = process.credentials(Role::Operator);
        let address = format!("{}://{address}", credentials.scheme());
        Self { process, address, health: format!("http://{health}"), secured: None }
    }

    /// The same coordinator; clients of it have these credentials.
    #[must_use]
    pub fn secured(mut self, credentials: Credentials) -> Self {
        self.secure(credentials);
        self
    }

    /// From now on clients of it have these credentials.
    pub fn secure(&mut self, credentials: Credentials) {
        self.address = self.address.replacen("http:", "https:", 1);
        self.secured = Some(credentials);
    }

    /// The address of its gRPC server.
    pub fn socket(&self) -> SocketAddr {
        socket(&self.address)
    }

    /// A connection of a client with this role to its gRPC server.
    pub async fn channel(&self, role: Role) -> Channel {
        channel(&self.address, &self.process.credentials(role), Role::Coordinator).await
    }

    async fn connect(&self) -> Result<BridgeClient, ClientError> {
        let credentials = self.secured.clone().unwrap_or_else(|| self.process.credentials(Role::Operator));
        BridgeClient::connect_with(&self.address, DEADLINE, &credentials, Role::Coordinator).await
    }

    /// A client of it.
    pub async fn client(&self) -> BridgeClient {
        self.connect().await.unwrap()
    }

    /// Waits until the fleet is as it should be.
    pub async fn until(&self, what: &str, is: impl Fn(&v1::FleetStatus) -> bool) -> v1::FleetStatus {
        let watching = async {
            loop {
                // The coordinator may be starting.
                let Ok(mut client) = self.connect().await else {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let Ok(mut fleet) = client.watch().await else { continue };
                while let Ok(Some(status)) = fleet.message().await {
                    if is(&status) {
                        return status;
                    }
                }
            }
        };
        if let Ok(status) = tokio::time::timeout(PATIENCE, watching).await {
            return status;
        }
        panic!("gave up waiting: {what}; shards: {:?}", self.client().await.shards("").await)
    }

    /// Waits until every shard is ready, on exactly these workers, balanced to within one.
    pub async fn until_balanced(&self, workers: &[&Worker]) -> v1::FleetStatus {
        let names: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
        self.until_balanced_on(&names).await
    }

    /// The same, for workers by name.
    pub async fn until_balanced_on(&self, names: &[&str]) -> v1::FleetStatus {
        self.until(&format!("all shards ready on {names:?}"), |status| {
            let shares = shares(&status.shards);
            let (least, most) = (shares.values().min(), shares.values().max());
            all_ready(status)
                && shares.keys().map(String::as_str).eq(sorted(names))
                && most.zip(least).is_some_and(|(most, least)| most - least <= 1)
        })
        .await
    }

    /// What its `/health` answers: the status and the body.
    pub async fn health(&self) -> (u16, Value) {
        let (status, text) = http::request(&format!("{}/health", self.health), None).await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }
}

impl Worker {
    /// Starts one and waits until it listens.
    pub async fn start(name: &str, command: &mut Command) -> Self {
        Self::listening(name, Process::start(name, command)).await
    }

    /// Waits until this process, which is a worker of that name, listens.
    pub async fn listening(name: &str, mut process: Process) -> Self {
        let health = process.logged("health endpoints listening", "address").await;
        let address = process.logged("gateway worker listening", "address").await;
        let scheme = process.credentials(Role::Bot).scheme();
        Self {
            process,
            name: name.to_owned(),
            address: format!("{scheme}://{address}"),
            health: format!("http://{health}"),
        }
    }

    /// A client of it.
    pub async fn client(&self) -> BridgeClient {
        let credentials = self.process.credentials(Role::Bot);
        BridgeClient::connect_with(&self.address, DEADLINE, &credentials, Role::Worker).await.unwrap()
    }

    /// The address of its gRPC server.
    pub fn socket(&self) -> SocketAddr {
        socket(&self.address)
    }

    /// A connection of a client with this role to its gRPC server.
    pub async fn channel(&self, role: Role) -> Channel {
        channel(&self.address, &self.process.credentials(role), Role::Worker).await
    }

    /// A metric without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = http::request(&format!("{}/metrics", self.health), None).await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// Waits until a metric without labels satisfies.
    pub async fn until_metric(&self, name: &str, is: impl Fn(u64) -> bool) -> u64 {
        until(&format!("{name} of {}", self.name), async || {
            let value = self.metric(name).await;
            is(value).then_some(value)
        })
        .await
    }
}

/// The address in a URL.
fn socket(url: &str) -> SocketAddr {
    url.split_once("://").unwrap().1.parse().unwrap()
}

/// Connects to a gRPC server that has the role `server`.
pub async fn channel(url: &str, credentials: &Credentials, server: Role) -> Channel {
    GrpcServer::new(url, DEADLINE, PING_EVERY).unwrap().connect(credentials, server).await.unwrap()
}

fn sorted<'a>(names: &[&'a str]) -> std::vec::IntoIter<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.into_iter()
}

/// How many shards each worker has.
pub fn shares(shards: &[v1::Shard]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for shard in shards {
        *shares.entry(shard.worker_id.clone()).or_default() += 1;
    }
    shares
}

/// The shard is ready.
pub fn is_ready(shard: &v1::Shard) -> bool {
    status_from_wire(shard.status) == Ok(ShardStatus::Ready)
}

/// The coordinator acts, and all its shards are ready.
pub fn all_ready(status: &v1::FleetStatus) -> bool {
    status.acting && !status.shards.is_empty() && status.shards.iter().all(is_ready)
}
