//! Every path is driven with secrets that are known, and everything that the processes have said, shown, exported and stored is searched
//! for them: logs at trace level, spans, metrics, health, the live page, answers and errors, process titles, Redis.
//!
//! A word that is no secret takes the same ways. It must be found at the end of each, or the search sees nothing there.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use altergolden_proto::v1::{FindGuildRequest, shard_bridge_client::ShardBridgeClient};
use discord_sim::LedgerReport;
use fleet_fixture::{
    Coordinator, CredentialsFolder, DEMANDED_INTERVAL, IDENTIFY_INTERVAL, LEASE_TTL, PATIENCE, Process,
    Worker, command, http, humantime, until,
};
use process::credentials::Role;
use redis_fixture::{RedisServer, RedisUser};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::traces::collector::Listening;

/// The bot's token, and one that Discord refuses.
const TOKEN: &str = "MTA5ODc2NTQzMjEwOTg3NjU0.s3cret.m4rkedBotTokenOfThisTest0123";
const WRONG_TOKEN: &str = "MTA5ODc2NTQzMjEwOTg3NjU1.s3cret.m4rkedWrongTokenOfThisTest01";
/// In the URL of the webhook.
const HOOK: &str = "m4rkedSecretPartOfTheWebhook0123";
/// What the fixture's Redis takes.
const REDIS_PASSWORD: &str = "password-of-member";
const WRONG_PASSWORD: &str = "m4rked-wrong-password-of-redis";
/// No secret: the name of a worker, the prefix of its metrics, and content of a broadcast.
const PLANTED: &str = "planted_7f3a";

const SHARDS: u32 = 4;
/// Where sessions belong.
const CHECKPOINT: &str = ":checkpoint";

/// What was seen, by where.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, text: impl AsRef<str>) {
        let seen = self.0.entry(place.into()).or_default();
        seen.push_str(text.as_ref());
        seen.push('\n');
    }

    /// The places where a text is.
    fn places(&self, text: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, seen)| seen.contains(text)).map(|(place, _)| place.as_str()).collect()
    }

    /// Each secret that is somewhere, and a bit of its surroundings.
    fn leaks(&self, secrets: &[(String, String)]) -> Vec<String> {
        let mut leaks = Vec::new();
        for (what, secret) in secrets {
            for place in self.places(secret) {
                // A session belongs into its shard's checkpoint, for the next owner, and into READY, which bots get as Discord sends it. The
                // simulator names its own sessions.
                let belongs =
                    place.ends_with(CHECKPOINT) || ["redis READY", "log of simulator"].contains(&place);
                if what == "session" && belongs {
                    continue;
                }
                let seen = &self.0[place];
                let at = seen.find(secret.as_str()).unwrap_or_default();
                let from = seen[..at].char_indices().rev().nth(150).map_or(0, |(index, _)| index);
                leaks.push(format!("{what} in {place}: {}", seen[from..at].escape_debug()));
            }
        }
        leaks
    }
}

/// A server that takes all POSTs, and remembers their bodies.
struct Hook {
    url: String,
    bodies: Arc<Mutex<String>>,
    _serving: AbortOnDropHandle<()>,
}

impl Hook {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/{HOOK}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(String::new()));
        let kept = bodies.clone();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut text = vec![0; 64 << 10];
                let read = socket.read(&mut text).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&text[..read]).into_owned();
                // The URL is in the request, of course.
                kept.lock().unwrap().push_str(text.split_once("\r\n").map_or("", |(_, rest)| rest));
                // An answer that repeats what it was asked, as some servers do.
                let answer = format!("no hook {HOOK}");
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 404 Not Found\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = socket.write_all(format!("{head}{answer}").as_bytes()).await;
            }
        }));
        Self { url, bodies, _serving: serving }
    }
}

/// The whole platform as processes.
struct Platform {
    redis: RedisServer,
    sim: Process,
    origin: String,
    collector: Listening,
    hook: Hook,
    folder: tempfile::TempDir,
    credentials: Option<CredentialsFolder>,
}

