//! The gateway for unmodified Discord libraries over real processes: which guilds and events a client gets, and that it resumes at
//! another worker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use base64::Engine as _;
use discord_sim::{Fault, SimConfig};
use flate2::{Decompress, FlushDecompress};
use fleet_fixture::{
    Coordinator, Deployment, PATIENCE, Process, Worker, all_ready, command, http, sim_config, until,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

const SHARDS: u32 = 4;
const GUILDS: u32 = 60;
const TOKEN: &str = "a-token-of-the-tests";
/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u32 = 1 | 1 << 9 | 1 << 15;

struct Fleet {
    deployment: Deployment,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    /// The gateway of each worker.
    gateways: Vec<String>,
}

impl Fleet {
    async fn start() -> Self {
        Self::with(sim_config(GUILDS), "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT", &[]).await
    }

    /// `settings`: of the coordinator and the workers.
    async fn with(sim: SimConfig, intents: &str, settings: &[(&str, &str)]) -> Self {
        Self::of(SHARDS, sim, intents, settings).await
    }

    async fn of(shards: u32, sim: SimConfig, intents: &str, settings: &[(&str, &str)]) -> Self {
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
    fn asked(&self, op: u64, guild: Option<u64>) -> usize {
        let asked = self.deployment.sim.control().asked().items;
        asked.iter().filter(|asked| asked.op == op && asked.guild_id.map(|guild| guild.0) == guild).count()
    }

    fn rate(&self, per_second: f64) {
        self.deployment.sim.control().inject(Fault::EventRate { per_second }).unwrap();
    }

    fn dispatched(&self) -> u64 {
        self.deployment.sim.control().ledger().messages_dispatched
    }

    async fn until_dispatched(&self, messages: u64) {
        until("messages to be sent", async || (self.dispatched() >= messages).then_some(())).await;
    }

    fn identifies(&self) -> usize {
        self.deployment.sim.control().identifies().items.len()
    }
}

/// A client as a library has it: one shard, one connection.
struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// With `compress=zlib-stream`.
    inflate: Option<Decompress>,
    sequence: u64,
    session: String,
    own_user: Value,
    /// Member counts of its guilds; 0 while they are unavailable.
    guilds: BTreeMap<u64, u64>,
    /// The guilds as they came first.
    created: BTreeMap<u64, Value>,
    /// Guilds that came again.
    again: BTreeSet<u64>,
    messages: Vec<String>,
    /// The data of GUILD_MEMBERS_CHUNK events.
    chunks: Vec<Value>,
    /// Voice events by name.
    voice: Vec<(String, Value)>,
    /// Its guilds include no event that still comes.
    settled: bool,
    resumed: bool,
    /// Op 9 came.
    invalid: bool,
    /// Op 7 came.
    reconnects: bool,
    close: Option<(u16, String)>,
}

impl Client {
    async fn connect(url: &str) -> Self {
        Self::connect_with(url, "v=10&encoding=json").await
    }

    async fn connect_with(url: &str, query: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("{url}/?{query}")).await.unwrap();
        Self::over(socket, query.contains("zlib-stream"))
    }

    fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, is_compressed: bool) -> Self {
        Self {
            socket,
            inflate: is_compressed.then(|| Decompress::new(true)),
            sequence: 0,
            session: String::new(),
            own_user: Value::Null,
            guilds: BTreeMap::new(),
            created: BTreeMap::new(),
            again: BTreeSet::new(),
            messages: Vec::new(),
            chunks: Vec::new(),
            voice: Vec::new(),
            settled: false,
            resumed: false,
            invalid: false,
            reconnects: false,
            close: None,
        }
    }

    async fn send(&mut self, payload: Value) {
        self.socket.send(Message::text(payload.to_string())).await.unwrap();
    }

    async fn identify(url: &str, shard: (u32, u32), intents: u32) -> Self {
        let mut client = Self::connect(url).await;
        client.send_identify(shard, intents).await;
        client
    }

    async fn send_identify(&mut self, shard: (u32, u32), intents: u32) {
        let data = json!({"token": TOKEN, "intents": intents, "shard": [shard.0, shard.1], "properties": {},
            "large_threshold": 250});
        self.send(json!({"op": 2, "d": data})).await;
    }

    async fn resume(mut self, url: &str) -> Self {
        let next = Self::connect(url).await;
        self.socket = next.socket;
        let data = json!({"token": TOKEN, "session_id": self.session, "seq": self.sequence});
        self.send(json!({"op": 6, "d": data})).await;
        self
    }

    /// Takes the next payload; false when the connection has ended.
    async fn take(&mut self) -> bool {
        let Ok(frame) = timeout(PATIENCE, self.socket.next()).await else { panic!("nothing came") };
        let text = match frame {
            Some(Ok(Message::Text(text))) => text.to_string(),
            Some(Ok(Message::Binary(bytes))) => self.inflated(&bytes),
            Some(Ok(Message::Close(close))) => {
                self.close = close.map(|close| (close.code.into(), close.reason.to_string()));
                return false;
            }
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => return false,
        };
        let payload: Value = serde_json::from_str(&text).unwrap();
        if let Some(sequence) = payload["s"].as_u64() {
            assert!(sequence >= self.sequence, "{sequence} after {}", self.sequence);
            self.sequence = sequence;
        }
        let data = &payload["d"];
        let id = || data["id"].as_str().unwrap().parse::<u64>().unwrap();
        match payload["t"].as_str() {
            Some("READY") => {
                data["session_id"].as_str().unwrap().clone_into(&mut self.session);
                self.own_user = data["user"]["id"].clone();
                for guild in data["guilds"].as_array().unwrap() {
                    self.guilds.insert(guild["id"].as_str().unwrap().parse().unwrap(), 0);
                }
            }
            Some("GUILD_CREATE") => {
                let mut members = data["members"].as_array().unwrap().iter();
                assert!(members.any(|member| member["user"]["id"] == self.own_user), "the bot's own member");
                assert!(data["voice_states"].is_array(), "{data}");
                assert_eq!(data["unavailable"], false);
                let before = self.guilds.insert(id(), data["member_count"].as_u64().unwrap());
                assert_eq!(before, Some(0), "a create of a guild that is available");
                if self.created.insert(id(), data.clone()).is_some() {
                    self.again.insert(id());
                }
            }
            Some("GUILD_DELETE") if data["unavailable"] == true => drop(self.guilds.insert(id(), 0)),
            Some("GUILD_DELETE") => drop(self.guilds.remove(&id())),
            Some("MESSAGE_CREATE") => self.messages.push(data["id"].as_str().unwrap().to_owned()),
            Some("GUILD_MEMBERS_CHUNK") => self.chunks.push(data.clone()),
            Some(name @ ("VOICE_STATE_UPDATE" | "VOICE_SERVER_UPDATE")) => {
                self.voice.push((name.to_owned(), data.clone()));
            }
            Some("RESUMED") => self.resumed = true,
            Some("ALTERGOLDEN_GUILDS_SENT") => self.settled = true,
            _ => {}
        }
        self.invalid |= payload["op"] == 9;
        self.reconnects |= payload["op"] == 7;
        true
    }

    fn inflated(&mut self, bytes: &[u8]) -> String {
        let inflate = self.inflate.as_mut().expect("only compressed connections have binary messages");
        assert!(bytes.ends_with(&[0, 0, 0xff, 0xff]), "each message is flushed");
        let (mut text, start) = (Vec::with_capacity(4 * bytes.len()), inflate.total_in());
        loop {
            let taken = (inflate.total_in() - start) as usize;
            inflate.decompress_vec(&bytes[taken..], &mut text, FlushDecompress::Sync).unwrap();
            if (inflate.total_in() - start) as usize == bytes.len() && text.len() < text.capacity() {
                return String::from_utf8(text).unwrap();
            }
            text.reserve(text.capacity());
        }
    }

    /// Reads until `holds`; fails when the connection ends before.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                assert!(self.take().await, "{what}: {:?}", self.close);
                assert!(!self.invalid, "{what}: op 9");
            }
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {what}"));
    }

    /// Resumes, which must succeed.
    async fn resumes(self, url: &str) -> Self {
        let mut client = self.resume(url).await;
        client.resumed = false;
        client.until("RESUMED", |client| client.resumed).await;
        client
    }

    /// Resumes, which must fail with op 9.
    async fn must_identify(self, url: &str) {
        let mut client = self.resume(url).await;
        while !client.invalid {
            assert!(client.take().await && !client.resumed, "{:?}", client.close);
        }
    }

    /// Every guild came again, and is available.
    fn has_all_again(&self) -> bool {
        self.again.len() == self.guilds.len() && self.guilds.values().all(|members| *members > 0)
    }

    async fn until_ready(&mut self) {
        let is_ready = |client: &Self| {
            client.settled && !client.session.is_empty() && client.guilds.values().all(|members| *members > 0)
        };
        self.until("READY and all guilds", is_ready).await;
    }

    async fn ready(url: &str, shard: (u32, u32)) -> Self {
        let mut client = Self::identify(url, shard, INTENTS).await;
        client.until_ready().await;
        client
    }
}

