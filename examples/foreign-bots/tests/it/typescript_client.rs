//! The TypeScript client against a fleet.

use discord_sim::Snowflake;
use fleet_fixture::{Coordinator, Deployment, Process, Signal, Worker, humantime, sim_config};
use serde_json::{Value, json};
use std::time::Duration;

use crate::node::{ask, asking};

const SHARDS: u32 = 4;
const GUILDS: u32 = 40;

/// Discord's ids are larger than a JavaScript number can hold.
const LARGEST_EXACT: u64 = 1 << 53;

struct Fleet {
    deployment: Deployment,
    coordinator: Coordinator,
    a: Worker,
    b: Worker,
}

async fn fleet() -> Fleet {
    let mut config = sim_config(GUILDS);
    config.events_per_second = 0.0;
    let deployment = Deployment::start(config).await;
    let mut command = deployment.coordinator_command(SHARDS);
    // A worker that is stopped for a moment keeps its shards.
    command.env("LEASE_TTL", humantime(Duration::from_secs(15))).env("SETTLE", "3s");
    let coordinator = Coordinator::start(&mut command).await;
    let worker = async |name: &str| {
        let mut command = deployment.worker_command(name, &coordinator.address);
        command.env("CACHE", "guilds,channels,users,members,voice_states");
        Worker::start(name, &mut command).await
    };
    let (a, b) = tokio::join!(worker("worker-a"), worker("worker-b"));
    coordinator.until_balanced(&[&a, &b]).await;
    Fleet { deployment, coordinator, a, b }
}

