//! Bots in other languages behind the workers' real relay.

use std::{collections::BTreeSet, process::Command};

use discord_sim::{Fault, InteractionState, NewInteraction, SimConfig, Snowflake};
use fleet_fixture::{Coordinator, Deployment, Process, Worker, http, sim_config, until};
use serde_json::Value;

use crate::{
    node::{node, python},
    relay::Relay,
};

const SHARDS: u32 = 4;
const GUILDS: u32 = 60;
const INTENTS: &str = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";

struct Fleet {
    deployment: Deployment,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    relay: Relay,
    /// The REST proxy of a worker.
    rest: String,
}

impl Fleet {
    async fn start() -> Self {
        let config = SimConfig { events_per_second: 0.0, rest_limit_speed: 100.0, ..sim_config(GUILDS) };
        let deployment = Deployment::start(config).await;
        let mut command = deployment.coordinator_command(SHARDS);
        let coordinator = Coordinator::start(command.env("RELAY", "redis")).await;
        let relay = Relay::connect(&deployment.redis).await;
        let mut fleet = Self { deployment, coordinator, workers: Vec::new(), relay, rest: String::new() };
        for name in ["worker-a", "worker-b"] {
            let worker = fleet.worker(name).await;
            fleet.workers.push(worker);
        }
        fleet.until_balanced().await;
        let health: Value = http::json(&format!("{}/health", fleet.workers[1].health)).await;
        fleet.rest = format!("http://{}", health["rest"].as_str().unwrap());
        fleet
    }

    async fn worker(&self, name: &str) -> Worker {
        let mut command = self.deployment.worker_command(name, &self.coordinator.address);
        Worker::start(name, command.env("RELAY", "redis").env("INTENTS", INTENTS)).await
    }

    async fn until_balanced(&self) {
        let workers: Vec<&Worker> = self.workers.iter().collect();
        self.coordinator.until_balanced(&workers).await;
    }

    fn bot(&self) -> Command {
        let mut command = node("discordjs-bot/dist/main.js");
        self.settings(&mut command);
        command
            .env("CONSUMER", "bot-a")
            .env("IN_FLIGHT", "20")
            .env("LOG_LEVEL", "debug")
            .env("CLAIM_AFTER_MS", "600000");
        command
    }

    fn python(&self, script: &str, folder: &tempfile::TempDir) -> Command {
        let mut command = python(script, folder.path());
        self.settings(&mut command);
        command
    }

    fn settings(&self, command: &mut Command) {
        command
            .env("REDIS_URL", self.deployment.redis.url())
            .env("REST_PROXY_URL", format!("{}/api", self.rest))
            .env("DISCORD_TOKEN", "a-token-of-the-tests")
            .env("COORDINATOR_URL", &self.coordinator.address);
    }

    fn rate(&self, per_second: f64) {
        self.deployment.sim.control().inject(Fault::EventRate { per_second }).unwrap();
    }

    fn dispatched(&self) -> u64 {
        self.deployment.sim.control().ledger().messages_dispatched
    }

    async fn until_dispatched(&self, messages: u64) {
        until("messages to be written", async || (self.dispatched() >= messages).then_some(())).await;
    }

    /// A person uses /ping. Returns the answer.
    async fn ping(&self, guild: Option<Snowflake>) -> String {
        let control = self.deployment.sim.control();
        let asked =
            NewInteraction { command: Some("ping".to_owned()), guild_id: guild, ..NewInteraction::default() };
        let id = control.inject(Fault::Interaction(asked)).unwrap().interaction_id.unwrap();
        let ended = until("an interaction to end", async || {
            let all = control.interactions();
            all.into_iter().find(|one| one.id == id && one.state != InteractionState::Pending)
        })
        .await;
        assert_eq!(ended.state, InteractionState::Answered, "{ended:?}");
        ended.content.unwrap()
    }

    async fn ping_every_shard(&self) {
        for shard in 0..SHARDS {
            let guilds = self.deployment.sim.control().guilds(GUILDS as usize, SHARDS);
            let guild = guilds.into_iter().find(|guild| guild.shard.number == shard).unwrap();
            assert_eq!(
                self.ping(Some(guild.id)).await,
                format!("Serving {GUILDS} servers across {SHARDS} shards")
            );
        }
    }
}

