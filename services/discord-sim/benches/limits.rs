//! Measures events per second to one shard, and the memory of 256 shards with 50,000 guilds.
//!
//! Run with `cargo bench -p discord-sim`. The simulator runs as a separate process, so that CPU time and memory are measured for it
//! alone. Both are read from `/proc`, so this needs Linux.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and a panic is how it fails"
)]

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Length of a burst of messages at maximum rate to one shard.
const BURST: Duration = Duration::from_millis(800);
const SHARDS: u32 = 256;
const GUILDS: u32 = 50_000;
/// GUILDS, GUILD_VOICE_STATES, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 1 << 7 | 1 << 9 | 1 << 15;

struct Sim {
    process: Child,
    addr: String,
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sim {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_discord-sim"))
            .args(["--listen", "127.0.0.1:0", "--identify-interval", "0s"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit_once("//").unwrap().1.to_owned();
        Self { process, addr }
    }

    /// Returns the CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // utime and stime in clock ticks; Linux has 100 per second.
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Returns the peak resident memory in MiB.
    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// Writes a burst of messages. Returns their number.
    async fn burst(&self) -> usize {
        self.rate(1_000_000).await;
        tokio::time::sleep(BURST).await;
        self.rate(0).await;
        let ledger = self.call("GET", "/sim/ledger", "").await;
        ledger["messages"].as_u64().unwrap() as usize
    }

    async fn rate(&self, per_second: u64) {
        let body = json!({"kind": "event_rate", "per_second": per_second}).to_string();
        self.call("POST", "/sim/faults", &body).await;
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Value {
        let mut http = TcpStream::connect(&self.addr).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        http.write_all((head + body).as_bytes()).await.unwrap();
        // The answer confirms that the call took effect.
        let mut answer = String::new();
        http.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.rsplit_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// Identifies a shard.
    async fn identify(&self, number: u32, total: u32) -> Socket {
        let (mut socket, _) = connect_async(format!("ws://{}/?v=10&encoding=json", self.addr)).await.unwrap();
        let d = json!({"token": "t", "intents": INTENTS, "shard": [number, total], "properties": {}});
        socket.send(Message::text(json!({"op": 2, "d": d}).to_string())).await.unwrap();
        socket
    }
}

/// Reads until this many events of a kind have arrived.
async fn read(socket: &mut Socket, kind: &str, count: usize) {
    let start = format!(r#"{{"t":"{kind}""#);
    let mut seen = 0;
    while seen < count {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the connection ended") };
        seen += usize::from(text.as_str().starts_with(&start));
    }
}

async fn push_to_one_shard() {
    let sim = Sim::start(&["--guilds", "100", "--replay-buffer", "1000000"]);
    let mut socket = sim.identify(0, 1).await;
    read(&mut socket, "GUILD_CREATE", 100).await;
    let (from, cpu) = (Instant::now(), sim.cpu());
    let mut messages = None;
    let mut seen = 0;
    let mut burst = std::pin::pin!(sim.burst());
    while messages != Some(seen) {
        tokio::select! {
            written = &mut burst, if messages.is_none() => messages = Some(written),
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(_))) => seen += 1,
                other => panic!("the connection ended: {other:?}"),
            },
        }
    }
    let (took, cpu) = (from.elapsed().as_secs_f64(), sim.cpu().saturating_sub(cpu).as_secs_f64());
    println!(
        "one shard: {seen} messages in {took:.1} s: {:.0} a second, {:.0} for each second of the simulator's CPU",
        seen as f64 / took,
        seen as f64 / cpu
    );
}

async fn many_guilds() {
    let (guilds, shards) = (GUILDS.to_string(), SHARDS.to_string());
    let sim = Sim::start(&["--guilds", &guilds, "--shards", &shards, "--largest-guild", "250000"]);
    let from = Instant::now();
    let mut sockets = Vec::new();
    for number in 0..SHARDS {
        sockets.push(sim.identify(number, SHARDS).await);
    }
    let reading = sockets.iter_mut().map(async |socket| {
        let ready = loop {
            let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("the connection ended") };
            let payload: Value = serde_json::from_str(&text).unwrap();
            if payload["t"] == "READY" {
                break payload;
            }
        };
        let guilds = ready["d"]["guilds"].as_array().unwrap().len();
        read(socket, "GUILD_CREATE", guilds).await;
        guilds
    });
    let guilds: usize = futures_util::future::join_all(reading).await.into_iter().sum();
    println!(
        "{SHARDS} shards, {guilds} guilds sent in {:.1} s: at most {} MiB resident",
        from.elapsed().as_secs_f64(),
        sim.peak_mib()
    );
}

#[tokio::main]
async fn main() {
    push_to_one_shard().await;
    many_guilds().await;
}
