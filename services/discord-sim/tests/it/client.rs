//! A raw gateway client that sends exactly what a test wants, valid or not.

use discord_sim::{Control, Fault, FaultOutcome, Sim, SimConfig, Snowflake};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// Timeout of a single step, generous for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Intents for guilds, voice states and messages with text.
pub(crate) const USUAL: u64 = 1 | 1 << 7 | 1 << 9 | 1 << 15;

/// A small simulator without an interval between IDENTIFYs.
pub(crate) fn quick() -> SimConfig {
    SimConfig { guilds: 8, identify_interval: Duration::ZERO, ..SimConfig::default() }
}

pub(crate) async fn start(config: SimConfig) -> Sim {
    Sim::start(config).await.expect("starts on a free port")
}

/// The first guild of the bot.
pub(crate) fn first_guild(control: &Control) -> Snowflake {
    control.guilds(1, 1)[0].id
}

/// Writes a message in the first guild.
pub(crate) fn write_message(control: &Control) -> FaultOutcome {
    let guild_id = first_guild(control);
    control.inject(Fault::Message { guild_id, content: None }).unwrap()
}

/// Time without input that counts as silence.
const SILENCE: Duration = Duration::from_millis(300);

/// What a client receives.
#[derive(Debug)]
pub(crate) enum Received {
    Payload(Value),
    Closed(u16),
    /// The socket ended without a close frame.
    Dropped,
}

pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// READY and its session id.
pub(crate) struct Opened {
    pub(crate) ready: Value,
    pub(crate) session_id: String,
}

impl Client {
    /// Connects to a resume URL and reads HELLO. Returns `None` if it can't connect.
    pub(crate) async fn connect_to(url: &str) -> Option<Self> {
        let url = format!("{url}?v=10&encoding=json");
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap().ok()?;
        let mut client = Self { socket };
        assert_eq!(client.payload().await["op"], 10);
        Some(client)
    }

    /// Connects and reads HELLO.
    pub(crate) async fn connect(sim: &Sim) -> Self {
        let mut client = Self::dial(sim, "/?v=10&encoding=json").await;
        assert_eq!(client.payload().await["op"], 10);
        client
    }

    /// Connects.
    pub(crate) async fn dial(sim: &Sim, path: &str) -> Self {
        Self::dial_at(&sim.gateway_url(), path).await
    }

    pub(crate) async fn dial_at(base: &str, path: &str) -> Self {
        let url = format!("{base}{path}");
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap();
        Self { socket }
    }

    /// Connects to a URL. The error is a short text.
    pub(crate) async fn try_dial(url: &str, expected: &str) -> Result<Self, String> {
        let limit = if expected == "silence" { SILENCE * 3 } else { PATIENCE };
        match timeout(limit, connect_async(url)).await {
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("silence".into()),
        }
    }

    /// Describes the next input; `silence` if there is none.
    pub(crate) async fn see(&mut self) -> String {
        self.see_within(SILENCE).await
    }

    /// Describes the next input, waiting as long as `expected` allows: silence ends soon, other input may take long.
    pub(crate) async fn see_expected(&mut self, expected: &str) -> String {
        self.see_within(if expected == "silence" { SILENCE } else { PATIENCE }).await
    }

    async fn see_within(&mut self, limit: Duration) -> String {
        match timeout(limit, self.socket.next()).await {
            Err(_) => "silence".into(),
            Ok(None) => "the end".into(),
            Ok(Some(Err(error))) => describe(&error),
            Ok(Some(Ok(Message::Close(None)))) => "closed without code".into(),
            Ok(Some(Ok(Message::Close(Some(frame))))) => format!("closed {}", u16::from(frame.code)),
            Ok(Some(Ok(Message::Ping(_)))) => "ping".into(),
            Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str::<Value>(&text) {
                Err(_) => "text".into(),
                Ok(payload) => payload["t"].as_str().map_or_else(|| plain(&payload), ToOwned::to_owned),
            },
            Ok(Some(Ok(other))) => format!("{other:?}"),
        }
    }

