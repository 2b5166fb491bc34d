//! The bot in discord.js with a real Redis and the simulator. The tests act as the relay, with real payloads in its format.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use discord_sim::{Fault, InteractionState, NewInteraction, SimConfig, Snowflake};
use fleet_fixture::{Coordinator, Deployment, Process, Signal, sim_config, until};
use redis_fixture::RedisServer;
use serde_json::{Value, json};

use crate::{
    discord::Gateway,
    node::{example, node},
    relay::{GROUP, Relay},
};

const STREAM: &str = "MESSAGE_CREATE";
const GUILDS: u32 = 40;

/// Long enough that the tests' gateway connection needs no heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(40);

struct TestBot {
    deployment: Deployment,
    relay: Relay,
    gateway: Gateway,
    ready: Value,
    messages: u64,
}

impl TestBot {
    async fn start() -> Self {
        let config = SimConfig {
            events_per_second: 0.0,
            heartbeat_interval: HEARTBEAT,
            // These tests do not cover how discord.js waits for rate limits.
            rest_limit_speed: 100.0,
            ..sim_config(GUILDS)
        };
        let deployment = Deployment::start(config).await;
        let (gateway, ready) = Gateway::connect(&deployment.sim).await;
        let relay = Relay::connect(&deployment.redis).await;
        Self { deployment, relay, gateway, ready, messages: 0 }
    }

    fn command(&self, consumer: &str) -> Command {
        let mut command = node("discordjs-bot/dist/main.js");
        self.settings(&mut command, consumer);
        command
    }

    fn settings<'a>(&self, command: &'a mut Command, consumer: &str) -> &'a mut Command {
        command
            .env("REDIS_URL", self.deployment.redis.url())
            .env("DISCORD_API_URL", self.deployment.sim.http_origin())
            .env("DISCORD_TOKEN", "a-token-of-the-tests")
            .env("CONSUMER", consumer)
            .env("IN_FLIGHT", "20")
            .env("LOG_LEVEL", "debug")
    }

    async fn bot(&self, consumer: &str) -> Process {
        started(&mut self.command(consumer)).await
    }

    /// Sends `count` messages that mention the bot. All are in Redis when this returns.
    async fn mentions(&mut self, count: u64) {
        let guilds = self.deployment.sim.control().guilds(GUILDS as usize, 1);
        for guild in guilds.iter().cycle().take(usize::try_from(count).unwrap()) {
            let message = Fault::Message { guild_id: guild.id, content: Some("hello".to_owned()) };
            self.deployment.sim.control().inject(message).unwrap();
            let mut payload = loop {
                let payload = self.gateway.dispatched(STREAM).await;
                // Skips the bot's own answers.
                if payload["d"]["author"]["bot"] != true {
                    break payload;
                }
            };
            payload["d"]["mentions"] = json!([self.ready["d"]["user"]]);
            self.relay.event(0, &payload).await;
            self.messages += 1;
        }
    }

    /// Returns the number of messages that the bot has written.
    fn answers(&self) -> u64 {
        self.deployment.sim.control().messages().len() as u64
    }

    async fn until_answered(&self, count: u64) {
        until("messages to be answered", async || (self.answers() >= count).then_some(())).await;
    }

    /// Waits until every event is handled and acknowledged.
    async fn until_all_is_done(&self) {
        until("all to be acknowledged", async || {
            // A Redis that lost its data has no group yet; all events are pending.
            (self.relay.unread(STREAM).await? + self.relay.pending(STREAM).await == 0).then_some(())
        })
        .await;
        assert_eq!(self.answers(), self.messages, "each mention is answered exactly once");
    }
}

async fn started(command: &mut Command) -> Process {
    let mut process = Process::start("the bot in discord.js", command);
    logged(&mut process, "listening").await;
    process
}

/// Returns the first log line with this message.
async fn logged(process: &mut Process, message: &str) -> Value {
    process
        .line(message, |line| {
            serde_json::from_str(line).ok().filter(|line: &Value| line["message"] == message)
        })
        .await
}