/// A client with any token gets `guilds` guilds there.
pub(crate) async fn assert_serves(url: &str, guilds: usize) {
    let mut client = Client::identify(url, (0, 1), 1).await;
    client.until_ready().await;
    assert_eq!(client.guilds.len(), guilds);
}

/// Reads all clients until they have `messages` messages together.
async fn until_messages(clients: &mut [Client], messages: u64) {
    let reading = async {
        while clients.iter().map(|client| client.messages.len() as u64).sum::<u64>() < messages {
            let takes = clients.iter_mut().map(|client| Box::pin(client.take()));
            let (open, ..) = futures_util::future::select_all(takes).await;
            assert!(open);
        }
    };
    timeout(PATIENCE, reading).await.expect("messages are missing");
    let all: Vec<&String> = clients.iter().flat_map(|client| &client.messages).collect();
    let distinct: BTreeSet<&String> = all.iter().copied().collect();
    assert_eq!((all.len(), all.len() as u64), (distinct.len(), messages), "messages came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_any_total_get_each_guild_and_message_once() {
    const SHARDS: u32 = 12;
    let intents = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::of(SHARDS, sim_config(GUILDS), intents, &[]).await;
    let identifies = fleet.identifies();
    let health: Value = http::json(&format!("{}/health", fleet.workers[0].health)).await;
    let rest = format!("http://{}/api/v10/gateway/bot", health["rest"].as_str().unwrap());
    let (status, answer) = http::get_as(&rest, &format!("Bot {TOKEN}")).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["url"], &answer["shards"]), (200, &json!(fleet.gateways[0]), &json!(SHARDS)));

    let world = fleet.deployment.sim.control().guilds(GUILDS as usize, SHARDS);
    let mut dispatched = fleet.dispatched();
    for total in [1, 5, SHARDS, 16] {
        let mut clients = Vec::new();
        for number in 0..total {
            let gateway = &fleet.gateways[number as usize % 2];
            clients.push(Client::ready(gateway, (number, total)).await);
        }
        for (number, client) in (0..).zip(&clients) {
            assert!(client.guilds.keys().all(|guild| (guild >> 22) % u64::from(total) == number));
        }
        let counts: BTreeMap<u64, u64> = clients.iter().flat_map(|client| client.guilds.clone()).collect();
        let wanted = world.iter().map(|guild| (guild.id.0, guild.member_count));
        assert_eq!(counts, wanted.collect::<BTreeMap<_, _>>(), "of {total}");
        fleet.rate(200.0);
        fleet.until_dispatched(dispatched + 200).await;
        fleet.rate(0.0);
        let sent = fleet.dispatched() - dispatched;
        until_messages(&mut clients, sent).await;
        dispatched = fleet.dispatched();
    }
    assert_eq!(fleet.identifies(), identifies, "clients spend no IDENTIFY at Discord");
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_resume_at_another_worker_when_theirs_is_killed() {
    let mut fleet = Fleet::start().await;
    let identifies = fleet.identifies();
    let mut clients = Vec::new();
    for number in 0..3 {
        clients.push(Client::ready(&fleet.gateways[0], (number, 3)).await);
    }
    fleet.rate(300.0);
    fleet.until_dispatched(200).await;
    fleet.workers[0].process.kill().await;
    let mut resumed = Vec::new();
    for mut client in clients {
        while client.take().await {}
        resumed.push(client.resumes(&fleet.gateways[1]).await);
    }
    let on_b = |status: &altergolden_proto::v1::FleetStatus| all_ready(status);
    fleet.coordinator.until("all shards on b", on_b).await;
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    let dispatched = fleet.dispatched();
    until_messages(&mut resumed, dispatched).await;
    assert_eq!(fleet.identifies(), identifies);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_clients_are_closed_with_discords_codes() {
    let fleet = Fleet::start().await;
    let url = &fleet.gateways[0];
    let closed = async |mut client: Client| {
        while client.take().await {}
        client.close.unwrap()
    };
    let mut stranger = Client::connect(url).await;
    stranger.send(json!({"op": 2, "d": {"token": "another", "intents": 1}})).await;
    assert_eq!(closed(stranger).await.0, 4004);
    let (code, reason) = closed(Client::identify(url, (0, 1), 1 | 1 << 8).await).await;
    assert!(code == 4014 && reason.contains("GUILD_PRESENCES"), "{code} {reason}");
    assert_eq!(closed(Client::identify(url, (0, 1), 1 << 30).await).await.0, 4013);
    assert_eq!(closed(Client::identify(url, (4, 4), 1).await).await.0, 4010);
    for query in ["v=10&encoding=etf", "v=6&encoding=json", "v=10&encoding=json&compress=zstd-stream"] {
        assert_eq!(closed(Client::connect_with(url, query).await).await.0, 4012, "{query}");
    }
    let mut silly = Client::connect(url).await;
    silly.send(json!({"op": 2, "d": 5})).await;
    assert_eq!(closed(silly).await.0, 4000);

    // Up to its last guild a session cannot be resumed, and neither can a foreign one, or one that is ahead of the relay.
    let mut early = Client::ready(url, (0, 1)).await;
    early.sequence = 5;
    early.must_identify(&fleet.gateways[1]).await;
    let mut foreign = Client::ready(url, (0, 1)).await;
    foreign.session.replace_range(..4, "AAAA");
    foreign.must_identify(url).await;
    let mut ahead = Client::ready(url, (0, 1)).await;
    ahead.sequence += 1_000_000;
    ahead.must_identify(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_without_events_resumes_and_misses_nothing() {
    let fleet = Fleet::start().await;
    // At the same worker, at the other one, and once more behind a replay.
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    client = client.resumes(&fleet.gateways[0]).await;
    client = client.resumes(&fleet.gateways[1]).await;
    let mut sent = 0;
    for gateway in [0, 1, 0] {
        drop(client.socket.close(None).await);
        fleet.rate(200.0);
        fleet.until_dispatched(sent + 150).await;
        fleet.rate(0.0);
        sent = fleet.dispatched();
        client = client.resumes(&fleet.gateways[gateway]).await;
        until_messages(std::slice::from_mut(&mut client), sent).await;
    }
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_clients_get_the_same() {
    let fleet = Fleet::start().await;
    let plain = Client::ready(&fleet.gateways[0], (0, 1)).await;
    let mut compressed =
        Client::connect_with(&fleet.gateways[1], "v=10&encoding=json&compress=zlib-stream").await;
    compressed.send_identify((0, 1), INTENTS).await;
    compressed.until_ready().await;
    assert_eq!(compressed.created, plain.created);
    fleet.rate(200.0);
    fleet.until_dispatched(200).await;
    fleet.rate(0.0);
    until_messages(&mut [compressed], fleet.dispatched()).await;
}

/// A guild with its lists in the order of ids.
fn in_order(guild: &Value) -> Value {
    let mut guild = guild.clone();
    for list in guild.as_object_mut().unwrap().values_mut().filter_map(Value::as_array_mut) {
        let key = |element: &Value| {
            let id = ["/id", "/user/id", "/user_id"].into_iter().find_map(|path| element.pointer(path));
            id.and_then(Value::as_str).and_then(|id| id.parse::<u64>().ok()).unwrap_or_default()
        };
        list.sort_by_key(key);
    }
    guild
}

#[tokio::test(flavor = "multi_thread")]
async fn guilds_are_those_that_discord_sends() {
    // GUILDS, GUILD_VOICE_STATES, GUILD_MESSAGES; the fleet has more.
    const FEW: u32 = 1 | 1 << 7 | 1 << 9;
    let names = "GUILDS,GUILD_MEMBERS,GUILD_VOICE_STATES,GUILD_PRESENCES,GUILD_MESSAGES,MESSAGE_CONTENT";
    let all = FEW | 1 << 1 | 1 << 8 | 1 << 15;
    let fleet = Fleet::with(sim_config(GUILDS), names, &[]).await;
    for intents in [FEW, all] {
        let mut direct = Client::identify(&fleet.deployment.sim.gateway_url(), (0, 1), intents).await;
        let is_ready = |client: &Client| {
            !client.session.is_empty() && client.guilds.values().all(|members| *members > 0)
        };
        direct.until("guilds of Discord", is_ready).await;
        let mut client = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
        client.until_ready().await;
        assert_eq!(client.guilds, direct.guilds);
        for (guild, wanted) in &direct.created {
            let (ours, wanted) = (in_order(&client.created[guild]), in_order(wanted));
            for (field, value) in wanted.as_object().unwrap() {
                assert_eq!(&ours[field], value, "{field} of {guild} with intents {intents}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_from_one_request_and_then_from_the_cache() {
    let fleet =
        Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_MEMBERS,GUILD_MESSAGES,MESSAGE_CONTENT", &[]).await;
    let identifies = fleet.identifies();
    let intents = INTENTS | 1 << 1;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
        client.until_ready().await;
        clients.push(client);
    }
    let by_size = |client: &Client| {
        let mut guilds: Vec<(u64, u64)> =
            client.guilds.iter().map(|(guild, members)| (*members, *guild)).collect();
        guilds.sort_unstable();
        guilds
    };
    let guilds = by_size(&clients[0]);
    let (members, guild) = guilds[guilds.len() - 1];
    assert!(members > 1_000, "more than one chunk");
    let request = |guild: u64, nonce: &str| json!({"op": 8, "d": {"guild_id": guild.to_string(), "query": "", "limit": 0, "nonce": nonce}});
    // Whether the second joins the first, waits for the end of its answer, or finds it in the cache: Discord is asked once.
    clients[0].send(request(guild, "first")).await;
    clients[1].send(request(guild, "second")).await;
    let found = |client: &Client, nonce: &str| {
        let chunks = client.chunks.iter().filter(|chunk| chunk["nonce"] == nonce);
        let members = chunks.flat_map(|chunk| chunk["members"].as_array().unwrap());
        members.map(|member| member["user"]["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>().len()
            as u64
    };
    for (client, nonce) in clients.iter_mut().zip(["first", "second"]) {
        client.until("members", |client| found(client, nonce) == members).await;
        let other = if nonce == "first" { "second" } else { "first" };
        assert_eq!(found(client, other), 0, "each client has its own nonce");
    }
    assert_eq!(fleet.asked(8, Some(guild)), 1);

    // Now the owner has all members: at any worker nothing more is asked.
    let mut elsewhere = Client::identify(&fleet.gateways[1], (0, 1), intents).await;
    elsewhere.until_ready().await;
    elsewhere.send(request(guild, "cached")).await;
    elsewhere.until("cached members", |client| found(client, "cached") == members).await;
    let user = elsewhere.chunks[0]["members"][0]["user"]["id"].clone();
    elsewhere.chunks.clear();
    let data = json!({"guild_id": guild.to_string(), "user_ids": [user, "1"], "limit": 0, "nonce": "two"});
    elsewhere.send(json!({"op": 8, "d": data})).await;
    elsewhere.until("a cached member", |client| !client.chunks.is_empty()).await;
    assert_eq!((found(&elsewhere, "two"), &elsewhere.chunks[0]["not_found"]), (1, &json!(["1"])));
    assert_eq!(fleet.asked(8, Some(guild)), 1);
    assert_eq!(fleet.identifies(), identifies);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_and_voice_state_go_to_their_shards() {
    let fleet = Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_VOICE_STATES", &[]).await;
    let mut client = Client::identify(&fleet.gateways[0], (0, 1), 1 | 1 << 7).await;
    client.until_ready().await;
    let control = fleet.deployment.sim.control();
    let presence = |name: &str| json!({"op": 3, "d": {"since": null, "afk": false, "status": "idle", "activities": [{"name": name, "type": 0}]}});
    let shown = |name: &str| {
        let sessions = control.sessions().sessions;
        let live = sessions.iter().filter(|session| session.ended_at_ms.is_none());
        live.filter(|session| session.presence["activities"][0]["name"] == name).count()
    };
    client.send(presence("one")).await;
    until("the first presence", async || (shown("one") == SHARDS as usize).then_some(())).await;
    client.send(presence("one")).await;
    client.send(presence("two")).await;
    until("the second presence", async || (shown("two") == SHARDS as usize).then_some(())).await;
    assert_eq!(fleet.asked(3, None), 2 * SHARDS as usize, "equal ones are not sent");

    let is_voice = |channel: &&Value| channel["type"] == 2;
    let (guild, channel) = client
        .created
        .iter()
        .find_map(|(guild, data)| {
            let channel = data["channels"].as_array()?.iter().find(is_voice)?["id"].clone();
            Some((*guild, channel))
        })
        .unwrap();
    let data =
        json!({"guild_id": guild.to_string(), "channel_id": channel, "self_mute": false, "self_deaf": false});
    client.send(json!({"op": 4, "d": data})).await;
    let has = |client: &Client, name: &str| {
        client.voice.iter().any(|(named, data)| named == name && data["guild_id"] == json!(guild.to_string()))
    };
    client
        .until("both voice events", |client| {
            has(client, "VOICE_STATE_UPDATE") && has(client, "VOICE_SERVER_UPDATE")
        })
        .await;
    assert_eq!(fleet.asked(4, Some(guild)), 1);
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_relay_gives_connected_clients_their_guilds_again() {
    let mut relay = redis_fixture::RedisServer::start().await;
    let url = relay.url();
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_REDIS_URL", &url)]).await;
    let identifies = fleet.identifies();
    let mut clients = Vec::new();
    for (number, gateway) in (0..).zip(&fleet.gateways) {
        clients.push(Client::ready(gateway, (number, 2)).await);
    }
    for loss in ["FLUSHALL", "restart"] {
        fleet.rate(200.0);
        fleet.until_dispatched(fleet.dispatched() + 100).await;
        fleet.rate(0.0);
        until_messages(&mut clients, fleet.dispatched()).await;
        for client in &mut clients {
            client.again.clear();
        }
        if loss == "FLUSHALL" {
            relay.command::<()>(&["FLUSHALL"]).await;
        } else {
            relay.restart().await;
        }
        for client in &mut clients {
            client.until("all guilds again", Client::has_all_again).await;
        }
    }
    fleet.rate(200.0);
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    assert_eq!(fleet.identifies(), identifies, "Discord sees nothing of it");
    for client in clients {
        // The numbers that its session has are other entries' now.
        client.must_identify(&fleet.gateways[0]).await;
    }
    fleet.deployment.assert_lawful();
}

/// Copies all keys, as a replica has them at that moment.
const SAVE: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do \
    if string.sub(key, 1, 6) ~= 'saved:' then redis.call('SET', 'saved:' .. key, redis.call('DUMP', key)) end end";
/// Goes back to the copies: what was written since is lost.
const LOSE: &str = "for _, key in ipairs(redis.call('KEYS', '*')) do \
    if string.sub(key, 1, 6) ~= 'saved:' then redis.call('DEL', key) end end \
    for _, key in ipairs(redis.call('KEYS', 'saved:*')) do \
    redis.call('RESTORE', string.sub(key, 7), 0, redis.call('GET', key)) end";

#[tokio::test(flavor = "multi_thread")]
async fn lost_writes_of_the_relay_lose_and_repeat_nothing() {
    let relay = redis_fixture::RedisServer::start().await;
    let url = relay.url();
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_REDIS_URL", &url)]).await;
    let mut clients = Vec::new();
    for (number, gateway) in (0..).zip(&fleet.gateways) {
        clients.push(Client::ready(gateway, (number, 2)).await);
    }
    fleet.rate(300.0);
    for _ in 0..3 {
        fleet.until_dispatched(fleet.dispatched() + 100).await;
        relay.command::<()>(&["EVAL", SAVE, "0"]).await;
        fleet.until_dispatched(fleet.dispatched() + 60).await;
        relay.command::<()>(&["EVAL", LOSE, "0"]).await;
    }
    fleet.until_dispatched(fleet.dispatched() + 200).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    for client in clients {
        client.must_identify(&fleet.gateways[0]).await;
    }
    fleet.deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn new_session_of_a_shard_gives_connected_clients_its_guilds_again() {
    let fleet = Fleet::start().await;
    let mut resumed = Client::ready(&fleet.gateways[0], (0, 1)).await;
    resumed = resumed.resumes(&fleet.gateways[1]).await;
    let mut clients = [Client::ready(&fleet.gateways[0], (0, 1)).await];
    let control = fleet.deployment.sim.control();
    control.inject(Fault::DenyResumes { on: true }).unwrap();
    control.inject(Fault::Close { shards: Some(vec![2]), code: 4000, reason: String::new() }).unwrap();
    let of_shard = |client: &Client| -> BTreeSet<u64> {
        client.guilds.keys().copied().filter(|guild| (guild >> 22) % u64::from(SHARDS) == 2).collect()
    };
    clients[0].until("the guilds of the shard again", |client| client.again == of_shard(client)).await;
    fleet.rate(200.0);
    fleet.until_dispatched(100).await;
    fleet.rate(0.0);
    until_messages(&mut clients, fleet.dispatched()).await;
    // Another worker sent this client its guilds, so what it has of them is not known.
    while !resumed.invalid {
        assert!(resumed.take().await, "{:?}", resumed.close);
    }
}

/// Resident memory of a process, in bytes.
fn memory(worker: &Worker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", worker.process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_reads_nothing_is_closed_behind_the_trim_and_costs_others_nothing() {
    let names = "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT";
    let fleet = Fleet::with(sim_config(GUILDS), names, &[("RELAY_MAX_LENGTH", "200")]).await;
    let url = &fleet.gateways[0];
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let stream = socket.connect(url.trim_start_matches("ws://").parse().unwrap()).await.unwrap();
    let stream = MaybeTlsStream::Plain(stream);
    let (socket, _) =
        tokio_tungstenite::client_async(format!("{url}/?v=10&encoding=json"), stream).await.unwrap();
    let mut slow = Client::over(socket, false);
    slow.send_identify((0, 1), INTENTS).await;
    slow.until_ready().await;
    let mut quick = [Client::ready(url, (0, 1)).await];

    let before = memory(&fleet.workers[0]);
    // More than the socket's buffers, the entries that all clients share, and the relay take.
    let control = fleet.deployment.sim.control();
    let guild_id = control.guilds(1, SHARDS)[0].id;
    for round in 1..=40 {
        for _ in 0..100 {
            let content = Some("\u{1f980}".repeat(2_000));
            control.inject(Fault::Message { guild_id, content }).unwrap();
        }
        until_messages(&mut quick, 100 * round).await;
    }
    let grown = memory(&fleet.workers[0]).saturating_sub(before);
    assert!(grown < 128 * 1024 * 1024, "{grown} bytes");
    while slow.take().await {}
    let (code, reason) = slow.close.clone().unwrap();
    assert!(code == 4000 && reason.contains("too slow"), "{code} {reason}");
    assert!(slow.messages.len() < quick[0].messages.len());
    slow.must_identify(url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_stops_sends_its_clients_elsewhere() {
    let fleet = Fleet::start().await;
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    fleet.rate(100.0);
    fleet.until_dispatched(100).await;
    fleet.workers[0].process.signal(fleet_fixture::Signal::TERM);
    while client.take().await {}
    assert!(client.reconnects, "op 7");
    let client = client.resumes(&fleet.gateways[1]).await;
    fleet.until_dispatched(fleet.dispatched() + 100).await;
    fleet.rate(0.0);
    let dispatched = fleet.dispatched();
    until_messages(&mut [client], dispatched).await;
}

/// The libraries that judge the simulator judge a fleet too.
const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../discord-sim/judges");

/// A fleet of two shards, as the judges expect, whose workers share the gateway's port.
struct JudgedFleet {
    deployment: Deployment,
    _coordinator: Coordinator,
    workers: Vec<Worker>,
    token: String,
    gateway: String,
    /// The REST proxy of the second worker.
    api: String,
    /// The certificate of the ports for bots, and the CA's beside it.
    certificates: Option<TempDir>,
}

impl JudgedFleet {
    async fn start() -> Self {
        Self::with(None).await
    }

    /// A fleet whose ports for bots take TLS.
    async fn over_tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| {
            let output = command("altergolden").arg("credentials").args(words).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let dir = folder.path().to_str().unwrap();
        run(&["init", dir]);
        run(&["issue", "client-facing", "bots", "--host", "127.0.0.1", "--dir", dir]);
        Self::with(Some(folder)).await
    }

    async fn with(certificates: Option<TempDir>) -> Self {
        let config =
            SimConfig { shards: Some(2), events_per_second: 0.0, rest_limit_speed: 1.0, ..sim_config(40) };
        let deployment = Deployment::start(config).await;
        // hikari reads the bot's id from the token, as it is in Discord's: its part before the point is the id in base64.
        let bot = deployment.sim.control().bot_id().to_string();
        let token = format!("{}.judge", base64::engine::general_purpose::STANDARD.encode(bot));
        let mut command = deployment.coordinator_command(2);
        let coordinator =
            Coordinator::start(command.env("RELAY", "redis").env("DISCORD_TOKEN", &token)).await;
        let (mut workers, mut gateway, mut api) = (Vec::new(), "127.0.0.1:0".to_owned(), String::new());
        for name in ["a", "b"] {
            let mut command = deployment.worker_command(name, &coordinator.address);
            command
                .env("RELAY", "redis")
                .env("DISCORD_TOKEN", &token)
                .env("INTENTS", "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT")
                .env("GATEWAY_LISTEN", &gateway);
            if let Some(folder) = &certificates {
                command.env("CLIENT_FACING_CERTIFICATE", folder.path().join("client-facing-bots.pem"));
            }
            let mut worker = Worker::start(name, &mut command).await;
            gateway = worker.process.logged("gateway for bots listening", "address").await;
            let health: Value = http::json(&format!("{}/health", worker.health)).await;
            let scheme = if certificates.is_some() { "https" } else { "http" };
            api = format!("{scheme}://{}/api", health["rest"].as_str().unwrap());
            workers.push(worker);
        }
        coordinator.until_balanced(&[&workers[0], &workers[1]]).await;
        Self {
            deployment,
            _coordinator: coordinator,
            workers,
            token,
            gateway: format!("{}://{gateway}", if certificates.is_some() { "wss" } else { "ws" }),
            api,
            certificates,
        }
    }

    /// Starts a judge: the program, its script and arguments.
    fn judge(&self, program: &str, script: &str, arguments: &[&str]) -> Process {
        let (wanted, present) = match program {
            "node" => ("node/package-lock.json", "node/node_modules/.installed"),
            _ => ("python/requirements.txt", "python/.venv/.installed"),
        };
        let read = |path: &str| fs::read(Path::new(JUDGES).join(path)).ok();
        assert!(
            read(present).is_some_and(|present| Some(present) == read(wanted)),
            "the judges' libraries do not match {wanted}: run services/discord-sim/judges/install"
        );
        let mut command = Command::new(if program == "node" {
            "node".to_owned()
        } else {
            format!("{JUDGES}/python/.venv/bin/python")
        });
        command
            .arg(format!("{JUDGES}/{script}"))
            .arg(self.deployment.sim.http_origin())
            .args(arguments)
            .env("BOT_API", &self.api)
            .env("BOT_TOKEN", &self.token)
            .env("BOT_GATEWAY", &self.gateway);
        if let Some(folder) = &self.certificates {
            command.env("NODE_EXTRA_CA_CERTS", folder.path().join("ca.pem"));
        }
        Process::start(script, &mut command)
    }

    async fn passes(&self, mut judge: Process) {
        judge.line("the judge's word", |line| line.contains("the judge passed").then_some(())).await;
        assert_eq!(judge.ended().await.code(), Some(0), "{}", judge.output());
        self.deployment.assert_lawful();
    }

    /// Kills the worker that most of the judge's connections are at, once the judge is ready for it.
    async fn kill_its_worker(&mut self, judge: &mut Process) {
        judge
            .line("the judge to be ready", |line| line.contains("ready to lose its worker").then_some(()))
            .await;
        let mut clients = Vec::new();
        for worker in &self.workers {
            let (_, metrics) = http::request(&format!("{}/metrics", worker.health), None).await.unwrap();
            let line = metrics.lines().find(|line| line.starts_with("altergolden_gateway_clients ")).unwrap();
            clients.push(line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        }
        // The judge's REST calls go to the second one.
        if clients[0] == 0 {
            self.workers[1].process.kill().await;
        } else {
            self.workers[0].process.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discordjs_logs_in_and_resumes_when_its_worker_is_killed() {
    // Judges compare with everything that the simulator recorded.
    let fleet = JudgedFleet::start().await;
    let login = fleet.judge("node", "node/discordjs/login.mjs", &[]);
    fleet.passes(login).await;
    for mut fleet in [JudgedFleet::start().await, JudgedFleet::over_tls().await] {
        let mut moved = fleet.judge("node", "node/discordjs/moved.mjs", &[]);
        fleet.kill_its_worker(&mut moved).await;
        fleet.passes(moved).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discordpy_answers_commands_and_resumes_when_its_worker_is_killed() {
    let fleet = JudgedFleet::start().await;
    for scenario in ["login", "commands"] {
        let judge = fleet.judge("python", "python/discordpy.py", &[scenario]);
        fleet.passes(judge).await;
    }
    let mut fleet = JudgedFleet::start().await;
    let mut moved = fleet.judge("python", "python/discordpy.py", &["moved"]);
    fleet.kill_its_worker(&mut moved).await;
    fleet.passes(moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hikari_has_its_guilds_and_resumes_when_its_worker_is_killed() {
    let fleet = JudgedFleet::start().await;
    let start = fleet.judge("python", "python/judge.py", &["start"]);
    fleet.passes(start).await;
    let mut fleet = JudgedFleet::start().await;
    let mut moved = fleet.judge("python", "python/judge.py", &["moved"]);
    fleet.kill_its_worker(&mut moved).await;
    fleet.passes(moved).await;
}

/// The bot has asked for the same members at Discord itself just before it was moved here: Discord takes one such request in 30 s.
#[tokio::test(flavor = "multi_thread")]
async fn request_for_members_that_discord_puts_off_is_answered_later() {
    let fleet = Fleet::with(sim_config(GUILDS), "GUILDS,GUILD_MEMBERS", &[]).await;
    let intents = 1 | 1 << 1;
    let mut old = loop {
        let mut client = Client::identify(&fleet.deployment.sim.gateway_url(), (0, 1), intents).await;
        while client.session.is_empty() && !client.invalid {
            assert!(client.take().await);
        }
        // The fleet's shards have just identified, and Discord takes one at a time.
        if !client.invalid {
            break client;
        }
    };
    old.until("its guilds", |client| {
        client.guilds.values().filter(|members| **members > 0).count() as u32 == GUILDS
    })
    .await;
    let (guild, members) = old
        .guilds
        .iter()
        .map(|(guild, members)| (*guild, *members))
        .max_by_key(|(_, members)| *members)
        .unwrap();
    let request =
        json!({"op": 8, "d": {"guild_id": guild.to_string(), "query": "", "limit": 0, "nonce": "mine"}});
    old.send(request.clone()).await;
    old.until("its members", |client| !client.chunks.is_empty()).await;
    drop(old);

    let mut moved = Client::identify(&fleet.gateways[0], (0, 1), intents).await;
    moved.until_ready().await;
    moved.send(request).await;
    moved
        .until("all members", |client| {
            let chunks = client.chunks.iter().filter(|chunk| chunk["nonce"] == "mine");
            chunks.map(|chunk| chunk["members"].as_array().unwrap().len() as u64).sum::<u64>() == members
        })
        .await;
    // The old bot's, the one that was put off, and that one again.
    assert_eq!(fleet.asked(8, Some(guild)), 3);
}
