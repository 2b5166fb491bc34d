//! A gateway in a separate process. It sends the shards as many messages as the benchmark allows, as fast as it can.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

/// The first argument of the gateway's process.
pub(crate) const ARGUMENT: &str = "gateway";

const GUILDS: u64 = 100;
/// Messages written at once.
const CHUNK: u64 = 64;
const HELLO: &str = r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":500}}"#;
/// A message as Discord sends it, between its sequence and its guild.
const MESSAGE: &str = r#","op":0,"d":{"type":0,"tts":false,"timestamp":"2026-11-26T18:00:00.000000+00:00","pinned":false,"nonce":"1309481920000000000","mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":["1012345678901234567","1012345678901234568"],"premium_since":null,"pending":false,"nick":"somebody","mute":false,"joined_at":"2021-03-04T05:06:07.000000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},"id":"1309481920123456789","flags":0,"embeds":[],"edited_timestamp":null,"content":"a message of the length that messages have, give or take a word or two","components":[],"channel_type":0,"channel_id":"1012345678901234569","author":{"username":"somebody","public_flags":0,"primary_guild":null,"id":"1012345678901234570","global_name":"Somebody","discriminator":"0","collectibles":null,"clan":null,"avatar_decoration_data":null,"avatar":"0123456789abcdef0123456789abcdef"},"attachments":[],"guild_id":""#;

/// The gateway's process, and the number of messages that it may send.
pub(crate) struct Flood {
    pub(crate) url: String,
    allow: Mutex<ChildStdin>,
    sent: AtomicU64,
    /// The sum of the sequences in the shards' heartbeats, and the number of shards with a session.
    read: watch::Receiver<(u64, u64)>,
    process: Child,
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

impl Flood {
    pub(crate) fn start(compressed: bool) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, if compressed { "zstd" } else { "plain" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = format!("ws://127.0.0.1:{}", lines.next().unwrap().unwrap());
        let (told, read) = watch::channel((0, 0));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (read, shards) = line.split_once(' ').unwrap();
                told.send_replace((read.parse().unwrap(), shards.parse().unwrap()));
            }
        });
        let allow = Mutex::new(process.stdin.take().unwrap());
        Self { url, allow, sent: AtomicU64::new(0), read, process }
    }

    /// Waits until every shard has a session and its guilds.
    pub(crate) async fn until_connected(&self, shards: u64) {
        let connected =
            |(read, connected): &(u64, u64)| *connected == shards && *read == shards * (1 + GUILDS);
        self.read.clone().wait_for(connected).await.unwrap();
        self.sent.store(shards * (1 + GUILDS), Ordering::Relaxed);
    }

    /// Lets the gateway send `events` more messages.
    pub(crate) fn allow(&self, events: u64) {
        self.sent.fetch_add(events, Ordering::Relaxed);
        writeln!(self.allow.lock().unwrap(), "{events}").unwrap();
    }

    /// Waits until the shards have read everything.
    pub(crate) async fn until_read(&self) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.read.clone().wait_for(|(read, _)| *read >= sent).await.unwrap();
    }
}

/// State that all connections of the gateway share.
struct Shared {
    compressed: bool,
    /// Messages that may be sent and that no connection has taken yet.
    allowed: watch::Sender<u64>,
    read: AtomicU64,
    connected: AtomicU64,
}

impl Shared {
    /// Takes up to a chunk of the allowed messages. Returns their number.
    fn take(&self) -> u64 {
        let mut taken = 0;
        self.allowed.send_if_modified(|allowed| {
            taken = CHUNK.min(*allowed);
            *allowed -= taken;
            false
        });
        taken
    }

    fn tell(&self) {
        let (read, connected) = (self.read.load(Ordering::Relaxed), self.connected.load(Ordering::Relaxed));
        let mut out = std::io::stdout();
        let _ = writeln!(out, "{read} {connected}").and_then(|()| out.flush());
    }
}

/// Runs the gateway until its parent is gone.
pub(crate) async fn run(compressed: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let allowed = watch::Sender::new(0);
    let shared =
        Arc::new(Shared { compressed, allowed, read: AtomicU64::new(0), connected: AtomicU64::new(0) });
    let reader = shared.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            reader.allowed.send_modify(|allowed| *allowed += line.parse::<u64>().unwrap());
        }
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        tokio::spawn(async move { connection(stream, &shared).await });
    }
}

