//! This platform: a coordinator, two workers with bot code (`ledger-bot`) and Redis.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use altergolden_proto::v1;
use discord_sim::Sim;
use fleet_fixture::{Coordinator, Deployment, Process, Signal, all_ready, humantime};
use redis_fixture::RedisServer;
use shard_bridge::BridgeClient;
use tokio::runtime::Runtime;

use crate::{
    stage::LOOK,
    system::{Asked, Asker, INTENTS, PATIENCE, Part, Setup, System},
    verdict::{Known, Question, Said},
};

const WORKERS: usize = 2;

/// All that guilds have.
const CACHE: &str = "guilds,channels,roles,members,users,voice_states,own_user,emojis,stickers";

/// A process with bot code.
struct Worker {
    name: String,
    process: Process,
}

pub(crate) struct Ours {
    setup: Setup,
    deployment: Deployment,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    killed: Vec<Worker>,
    /// Names and ledgers of workers count up.
    started: usize,
    /// Callers have a thread of their own, so that the simulator does not delay them.
    calling: Option<Runtime>,
    client: BridgeClient,
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(calling) = self.calling.take() {
            calling.shutdown_background();
        }
    }
}

impl Ours {
    /// Starts Redis and the coordinator.
    pub(crate) async fn prepare(sim: Sim, setup: &Setup) -> Result<Self, String> {
        let deployment = Deployment { redis: RedisServer::start().await, sim };
        let mut command = deployment.coordinator_command(setup.shards);
        // As users run it: the fixture's short times are for tests.
        command
            .env_remove("LEASE_TTL")
            .env_remove("SETTLE")
            .env("IDENTIFY_INTERVAL", humantime(setup.identify_interval))
            .env("RUST_LOG", "info");
        let log = setup.folder.join("coordinator.log");
        let coordinator =
            Coordinator::listening(Process::start_logged("coordinator", &mut command, &log)).await;
        let calling = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let calling = calling.map_err(|error| format!("cannot start a thread for calls: {error}"))?;
        let address = coordinator.address.clone();
        let client = calling.spawn(async move { BridgeClient::connect(&address, PATIENCE).await }).await;
        let client = client.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(Self {
            setup: setup.clone(),
            deployment,
            coordinator,
            workers: Vec::new(),
            killed: Vec::new(),
            started: 0,
            calling: Some(calling),
            client,
        })
    }

    fn start_worker(&mut self, name: String) {
        self.started += 1;
        let mut command = self.deployment.bot_command("ledger-bot", &name, &self.coordinator.address);
        command
            .env("CACHE", CACHE)
            .env("INTENTS", INTENTS)
            .env("RUST_LOG", "info")
            .env("LEDGER_FILE", self.setup.folder.join(format!("{name}-{}.ledger", self.started)));
        let log = self.setup.folder.join(format!("{name}.log"));
        let process = Process::start_logged(&name, &mut command, &log);
        self.workers.push(Worker { name, process });
    }

    /// Waits until a worker is connected to the coordinator.
    async fn until_connected(&self, name: &str) {
        let is_connected = |status: &v1::FleetStatus| {
            status.workers.iter().any(|worker| worker.worker_id == name && worker.connected)
        };
        self.coordinator.until("the worker to register", is_connected).await;
    }
}

impl System for Ours {
    async fn start(&mut self) -> Result<(), String> {
        for number in 0..WORKERS {
            self.start_worker(format!("w{number}"));
        }
        Ok(())
    }

    /// The coordinator tells what changes: asking it all the time would cost processor time.
    async fn until_ready(&mut self) {
        let guilds = self.setup.guilds;
        let is_ready = |status: &v1::FleetStatus| {
            all_ready(status) && status.shards.iter().map(|shard| shard.guilds).sum::<u32>() >= guilds
        };
        loop {
            if let Ok(mut changes) = self.client.clone().watch().await {
                while let Ok(Some(status)) = changes.message().await {
                    if is_ready(&status) {
                        return;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn others(&self) -> Vec<u32> {
        std::iter::once(self.coordinator.process.pid()).chain(self.deployment.redis.pid()).collect()
    }

    async fn parts(&mut self) -> Result<Vec<Part>, String> {
        let shards = self.client.clone().shards("").await.map_err(|error| error.to_string())?;
        let parts = self.workers.iter().map(|worker| {
            let own = shards.iter().filter(|shard| shard.worker_id == worker.name);
            Part { pid: worker.process.pid(), shards: own.map(|shard| shard.shard_id).collect() }
        });
        Ok(parts.collect())
    }

    fn asker(&self) -> Asker {
        let client = self.client.clone();
        let calling = self.calling.as_ref().expect("kept until the end").handle().clone();
        Arc::new(move |question| {
            let mut client = client.clone();
            let call = calling.spawn(async move {
                let since = Instant::now();
                let said = match question {
                    Question::Total => client.aggregate_stats(Duration::ZERO).await.map(|stats| {
                        Said::Total { guilds: stats.total_guilds.into(), is_complete: stats.complete }
                    }),
                    Question::Guild(id) => client.find_guild(id).await.map(|guild| Said::Guild {
                        found: guild.found.then(|| Known {
                            name: guild.name.unwrap_or_default(),
                            members: guild.member_count.unwrap_or_default(),
                        }),
                        is_complete: guild.complete,
                    }),
                };
                let took = since.elapsed();
                Asked { said: said.ok().filter(|_| took <= PATIENCE).unwrap_or(Said::Nothing), took }
            });
            Box::pin(async move { call.await.unwrap_or(Asked { said: Said::Nothing, took: PATIENCE }) })
        })
    }

    async fn kill(&mut self, part: &Part) -> Result<(), String> {
        let at = self.workers.iter().position(|worker| worker.process.pid() == part.pid);
        let at = at.ok_or("the worker has ended")?;
        let dead = self.workers.swap_remove(at);
        dead.process.signal(Signal::KILL);
        // As a supervisor does.
        self.start_worker(dead.name.clone());
        self.killed.push(dead);
        Ok(())
    }

    /// One worker at a time (docs/deploys.md): start the new one, stop the old one, wait until all shards are ready.
    async fn deploy(&mut self) -> Result<(), String> {
        for mut old in std::mem::take(&mut self.workers) {
            let name = format!("w{}", self.started);
            self.start_worker(name.clone());
            self.until_connected(&name).await;
            let code = old.process.stop().await;
            if code != 0 {
                return Err(format!("worker {} ended with exit code {code}", old.name));
            }
            self.until_ready().await;
        }
        Ok(())
    }
}
