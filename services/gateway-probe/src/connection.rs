//! A bare gateway connection: one task owns the WebSocket, sends heartbeats and commands, and passes on what arrives with its time.
//!
//! Knows no sessions. It never reconnects. Dropping the handle ends the task and the TCP connection, without a close frame.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use outside_text::printable;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_websockets::{
    ClientBuilder, CloseCode, Connector, Error, Limits, MaybeTlsStream, Message, WebSocketStream,
};

use crate::{address::ProbeAddress, frame::Frame};

/// Time limit for TCP, TLS and the upgrade together.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit for one message to leave, and for the closing handshake.
const SEND: Duration = Duration::from_secs(5);
/// The largest message.
const LARGEST: usize = 32 * 1024 * 1024;
/// Messages that wait to be looked at; a connection with more is given up.
const WAITING: usize = 16_384;

/// Input from a connection.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(Box<Frame>),
    /// A close frame: its code, if it has one.
    Closed(Option<u16>),
    /// The connection ended otherwise: why.
    Lost(String),
}

/// Without `Debug`: what is sent holds the token.
enum Command {
    Send(String),
    /// A close frame with this code.
    Close(u16),
    /// The end of the TCP connection, without a close frame.
    Abort,
}

/// The handle of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    commands: mpsc::Sender<Command>,
    received: mpsc::Receiver<(Instant, Received)>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Connection {
    /// Connects and starts the task.
    ///
    /// # Errors
    /// The reason, as text.
    pub(crate) async fn open(address: &ProbeAddress) -> Result<Self, String> {
        let stream = timeout(CONNECT, connect(address))
            .await
            .map_err(|_| format!("no gateway connection within {} s", CONNECT.as_secs()))??;
        let (commands, inbox) = mpsc::channel(16);
        let (outbox, received) = mpsc::channel(WAITING);
        let pump =
            Pump { stream, outbox, sequence: None, interval: None, beat_at: Instant::now(), unanswered: 0 };
        Ok(Self { commands, received, task: tokio::spawn(pump.run(inbox)) })
    }

    /// Queues a message. A connection that has ended drops it: the next input says that it has.
    pub(crate) async fn send(&self, text: String) {
        let _ = self.commands.send(Command::Send(text)).await;
    }

    /// Closes with a code and waits for the end, bounded.
    pub(crate) async fn close(self, code: u16) {
        self.end(Command::Close(code)).await;
    }

    /// Ends the TCP connection without a close frame.
    pub(crate) async fn abort(self) {
        self.end(Command::Abort).await;
    }

    async fn end(mut self, command: Command) {
        // Fails only when the task has ended.
        let _ = self.commands.send(command).await;
        let _ = timeout(2 * SEND, &mut self.task).await;
    }

    /// Returns the next input, or `None` at `until`. Cancel safe.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<(Instant, Received)> {
        let late = |now| (now, Received::Lost("the connection has ended".to_owned()));
        tokio::select! {
            biased;
            input = self.received.recv() => Some(input.unwrap_or_else(|| late(Instant::now()))),
            () = sleep_until(until) => None,
        }
    }
}

async fn connect(address: &ProbeAddress) -> Result<Stream, String> {
    let url = address.connection_url();
    let builder = ClientBuilder::new().uri(&url).map_err(|error| error.to_string())?;
    let builder = builder.limits(Limits::default().max_payload_len(Some(LARGEST)));
    let (host, port, is_tls) = address.server();
    let connected = async {
        let stream = TcpStream::connect((host, port)).await?;
        let connector = if is_tls { Connector::new()? } else { Connector::Plain };
        let stream = connector.wrap(host, stream).await?;
        builder.connect_on(stream).await
    };
    let (stream, _) = connected.await.map_err(|error: Error| in_words(&error))?;
    Ok(stream)
}

fn in_words(error: &Error) -> String {
    printable(&error.to_string()).to_string()
}

/// The task of a connection.
struct Pump {
    stream: Stream,
    outbox: mpsc::Sender<(Instant, Received)>,
    /// Of the last dispatch, for heartbeats.
    sequence: Option<u64>,
    /// Set by HELLO.
    interval: Option<Duration>,
    beat_at: Instant,
    /// Heartbeats without an answer.
    unanswered: u32,
}

impl Pump {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let end = loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Send(text)) => {
                        if let Err(why) = self.send(text).await {
                            break Received::Lost(why);
                        }
                    }
                    Some(Command::Close(code)) => return self.close(code).await,
                    Some(Command::Abort) | None => return,
                },
                () = sleep_until(self.beat_at), if self.interval.is_some() => {
                    if let Err(why) = self.beat().await {
                        break Received::Lost(why);
                    }
                }
                message = self.stream.next() => match self.read(message).await {
                    Ok(()) => {}
                    Err(end) => break end,
                },
            }
        };
        let _ = self.outbox.try_send((Instant::now(), end));
    }

    /// Takes a message. An error is how the connection ended.
    async fn read(&mut self, message: Option<Result<Message, Error>>) -> Result<(), Received> {
        let at = Instant::now();
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Received::Lost(in_words(&error))),
            None => return Err(Received::Lost("ended without a close frame".to_owned())),
        };
        if let Some((code, _)) = message.as_close() {
            return Err(Received::Closed((code != CloseCode::NO_STATUS_RECEIVED).then(|| code.into())));
        }
        let Some(text) = message.as_text() else { return Ok(()) };
        let Some(frame) = Frame::read(text) else {
            return Err(Received::Lost("a message was not a gateway payload".to_owned()));
        };
        match frame.op {
            1 => return self.beat().await.map_err(Received::Lost),
            10 => {
                // Bounded, as the number comes from outside.
                let interval = frame.heartbeat_interval().unwrap_or(41_250).clamp(100, 600_000);
                let interval = Duration::from_millis(interval);
                self.interval = Some(interval);
                self.beat_at = at + interval.mul_f64(rand::random());
            }
            11 => {
                self.unanswered = 0;
                return Ok(());
            }
            _ => {}
        }
        self.sequence = frame.sequence.or(self.sequence);
        let passed = self.outbox.try_send((at, Received::Frame(Box::new(frame))));
        passed.map_err(|_| Received::Lost(format!("more than {WAITING} messages at once")))
    }

    async fn beat(&mut self) -> Result<(), String> {
        if self.unanswered > 1 {
            return Err("two heartbeats had no answer".to_owned());
        }
        self.unanswered += 1;
        if let Some(interval) = self.interval {
            self.beat_at = Instant::now() + interval;
        }
        let sequence = self.sequence.map_or("null".to_owned(), |sequence| sequence.to_string());
        self.send(format!(r#"{{"op":1,"d":{sequence}}}"#)).await
    }

    async fn send(&mut self, text: String) -> Result<(), String> {
        let sent = timeout(SEND, self.stream.send(Message::text(text))).await;
        sent.map_err(|_| "a message did not leave".to_owned())?.map_err(|error| in_words(&error))
    }

    async fn close(mut self, code: u16) {
        let Ok(code) = CloseCode::try_from(code) else { return };
        let closing = async {
            if self.stream.send(Message::close(Some(code), "")).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        let _ = timeout(SEND, closing).await;
    }
}