    /// Returns the next text, which need not be JSON.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.raw().await {
                // HELLO was read before; ACKs are not expected.
                Some(Message::Text(text)) => return text.as_str().to_owned(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text was expected: {other:?}"),
            }
        }
    }

    pub(crate) async fn raw(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next()).await.expect("input in time").and_then(Result::ok)
    }

    /// Returns the error that ended the connection. Panics on a close frame.
    pub(crate) async fn error(&mut self) -> Option<tungstenite::Error> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("input in time") {
                Some(Ok(Message::Close(_))) => panic!("a close frame"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Received {
        loop {
            return match self.raw().await {
                Some(Message::Text(text)) => Received::Payload(serde_json::from_str(&text).unwrap()),
                Some(Message::Close(Some(frame))) => Received::Closed(frame.code.into()),
                Some(Message::Ping(_) | Message::Pong(_)) => continue,
                Some(other) => panic!("{other:?}"),
                None => Received::Dropped,
            };
        }
    }

    pub(crate) async fn payload(&mut self) -> Value {
        match self.next().await {
            Received::Payload(payload) => payload,
            other => panic!("a payload was expected: {other:?}"),
        }
    }

    /// Reads until the close frame and returns its code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Received::Closed(code) => return code,
                Received::Payload(_) => {}
                Received::Dropped => panic!("dropped without a close frame"),
            }
        }
    }

    /// Reads until this event and returns it.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        loop {
            let payload = self.payload().await;
            if payload["t"] == name {
                return payload;
            }
        }
    }

    pub(crate) async fn send(&mut self, payload: Value) {
        self.send_text(payload.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        // The test sees a close of the server when it reads.
        let _ = self.socket.send(Message::text(text)).await;
    }

    pub(crate) async fn identify(&mut self, shard: (u32, u32), intents: u64) {
        self.send(identify("Bot t", shard, intents)).await;
    }

    /// Identifies and reads READY.
    pub(crate) async fn open(sim: &Sim, shard: (u32, u32), intents: u64) -> (Self, Opened) {
        let mut client = Self::connect(sim).await;
        client.identify(shard, intents).await;
        let ready = client.payload().await;
        assert_eq!((&ready["t"], &ready["s"]), (&json!("READY"), &json!(1)), "{ready}");
        let session_id = ready["d"]["session_id"].as_str().unwrap().to_owned();
        (client, Opened { ready, session_id })
    }

    /// Like [`open`](Self::open), and reads and returns all GUILD_CREATEs.
    pub(crate) async fn open_all(sim: &Sim, shard: (u32, u32), intents: u64) -> (Self, Opened, Vec<Value>) {
        let (mut client, opened) = Self::open(sim, shard, intents).await;
        let mut guilds = Vec::new();
        for _ in opened.ready["d"]["guilds"].as_array().unwrap() {
            guilds.push(client.event("GUILD_CREATE").await);
        }
        (client, opened, guilds)
    }

    pub(crate) async fn resume(&mut self, session_id: &str, seq: u64) {
        let d = json!({"token": "Bot t", "session_id": session_id, "seq": seq});
        self.send(json!({"op": 6, "d": d})).await;
    }

    /// Closes with a code and reads until the end.
    pub(crate) async fn close(mut self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.socket.close(Some(frame)).await.unwrap();
        while self.raw().await.is_some() {}
    }
}

/// Describes a payload that is not an event, without `_trace`.
fn plain(payload: &Value) -> String {
    let mut d = payload["d"].clone();
    if let Some(fields) = d.as_object_mut() {
        fields.remove("_trace");
    }
    let op = &payload["op"];
    if d.is_null() { format!("op {op}") } else { format!("op {op} {d}") }
}

fn describe(error: &tungstenite::Error) -> String {
    use std::io::ErrorKind;
    match error {
        tungstenite::Error::Http(answer) => format!("HTTP {}", answer.status().as_u16()),
        tungstenite::Error::Capacity(_) => "too long".into(),
        tungstenite::Error::Utf8(_) => "not UTF-8".into(),
        tungstenite::Error::Io(error) if error.kind() == ErrorKind::ConnectionReset => "reset".into(),
        // The library's text for a reset seen while reading.
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            "reset".into()
        }
        tungstenite::Error::Protocol(_) => "protocol error".into(),
        other => other.to_string(),
    }
}

pub(crate) fn identify(token: &str, shard: (u32, u32), intents: u64) -> Value {
    json!({"op": 2, "d": {
        "token": token, "intents": intents, "shard": [shard.0, shard.1],
        "properties": {"os": "linux", "browser": "test", "device": "test"},
    }})
}
