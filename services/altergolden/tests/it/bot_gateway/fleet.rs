//! A fleet of two workers with a gateway each.

use discord_sim::{Fault, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};

pub(super) const SHARDS: u32 = 4;
pub(super) const GUILDS: u32 = 60;

pub(super) struct Fleet {
    pub(super) deployment: Deployment,
    pub(super) coordinator: Coordinator,
    pub(super) workers: Vec<Worker>,
    /// The gateway of each worker.
    pub(super) gateways: Vec<String>,
}

impl Fleet {
    pub(super) async fn start() -> Self {
        Self::with(sim_config(GUILDS), "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT", &[]).await
    }

    /// `settings`: of the coordinator and the workers.
    pub(super) async fn with(sim: SimConfig, intents: &str, settings: &[(&str, &str)]) -> Self {
        Self::of(SHARDS, sim, intents, settings).await
    }

    pub(super) async fn of(shards: u32, sim: SimConfig, intents: &str, settings: &[(&str, &str)]) -> Self {
        let deployment = Deployment::start(SimConfig { events_per_second: 0.0, ..sim }).await;
        let mut command = deployment.coordinator_command(shards);
        let coordinator =
            Coordinator::start(command.env("RELAY", "redis").envs(settings.iter().copied())).await;
        let mut fleet = Self { deployment, coordinator, workers: Vec::new(), gateways: Vec::new() };
        for name in ["a", "b"] {
            let mut command = fleet.deployment.worker_command(name, &fleet.coordinator.address);
            command
                .env("RELAY", "redis")
                .env("INTENTS", intents)
                .env("GATEWAY_LISTEN", "127.0.0.1:0")
                .envs(settings.iter().copied());
            let mut worker = Worker::start(name, &mut command).await;
            fleet.gateways.push(worker.process.logged("gateway for bots listening", "url").await);
            fleet.workers.push(worker);
        }
        let workers: Vec<&Worker> = fleet.workers.iter().collect();
        fleet.coordinator.until_balanced(&workers).await;
        fleet
    }

    /// How many requests with an opcode have come to Discord, of one guild.
    pub(super) fn asked(&self, op: u64, guild: Option<u64>) -> usize {
        let asked = self.deployment.sim.control().asked().items;
        asked.iter().filter(|asked| asked.op == op && asked.guild_id.map(|guild| guild.0) == guild).count()
    }

    pub(super) fn rate(&self, per_second: f64) {
        self.deployment.sim.control().inject(Fault::EventRate { per_second }).unwrap();
    }

    pub(super) fn dispatched(&self) -> u64 {
        self.deployment.sim.control().ledger().messages_dispatched
    }

    pub(super) async fn until_dispatched(&self, messages: u64) {
        until("messages to be sent", async || (self.dispatched() >= messages).then_some(())).await;
    }

    pub(super) fn identifies(&self) -> usize {
        self.deployment.sim.control().identifies().items.len()
    }
}