impl Fleet {
    fn some_guild(&self) -> (Snowflake, String, u64, u32) {
        let guild = self.deployment.sim.control().guilds(1, SHARDS).remove(0);
        (guild.id, guild.name, guild.member_count, guild.shard.number)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_match_discord() {
    let fleet = fleet().await;
    let url = &fleet.coordinator.address;
    let truth = fleet.deployment.sim.control().stats(SHARDS).total;

    for url in [url, &fleet.a.address] {
        let stats = &ask(url, &["getAggregateStats"]).await["answer"];
        assert_eq!(stats["totalGuilds"], json!(truth.guilds), "{stats}");
        assert_eq!(stats["totalUsers"], json!(truth.users), "{stats}");
        assert_eq!(stats["totalChannels"], json!(truth.channels), "{stats}");
        assert_eq!(stats["totalVoiceConnections"], json!(truth.voice_connections), "{stats}");
        assert_eq!(stats["shardCount"], json!(SHARDS), "{stats}");
        assert_eq!((&stats["complete"], &stats["missingShards"]), (&json!(true), &json!([])), "{stats}");
        let shards = stats["shards"].as_array().unwrap();
        assert!(
            shards.iter().all(|shard| shard["status"] == "ready" && shard.get("gap").is_none()),
            "{stats}"
        );
        let latencies: Vec<_> =
            shards.iter().map(|shard| shard.get("latencyMs").cloned().unwrap_or_default()).collect();
        assert_eq!(stats["latencies"], json!(latencies));
    }

    let (id, name, members, shard) = fleet.some_guild();
    assert!(id.to_string().parse::<u64>().unwrap() > LARGEST_EXACT);
    for argument in [format!("\"{id}\""), format!("{id}n")] {
        let found = &ask(url, &["findGuild", &argument]).await["answer"];
        assert_eq!((&found["found"], &found["complete"]), (&json!(true), &json!(true)), "{found}");
        assert_eq!(found["guildId"], json!(id.to_string()), "{found}");
        assert_eq!((&found["name"], &found["memberCount"]), (&json!(name), &json!(members)), "{found}");
        assert_eq!(found["shardId"], json!(shard), "{found}");
    }
    let absent = &ask(url, &["findGuild", "\"613425648685547541\""]).await["answer"];
    assert_eq!((&absent["found"], &absent["complete"]), (&json!(false), &json!(true)), "{absent}");
    assert_eq!(absent["guildId"], "613425648685547541", "{absent}");
    assert!(absent.get("name").is_none(), "{absent}");

    let users = fleet.deployment.sim.control().users(100);
    let user = users.into_iter().find(|user| !user.in_voice.is_empty()).unwrap();
    let found = &ask(url, &["findUser", &format!("\"{}\"", user.id), r#"{"all":true}"#]).await["answer"];
    assert_eq!((&found["found"], &found["userId"]), (&json!(true), &json!(user.id.to_string())), "{found}");
    assert_eq!(found["username"], json!(user.username), "{found}");
    assert_eq!(found["shardId"], found["shardIds"][0], "{found}");
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_answers_say_so_in_time_and_errors_are_typed() {
    let mut fleet = fleet().await;
    let url = fleet.coordinator.address.clone();
    let status = fleet.coordinator.until("all of it", fleet_fixture::all_ready).await;
    let of_b: Vec<u32> = status
        .shards
        .iter()
        .filter(|shard| shard.worker_id == fleet.b.name)
        .map(|shard| shard.shard_id)
        .collect();

    fleet.b.process.signal(Signal::STOP);
    let answer = ask(&url, &["getAggregateStats", r#"{"deadlineMs":800}"#]).await;
    fleet.b.process.signal(Signal::CONT);
    let stats = &answer["answer"];
    assert_eq!(stats["complete"], json!(false), "{answer}");
    assert_eq!(stats["missingShards"], json!(of_b), "{answer}");
    assert!(stats["totalGuilds"].as_u64().unwrap() < u64::from(GUILDS), "{answer}");
    assert!(answer["took_ms"].as_u64().unwrap() < 1_500, "{answer}");

    let failed = |answer: &Value| {
        let error = answer["error"].clone();
        assert!(error.is_object(), "{answer}");
        error
    };
    let zero = failed(&ask(&url, &["findGuild", "\"0\""]).await);
    assert_eq!((&zero["code"], &zero["passing"]), (&json!("INVALID_ARGUMENT"), &json!(false)), "{zero}");
    assert_eq!(zero["typed"], json!(true), "{zero}");
    // A number is already rounded, so the client rejects it.
    let rounded = failed(&ask(&url, &["findGuild", "241494935408313594"]).await);
    assert_eq!(rounded["name"], "TypeError", "{rounded}");

    // No server answers: first stopped, then dead.
    fleet.coordinator.process.signal(Signal::STOP);
    let late = ask(&url, &["getAggregateStats", r#"{"deadlineMs":500}"#]).await;
    fleet.coordinator.process.signal(Signal::CONT);
    assert_eq!(
        (&failed(&late)["code"], &failed(&late)["passing"]),
        (&json!("DEADLINE_EXCEEDED"), &json!(true))
    );
    assert!(late["took_ms"].as_u64().unwrap() < 1_500, "{late}");
    fleet.coordinator.process.kill().await;
    let gone = failed(&ask(&url, &["getAggregateStats"]).await);
    assert_eq!((&gone["code"], &gone["passing"]), (&json!("UNAVAILABLE"), &json!(true)), "{gone}");
    // Workers still answer.
    let stats = &ask(&fleet.a.address, &["getAggregateStats"]).await["answer"];
    assert_eq!(stats["totalGuilds"], json!(GUILDS), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscription_survives_its_server_and_reports_missed_messages() {
    let mut fleet = fleet().await;
    let url = fleet.coordinator.address.clone();
    let mut subscriber = asking(&url, &["subscribe", r#"{"types":["cacheInvalidate"]}"#]);
    until_printed(&mut subscriber, "it subscribed", |item| item["kind"] == "subscribed").await;

    let data = json!({ "key": "settings:*", "deep": [1, 2.5, null, { "yes": true }], "empty": {} });
    ask(&url, &["broadcast", "\"other\"", "1"]).await;
    let sent =
        &ask(&fleet.b.address, &["broadcast", "\"cacheInvalidate\"", &data.to_string()]).await["answer"];
    assert_eq!((&sent["complete"], &sent["workersExpected"]), (&json!(true), &json!(2)), "{sent}");
    assert_eq!((&sent["workersAcknowledged"], &sent["missingWorkers"]), (&json!(2), &json!([])), "{sent}");
    let got = until_printed(&mut subscriber, "the message", |item| item["kind"] == "message").await;
    assert_eq!((&got["type"], &got["data"]), (&json!("cacheInvalidate"), &data), "{got}");
    assert_eq!((&got["messageId"], &got["recipient"]), (&sent["messageId"], &json!("all")), "{got}");

    // Integers beyond a number's precision are bigints; a number that is already rounded is rejected.
    ask(&url, &["broadcast", "\"cacheInvalidate\"", "800356270543470593n"]).await;
    let got =
        until_printed(&mut subscriber, "the bigint", |item| item["data"] == "800356270543470593n").await;
    assert_eq!(got["json"], "800356270543470593", "{got}");
    let rounded = ask(&url, &["broadcast", "\"cacheInvalidate\"", "800356270543470593"]).await;
    assert_eq!(rounded["error"]["name"], "TypeError", "{rounded}");

    fleet.coordinator.process.kill().await;
    until_printed(&mut subscriber, "that the server is away", |item| item["kind"] == "away").await;
    let mut command = fleet.deployment.coordinator_command(SHARDS);
    command.env("COORDINATOR_LISTEN", url.strip_prefix("http://").unwrap());
    fleet.coordinator = Coordinator::start(&mut command).await;
    until_printed(&mut subscriber, "that it missed some", |item| item["kind"] == "missed").await;
    ask(&fleet.a.address, &["broadcast", "\"cacheInvalidate\"", "\"again\""]).await;
    until_printed(&mut subscriber, "the next message", |item| item["data"] == "again").await;
    fleet.deployment.assert_lawful();
}

async fn until_printed(process: &mut Process, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    process.line(what, |line| serde_json::from_str(line).ok().filter(&is)).await
}