async fn connection(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut socket = accept_async(stream).await.ok()?;
    let mut frames = Frames::new(shared.compressed);
    socket.get_mut().write_all(&frames.of(&[HELLO.to_owned()])).await.ok()?;
    let identify = next(&mut socket, &mut frames, 2).await?;
    let [number, total] = [0, 1].map(|place| identify["d"]["shard"][place].as_u64().unwrap());
    let guild = |n: u64| (n * total + number) << 22;
    let ready = json!({ "t": "READY", "s": 1, "op": 0, "d": {
        "v": 10, "session_id": format!("s{number}"), "resume_gateway_url": "",
        "guilds": (1..=GUILDS).map(|n| json!({ "id": guild(n).to_string(), "unavailable": true })).collect::<Vec<_>>(),
        "user": { "id": "1", "username": "bot", "discriminator": "0", "mfa_enabled": false },
        "application": { "id": "2", "flags": 0 }, "shard": [number, total],
    }});
    let create = |n: u64| {
        let d = json!({ "id": guild(n).to_string(), "name": "a guild", "owner_id": "1", "member_count": 1,
            "channels": [], "members": [], "roles": [] });
        json!({ "t": "GUILD_CREATE", "s": 1 + n, "op": 0, "d": d }).to_string()
    };
    let first: Vec<String> = std::iter::once(ready.to_string()).chain((1..=GUILDS).map(create)).collect();
    socket.get_mut().write_all(&frames.of(&first)).await.ok()?;
    let mut sequence = 1 + GUILDS;
    let mut allowed = shared.allowed.subscribe();
    let (mut told, mut texts) = (0, Vec::new());
    shared.connected.fetch_add(1, Ordering::Relaxed);
    loop {
        let may = shared.take();
        if may > 0 {
            texts.clear();
            texts.extend((0..may).map(|_| {
                sequence += 1;
                let guild = guild(1 + sequence % GUILDS);
                format!(r#"{{"t":"MESSAGE_CREATE","s":{sequence}{MESSAGE}{guild}"}}}}"#)
            }));
            socket.get_mut().write_all(&frames.of(&texts)).await.ok()?;
        }
        let idle = async {
            if may == 0 {
                let _ = tokio::time::timeout(Duration::from_millis(100), allowed.changed()).await;
            }
        };
        tokio::select! {
            biased;
            message = socket.next() => {
                let heartbeat = answer(message?.ok()?, &mut socket, &mut frames).await?;
                let read = heartbeat["d"].as_u64().unwrap_or(0);
                shared.read.fetch_add(read - told, Ordering::Relaxed);
                told = read;
                shared.tell();
            }
            () = idle => {}
        }
    }
}

/// Waits for a message with this opcode.
async fn next(socket: &mut WebSocketStream<TcpStream>, frames: &mut Frames, op: u64) -> Option<Value> {
    loop {
        let message = socket.next().await?.ok()?;
        let payload = answer(message, socket, frames).await?;
        if payload["op"] == op {
            return Some(payload);
        }
    }
}

/// Acknowledges a heartbeat.
async fn answer(
    message: Message,
    socket: &mut WebSocketStream<TcpStream>,
    frames: &mut Frames,
) -> Option<Value> {
    let Message::Text(text) = message else {
        socket.flush().await.ok()?;
        return Some(Value::Null);
    };
    let payload: Value = serde_json::from_str(&text).unwrap();
    if payload["op"] == 1 {
        let ack = frames.of(&[r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned()]);
        socket.get_mut().write_all(&ack).await.ok()?;
    }
    Some(payload)
}

/// Makes WebSocket frames of payloads.
struct Frames(Option<zstd_safe::CCtx<'static>>);

impl Frames {
    fn new(compressed: bool) -> Self {
        Self(compressed.then(zstd_safe::CCtx::create))
    }

    fn of(&mut self, texts: &[String]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len() + 16).sum());
        for text in texts {
            let Some(context) = &mut self.0 else {
                frame(0x81, text.as_bytes(), &mut bytes);
                continue;
            };
            let mut payload = Vec::with_capacity(zstd_safe::compress_bound(text.len()) + 64);
            let mut output = zstd_safe::OutBuffer::around(&mut payload);
            let mut input = zstd_safe::InBuffer::around(text.as_bytes());
            let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
            let left = context.compress_stream2(&mut output, &mut input, flush).unwrap();
            assert!(left == 0 && input.pos == text.len(), "the buffer has the bound's size");
            frame(0x82, &payload, &mut bytes);
        }
        bytes
    }
}

fn frame(first: u8, payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(first);
    if let Ok(length) = u8::try_from(payload.len())
        && length < 126
    {
        bytes.push(length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        bytes.push(126);
        bytes.extend(length.to_be_bytes());
    } else {
        bytes.push(127);
        bytes.extend((payload.len() as u64).to_be_bytes());
    }
    bytes.extend(payload);
}
