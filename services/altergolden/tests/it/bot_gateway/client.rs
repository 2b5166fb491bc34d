//! A client as a library has it, and what it knows.

use std::collections::{BTreeMap, BTreeSet};

use flate2::{Decompress, FlushDecompress};
use fleet_fixture::PATIENCE;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

pub(super) const TOKEN: &str = "a-token-of-the-tests";
/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
pub(super) const INTENTS: u32 = 1 | 1 << 9 | 1 << 15;

/// A client as a library has it: one shard, one connection.
pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// With `compress=zlib-stream`.
    pub(super) inflate: Option<Decompress>,
    pub(super) sequence: u64,
    pub(super) session: String,
    pub(super) own_user: Value,
    /// Member counts of its guilds; 0 while they are unavailable.
    pub(super) guilds: BTreeMap<u64, u64>,
    /// The guilds as they came first.
    pub(super) created: BTreeMap<u64, Value>,
    /// Guilds that came again.
    pub(super) again: BTreeSet<u64>,
    pub(super) messages: Vec<String>,
    /// The data of GUILD_MEMBERS_CHUNK events.
    pub(super) chunks: Vec<Value>,
    /// Events about voice, and answers to requests other than for members, by name.
    pub(super) answers: Vec<(String, Value)>,
    /// Its guilds include no event that still comes.
    pub(super) settled: bool,
    pub(super) resumed: bool,
    /// Op 9 came.
    pub(super) invalid: bool,
    /// Op 7 came.
    pub(super) reconnects: bool,
    pub(super) close: Option<(u16, String)>,
}

impl Client {
    pub(super) async fn connect(url: &str) -> Self {
        Self::connect_with(url, "v=10&encoding=json").await
    }

    pub(super) async fn connect_with(url: &str, query: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(format!("{url}/?{query}")).await.unwrap();
        Self::over(socket, query.contains("zlib-stream"))
    }

    pub(super) fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, is_compressed: bool) -> Self {
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
            answers: Vec::new(),
            settled: false,
            resumed: false,
            invalid: false,
            reconnects: false,
            close: None,
        }
    }

    pub(super) async fn send(&mut self, payload: Value) {
        self.socket.send(Message::text(payload.to_string())).await.unwrap();
    }

    pub(super) async fn identify(url: &str, shard: (u32, u32), intents: u32) -> Self {
        let mut client = Self::connect(url).await;
        client.send_identify(shard, intents).await;
        client
    }

    pub(super) async fn send_identify(&mut self, shard: (u32, u32), intents: u32) {
        let data = json!({"token": TOKEN, "intents": intents, "shard": [shard.0, shard.1], "properties": {},
            "large_threshold": 250});
        self.send(json!({"op": 2, "d": data})).await;
    }

    pub(super) async fn resume(mut self, url: &str) -> Self {
        let next = Self::connect(url).await;
        self.socket = next.socket;
        let data = json!({"token": TOKEN, "session_id": self.session, "seq": self.sequence});
        self.send(json!({"op": 6, "d": data})).await;
        self
    }

    /// Closes the connection with this code and reads to its end.
    pub(super) async fn close_with(mut self, code: CloseCode) {
        self.socket.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        while self.take().await {}
    }

    /// How many answers have this name and are about this guild.
    pub(super) fn answered(&self, name: &str, guild: u64) -> usize {
        let guild = json!(guild.to_string());
        self.answers.iter().filter(|(named, data)| named == name && data["guild_id"] == guild).count()
    }

    /// Takes the next payload; false when the connection has ended.
    pub(super) async fn take(&mut self) -> bool {
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
            Some(
                name @ ("VOICE_STATE_UPDATE" | "VOICE_SERVER_UPDATE" | "SOUNDBOARD_SOUNDS" | "CHANNEL_INFO"),
            ) => {
                self.answers.push((name.to_owned(), data.clone()));
            }
            Some("RESUMED") => self.resumed = true,
            Some("ALTERGOLDEN_GUILDS_SENT") => self.settled = true,
            _ => {}
        }
        self.invalid |= payload["op"] == 9;
        self.reconnects |= payload["op"] == 7;
        true
    }

    pub(super) fn inflated(&mut self, bytes: &[u8]) -> String {
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
    pub(super) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                assert!(self.take().await, "{what}: {:?}", self.close);
                assert!(!self.invalid, "{what}: op 9");
            }
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {what}"));
    }

    /// Resumes, which must succeed.
    pub(super) async fn resumes(self, url: &str) -> Self {
        let mut client = self.resume(url).await;
        client.resumed = false;
        client.until("RESUMED", |client| client.resumed).await;
        client
    }

    /// Closes the connection with this code and resumes, which must succeed.
    pub(super) async fn closed_and_resumed(mut self, code: CloseCode, url: &str) -> Self {
        self.socket.close(Some(CloseFrame { code, reason: "".into() })).await.unwrap();
        while self.take().await {}
        self.resumes(url).await
    }

    /// Resumes, which must fail with op 9.
    pub(super) async fn must_identify(self, url: &str) {
        let mut client = self.resume(url).await;
        while !client.invalid {
            assert!(client.take().await && !client.resumed, "{:?}", client.close);
        }
    }

    /// Every guild came again, and is available.
    pub(super) fn has_all_again(&self) -> bool {
        self.again.len() == self.guilds.len() && self.guilds.values().all(|members| *members > 0)
    }

    pub(super) async fn until_ready(&mut self) {
        let is_ready = |client: &Self| {
            client.settled && !client.session.is_empty() && client.guilds.values().all(|members| *members > 0)
        };
        self.until("READY and all guilds", is_ready).await;
    }

    pub(super) async fn ready(url: &str, shard: (u32, u32)) -> Self {
        let mut client = Self::identify(url, shard, INTENTS).await;
        client.until_ready().await;
        client
    }
}

/// Reads all clients until they have `messages` messages together.
pub(super) async fn until_messages(clients: &mut [Client], messages: u64) {
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
