//! What bots tell Discord's gateway: on the owner's shard, within Discord's limits, also when the connection is lost.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use altergolden_proto::v1::{
    self, request_guild_members_request::Which, shard_bridge_client::ShardBridgeClient,
};
use discord_sim::{Fault, SimConfig, Snowflake};
use gateway_worker::{BridgeError, Context, Event, EventHandler, Wanted, async_trait};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tonic::{Code, Status, transport::Channel};
use twilight_model::gateway::payload::outgoing::UpdatePresence;

use crate::bench::{Bench, Recorder, sim};

const INTENTS: &str = "--intents=GUILDS,GUILD_MEMBERS,GUILD_MESSAGES,GUILD_VOICE_STATES";

/// What all workers' handlers were given.
#[derive(Clone, Default)]
struct Heard(watch::Sender<Vec<(String, Value)>>);

#[async_trait]
impl EventHandler for Heard {
    fn wants(&self) -> Wanted {
        Wanted::only(["GUILD_CREATE", "VOICE_STATE_UPDATE", "GUILD_MEMBERS_CHUNK", "MESSAGE_CREATE"])
    }

    async fn handle(&self, _: &Context, event: &Event) {
        let payload: Value = serde_json::from_str(event.raw()).unwrap();
        self.0.send_modify(|heard| heard.push((event.name().to_owned(), payload["d"].clone())));
    }
}

impl Heard {
    fn of(&self, name: &str) -> Vec<Value> {
        let heard = self.0.borrow();
        heard.iter().filter(|(other, _)| other == name).map(|(_, d)| d.clone()).collect()
    }

