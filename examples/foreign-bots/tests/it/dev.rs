//! Bots in other languages beside one `altergolden dev`, with the settings that it prints.

use std::{collections::BTreeSet, process::Command};

use fleet_fixture::{Process, Signal, command, http, until};
use redis_fixture::RedisServer;
use serde_json::{Value, json};

use crate::{
    node::{ask, asking, node, python},
    relay::Relay,
};

const GUILDS: u32 = 40;
const SHARDS: u32 = 3;
const PING_ANSWER: &str = "Serving 40 servers across 3 shards";

/// A running `altergolden dev`, and what it printed.
struct Dev {
    process: Process,
    /// The settings of a bot beside it.
    settings: Vec<(String, String)>,
    /// The simulated Discord.
    sim: String,
}

impl Dev {
    async fn start(redis: Option<&RedisServer>) -> Self {
        let mut command = command("altergolden");
        command.args(["dev", "--events-per-second=0"]);
        command.args([format!("--guilds={GUILDS}"), format!("--shards={SHARDS}")]);
        command.args(["--manager-health-port=0", "--health-port=0"]);
        for listen in ["--coordinator-listen", "--rest-listen", "--sim-listen", "--gateway-listen"] {
            command.arg(format!("{listen}=127.0.0.1:0"));
        }
        if let Some(redis) = redis {
            command.env("REDIS_URL", redis.url());
        }
        let mut process = Process::start("dev", &mut command);
        process.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
        let output = process.output();
        let settings = output.lines().find_map(|line| line.trim().strip_prefix("export ")).unwrap();
        let setting =
            |pair: &str| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = settings.split(' ').map(|pair| setting(pair).unwrap()).collect();
        let sim =
            output.lines().find_map(|line| line.split_once("simulated, at ")?.1.split(' ').next()).unwrap();
        Self { settings, sim: sim.to_owned(), process }
    }

    fn bot(&self, command: &mut Command, words: &str) -> Process {
        Process::start(words, command.envs(self.settings.iter().map(|(name, value)| (name, value))))
    }

    /// Runs the bot in discord.js until it listens.
    async fn discordjs(&self) -> Process {
        let mut command = node("discordjs-bot/dist/main.js");
        command.env("CONSUMER", "bot-a").env("LOG_LEVEL", "debug");
        let mut bot = self.bot(&mut command, "the bot in discord.js");
        bot.line("commands registered", |line| line.contains("commands registered").then_some(())).await;
        bot
    }

    fn python(&self, script: &str, folder: &tempfile::TempDir) -> Process {
        self.bot(&mut python(script, folder.path()), script)
    }

