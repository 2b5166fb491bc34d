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
use fleet_fixture::{Coordinator, Deployment, PATIENCE, Process, Worker, all_ready, http, sim_config, until};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
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
        let deployment = Deployment::start(SimConfig { events_per_second: 0.0, ..sim_config(GUILDS) }).await;
        let mut command = deployment.coordinator_command(SHARDS);
        let coordinator = Coordinator::start(command.env("RELAY", "redis")).await;
        let mut fleet = Self { deployment, coordinator, workers: Vec::new(), gateways: Vec::new() };
        for name in ["a", "b"] {
            let mut command = fleet.deployment.worker_command(name, &fleet.coordinator.address);
            command
                .env("RELAY", "redis")
                .env("INTENTS", "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT")
                .env("GATEWAY_LISTEN", "127.0.0.1:0");
            let mut worker = Worker::start(name, &mut command).await;
            fleet.gateways.push(worker.process.logged("gateway for bots listening", "url").await);
            fleet.workers.push(worker);
        }
        let workers: Vec<&Worker> = fleet.workers.iter().collect();
        fleet.coordinator.until_balanced(&workers).await;
        fleet
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
    sequence: u64,
    session: String,
    /// Member counts of its guilds.
    guilds: BTreeMap<u64, u64>,
    messages: Vec<String>,
    resumed: bool,
    /// Op 9 came.
    invalid: bool,
    close: Option<(u16, String)>,
}

impl Client {
    async fn connect(url: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("{url}/?v=10&encoding=json")).await.unwrap();
        Self {
            socket,
            sequence: 0,
            session: String::new(),
            guilds: BTreeMap::new(),
            messages: Vec::new(),
            resumed: false,
            invalid: false,
            close: None,
        }
    }

    async fn send(&mut self, payload: Value) {
        self.socket.send(Message::text(payload.to_string())).await.unwrap();
    }

    async fn identify(url: &str, shard: (u32, u32), intents: u32) -> Self {
        let mut client = Self::connect(url).await;
        let data = json!({"token": TOKEN, "intents": intents, "shard": [shard.0, shard.1], "properties": {}});
        client.send(json!({"op": 2, "d": data})).await;
        client
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
            Some(Ok(Message::Text(text))) => text,
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
                self.session = data["session_id"].as_str().unwrap().to_owned();
                for guild in data["guilds"].as_array().unwrap() {
                    self.guilds.insert(guild["id"].as_str().unwrap().parse().unwrap(), 0);
                }
            }
            Some("GUILD_CREATE") => {
                assert!(data["members"].is_array() && data["voice_states"].is_array(), "{data}");
                assert_eq!(data["unavailable"], false);
                let before = self.guilds.insert(id(), data["member_count"].as_u64().unwrap());
                assert_eq!(before, Some(0), "each create comes once");
            }
            Some("MESSAGE_CREATE") => self.messages.push(data["id"].as_str().unwrap().to_owned()),
            Some("RESUMED") => self.resumed = true,
            _ => {}
        }
        self.invalid |= payload["op"] == 9;
        true
    }

    async fn until_ready(&mut self) {
        while self.session.is_empty() || self.guilds.values().any(|members| *members == 0) {
            assert!(self.take().await, "{:?}", self.close);
        }
    }

    async fn ready(url: &str, shard: (u32, u32)) -> Self {
        let mut client = Self::identify(url, shard, INTENTS).await;
        client.until_ready().await;
        client
    }
}

