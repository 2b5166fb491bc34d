//! A session of the gateway over one connection: it begins with IDENTIFY or RESUME, and notes every dispatch.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{ProbeError, ProbeSettings};
use crate::{
    address::ProbeAddress,
    connection::{Connection, Received},
    judge::{Dispatch, Reply, ResumeTry},
};

/// Dispatches that are noted of one session; later ones are only counted by their sequence.
const MOST_DISPATCHES: usize = 200_000;

/// What resumes a session.
#[derive(Clone)]
pub(super) struct Key {
    session_id: String,
    sequence: u64,
    address: ProbeAddress,
    guild: Option<String>,
    user: String,
}

impl Key {
    pub(super) fn address(&self) -> &ProbeAddress {
        &self.address
    }
}

/// A session and its connection.
pub(super) struct Session {
    key: Key,
    connection: Connection,
    dispatches: Vec<Dispatch>,
}

/// How a connection was at the end of a time.
#[derive(Debug)]
pub(super) enum Listening {
    Open,
    Ended(Reply),
}

/// The payload of IDENTIFY.
pub(super) fn identify(settings: &ProbeSettings) -> String {
    let data = json!({
        "token": token(settings),
        "intents": settings.intents,
        "shard": [settings.shard.0, settings.shard.1],
        "compress": false,
        "properties": { "os": "linux", "browser": "altergolden", "device": "altergolden" },
    });
    json!({ "op": 2, "d": data }).to_string()
}

fn token(settings: &ProbeSettings) -> &str {
    let token = settings.token.expose();
    token.strip_prefix("Bot ").unwrap_or(token)
}

/// Connects, and waits for HELLO.
///
/// # Errors
/// The reason, as text.
pub(super) async fn open(address: &ProbeAddress, patience: Duration) -> Result<Connection, String> {
    let mut connection = Connection::open(address).await?;
    match connection.next(Instant::now() + patience).await {
        Some((_, Received::Frame(frame))) if frame.op == 10 => Ok(connection),
        Some((_, Received::Frame(frame))) => Err(format!("op {} came instead of HELLO", frame.op)),
        Some((_, Received::Closed(code))) => Err(format!("closed with {code:?} before HELLO")),
        Some((_, Received::Lost(why))) => Err(format!("lost before HELLO: {why}")),
        None => Err(format!("no HELLO within {} s", patience.as_secs())),
    }
}

impl Session {
    /// Waits for the answer to an IDENTIFY that was `sent`. Returns the session, the answer, and the time until it.
    pub(super) async fn begin(
        mut connection: Connection,
        settings: &ProbeSettings,
        sent: Instant,
    ) -> (Option<Self>, Reply, Duration) {
        let until = sent + settings.patience;
        let reply = loop {
            let Some((at, received)) = connection.next(until).await else { break Reply::Silent };
            let frame = match received {
                Received::Frame(frame) => frame,
                Received::Closed(code) => break Reply::Closed(code),
                Received::Lost(why) => break Reply::Lost(why),
            };
            if frame.op == 9 {
                break Reply::InvalidSession(frame.data.trim() == "true");
            }
            let Some(ready) = frame.ready() else { continue };
            let address = match settings.gateway.resume(&ready.resume_gateway_url) {
                Ok(address) => address,
                Err(why) => break Reply::Lost(why),
            };
            let key = Key {
                session_id: ready.session_id,
                sequence: frame.sequence.unwrap_or_default(),
                address,
                guild: ready.guilds.into_iter().next().map(|guild| guild.id),
                user: ready.user.id,
            };
            let dispatches = Dispatch::of(&frame, at).into_iter().collect();
            return (Some(Self { key, connection, dispatches }), Reply::Accepted, at - sent);
        };
        let after = sent.elapsed();
        connection.close(super::END).await;
        (None, reply, after)
    }

    /// Sends RESUME and waits for the answer.
    pub(super) async fn resume(
        mut connection: Connection,
        settings: &ProbeSettings,
        key: &Key,
    ) -> (ResumeTry, Option<Self>) {
        let data = json!({ "token": token(settings), "session_id": key.session_id, "seq": key.sequence });
        let sent = Instant::now();
        connection.send(json!({ "op": 6, "d": data }).to_string()).await;
        let until = sent + settings.patience;
        let mut replayed = Vec::new();
        let mut sequence = key.sequence;
        let reply = loop {
            let Some((at, received)) = connection.next(until).await else { break Reply::Silent };
            let frame = match received {
                Received::Frame(frame) => frame,
                Received::Closed(code) => break Reply::Closed(code),
                Received::Lost(why) => break Reply::Lost(why),
            };
            if frame.op == 9 {
                break Reply::InvalidSession(frame.data.trim() == "true");
            }
            sequence = frame.sequence.unwrap_or(sequence);
            if frame.name == "RESUMED" {
                let key = Key { sequence, ..key.clone() };
                let session = Self { key, connection, dispatches: Vec::new() };
                return (ResumeTry { reply: Reply::Accepted, after: at - sent, replayed }, Some(session));
            }
            if replayed.len() < MOST_DISPATCHES {
                replayed.extend(Dispatch::of(&frame, at));
            }
        };
        let after = sent.elapsed();
        connection.close(super::KEEP).await;
        (ResumeTry { reply, after, replayed }, None)
    }

    /// Notes what comes until then.
    ///
    /// # Errors
    /// The connection ended.
    pub(super) async fn listen(&mut self, until: Instant) -> Result<(), ProbeError> {
        match self.watch(until).await {
            Listening::Open => Ok(()),
            Listening::Ended(reply) => {
                let how = reply.text("ended");
                Err(ProbeError::Connection(format!("the gateway ended a connection during the run: {how}")))
            }
        }
    }

    /// Notes what comes until then, or until the connection ends.
    pub(super) async fn watch(&mut self, until: Instant) -> Listening {
        while let Some((at, received)) = self.connection.next(until).await {
            match received {
                Received::Frame(frame) => match frame.op {
                    0 => {
                        self.key.sequence = frame.sequence.unwrap_or(self.key.sequence);
                        if self.dispatches.len() < MOST_DISPATCHES {
                            self.dispatches.extend(Dispatch::of(&frame, at));
                        }
                    }
                    9 => return Listening::Ended(Reply::InvalidSession(frame.data.trim() == "true")),
                    7 => return Listening::Ended(Reply::Lost("op 7 (reconnect)".to_owned())),
                    _ => {}
                },
                Received::Closed(code) => return Listening::Ended(Reply::Closed(code)),
                Received::Lost(why) => return Listening::Ended(Reply::Lost(why)),
            }
        }
        Listening::Open
    }

    /// Asks for the bot's own member object, which comes as an event of this session.
    pub(super) async fn ask_for_event(&self, settings: &ProbeSettings) {
        let Some(guild) = &self.key.guild else { return };
        let data = json!({ "guild_id": guild, "user_ids": [self.key.user], "limit": 0 });
        let asking = self.connection.send(json!({ "op": 8, "d": data }).to_string());
        let _ = timeout(settings.patience, asking).await;
    }

    pub(super) fn key(&self) -> Key {
        self.key.clone()
    }

    pub(super) fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Closes the connection and returns what it has noted.
    pub(super) async fn close(self, code: u16) -> Vec<Dispatch> {
        self.connection.close(code).await;
        self.dispatches
    }

    /// Ends the TCP connection without a close frame, and returns what it has noted.
    pub(super) async fn abort(self) -> Vec<Dispatch> {
        self.connection.abort().await;
        self.dispatches
    }
}