    async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let mut changed = self.0.subscribe();
        // Not `wait_for`: `is` borrows the value too, and a second borrow deadlocks when a handler waits to write between them.
        let waiting = async {
            while !is(self) {
                changed.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(waited.is_ok(), "gave up waiting: {what}");
    }

    /// A voice channel of a guild with room in it.
    fn voice_channel(&self, guild: Snowflake) -> Option<u64> {
        let created = self.of("GUILD_CREATE");
        let created = created.iter().find(|created| created["id"] == guild.to_string()).unwrap();
        let channels = created["channels"].as_array().unwrap();
        // One without a limit has room.
        let voice = channels.iter().find(|it| it["type"] == 2 && it["user_limit"].as_u64() == Some(0))?;
        Some(voice["id"].as_str().unwrap().parse().unwrap())
    }

    /// Where the bot went in voice.
    fn own_voice(&self, bot: &str) -> Vec<Value> {
        let states = self.of("VOICE_STATE_UPDATE");
        states
            .into_iter()
            .filter(|state| state["user_id"] == bot)
            .map(|it| it["channel_id"].clone())
            .collect()
    }
}

async fn start(shards: u32, config: SimConfig, workers: &[&str]) -> (Bench, Heard) {
    let mut bench = Bench::of_shards(shards, config, Recorder::default()).await;
    let heard = Heard::default();
    for worker in workers {
        bench.worker(worker, Arc::new(heard.clone()), &[INTENTS]).await;
    }
    bench.until_all_ready(shards as usize).await;
    (bench, heard)
}

/// A guild on a shard, with a voice channel.
fn guild_on(bench: &Bench, heard: &Heard, shard: u32, total: u32) -> (Snowflake, u64) {
    let guilds = bench.control().guilds(100, total).into_iter();
    let mut guilds = guilds.filter(|guild| guild.shard.number == shard).map(|guild| guild.id);
    guilds.find_map(|guild| Some((guild, heard.voice_channel(guild)?))).unwrap()
}

fn bot(bench: &Bench) -> String {
    bench.control().bot_id().to_string()
}

fn presence(shards: &[u32], name: &str) -> v1::UpdatePresenceRequest {
    let activity = v1::Activity { name: name.to_owned(), ..Default::default() };
    v1::UpdatePresenceRequest {
        shard_ids: shards.to_vec(),
        status: v1::PresenceStatus::Idle.into(),
        activities: vec![activity],
        deadline_ms: Some(20_000),
        ..Default::default()
    }
}

fn voice(guild: Snowflake, channel: Option<u64>) -> v1::UpdateVoiceStateRequest {
    v1::UpdateVoiceStateRequest {
        guild_id: guild.0,
        channel_id: channel,
        deadline_ms: Some(20_000),
        ..Default::default()
    }
}

fn members(guild: Snowflake, nonce: &str) -> v1::RequestGuildMembersRequest {
    v1::RequestGuildMembersRequest {
        guild_id: guild.0,
        which: Some(Which::Query("a".to_owned())),
        limit: 1,
        nonce: nonce.to_owned(),
        deadline_ms: Some(3_000),
        ..Default::default()
    }
}

/// The presences of the live sessions, by shard: an activity's name.
fn shown(bench: &Bench) -> Vec<(u32, Value)> {
    let sessions = bench.control().ledger().sessions;
    let live = sessions.into_iter().filter(|session| session.ended_at_ms.is_none());
    let mut shown: Vec<_> = live
        .map(|session| (session.shard.number, session.presence["activities"][0]["name"].clone()))
        .collect();
    shown.sort_by_key(|(shard, _)| *shard);
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn command_goes_out_on_its_shard_from_any_process() {
    let (bench, heard) = start(2, sim(20), &["a", "b"]).await;
    let (mut coordinator, mut a, mut b) =
        (bench.bridge("coordinator").await, bench.bridge("a").await, bench.bridge("b").await);
    let answer = coordinator.update_presence(presence(&[], "one")).await.unwrap().into_inner();
    assert!(answer.complete && answer.failures.is_empty(), "{answer:?}");
    assert!(
        bench
            .control()
            .wait_until(Duration::from_secs(10), |_| shown(&bench).iter().all(|(_, it)| it == "one"))
            .await
    );
    // Shards are spread: each worker has one, so of these two one is told at home and one away.
    a.update_presence(presence(&[1], "two")).await.unwrap();
    b.update_presence(presence(&[1, 1], "three")).await.unwrap();
    let there = |_: &_| shown(&bench) == [(0, "one".into()), (1, "three".into())];
    assert!(bench.control().wait_until(Duration::from_secs(10), there).await, "{:?}", shown(&bench));

    for (shard, mut entry) in [(0, coordinator), (1, a), (0, b.clone()), (1, b)] {
        let (guild, channel) = guild_on(&bench, &heard, shard, 2);
        let before = heard.own_voice(&bot(&bench)).len();
        let answer = entry.update_voice_state(voice(guild, Some(channel))).await.unwrap().into_inner();
        assert_eq!(answer.shard_id, shard);
        heard.until("the bot to join", |heard| heard.own_voice(&bot(&bench)).len() > before).await;
        let chunks = heard.of("GUILD_MEMBERS_CHUNK").len();
        let answer = entry.request_guild_members(members(guild, "n")).await.unwrap().into_inner();
        assert_eq!(answer.shard_id, shard);
        heard.until("the members", |heard| heard.of("GUILD_MEMBERS_CHUNK").len() > chunks).await;
    }
    for asked in bench.control().asked().items {
        let wanted = asked.guild_id.map_or(asked.shard.number, |guild| guild.shard(2));
        assert_eq!(asked.shard.number, wanted, "{asked:?}");
    }
    let ops: Vec<u64> = bench.control().asked().items.iter().map(|asked| asked.op).collect();
    assert_eq!(ops.iter().filter(|op| **op == 3).count(), 4, "each of them once: {ops:?}");
    assert_eq!(ops.iter().filter(|op| **op == 4).count(), 4);
    assert_eq!(ops.iter().filter(|op| **op == 8).count(), 4);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn voice_and_presence_survive_a_handoff_and_presence_a_new_session() {
    let mut bench = Bench::of_shards(1, sim(5), Recorder::default()).await;
    let heard = Heard::default();
    let a = bench.worker("a", Arc::new(heard.clone()), &[INTENTS]).await;
    bench.until_all_ready(1).await;
    let (guild, channel) = guild_on(&bench, &heard, 0, 1);
    let mut coordinator = bench.bridge("coordinator").await;
    coordinator.update_presence(presence(&[], "here")).await.unwrap();
    coordinator.update_voice_state(voice(guild, Some(channel))).await.unwrap();
    let own = bot(&bench);
    heard.until("the bot to join", |heard| heard.own_voice(&own).len() == 1).await;

    bench.worker("b", Arc::new(heard.clone()), &[INTENTS]).await;
    bench.until("b to be there", |_| true).await;
    a.cancel();
    bench.until("b to have the shard", |shard| shard.worker_id == "b" && shard.status == 5).await;
    assert_eq!(bench.control().identifies().items.len(), 1, "it was resumed");
    // All events of voice came before this.
    bench.write(1, "after");
    heard.until("the message", |heard| !heard.of("MESSAGE_CREATE").is_empty()).await;
    assert_eq!(heard.own_voice(&own), [channel.to_string()], "no user left or joined");
    assert_eq!(shown(&bench), [(0, "here".into())]);

    // A new session, on a worker that was never told of a presence.
    bench.inject(Fault::InvalidSession { shards: None, resumable: false });
    bench
        .until("a new session", |shard| {
            crate::bench::kind(shard) == Some(fleet_model::StartKind::Reidentified)
        })
        .await;
    let there = |_: &_| shown(&bench) == [(0, "here".into())];
    assert!(bench.control().wait_until(Duration::from_secs(20), there).await, "{:?}", shown(&bench));
    coordinator.update_voice_state(voice(guild, Some(channel))).await.unwrap();
    heard
        .until("the bot to join again", |heard| {
            heard.own_voice(&own).last() == Some(&channel.to_string().into())
        })
        .await;
    coordinator.update_voice_state(voice(guild, None)).await.unwrap();
    heard.until("the bot to leave", |heard| heard.own_voice(&own).last() == Some(&Value::Null)).await;
    bench.finish().await;
}

async fn request(mut bridge: ShardBridgeClient<Channel>, guild: Snowflake) -> Result<(), Status> {
    bridge.request_guild_members(members(guild, "flood")).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_one_guild_does_not_hold_up_others() {
    let mut config = sim(20);
    // Heartbeats are sends too.
    config.heartbeat_interval = Duration::from_millis(41_250);
    let (bench, heard) = start(1, config, &["a", "b"]).await;
    let guilds = bench.guilds();
    let mut flood = JoinSet::new();
    for entry in ["coordinator", "a", "b"] {
        let bridge = bench.bridge(entry).await;
        for _ in 0..170 {
            flood.spawn(request(bridge.clone(), guilds[0]));
        }
    }
    let sent = |op: u64| bench.control().asked().items.iter().filter(|asked| asked.op == op).count();
    assert!(bench.control().wait_until(Duration::from_secs(30), |_| sent(8) >= 80).await, "{}", sent(8));
    let mut coordinator = bench.bridge("coordinator").await;
    let channels = guilds.iter().filter_map(|guild| Some((*guild, heard.voice_channel(*guild)?)));
    let channels: Vec<_> = channels.filter(|(guild, _)| *guild != guilds[0]).collect();
    assert!(channels.len() > 5);
    // Behind the flood these would wait for the connection's next minute, past their deadline of 20 s.
    for (guild, channel) in &channels {
        coordinator.update_voice_state(voice(*guild, Some(*channel))).await.unwrap();
    }
    coordinator.update_presence(presence(&[], "here")).await.unwrap();
    let mut refused = 0;
    while let Some(ended) = flood.join_next().await {
        if let Err(status) = ended.unwrap() {
            refused += 1;
            // A busy machine may not bring the answers of all at the same moment.
            let late = status.message().contains("did not answer by the deadline");
            assert!(status.code() == Code::ResourceExhausted || late, "{status}");
        }
    }
    assert!((510 - 117..=510 - 80).contains(&refused), "{refused}");
    assert_eq!((sent(4), sent(8)), (channels.len(), 510 - refused));
    // Nothing goes out after the caller has been told that it does not.
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_waits_for_a_connection_until_its_deadline() {
    let (mut bench, heard) = start(1, sim(5), &["a"]).await;
    let (guild, channel) = guild_on(&bench, &heard, 0, 1);
    let mut bridge = bench.bridge("coordinator").await;
    bench.control().switch(|switches| switches.hello_delay = Duration::from_mins(10)).unwrap();
    bench.inject(Fault::Abort { shards: None });
    bench.until("the connection to be gone", |shard| shard.status != 5).await;
    let hurried = v1::UpdateVoiceStateRequest { deadline_ms: Some(300), ..voice(guild, None) };
    let status = bridge.update_voice_state(hurried).await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains("shard 0 is"), "{status}");
    bench.control().switch(|switches| switches.hello_delay = Duration::ZERO).unwrap();
    bench.inject(Fault::Abort { shards: None });
    bridge.update_voice_state(voice(guild, Some(channel))).await.unwrap();
    heard.until("the bot to join", |heard| !heard.own_voice(&bot(&bench)).is_empty()).await;
    assert_eq!(heard.own_voice(&bot(&bench)), [channel.to_string()], "what was too late did not go out");
    bench.until("it to be back", |shard| shard.status == 5).await;
    bench.inject(Fault::Close { shards: None, code: 4014, reason: String::new() });
    let failed = i32::from(v1::ShardStatus::Failed);
    bench.until("the shard to fail", |shard| shard.status == failed).await;
    let began = Instant::now();
    let status = bridge.update_voice_state(voice(guild, None)).await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains("4014"), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5), "it is told at once");
    let answer = bridge.update_presence(presence(&[], "x")).await.unwrap().into_inner();
    assert!(!answer.complete && answer.failures[0].reason.contains("4014"), "{answer:?}");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_command_is_refused() {
    let (bench, _) = start(1, sim(5), &["a"]).await;
    let guild = bench.guilds()[0];
    for entry in ["coordinator", "a"] {
        let mut bridge = bench.bridge(entry).await;
        let code = |outcome: Result<_, Status>| outcome.map(drop).unwrap_err().code();
        assert_eq!(code(bridge.update_presence(presence(&[0, 1], "x")).await.map(drop)), Code::NotFound);
        assert_eq!(code(bridge.update_presence(presence(&[], "")).await.map(drop)), Code::InvalidArgument);
        let long = presence(&[], &"x".repeat(4_096));
        assert_eq!(code(bridge.update_presence(long).await.map(drop)), Code::InvalidArgument);
        let nowhere = voice(Snowflake(0), None);
        assert_eq!(code(bridge.update_voice_state(nowhere).await.map(drop)), Code::InvalidArgument);
        let with_presences = v1::RequestGuildMembersRequest { presences: true, ..members(guild, "") };
        let status = bridge.request_guild_members(with_presences).await.unwrap_err();
        assert!(
            status.code() == Code::FailedPrecondition && status.message().contains("GUILD_PRESENCES"),
            "{status}"
        );
        let long = members(guild, &"n".repeat(33));
        assert_eq!(code(bridge.request_guild_members(long).await.map(drop)), Code::InvalidArgument);
    }
    assert!(bench.control().asked().items.is_empty(), "nothing went out");
    bench.finish().await;
}

/// Sets a presence as soon as there is something to handle, with twilight's types.
struct Rust(Mutex<Option<Result<(), BridgeError>>>);

#[async_trait]
impl EventHandler for Rust {
    async fn handle(&self, context: &Context, event: &Event) {
        use twilight_model::gateway::presence::{ActivityType, MinimalActivity, Status as Shown};
        if event.name() != "MESSAGE_CREATE" {
            return;
        }
        let playing = MinimalActivity { kind: ActivityType::Playing, name: "chess".to_owned(), url: None };
        let presence = UpdatePresence::new([playing.into()], false, None, Shown::Online).unwrap();
        let told = context.command(&presence, Duration::from_secs(20)).await;
        *self.0.lock().unwrap() = Some(told);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bot_code_sends_twilight_commands() {
    let mut bench = Bench::without_workers(sim(5), Recorder::default()).await;
    let bot = Arc::new(Rust(Mutex::default()));
    bench.worker("a", bot.clone(), &[]).await;
    bench.until_all_ready(1).await;
    bench.write(1, "go");
    let there = |_: &_| shown(&bench) == [(0, "chess".into())];
    assert!(bench.control().wait_until(Duration::from_secs(20), there).await);
    let told = |_: &_| bot.0.lock().unwrap().is_some();
    assert!(bench.control().wait_until(Duration::from_secs(20), told).await);
    assert!(bot.0.lock().unwrap().take().unwrap().is_ok());
    bench.finish().await;
}