/// Returns how often each sequence was handled.
fn handled<'a>(processes: impl IntoIterator<Item = &'a Process>) -> BTreeMap<u64, usize> {
    let mut handled = BTreeMap::new();
    for process in processes {
        for line in process.output().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            if line["message"] == "handled" && line["event"] == STREAM {
                *handled.entry(line["sequence"].as_u64().unwrap()).or_default() += 1;
            }
        }
    }
    handled
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_bot_loses_no_started_event() {
    let mut bench = TestBot::start().await;
    bench.deployment.sim.control().inject(Fault::RestDelay { ms: 100 }).unwrap();
    bench.mentions(60).await;
    // The bot claims its own entries at once; there is no other consumer.
    let again = async |bench: &TestBot| started(bench.command("bot-a").env("CLAIM_AFTER_MS", "600000")).await;

    let mut bots = Vec::new();
    for kill_at in [15, 60] {
        let mut bot = again(&bench).await;
        bench.until_answered(kill_at).await;
        bench.mentions(30).await;
        bot.kill().await;
        assert!(bench.relay.pending(STREAM).await > 0, "no event was being handled");
        bots.push(bot);
    }
    bots.push(again(&bench).await);
    bench.until_all_is_done().await;
    assert_eq!(bench.messages, 120);
    assert_eq!(handled(&bots).len(), 120, "every event was handled");
    bench.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn graceful_stop_loses_and_repeats_no_event() {
    let mut bench = TestBot::start().await;
    bench.deployment.sim.control().inject(Fault::RestDelay { ms: 100 }).unwrap();
    bench.mentions(80).await;
    let mut first = bench.bot("bot-a").await;
    bench.until_answered(30).await;
    assert_eq!(first.stop().await, 0);
    logged(&mut first, "stopped").await;
    assert_eq!(bench.relay.pending(STREAM).await, 0, "started events are finished");
    assert!(bench.answers() < 80, "stopped too late to test anything");

    let second = bench.bot("bot-b").await;
    bench.until_all_is_done().await;
    let handled = handled([&first, &second]);
    assert!(handled.len() == 80 && handled.values().all(|&times| times == 1), "{handled:?}");
    bench.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn started_events_of_a_dead_bot_go_to_another() {
    let mut bench = TestBot::start().await;
    bench.deployment.sim.control().inject(Fault::RestDelay { ms: 200 }).unwrap();
    bench.mentions(40).await;
    let mut dead = bench.bot("bot-a").await;
    bench.until_answered(5).await;
    dead.kill().await;
    let started_events = bench.relay.pending(STREAM).await;
    assert!(started_events > 0, "no event was being handled");

    let living = started(bench.command("bot-b").env("CLAIM_AFTER_MS", "2000")).await;
    bench.until_all_is_done().await;
    assert_eq!(handled([&dead, &living]).len(), 40);
    bench.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn bot_recovers_from_a_redis_restart_and_hang() {
    let mut bench = TestBot::start().await;
    let bot = bench.bot("bot-a").await;
    bench.mentions(5).await;
    bench.until_all_is_done().await;

    // Redis comes back empty, without the group.
    bench.deployment.redis.restart().await;
    bench.relay = Relay::connect(&bench.deployment.redis).await;
    bench.mentions(5).await;
    bench.until_all_is_done().await;

    // Redis hangs for longer than the bot's socket timeout.
    bench.deployment.redis.pause();
    until("the bot to notice", async || bot.output().contains("Socket timeout").then_some(())).await;
    bench.deployment.redis.resume();
    bench.mentions(5).await;
    bench.until_all_is_done().await;
    assert_eq!(handled([&bot]).len(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_entries_do_not_stop_the_bot() {
    let mut bench = TestBot::start().await;
    let odd = rmp_serde::to_vec_named(&json!({ "shardId": "none" })).unwrap();
    bench.relay.entry(STREAM, &[("other", b"no data")]).await;
    bench.relay.entry(STREAM, &[("data", &[0xc1, 0xff])]).await;
    bench.relay.entry(STREAM, &[("data", &odd)]).await;
    // The handler fails: there is no author.
    bench.relay.event(0, &json!({ "t": STREAM, "s": 1, "op": 0, "d": {} })).await;
    let gap = json!({ "since_unix_ms": 1, "until_unix_ms": 2, "last_sequence": 3, "reason": "the session was gone" });
    bench.relay.event(7, &json!({ "t": "ALTERGOLDEN_GAP", "s": 4, "op": 0, "d": gap })).await;

    let mut bot = bench.bot("bot-a").await;
    bench.mentions(3).await;
    bench.until_all_is_done().await;
    assert_eq!(bot.output().matches("event handler failed").count(), 4, "{}", bot.output());
    let line = logged(&mut bot, "events were or may have been lost").await;
    assert_eq!((&line["shard"], &line["reason"]), (&json!(7), &gap["reason"]), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_keeps_killing_its_process_is_set_aside() {
    let mut bench = TestBot::start().await;
    bench.mentions(2).await;
    let redis = &bench.deployment.redis;
    // The state after this many deaths of the consumer that starts next.
    let _: redis::Value = redis.command(&["XGROUP", "CREATE", STREAM, GROUP, "0"]).await;
    let _: redis::Value =
        redis.command(&["XREADGROUP", "GROUP", GROUP, "bot-a", "STREAMS", STREAM, ">"]).await;
    let pending: Vec<(String, String, u64, u64)> =
        redis.command(&["XPENDING", STREAM, GROUP, "-", "+", "10"]).await;
    for ((id, ..), deaths) in pending.iter().zip(["4", "5"]) {
        let _: redis::Value =
            redis.command(&["XCLAIM", STREAM, GROUP, "bot-a", "0", id, "RETRYCOUNT", deaths, "JUSTID"]).await;
    }

    let mut bot = bench.bot("bot-a").await;
    let line = logged(&mut bot, "event set aside: every process that handled it died").await;
    assert_eq!(line["id"], json!(pending[1].0), "{line}");
    bench.messages = 1;
    bench.until_all_is_done().await;
    let aside = bench.relay.data("MESSAGE_CREATE:set_aside").await;
    assert!(aside.len() == 1 && aside[0]["payload"]["t"] == STREAM, "{aside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_is_answered_once_in_time_or_not_at_all() {
    const SHARDS: u32 = 4;
    let mut bench = TestBot::start().await;
    let coordinator = Coordinator::start(&mut bench.deployment.coordinator_command(SHARDS)).await;
    let (a, b) = tokio::join!(
        bench.deployment.worker("worker-a", &coordinator),
        bench.deployment.worker("worker-b", &coordinator)
    );
    coordinator.until_balanced(&[&a, &b]).await;
    let mut bot = started(bench.command("bot-a").env("COORDINATOR_URL", &coordinator.address)).await;
    logged(&mut bot, "commands registered").await;
    let commands = bench.deployment.sim.control().commands();
    assert_eq!(commands.iter().map(|command| command.name.as_str()).collect::<Vec<_>>(), ["ping"]);

    let control = bench.deployment.sim.control();
    let ping = || {
        let asked = NewInteraction { command: Some("ping".to_owned()), ..NewInteraction::default() };
        control.inject(Fault::Interaction(asked)).unwrap().interaction_id.unwrap()
    };
    let outcome = async |id: Snowflake| {
        until("an interaction to end", async || {
            let all = control.interactions();
            all.into_iter().find(|one| one.id == id && one.state != InteractionState::Pending)
        })
        .await
    };

    let id = ping();
    let payload = bench.gateway.dispatched("INTERACTION_CREATE").await;
    bench.relay.event(0, &payload).await;
    let answered = outcome(id).await;
    assert_eq!(answered.state, InteractionState::Answered, "{answered:?}");
    assert_eq!(answered.content.as_deref(), Some("Serving 40 servers across 4 shards"), "{answered:?}");

    // The event is delivered again, as after a crash. Discord rejects the second answer.
    bench.relay.event(0, &payload).await;
    logged(&mut bot, "interaction already answered").await;
    let broken: Vec<String> =
        control.violations().items.iter().map(|one| format!("{:?}", one.kind)).collect();
    assert_eq!(broken, ["InteractionAnsweredTwice"]);
    control.forget_violations();

    // An expired interaction.
    let late = ping();
    let payload = bench.gateway.dispatched("INTERACTION_CREATE").await;
    assert_eq!(outcome(late).await.state, InteractionState::Expired);
    bench.relay.event(0, &payload).await;
    logged(&mut bot, "interaction too old to answer").await;

    // A worker that does not answer costs 1.5 s; the bot still answers.
    b.process.signal(Signal::STOP);
    let id = ping();
    let payload = bench.gateway.dispatched("INTERACTION_CREATE").await;
    bench.relay.event(0, &payload).await;
    let partial = outcome(id).await;
    b.process.signal(Signal::CONT);
    assert!(
        partial.content.as_deref().unwrap().contains("(not complete: no answer for shards "),
        "{partial:?}"
    );

    // READY of a shard makes the bot publish its presence as a command.
    let ready = bench.ready.clone();
    bench.relay.event(3, &ready).await;
    let sent = until("a command", async || bench.relay.data("gateway_send").await.pop()).await;
    assert_eq!((&sent["shardId"], &sent["payload"]["op"]), (&json!(3), &json!(3)), "{sent}");
    assert_eq!(sent["payload"]["d"]["activities"][0]["state"], "/ping · shard 3", "{sent}");

    assert_eq!(bot.stop().await, 0);
    assert_eq!(bench.relay.pending("INTERACTION_CREATE").await, 0);
    bench.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_smallest_bot_works() {
    let source = fs::read_to_string(example("discordjs-bot/smallest.mjs")).unwrap();
    let page = fs::read_to_string(example("../docs/bots.md")).unwrap();
    assert!(page.contains(&source), "docs/bots.md differs from examples/discordjs-bot/smallest.mjs");

    let mut bench = TestBot::start().await;
    let coordinator = bench.deployment.coordinator(2).await;
    let worker = bench.deployment.worker("worker-a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let mut bot = Process::start(
        "the smallest bot in discord.js",
        bench
            .settings(&mut node("discordjs-bot/smallest.mjs"), "bot-a")
            .env("COORDINATOR_URL", &coordinator.address)
            .env("REST_PROXY_URL", format!("{}/api", bench.deployment.sim.http_origin())),
    );
    bot.line("listening", |line| line.contains("listening").then_some(())).await;
    let asked = NewInteraction { command: Some("ping".to_owned()), ..NewInteraction::default() };
    let control = bench.deployment.sim.control();
    let id = control.inject(Fault::Interaction(asked)).unwrap().interaction_id.unwrap();
    let payload = bench.gateway.dispatched("INTERACTION_CREATE").await;
    bench.relay.event(0, &payload).await;
    let answered = until("an answer", async || {
        let all = control.interactions();
        all.into_iter().find(|one| one.id == id && one.state != InteractionState::Pending)
    })
    .await;
    assert_eq!(answered.content.as_deref(), Some("Serving 40 servers across 2 shards"), "{answered:?}");
    assert_eq!(bot.stop().await, 0);
    bench.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_ends_the_bot() {
    let bench = TestBot::start().await;
    bench.deployment.sim.control().inject(Fault::RejectToken { on: true }).unwrap();
    let mut bot = Process::start("the bot in discord.js", &mut bench.command("bot-a"));
    assert_eq!(bot.ended().await.code(), Some(78));
    assert_eq!(bot.output(), "discordjs-bot: DISCORD_TOKEN: Discord rejected the token");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_alone_loses_events_as_documented() {
    let redis = RedisServer::start().await;
    let mut judge = Process::start("brokers", node("foreign-bots/node/brokers.mjs").arg(redis.url()));
    assert!(judge.ended().await.success(), "{}", judge.output());
}

#[tokio::test]
async fn invalid_setting_is_one_line() {
    for (name, value, line) in [
        (
            "REDIS_URL",
            "127.0.0.1:6379",
            "discordjs-bot: REDIS_URL: must be a URL such as redis://127.0.0.1:6379",
        ),
        ("IN_FLIGHT", "many", "discordjs-bot: IN_FLIGHT: must be a whole number of at least 10, not many"),
        ("LOG_LEVEL", "loud", "discordjs-bot: LOG_LEVEL: must be one of debug, info, warn, error, not loud"),
        ("DISCORD_TOKEN", "", "discordjs-bot: DISCORD_TOKEN: set it to the bot token"),
    ] {
        let mut command = node("discordjs-bot/dist/main.js");
        let mut bot = Process::start("the bot", command.env("DISCORD_TOKEN", "any").env(name, value));
        assert_eq!(bot.ended().await.code(), Some(2));
        assert_eq!(bot.output(), line);
    }
}
