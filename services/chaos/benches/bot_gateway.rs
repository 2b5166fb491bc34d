//! Measures the gateway for unmodified bots: how long a client waits for READY and for all its guilds, what clients cost the worker
//! in processor time and memory, and how much later a client gets its events beside another one that has stopped reading. Redis, a
//! coordinator and one worker are real processes on the loopback; the simulated Discord and the clients are in this process.
//!
//! `cargo bench -p chaos --bench bot_gateway`. Needs the programs in release: `cargo build --release -p coordinator -p gateway-worker`.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use discord_sim::{Fault, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Worker};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_with_config, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u32 = 1 | 1 << 9 | 1 << 15;

/// The token of the fixture's fleets.
const TOKEN: &str = "a-token-of-the-tests";

#[derive(Debug, Parser)]
struct Args {
    /// Guilds
    #[arg(long, default_value_t = 1_000)]
    guilds: u32,
    /// Shards of the fleet
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// How often a client connects alone
    #[arg(long, default_value_t = 5)]
    boots: u32,
    /// Events per second
    #[arg(long, default_value_t = 2_000)]
    events: u32,
    /// Length of each measurement with events, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Cargo gives this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// Messages a second whose time to a client is measured.
const PROBES: u32 = 500;

/// What a client saw at its beginning.
struct Boot {
    ready: Duration,
    guilds: Duration,
    bytes: usize,
}

/// A client that has identified, and counts what it gets.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn boot(url: &str) -> (Self, Boot) {
        let since = Instant::now();
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let url = format!("{url}/?v=10&encoding=json");
        let (socket, _) =
            connect_async_with_config(url, Some(config), true).await.expect("the gateway listens");
        Self::over(socket, since).await
    }

    /// A client whose socket takes little of what it does not read.
    async fn boot_slow(url: &str) -> Self {
        let address = url.trim_start_matches("ws://").parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("a size");
        let stream = MaybeTlsStream::Plain(socket.connect(address).await.expect("the gateway listens"));
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let (socket, _) =
            client_async_with_config(format!("{url}/?v=10&encoding=json"), stream, Some(config))
                .await
                .expect("the gateway answers");
        Self::over(socket, Instant::now()).await.0
    }

    async fn over(mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>, since: Instant) -> (Self, Boot) {
        let identify =
            json!({"op": 2, "d": {"token": TOKEN, "intents": INTENTS, "properties": {}, "shard": [0, 1]}});
        socket.send(Message::text(identify.to_string())).await.expect("the gateway reads");
        let mut boot = Boot { ready: Duration::ZERO, guilds: Duration::ZERO, bytes: 0 };
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { panic!("{message:?}") };
            boot.bytes += text.len();
            if text.starts_with(r#"{"t":"READY""#) {
                boot.ready = since.elapsed();
            }
            if text.starts_with(r#"{"t":"ALTERGOLDEN_GUILDS_SENT""#) {
                boot.guilds = since.elapsed();
                return (Self(socket), boot);
            }
        }
        panic!("the gateway closed the connection");
    }

    /// Reads all probes; returns how long each took, from the shortest on.
    async fn probes(mut self, count: u32, epoch: Instant) -> Vec<Duration> {
        let mut took = Vec::new();
        while took.len() < count as usize {
            let Some(Ok(Message::Text(text))) = self.0.next().await else { panic!("the gateway closed") };
            let sent = text.split_once("probe ").and_then(|(_, rest)| rest.split_once('"'));
            if let Some(sent) = sent.and_then(|(micros, _)| micros.parse().ok()) {
                took.push(epoch.elapsed().saturating_sub(Duration::from_micros(sent)));
            }
        }
        took.sort_unstable();
        took
    }

    /// Reads for ever; counts dispatches.
    async fn read(mut self, counted: Arc<AtomicU64>) {
        while let Some(Ok(message)) = self.0.next().await {
            if matches!(message, Message::Text(_)) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let deployment = Deployment::start(SimConfig {
        guilds: args.guilds,
        shards: Some(args.shards),
        max_concurrency: 16,
        identify_interval: fleet_fixture::IDENTIFY_INTERVAL,
        events_per_second: 0.0,
        ..SimConfig::default()
    })
    .await;
    let mut command = deployment.coordinator_command(args.shards);
    command.env_remove("RUST_LOG").env_remove("LEASE_TTL").env("RELAY", "redis");
    let coordinator = Coordinator::start(&mut command).await;
    let mut command = deployment.worker_command("w", &coordinator.address);
    command
        .env("RUST_LOG", "info")
        .env("RELAY", "redis")
        .env("INTENTS", "GUILDS,GUILD_MESSAGES,MESSAGE_CONTENT")
        .env("GATEWAY_LISTEN", "127.0.0.1:0");
    let mut worker = Worker::start("w", &mut command).await;
    let url = worker.process.logged("gateway for bots listening", "url").await;
    coordinator.until_balanced(&[&worker]).await;
    fleet_fixture::until("all guilds", async || {
        let health = coordinator.health().await.1;
        let shards = health["shards"].as_array().cloned().unwrap_or_default();
        let guilds: u64 = shards.iter().filter_map(|shard| shard["guilds"].as_u64()).sum();
        (guilds >= u64::from(args.guilds)).then_some(())
    })
    .await;

    println!("{} guilds on {} shards of one worker", args.guilds, args.shards);
    let before = worker.process.cpu_time();
    for _ in 0..args.boots {
        let (_, Boot { ready, guilds, bytes }) = Client::boot(&url).await;
        println!(
            "boot: READY after {:.0} ms, all guilds after {:.0} ms, {:.1} MB",
            ready.as_secs_f64() * 1e3,
            guilds.as_secs_f64() * 1e3,
            bytes as f64 / 1e6
        );
    }
    let spent = worker.process.cpu_time().saturating_sub(before) / args.boots;
    println!("the worker's processor time for one boot: {:.0} ms", spent.as_secs_f64() * 1e3);

    let counted = Arc::<AtomicU64>::default();
    let mut clients = JoinSet::new();
    for wanted in [0, 1, 10] {
        while clients.len() < wanted {
            let (client, _) = Client::boot(&url).await;
            clients.spawn(client.read(counted.clone()));
        }
        let rate = |per_second| {
            deployment.sim.control().inject(Fault::EventRate { per_second }).expect("a valid rate");
        };
        let (sent, got) =
            (deployment.sim.control().ledger().messages_dispatched, counted.load(Ordering::Relaxed));
        rate(f64::from(args.events));
        let before = worker.process.cpu_time();
        tokio::time::sleep(Duration::from_secs(args.seconds)).await;
        let spent = worker.process.cpu_time().saturating_sub(before);
        rate(0.0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sent = deployment.sim.control().ledger().messages_dispatched - sent;
        let got = counted.load(Ordering::Relaxed) - got;
        println!(
            "{wanted} clients, {sent} events: the worker's processor time {:.0} us an event, {:.0} MiB; clients got {got}",
            spent.as_secs_f64() * 1e6 / sent.max(1) as f64,
            worker.process.memory().resident as f64 / 1024.0,
        );
    }

    clients.shutdown().await;
    let alone = p99(&deployment, &url, &args).await;
    let stopped = Client::boot_slow(&url).await;
    // Its socket is full before the next measurement begins.
    let _ = p99(&deployment, &url, &args).await;
    let beside = p99(&deployment, &url, &args).await;
    drop(stopped);
    println!(
        "p99 of the time to a client at {} events/s: {:.1} ms alone, {:.1} ms beside one that has stopped reading: {:.2} times",
        args.events,
        alone.as_secs_f64() * 1e3,
        beside.as_secs_f64() * 1e3,
        beside.as_secs_f64() / alone.as_secs_f64(),
    );
}

/// The time that 99 % of the messages to a new client do not exceed, while other events come.
async fn p99(deployment: &Deployment, url: &str, args: &Args) -> Duration {
    let (client, _) = Client::boot(url).await;
    let (count, epoch) = (PROBES * args.seconds as u32, Instant::now());
    let reading = tokio::spawn(client.probes(count, epoch));
    let control = deployment.sim.control();
    let guild_id = control.guilds(1, args.shards)[0].id;
    let rate = |per_second| control.inject(Fault::EventRate { per_second }).expect("a valid rate");
    rate(f64::from(args.events));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PROBES);
    for _ in 0..count {
        ticks.tick().await;
        let content = Some(format!("probe {}", epoch.elapsed().as_micros()));
        control.inject(Fault::Message { guild_id, content }).expect("the guild is there");
    }
    let took = reading.await.expect("no panic");
    rate(0.0);
    took[took.len() * 99 / 100]
}