impl Platform {
    async fn start(has_credentials: bool) -> Self {
        let mut sim = command("discord-sim");
        sim.env("SIM_LISTEN", "127.0.0.1:0")
            .env("SIM_TOKEN", TOKEN)
            .env("SIM_GUILDS", "40")
            .env("SIM_MAX_CONCURRENCY", "4")
            .env("SIM_IDENTIFY_INTERVAL", humantime(DEMANDED_INTERVAL))
            .env("SIM_EVENTS_PER_SECOND", "40")
            .env("SIM_HEARTBEAT_INTERVAL", "2s")
            .env("RUST_LOG", "trace");
        let mut sim = Process::start("discord-sim", &mut sim);
        let origin = sim
            .line("its address", |line| line.strip_prefix("discord-sim listening on ").map(str::to_owned))
            .await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("redis-password"), REDIS_PASSWORD).unwrap();
        Self {
            redis: RedisServer::start_with_users().await,
            sim,
            origin,
            collector: Listening::start().await,
            hook: Hook::start().await,
            folder,
            credentials: has_credentials.then(CredentialsFolder::new),
        }
    }

    /// A command of the platform: trace level, all spans.
    fn command(&self, name: &str) -> Command {
        let mut command = command(name);
        match &self.credentials {
            Some(folder) => command.env("CREDENTIALS", folder.path()),
            None => command.env_remove("CREDENTIALS"),
        };
        command
            .env("RUST_LOG", "trace")
            .env("DISCORD_TOKEN", TOKEN)
            .env("DISCORD_API_URL", &self.origin)
            .env("REDIS_URL", self.redis.url_as(RedisUser::Member))
            .env("HEALTH_PORT", "0")
            .env("MANAGER_HEALTH_PORT", "0");
        self.collector.trace(&mut command);
        command
    }

    fn coordinator(&self) -> Command {
        let mut command = self.command("coordinator");
        command
            .env("COORDINATOR_LISTEN", "127.0.0.1:0")
            .env("SHARD_COUNT", SHARDS.to_string())
            .env("LEASE_TTL", humantime(LEASE_TTL))
            .env("IDENTIFY_INTERVAL", humantime(IDENTIFY_INTERVAL))
            .env("SETTLE", "500ms")
            .env("RELAY", "redis")
            // The password by file, and the token too.
            .env("REDIS_URL", format!("redis://member@127.0.0.1:{}", self.redis.port()))
            .env("REDIS_PASSWORD_FILE", self.folder.path().join("redis-password"))
            .env("PROBLEMS_WEBHOOK_URL", &self.hook.url)
            .env("PROBLEMS_WEBHOOK_INTERVAL", "1s");
        command
    }

    fn worker(&self, name: &str, coordinator: SocketAddr) -> Command {
        let mut command = self.command("gateway-worker");
        command
            .arg(format!("--worker-name={name}"))
            .env("COORDINATOR_URL", coordinator.to_string())
            .env("RELAY", "redis")
            .env("TRACE_EVENTS", "1");
        command
    }

    /// Runs `altergolden` to its end; returns everything that it said.
    fn altergolden(&self, coordinator: &str, words: &[&str]) -> String {
        let mut command = self.command("altergolden");
        let output = command.args(words).env("COORDINATOR_URL", coordinator).output().unwrap();
        text_of(&output)
    }

    /// All secrets of the platform, with their kinds.
    async fn secrets(&self, bearers: &[String]) -> Vec<(String, String)> {
        let mut secrets: Vec<(String, String)> = [
            ("bot token", TOKEN),
            ("bot token", "m4rkedBotToken"),
            ("refused bot token", WRONG_TOKEN),
            ("webhook", HOOK),
            ("password of Redis", REDIS_PASSWORD),
            ("wrong password of Redis", WRONG_PASSWORD),
        ]
        .map(|(what, text)| (what.to_owned(), text.to_owned()))
        .into();
        secrets.extend(bearers.iter().map(|token| ("bearer token".to_owned(), token.clone())));
        let ledger: LedgerReport = http::json(&format!("{}/sim/ledger", self.origin)).await;
        assert!(ledger.sessions.len() >= SHARDS as usize);
        secrets.extend(ledger.sessions.into_iter().map(|session| ("session".to_owned(), session.session_id)));
        if let Some(folder) = &self.credentials {
            let mut keys = 0;
            for entry in fs::read_dir(folder.path()).unwrap() {
                let text = fs::read_to_string(entry.unwrap().path()).unwrap();
                for key in keys_of(&text) {
                    keys += 1;
                    secrets.push(("private key".to_owned(), key));
                }
            }
            assert!(keys > 7, "{keys}");
        }
        secrets
    }
}

