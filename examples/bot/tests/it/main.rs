//! The bot as real processes with a coordinator, Redis and discord-sim: people use its commands.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod messages;

use std::{collections::BTreeSet, time::Duration};

use discord_sim::{Fault, InteractionReport, InteractionState, NewInteraction, Snowflake};
use fleet_fixture::{Coordinator, Deployment, Signal, Worker, sim_config, until};
use serde_json::{Value, json};

const SHARDS: u32 = 4;
const GUILDS: u32 = 60;

/// Long enough that a worker stopped for a moment keeps its shards.
const PATIENT_LEASE: &str = "15s";

/// Long enough that two bots share the shards from the start, so that shard 0 does not move.
const SETTLE: &str = "3s";

/// Discord's deadline for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

struct TestFleet {
    deployment: Deployment,
    coordinator: Coordinator,
}

impl TestFleet {
    async fn start(lease: Option<&str>) -> Self {
        let deployment = Deployment::start(sim_config(GUILDS)).await;
        let mut command = deployment.coordinator_command(SHARDS);
        command.env("SETTLE", SETTLE);
        if let Some(lease) = lease {
            command.env("LEASE_TTL", lease);
        }
        let coordinator = Coordinator::start(&mut command).await;
        Self { deployment, coordinator }
    }

    async fn bot(&self, name: &str) -> Worker {
        self.bot_that_caches(name, "guilds").await
    }

    async fn bot_that_caches(&self, name: &str, cache: &str) -> Worker {
        let mut command = self.deployment.bot_command("example-bot", name, &self.coordinator.address);
        command.env("RUST_LOG", "info,example_bot=debug").env("CACHE", cache);
        Worker::start(name, &mut command).await
    }

    async fn two_bots(&self) -> (Worker, Worker) {
        let (a, b) = tokio::join!(self.bot("bot-a"), self.bot("bot-b"));
        self.coordinator.until_balanced(&[&a, &b]).await;
        (a, b)
    }

    /// A person uses a command in a guild.
    fn begin(&self, guild: Snowflake, command: &str, options: Vec<Value>) -> Snowflake {
        let wanted = NewInteraction {
            command: Some(command.to_owned()),
            guild_id: Some(guild),
            options,
            ..NewInteraction::default()
        };
        self.deployment.sim.control().inject(Fault::Interaction(wanted)).unwrap().interaction_id.unwrap()
    }

    /// Waits until an interaction is answered or expired, and returns its report.
    async fn outcome(&self, id: Snowflake) -> InteractionReport {
        until("an interaction to end", async || {
            let all = self.deployment.sim.control().interactions();
            all.into_iter().find(|one| one.id == id && one.state != InteractionState::Pending)
        })
        .await
    }

    /// Returns the answer to a command, as Discord has it.
    async fn answer(&self, guild: Snowflake, command: &str, options: Vec<Value>) -> String {
        let outcome = self.outcome(self.begin(guild, command, options)).await;
        assert_eq!(outcome.state, InteractionState::Answered, "{outcome:?}");
        assert_eq!(outcome.ephemeral, command != "ping", "{outcome:?}");
        outcome.content.unwrap()
    }

    /// Returns a guild of each shard.
    fn guilds(&self) -> Vec<(u32, Snowflake, String)> {
        let guilds = self.deployment.sim.control().guilds(GUILDS as usize, SHARDS);
        let of_shard = |shard| {
            let guild = guilds.iter().find(|guild| guild.shard.number == shard).unwrap();
            (shard, guild.id, guild.name.clone())
        };
        (0..SHARDS).map(of_shard).collect()
    }

    /// Returns how often the commands were written, with any result.
    fn registrations(&self) -> u64 {
        let requests = self.deployment.sim.control().requests();
        let of_commands =
            requests.counts.iter().filter(|count| count.method == "PUT" && count.route.contains("commands"));
        of_commands.map(|count| count.count).sum()
    }

    async fn until_registered(&self, times: u64) {
        until("the commands to be registered", async || {
            (self.registrations() >= times && self.deployment.sim.control().commands().len() == 3)
                .then_some(())
        })
        .await;
    }