/// Returns the ids of the handled messages.
fn handled<'a>(bots: impl IntoIterator<Item = &'a Process>) -> BTreeSet<String> {
    let lines = bots.into_iter().map(Process::output).collect::<Vec<_>>().join("\n");
    let handled = lines.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "handled" && line["event"] == "MESSAGE_CREATE")
            .then(|| line["id"].as_str().map(str::to_owned))?
    });
    handled.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_bot_and_worker_under_load_loses_no_message() {
    let mut fleet = Fleet::start().await;
    fleet.rate(200.0);
    let mut bots = Vec::new();
    for kill_at in [300, 700] {
        let mut bot = Process::start("the bot in discord.js", &mut fleet.bot());
        bot.line("listening", |line| line.contains("listening").then_some(())).await;
        fleet.until_dispatched(kill_at).await;
        bot.kill().await;
        bots.push(bot);
    }
    bots.push(Process::start("the bot in discord.js", &mut fleet.bot()));
    fleet.until_dispatched(900).await;
    fleet.workers.remove(0).process.kill().await;
    let next = fleet.worker("worker-c").await;
    fleet.workers.push(next);
    fleet.until_balanced().await;
    fleet.until_dispatched(fleet.dispatched() + 300).await;
    fleet.rate(0.0);

    until("every message to be handled", async || {
        (handled(&bots).len() as u64 == fleet.dispatched()).then_some(())
    })
    .await;
    until("all to be acknowledged", async || {
        (fleet.relay.unread("MESSAGE_CREATE").await? + fleet.relay.pending("MESSAGE_CREATE").await == 0)
            .then_some(())
    })
    .await;
    assert!(
        !bots.iter().any(|bot| bot.output().contains("events were or may have been lost")),
        "there was a gap"
    );
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn discordjs_bot_answers_ping_on_every_shard() {
    let fleet = Fleet::start().await;
    let mut bot = Process::start("the bot in discord.js", &mut fleet.bot());
    bot.line("commands registered", |line| line.contains("commands registered").then_some(())).await;
    fleet.ping_every_shard().await;
    // A gateway command that the bot publishes is sent on its shard.
    until("every shard to have its presence", async || {
        let sessions = fleet.deployment.sim.control().ledger().sessions;
        let state = |shard: u32| format!("/ping · shard {shard}");
        let shown = sessions
            .iter()
            .filter(|session| session.presence["activities"][0]["state"] == state(session.shard.number));
        (shown.count() == SHARDS as usize).then_some(())
    })
    .await;
    assert_eq!(bot.stop().await, 0);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn python_bot_answers_ping_on_every_shard() {
    let fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut bot = Process::start("the bot in Python", &mut fleet.python("ping.py", &folder));
    bot.line("listening", |line| line.contains("listening").then_some(())).await;
    fleet.ping_every_shard().await;
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn smallest_python_client_prints_events() {
    let fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut smallest =
        Process::start("the smallest in Python", fleet.python("smallest.py", &folder).arg("MESSAGE_CREATE"));
    smallest.line("listening", |line| line.contains("listening").then_some(())).await;
    fleet.rate(20.0);
    let payload = smallest
        .line("a message", |line| line.split_once(" MESSAGE_CREATE ").map(|it| it.1.to_owned()))
        .await;
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!((&payload["t"], &payload["op"]), (&"MESSAGE_CREATE".into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn python_events_continue_at_the_cursor() {
    let fleet = Fleet::start().await;
    let folder = tempfile::tempdir().unwrap();
    let events =
        || Process::start("events in Python", fleet.python("events.py", &folder).arg("MESSAGE_CREATE"));
    let numbers = |output: &str| -> Vec<String> {
        let number = |line: &str| Some(line.split_once(": MESSAGE_CREATE ")?.1.to_owned());
        output.lines().filter_map(number).collect()
    };
    let mut first = events();
    first.line("listening", |line| line.contains("listening").then_some(())).await;
    fleet.rate(50.0);
    until("some messages", async || (numbers(&first.output()).len() >= 50).then_some(())).await;
    first.kill().await;
    fleet.until_dispatched(fleet.dispatched() + 100).await;
    let second = events();
    fleet.until_dispatched(fleet.dispatched() + 50).await;
    fleet.rate(0.0);

    let seen =
        || numbers(&first.output()).into_iter().chain(numbers(&second.output())).collect::<BTreeSet<_>>();
    until("every message", async || (seen().len() as u64 == fleet.dispatched()).then_some(())).await;
    assert!(seen().len() >= 200);
}