    async fn sim(&self, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/sim/{path}", self.sim);
        let (status, text) = http::request(&url, body.map(|body| body.to_string())).await.unwrap();
        assert_eq!(status, 200, "{url}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A user types `/ping`. Returns the answer.
    async fn ping(&self) -> String {
        let asked = self.sim("faults", Some(json!({ "kind": "interaction", "command": "ping" }))).await;
        let id = &asked["interaction_id"];
        until("an answer", async || {
            let interactions = self.sim("interactions", None).await;
            let one = interactions.as_array().unwrap().iter().find(|one| one["id"] == *id)?.clone();
            (one["state"] != "pending").then(|| one["content"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    async fn stop(mut self) {
        let violations = self.sim("violations", None).await;
        assert_eq!(violations, json!({ "items": [], "dropped": 0 }));
        self.process.signal(Signal::INT);
        assert_eq!(self.process.ended().await.code(), Some(0), "{}", self.process.output());
    }
}

/// Returns the sequences of the interactions that a bot in discord.js handled.
fn handled(bot: &Process) -> BTreeSet<u64> {
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "handled" && line["event"] == "INTERACTION_CREATE")
            .then(|| line["sequence"].as_u64())?
    };
    bot.output().lines().filter_map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn discordjs_and_typescript_run_beside_dev_with_redis() {
    let redis = RedisServer::start().await;
    let first = Dev::start(Some(&redis)).await;
    assert!(first.process.output().starts_with("Discord: simulated, 40 guilds; relay of events: redis://"));
    let mut bot = first.discordjs().await;
    assert_eq!(first.ping().await, PING_ANSWER);
    let mut asked = first.bot(&mut node("typescript-client/smallest.mjs"), "the TypeScript client");
    asked.line("the servers", |line| (line == PING_ANSWER).then_some(())).await;
    assert_eq!(asked.ended().await.code(), Some(0), "{}", asked.output());
    assert_eq!(bot.stop().await, 0);
    // Nothing reads this one.
    first.sim("faults", Some(json!({ "kind": "interaction", "command": "ping" }))).await;
    let relay = Relay::connect(&redis).await;
    until("the event in Redis", async || (relay.data("INTERACTION_CREATE").await.len() == 2).then_some(()))
        .await;
    first.stop().await;

    // The next run's bot gets no event of the first run.
    let second = Dev::start(Some(&redis)).await;
    assert_eq!(relay.data("INTERACTION_CREATE").await.len(), 0);
    let bot = second.discordjs().await;
    assert_eq!(second.ping().await, PING_ANSWER);
    // The bot acknowledges an event after it has logged that it was handled.
    until("the event to be acknowledged", async || {
        let unread = relay.unread("INTERACTION_CREATE").await;
        let pending = relay.pending("INTERACTION_CREATE").await;
        ((unread, pending) == (Some(0), 0)).then_some(())
    })
    .await;
    assert_eq!(handled(&bot).len(), 1);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_runs_beside_dev_without_redis() {
    let dev = Dev::start(None).await;
    assert!(dev.process.output().starts_with("Discord: simulated, 40 guilds; relay of events: in memory\n"));
    let folder = tempfile::tempdir().unwrap();
    let mut ping = dev.python("ping.py", &folder);
    ping.line("listening", |line| line.contains("listening").then_some(())).await;
    assert_eq!(dev.ping().await, PING_ANSWER);
    let mut smallest = dev.python("smallest.py", &folder);
    smallest.line("listening", |line| line.contains("listening").then_some(())).await;
    dev.sim("faults", Some(json!({ "kind": "event_rate", "per_second": 20.0 }))).await;
    let payload = smallest
        .line("a message", |line| line.split_once(" MESSAGE_CREATE ").map(|it| it.1.to_owned()))
        .await;
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert!(!payload["d"]["content"].as_str().unwrap().is_empty(), "{payload}");
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharding_manager_bot_moves_behind_the_gateway() {
    let dev = Dev::start(None).await;
    // Two shards of the bot on three of the fleet.
    let mut check = node("moved-bot/check.mjs");
    check.env("SIM_URL", &dev.sim).env("SHARD_COUNT", "2");
    let mut check = dev.bot(&mut check, "the check of the moved bot");
    for step in [
        "connected to Discord",
        "behind the gateway, ready",
        "answers are the same as before, 0 IDENTIFYs at Discord",
        "the bot has seen nothing of it",
        "every command works, 0 IDENTIFYs at Discord",
        "every check passed",
    ] {
        check.line(step, |line| line.contains(step).then_some(())).await;
    }
    assert_eq!(check.ended().await.code(), Some(0), "{}", check.output());
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_client_reads_caches_and_events() {
    let dev = Dev::start(None).await;
    let url = dev.settings.iter().find(|(name, _)| name == "COORDINATOR_URL").unwrap().1.clone();
    let known = dev.sim("guilds?limit=1", None).await[0].clone();
    let (id, id_json) = (known["id"].clone(), known["id"].to_string());

    let guild = ask(&url, &["getGuild", &id_json]).await["answer"].clone();
    assert_eq!((&guild["data"]["id"], &guild["data"]["name"]), (&id, &known["name"]), "{guild}");
    let owner = guild["data"]["owner_id"].clone();
    let channel = guild["data"]["system_channel_id"].clone();
    let member = ask(&url, &["getMember", &id_json, &owner.to_string()]).await["answer"].clone();
    assert_eq!(member["data"]["user"]["id"], owner, "{member}");
    let found = ask(&url, &["getChannel", &id_json, &channel.to_string()]).await["answer"].clone();
    assert_eq!((&found["data"]["id"], &found["data"]["guild_id"]), (&channel, &id), "{found}");
    let roles = ask(&url, &["getRoles", &id_json, r#"{"fields":["name"]}"#]).await["answer"].clone();
    assert_eq!(roles["data"][0], json!({ "name": "@everyone" }), "{roles}");
    let absent = ask(&url, &["getGuild", "\"613425648685547541\""]).await;
    assert!(absent.get("answer").is_none() && absent.get("error").is_none(), "{absent}");

    let presence = json!({ "status": "idle", "activities": [{ "name": "chess" }] }).to_string();
    let set = ask(&url, &["updatePresence", &presence]).await["answer"].clone();
    assert_eq!(set, json!({ "complete": true, "failures": [] }));
    until("every session to be idle", async || {
        let ledger = dev.sim("ledger", None).await;
        let is_idle = |session: &Value| session["presence"]["status"] == "idle";
        ledger["sessions"].as_array()?.iter().all(is_idle).then_some(())
    })
    .await;

    let printed = |line: &str, kind: &str, content: &str| {
        let item: Value = serde_json::from_str(line).ok()?;
        (item["kind"] == kind && (kind != "event" || item["data"]["content"] == content)).then_some(item)
    };
    let message = async |content: &str| {
        let fault = json!({ "kind": "message", "guild_id": id, "content": content });
        dev.sim("faults", Some(fault)).await;
    };
    let mut events = asking(&url, &["events", r#"{"names":["MESSAGE_CREATE"]}"#]);
    events.line("it listens", |line| printed(line, "listening", "")).await;
    message("one").await;
    let one = events.line("the first", |line| printed(line, "event", "one")).await;
    assert_eq!(
        (&one["name"], &one["guildId"], &one["mark"]),
        (&json!("MESSAGE_CREATE"), &id, &json!("fresh")),
        "{one}"
    );
    events.kill().await;
    message("two").await;
    let after = json!({ "names": ["MESSAGE_CREATE"], "cursor": one["cursor"] }).to_string();
    let mut again = asking(&url, &["events", &after]);
    again.line("the one that came meanwhile", |line| printed(line, "event", "two")).await;
    assert!(!again.output().contains("\"one\""), "{}", again.output());
    again.kill().await;
    dev.stop().await;
}
