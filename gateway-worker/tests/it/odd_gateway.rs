//! A scripted gateway over real sockets.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) const HELLO: &str = r#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":1000}}"#;

/// A step of a connection's script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Answers the upgrade with this text and hangs up.
    Http(&'static str),
    /// Answers the upgrade with a header without an end.
    HttpFlood,
    /// Hangs up before the upgrade.
    Refuse,
    Send(&'static str),
    /// Sends these raw bytes.
    Raw(&'static [u8]),
    /// Sends these bytes as a binary message.
    Binary(&'static [u8]),
    /// Answers IDENTIFY with READY and RESUME with RESUMED.
    Greet,
    /// Answers IDENTIFY with READY and RESUME with op 9.
    GreetOnce,
    /// Waits for IDENTIFY or RESUME, without an answer.
    Hear,
    /// Sends a text repeatedly.
    Flood(&'static str, u32),
    Close(u16),
    CloseWithoutCode,
    /// Closes the TCP connection without a close frame.
    End,
    Reset,
    /// Acknowledges heartbeats for ever.
    Serve,
    /// Acknowledges heartbeats for this long.
    ServeFor(Duration),
}

/// The steps for a connection, by its index and path.
pub(crate) type Script = Box<dyn Fn(usize, &str) -> Vec<Step> + Send + Sync>;

/// A connection that a client made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) at: Instant,
    /// Empty before the upgrade.
    pub(crate) path: String,
    /// What the client sent.
    pub(crate) sent: Vec<Value>,
}

impl Made {
    /// Whether the client sent this opcode.
    pub(crate) fn sent(&self, op: u64) -> bool {
        self.count(op) > 0
    }

    /// How often the client sent this opcode.
    pub(crate) fn count(&self, op: u64) -> usize {
        self.sent.iter().filter(|payload| payload["op"] == op).count()
    }
}

pub(crate) struct OddGateway {
    pub(crate) url: String,
    made: Arc<Mutex<Vec<Made>>>,
    _task: AbortOnDropHandle<()>,
}

impl OddGateway {
    /// Starts a gateway whose READY names `resume_url`; `{own}` in it is the gateway's own URL.
    pub(crate) async fn start(resume_url: &str, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let made: Arc<Mutex<Vec<Made>>> = Arc::default();
        let peer =
            Peer { made: made.clone(), script: script.into(), resume_url: resume_url.replace("{own}", &url) };
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(peer.clone().serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, made, _task: AbortOnDropHandle::new(task) }
    }

    /// Starts a gateway that treats all connections the same.
    pub(crate) async fn always(steps: &'static [Step]) -> Self {
        Self::start("{own}", Box::new(move |_, _| steps.to_vec())).await
    }

    /// The connections so far.
    pub(crate) fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap().clone()
    }

    /// Waits until the connections satisfy `is`.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&[Made]) -> bool) -> Vec<Made> {
        let looking = async {
            loop {
                let made = self.made();
                if is(&made) {
                    return made;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_mins(1), looking).await;
        found.unwrap_or_else(|_| panic!("gave up waiting: {what}; {:?}", self.made()))
    }

    /// The largest number of connections within 15 s.
    pub(crate) fn most_within_15_s(&self) -> usize {
        let made = self.made();
        let within = |from: &Made| {
            let times = made.iter().map(|made| made.at);
            times.filter(|at| *at >= from.at && *at < from.at + Duration::from_secs(15)).count()
        };
        made.iter().map(within).max().unwrap_or_default()
    }
}

type Socket = WebSocketStream<TcpStream>;
type SharedScript = Arc<dyn Fn(usize, &str) -> Vec<Step> + Send + Sync>;

#[derive(Clone)]
struct Peer {
    made: Arc<Mutex<Vec<Made>>>,
    script: SharedScript,
    resume_url: String,
}

impl Peer {
    async fn serve(self, mut stream: TcpStream) {
        let index = {
            let mut made = self.made.lock().unwrap();
            made.push(Made { at: Instant::now(), path: String::new(), sent: Vec::new() });
            made.len() - 1
        };
        let mut head = [0; 1024];
        let peeked = stream.peek(&mut head).await.unwrap_or_default();
        let head = String::from_utf8_lossy(&head[..peeked]).into_owned();
        let path = head.split(['?', ' ']).nth(1).unwrap_or_default().to_owned();
        self.made.lock().unwrap()[index].path.clone_from(&path);
        let mut steps = (self.script)(index, &path).into_iter().peekable();
        match steps.peek() {
            Some(Step::Refuse) => return,
            Some(Step::Http(answer)) => {
                let _ = stream.read(&mut [0; 2048]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
            Some(Step::HttpFlood) => {
                let _ = stream.read(&mut [0; 2048]).await;
                let mut part = "HTTP/1.1 101 Switching Protocols\r\nx-odd: ";
                while stream.write_all(part.as_bytes()).await.is_ok() {
                    part = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
                }
                return;
            }
            _ => {}
        }
        let Ok(mut socket) = accept_async(stream).await else { return };
        for step in steps {
            if self.step(step, index, &mut socket).await.is_none() {
                return;
            }
        }
        self.next(index, &mut socket, |_| false).await;
    }

    /// Runs one step; `None` when the connection is over.
    async fn step(&self, step: Step, index: usize, socket: &mut Socket) -> Option<()> {
        match step {
            Step::Refuse | Step::Http(_) | Step::HttpFlood => {}
            Step::Send(text) => socket.send(Message::text(text)).await.ok()?,
            Step::Raw(bytes) => socket.get_mut().write_all(bytes).await.ok()?,
            Step::Binary(bytes) => socket.send(Message::binary(bytes)).await.ok()?,
            Step::Greet => self.greet(index, socket, true).await?,
            Step::GreetOnce => self.greet(index, socket, false).await?,
            Step::Hear => drop(self.next(index, socket, |op| op == 2 || op == 6).await?),
            Step::Flood(text, times) => {
                for _ in 0..times {
                    socket.send(Message::text(text)).await.ok()?;
                }
            }
            Step::Close(code) => {
                let frame = CloseFrame { code: CloseCode::from(code), reason: "bye\u{1b}[2J".into() };
                socket.close(Some(frame)).await.ok()?;
            }
            Step::CloseWithoutCode => socket.close(None).await.ok()?,
            Step::End => return None,
            Step::Reset => {
                let _ = socket.get_ref().set_zero_linger();
                return None;
            }
            Step::Serve => drop(self.next(index, socket, |_| false).await?),
            Step::ServeFor(time) => {
                if let Ok(ended) = tokio::time::timeout(time, self.next(index, socket, |_| false)).await {
                    ended?;
                }
            }
        }
        Some(())
    }

    async fn greet(&self, index: usize, socket: &mut Socket, resumes: bool) -> Option<()> {
        let greeting = self.next(index, socket, |op| op == 2 || op == 6).await?;
        let answer = if greeting["op"] == 2 {
            serde_json::json!({ "t": "READY", "s": 1, "op": 0, "d": {
                "v": 10, "session_id": "s", "resume_gateway_url": self.resume_url, "guilds": [],
                "user": { "id": "1", "username": "bot", "discriminator": "0", "mfa_enabled": false },
                "application": { "id": "2", "flags": 0 }, "shard": greeting["d"]["shard"],
            }})
        } else if resumes {
            let sequence = greeting["d"]["seq"].as_u64().unwrap();
            serde_json::json!({ "t": "RESUMED", "s": sequence + 1, "op": 0, "d": {} })
        } else {
            serde_json::json!({ "t": null, "s": null, "op": 9, "d": false })
        };
        socket.send(Message::text(answer.to_string())).await.ok()
    }

    /// Reads until `is` accepts an opcode; acknowledges heartbeats.
    async fn next(&self, index: usize, socket: &mut Socket, is: impl Fn(u64) -> bool) -> Option<Value> {
        loop {
            let Message::Text(text) = socket.next().await?.ok()? else { continue };
            let payload: Value = serde_json::from_str(&text).unwrap();
            self.made.lock().unwrap()[index].sent.push(payload.clone());
            let op = payload["op"].as_u64().unwrap();
            if op == 1 {
                socket.send(Message::text(r#"{"t":null,"s":null,"op":11}"#)).await.ok()?;
            }
            if is(op) {
                return Some(payload);
            }
        }
    }
}