/// The middle of each private key and head key of a PEM text, in base64 without line breaks. The start of a key is the same in all.
fn keys_of(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, block) = block.split_once("-----").unwrap();
        let (body, after) = block.split_once("-----END").unwrap();
        if label.contains("KEY") {
            let body: String = body.split_whitespace().collect();
            let from = if body.len() > 100 { 52 } else { 4 };
            keys.push(body[from..from + 32].to_owned());
        }
        rest = after;
    }
    keys
}

fn text_of(output: &std::process::Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Arguments and title of a process and the names of its threads, and the same of its children.
fn titles(pid: u32) -> String {
    let proc = Path::new("/proc").join(pid.to_string());
    let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let mut titles = vec![read(proc.join("cmdline")), read(proc.join("comm"))];
    for task in fs::read_dir(proc.join("task")).into_iter().flatten().flatten() {
        titles.push(read(task.path().join("comm")));
        let children = read(task.path().join("children"));
        titles.extend(children.split_whitespace().map(|child| self::titles(child.parse().unwrap())));
    }
    titles.join("\n")
}

/// Every key and value.
async fn store(redis: &RedisServer, seen: &mut Seen) {
    let keys: Vec<String> = redis.command(&["KEYS", "*"]).await;
    assert!(keys.iter().any(|key| key.ends_with(CHECKPOINT)), "{keys:?}");
    for key in keys {
        let kind: String = redis.command(&["TYPE", &key]).await;
        let words: &[&str] = match kind.as_str() {
            "string" => &["GET", &key],
            "hash" => &["HGETALL", &key],
            "list" => &["LRANGE", &key, "0", "-1"],
            "set" => &["SMEMBERS", &key],
            "zset" => &["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "stream" => &["XRANGE", &key, "-", "+"],
            // It expired meanwhile.
            _ => continue,
        };
        let value: redis_fixture::Value = redis.command(words).await;
        let mut text = Vec::new();
        bytes_of(&value, &mut text);
        seen.add(format!("redis {key}"), format!("{key}\n{}", String::from_utf8_lossy(&text)));
    }
}

fn bytes_of(value: &redis_fixture::Value, text: &mut Vec<u8>) {
    use redis_fixture::Value::{Array, BulkString, Map, SimpleString};
    match value {
        BulkString(bytes) => text.extend_from_slice(bytes),
        SimpleString(simple) => text.extend_from_slice(simple.as_bytes()),
        Array(values) => values.iter().for_each(|value| bytes_of(value, text)),
        Map(pairs) => pairs.iter().for_each(|(key, value)| {
            bytes_of(key, text);
            bytes_of(value, text);
        }),
        other => text.extend_from_slice(format!("{other:?}").as_bytes()),
    }
    text.push(b'\n');
}

/// The beginning of an answer that has no end.
async fn beginning(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(format!("GET /{path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&text).contains(PLANTED) {
            assert!(socket.read_buf(&mut text).await.unwrap() > 0);
        }
    };
    timeout(PATIENCE, reading).await.expect("the live page shows the workers");
    String::from_utf8_lossy(&text).into_owned()
}

/// A bot's question with a bearer token, over TLS or without.
async fn ask(coordinator: &Coordinator, ca: Option<&Path>, token: &str) -> Result<(), Status> {
    let socket = coordinator.socket();
    let endpoint = match ca {
        Some(ca) => {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(ca).unwrap()));
            let at = format!("https://localhost:{}", socket.port());
            Endpoint::from_shared(at).unwrap().tls_config(tls).unwrap()
        }
        None => Endpoint::from_shared(format!("http://{socket}")).unwrap(),
    };
    let channel = endpoint.connect().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let mut request = Request::new(FindGuildRequest { guild_id: 1, deadline_ms: None });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    ShardBridgeClient::new(channel).find_guild(request).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_a_platform_with_credentials() {
    drive(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_a_platform_without_credentials() {
    drive(false).await;
}

async fn drive(has_credentials: bool) {
    let mut platform = Platform::start(has_credentials).await;
    let mut seen = Seen::default();
    let mut coordinator = Coordinator::start(&mut platform.coordinator()).await;
    let mut a = Worker::start("a", &mut platform.worker("a", coordinator.socket())).await;
    let mut planted = platform.worker(PLANTED, coordinator.socket());
    let mut b = Worker::start(PLANTED, planted.env("METRICS_PREFIX", PLANTED)).await;
    coordinator.until_balanced(&[&a, &b]).await;
    let url = coordinator.address.clone();

    // Operators: right and wrong calls.
    let guilds: Vec<discord_sim::GuildReport> =
        http::json(&format!("{}/sim/guilds?limit=1&shard_total={SHARDS}", platform.origin)).await;
    let guild = guilds[0].id.0.to_string();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["shards"],
        &["workers"],
        &["find-guild", &guild],
        &["broadcast", "event", PLANTED],
        &["broadcast", "event", "two", "three"],
        &["history"],
        &["drain", "unknown"],
        &["tap", "--limit=5", "--for=10s", "--content", "--yes"],
        &["tap", "--limit=5", "--for=10s"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        seen.add("command line", platform.altergolden(&url, words));
    }
    for wrong in
        ["http://127.0.0.1:1", "https://127.0.0.1:1", "https://[::1", &url.replacen("https", "http", 1)]
    {
        seen.add("command line", platform.altergolden(wrong, &["status"]));
    }
    let repair = platform.command("altergolden").arg("repair").output().unwrap();
    seen.add("command line", text_of(&repair));

    // Bearer tokens: one that is right, one that is wrong, and one that is sent without TLS.
    let mut bearers = vec!["m4rkedBearerTokenThatNobodyKnows".to_owned()];
    if let Some(folder) = &platform.credentials {
        bearers.push(folder.token(Role::Bot, "shop"));
        let ca = folder.path().join("ca.pem");
        until("the token to be taken", async || ask(&coordinator, Some(&ca), &bearers[1]).await.ok()).await;
        let refused = ask(&coordinator, Some(&ca), &bearers[0]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        seen.add("errors", format!("{refused:?}"));
    }
    for token in &bearers {
        let asked = ask(&coordinator, None, token).await;
        seen.add("errors", format!("{asked:?}"));
    }

    // The REST proxy: the right token, wrong ones, wrong paths.
    let proxy = a.process.logged("REST proxy listening", "address").await;
    for path in ["users/@me", "channels/1/messages", "nowhere", "../../x", &format!("webhooks/1/{HOOK}")] {
        for token in [TOKEN, WRONG_TOKEN, ""] {
            let asked =
                http::get_as(&format!("http://{proxy}/api/v10/{path}"), &format!("Bot {token}")).await;
            seen.add("REST proxy", format!("{asked:?}"));
        }
    }

    // Discord refuses a token: a worker and a coordinator end. Redis refuses a password.
    let mut refused = Process::start(
        "refused",
        platform.worker("refused", coordinator.socket()).env("DISCORD_TOKEN", WRONG_TOKEN),
    );
    let mut lone = platform.coordinator();
    lone.env("DISCORD_TOKEN", WRONG_TOKEN).env("REDIS_PREFIX", "other").env("FLEET", "altergolden");
    lone.env("REDIS_URL", platform.redis.url()).env_remove("REDIS_PASSWORD_FILE");
    let mut lone = Process::start("lone", &mut lone);
    let at = format!("redis://member:{WRONG_PASSWORD}@127.0.0.1:{}", platform.redis.port());
    let mut locked = platform.coordinator();
    let mut locked = Process::start("locked", locked.env("REDIS_URL", at).env_remove("REDIS_PASSWORD_FILE"));
    for wrong in ["redis://:m4rked-wrong-password-of-redis@127.0.0.1:port", "m4rked-wrong-password-of-redis"]
    {
        seen.add(
            "command line",
            text_of(&platform.command("coordinator").env("REDIS_URL", wrong).output().unwrap()),
        );
    }
    for wrong in
        [format!("ftp://127.0.0.1/{HOOK}"), format!("http://user:{HOOK}@127.0.0.1/"), HOOK.to_owned()]
    {
        let output = platform.coordinator().env("PROBLEMS_WEBHOOK_URL", wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        seen.add("command line", text_of(&output));
    }
    locked
        .line("the refused password", |line| line.contains("Password authentication failed").then_some(()))
        .await;
    for process in [&mut refused, &mut lone] {
        assert_eq!(process.ended().await.code(), Some(78), "{}", process.output());
    }

    // A failover, and an outage of Redis: the webhook is told.
    for (name, process) in [("a", &a.process), ("b", &b.process), ("coordinator", &coordinator.process)] {
        seen.add(format!("titles of {name}"), titles(process.pid()));
    }
    a.process.kill().await;
    coordinator.until_balanced(&[&b]).await;
    for (name, url) in [("coordinator", &coordinator.health), ("worker", &b.health)] {
        for path in ["health", "metrics", "live", "ready", "nowhere"] {
            let (_, text) = http::request(&format!("{url}/{path}"), None).await.unwrap();
            seen.add(format!("{path} of the {name}"), text);
        }
    }
    for path in ["", "page/shard?shard=0", "page/history", "page/why?shard=0"] {
        let (_, text) = http::request(&format!("{}/{path}", coordinator.health), None).await.unwrap();
        seen.add("live page", text);
    }
    seen.add("live page", beginning(&format!("{}/page/stream", coordinator.health)).await);
    store(&platform.redis, &mut seen).await;
    platform.redis.kill();
    until("the webhook to be told", async || {
        platform.hook.bodies.lock().unwrap().contains("store_away").then_some(())
    })
    .await;
    seen.add("command line", platform.altergolden(&url, &["status"]));
    let repair = platform.command("altergolden").arg("repair").output().unwrap();
    seen.add("command line", text_of(&repair));
    seen.add("command line", platform.altergolden(&url, &["doctor"]));
    let (_, text) = http::request(&format!("{}/health", coordinator.health), None).await.unwrap();
    seen.add("health of the coordinator", text);
    platform.redis.restart().await;
    coordinator.until("the fleet to be ready again", fleet_fixture::all_ready).await;

    let secrets = platform.secrets(&bearers).await;
    let spans = platform.collector.collector.exported();
    assert!(spans.contains("find_guild") || spans.contains("FindGuild"), "spans of calls were exported");
    seen.add("spans", spans);
    seen.add("webhook", platform.hook.bodies.lock().unwrap().clone());
    locked.stop().await;
    coordinator.process.stop().await;
    b.process.stop().await;
    let sim = &mut platform.sim;
    sim.stop().await;
    for (name, process) in [
        ("coordinator", &coordinator.process),
        ("a", &a.process),
        (PLANTED, &b.process),
        ("refused", &refused),
        ("lone", &lone),
        ("locked", &locked),
        ("simulator", sim),
    ] {
        seen.add(format!("log of {name}"), process.output());
    }

    // What was planted is found in every kind of place.
    let found = seen.places(PLANTED);
    for place in [
        "command line",
        "health of the coordinator",
        "live page",
        "log of coordinator",
        "log of planted_7f3a",
        "metrics of the worker",
        "redis {altergolden}:history",
        "spans",
        "titles of b",
    ] {
        assert!(found.contains(&place), "{PLANTED} is not found in {place}, only in {found:?}");
    }
    assert!(seen.0["log of planted_7f3a"].contains("\"TRACE\""), "the log is at trace level");
    let leaks = seen.leaks(&secrets);
    assert!(leaks.is_empty(), "{} secrets were searched for; found:\n{}", secrets.len(), leaks.join("\n"));
}