    async fn owner(&self, shard: u32) -> String {
        let shards = self.coordinator.client().await.shards("").await.unwrap();
        shards.into_iter().find(|one| one.shard_id == shard).unwrap().worker_id
    }

    fn assert_lawful(&self) {
        self.deployment.assert_lawful();
    }
}

fn id(subcommand: &str, id: impl ToString) -> Vec<Value> {
    vec![json!({ "name": subcommand, "options": [{ "name": "id", "value": id.to_string() }] })]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_answered_on_every_shard() {
    let bench = TestFleet::start(None).await;
    let (a, b) = bench.two_bots().await;
    bench.until_registered(1).await;
    let names: BTreeSet<String> =
        bench.deployment.sim.control().commands().into_iter().map(|command| command.name).collect();
    assert_eq!(names, ["find", "ping", "shards"].map(str::to_owned).into());

    let guilds = bench.guilds();
    let elsewhere = guilds.iter().cycle().skip(2);
    for ((_, guild, _), (shard, wanted, _)) in guilds.iter().zip(elsewhere) {
        let serving = format!("Serving {GUILDS} servers across {SHARDS} shards");
        assert_eq!(bench.answer(*guild, "ping", vec![]).await, serving);

        let table = bench.answer(*guild, "shards", vec![]).await;
        assert!(table.starts_with("4 of 4 shards ready\n```\nshard  worker"), "{table}");
        assert_eq!(table.matches(&a.name).count(), 2, "{table}");
        assert_eq!(table.matches(&b.name).count(), 2, "{table}");

        let found = bench.answer(*guild, "find", id("guild", wanted)).await;
        let expected = format!("is on shard {shard} on {}", bench.owner(*shard).await);
        assert!(found.ends_with(&expected), "{found}; expected: {expected}");
    }

    let (_, somewhere, _) = &guilds[0];
    let absent = bench.answer(*somewhere, "find", id("guild", 7)).await;
    assert!(absent.starts_with("The bot is not in guild 7: it would be on shard 0"), "{absent}");
    let unknown = bench.answer(*somewhere, "find", id("user", 7)).await;
    assert_eq!(unknown, "Unknown where user 7 is: users are not cached (CACHE)");
    let no_id = bench.answer(*somewhere, "find", id("guild", "ada")).await;
    assert!(no_id.starts_with("That is not an id"), "{no_id}");

    assert_eq!(bench.registrations(), 1, "one worker registers them, once");
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_is_found_from_every_shard() {
    let bench = TestFleet::start(None).await;
    let everything = "guilds,users,members,voice_states";
    let (a, b) =
        tokio::join!(bench.bot_that_caches("bot-a", everything), bench.bot_that_caches("bot-b", everything));
    bench.coordinator.until_balanced(&[&a, &b]).await;
    bench.until_registered(1).await;
    let users = bench.deployment.sim.control().users(100);
    let person = users.into_iter().find(|user| !user.in_voice.is_empty()).unwrap();
    for (_, guild, _) in bench.guilds() {
        let found = bench.answer(guild, "find", id("user", person.id)).await;
        assert!(found.contains(" is on shard"), "{found}");
    }
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_answers_say_so_in_time() {
    let bench = TestFleet::start(Some(PATIENT_LEASE)).await;
    let (_a, b) = bench.two_bots().await;
    bench.until_registered(1).await;
    let mut here = None;
    let mut there = None;
    for (shard, guild, _) in bench.guilds() {
        let place = if bench.owner(shard).await == b.name { &mut there } else { &mut here };
        *place = Some(guild);
    }
    let (here, there) = (here.unwrap(), there.unwrap());

    b.process.signal(Signal::STOP);
    // The second command waits for the first, which uses its whole deadline.
    let asked = ["ping", "shards"].map(|command| bench.outcome(bench.begin(here, command, vec![])));
    let [ping, table] = asked;
    let (ping, table) = tokio::join!(ping, table);
    let lost = bench.outcome(bench.begin(here, "find", id("guild", there))).await;
    b.process.signal(Signal::CONT);

    let ping_says = ping.content.unwrap();
    assert!(ping_says.contains(" (not complete: no answer for shards "), "{ping_says}");
    let table_says = table.content.unwrap();
    assert!(table_says.starts_with("2 of 4 shards ready\n"), "{table_says}");
    assert_eq!(table_says.matches("no answer").count(), 2, "{table_says}");
    let lost_says = lost.content.unwrap();
    assert!(lost_says.starts_with(&format!("Unknown whether the bot is in guild {there}: ")));
    for outcome in [ping.answered_after_ms, table.answered_after_ms, lost.answered_after_ms] {
        assert!(Duration::from_millis(outcome.unwrap()) < ANSWERED_WITHIN);
    }
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn next_owner_of_shard_0_registers_the_commands_again() {
    let bench = TestFleet::start(None).await;
    let (mut a, mut b) = bench.two_bots().await;
    bench.until_registered(1).await;
    let holder = bench.owner(0).await;
    let (dead, living) = if holder == a.name { (&mut a, &b) } else { (&mut b, &a) };
    dead.process.kill().await;

    // The interaction starts before the shard has an owner again, and is young enough to be answered.
    let (_, guild, _) = bench.guilds().remove(0);
    let asked = bench.begin(guild, "ping", vec![]);
    bench.coordinator.until_balanced(&[living]).await;
    let outcome = bench.outcome(asked).await;
    assert_eq!(outcome.state, InteractionState::Answered, "{outcome:?}");
    bench.until_registered(2).await;
    assert_eq!(bench.registrations(), 2);
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commands_are_answered_while_rest_is_slow() {
    let bench = TestFleet::start(None).await;
    let bot = bench.bot("bot-a").await;
    bench.coordinator.until_balanced(&[&bot]).await;
    bench.until_registered(1).await;
    // Handled in sequence, twenty of these would exceed Discord's deadline.
    bench.deployment.sim.control().inject(Fault::RestDelay { ms: 300 }).unwrap();
    let guilds = bench.deployment.sim.control().guilds(20, SHARDS);
    let asked: Vec<_> = guilds.iter().map(|guild| bench.begin(guild.id, "ping", vec![])).collect();
    for id in asked {
        let outcome = bench.outcome(id).await;
        assert_eq!(outcome.state, InteractionState::Answered, "{outcome:?}");
    }
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_interaction_is_counted_and_not_answered() {
    let bench = TestFleet::start(None).await;
    let (mut a, mut b) = bench.two_bots().await;
    bench.until_registered(1).await;
    // The sessions are checkpointed within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    a.process.kill().await;
    b.process.kill().await;
    let (_, guild, _) = bench.guilds().remove(0);
    let asked = bench.begin(guild, "ping", vec![]);
    tokio::time::sleep(ANSWERED_WITHIN + Duration::from_millis(200)).await;

    let mut next = bench.bot("bot-c").await;
    let counted = next.process.line("the log line of the expired interaction", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "interaction too old to answer").then(|| line["so_far"].as_u64())
    });
    assert_eq!(counted.await, Some(1));
    let outcome = bench.outcome(asked).await;
    assert_eq!(outcome.state, InteractionState::Expired, "{outcome:?}");
    // New commands are answered.
    bench.coordinator.until_balanced(&[&next]).await;
    let serving = bench.answer(guild, "ping", vec![]).await;
    assert_eq!(serving, format!("Serving {GUILDS} servers across {SHARDS} shards"));
    bench.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_is_retried_until_discord_accepts_it() {
    let bench = TestFleet::start(None).await;
    bench.coordinator.until("it is acting", |status| status.acting).await;
    let down = |on| bench.deployment.sim.control().inject(Fault::RestDown { on }).unwrap();
    down(true);
    let mut bot = bench.bot("bot-a").await;
    bot.process.logged("cannot register commands", "error").await;
    assert!(bench.deployment.sim.control().commands().is_empty());
    down(false);
    bench.until_registered(1).await;
    bot.process.logged("commands registered", "count").await;
    bench.assert_lawful();
}