/// Reads all clients until they have so many messages together.
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
    let fleet = Fleet::start().await;
    let identifies = fleet.identifies();
    let health: Value = http::json(&format!("{}/health", fleet.workers[0].health)).await;
    let rest = format!("http://{}/api/v10/gateway/bot", health["rest"].as_str().unwrap());
    let (status, answer) = http::get_as(&rest, &format!("Bot {TOKEN}")).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["url"], &answer["shards"]), (200, &json!(fleet.gateways[0]), &json!(SHARDS)));

    let world = fleet.deployment.sim.control().guilds(GUILDS as usize, SHARDS);
    let mut dispatched = fleet.dispatched();
    for total in [1, 5, SHARDS, 6] {
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
        let mut client = client.resume(&fleet.gateways[1]).await;
        while !client.resumed {
            assert!(client.take().await && !client.invalid, "{:?}", client.close);
        }
        resumed.push(client);
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
    let (socket, _) = tokio_tungstenite::connect_async(format!("{url}/?v=10&encoding=etf")).await.unwrap();
    let mut etf = Client { socket, ..Client::connect(url).await };
    while etf.take().await {}
    assert_eq!(etf.close.unwrap().0, 4012);

    // Up to its last guild a session cannot be resumed, and neither can a foreign one.
    let mut early = Client::ready(url, (0, 1)).await;
    early.sequence = 5;
    let mut early = early.resume(&fleet.gateways[1]).await;
    while !early.invalid {
        assert!(early.take().await);
    }
    let mut foreign = Client::ready(url, (0, 1)).await;
    foreign.session.replace_range(..4, "AAAA");
    let mut foreign = foreign.resume(url).await;
    while !foreign.invalid {
        assert!(foreign.take().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_stops_sends_its_clients_elsewhere() {
    let fleet = Fleet::start().await;
    let mut client = Client::ready(&fleet.gateways[0], (0, 1)).await;
    fleet.rate(100.0);
    fleet.until_dispatched(100).await;
    fleet.workers[0].process.signal(fleet_fixture::Signal::TERM);
    while client.take().await {}
    let mut client = client.resume(&fleet.gateways[1]).await;
    while !client.resumed {
        assert!(client.take().await && !client.invalid);
    }
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
}

impl JudgedFleet {
    async fn start() -> Self {
        let config = SimConfig {
            shards: Some(2),
            events_per_second: 0.0,
            rest_limit_speed: 1.0,
            ..sim_config(40)
        };
        let deployment = Deployment::start(config).await;
        // hikari reads the bot's id from the token, as it is in Discord's: its part before the point is the id in base64.
        let bot = deployment.sim.control().bot_id().to_string();
        let token = format!("{}.judge", base64::engine::general_purpose::STANDARD.encode(bot));
        let mut command = deployment.coordinator_command(2);
        let coordinator = Coordinator::start(command.env("RELAY", "redis").env("DISCORD_TOKEN", &token)).await;
        let (mut workers, mut gateway, mut api) = (Vec::new(), "127.0.0.1:0".to_owned(), String::new());
        for name in ["a", "b"] {
            let mut command = deployment.worker_command(name, &coordinator.address);
            command
                .env("RELAY", "redis")
                .env("DISCORD_TOKEN", &token)
                .env("INTENTS", "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT")
                .env("GATEWAY_LISTEN", &gateway);
            let mut worker = Worker::start(name, &mut command).await;
            gateway = worker.process.logged("gateway for bots listening", "address").await;
            let health: Value = http::json(&format!("{}/health", worker.health)).await;
            api = format!("http://{}/api", health["rest"].as_str().unwrap());
            workers.push(worker);
        }
        coordinator.until_balanced(&[&workers[0], &workers[1]]).await;
        Self { deployment, _coordinator: coordinator, workers, token, gateway: format!("ws://{gateway}"), api }
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
        Process::start(script, &mut command)
    }

    async fn passes(&self, mut judge: Process) {
        judge.line("the judge's word", |line| line.contains("the judge passed").then_some(())).await;
        assert_eq!(judge.ended().await.code(), Some(0), "{}", judge.output());
        self.deployment.assert_lawful();
    }

    /// Kills the worker that most of the judge's connections are at, once the judge is ready for it.
    async fn kill_its_worker(&mut self, judge: &mut Process) {
        judge.line("the judge to be ready", |line| line.contains("ready to lose its worker").then_some(())).await;
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
    let mut fleet = JudgedFleet::start().await;
    let mut moved = fleet.judge("node", "node/discordjs/moved.mjs", &[]);
    fleet.kill_its_worker(&mut moved).await;
    fleet.passes(moved).await;
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
