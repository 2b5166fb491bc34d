//! One gateway connection.
//!
//! A loop over four things: an order from the control API, a frame from the client, the session's bell, the heartbeat
//! deadline. While a write waits for a slow reader, frames and orders are still read, into bounded queues, so a slow
//! reader that beats its heart stays connected and one that does not is cut off.

use super::{
    close, envelope,
    payload::Payload,
    send_limit::SendLimit,
    wire::{Gone, Wire},
};
use crate::{
    event::{Event, Sight},
    gateway::compression::Codec,
    hub::{Departure, Hub, Order, Refusal, SessionCell},
    report::ViolationKind,
    session::{ConnectionId, Taken},
    shard::Shard,
};
use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use futures_util::{StreamExt, stream::SplitStream};
use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Events written before the socket is looked at again.
const BATCH: usize = 64;
/// Frames read ahead while a write waits; more stay in the socket.
const READ_AHEAD: usize = 128;
/// How long a closed connection waits for the client to close too: dropping a socket that holds unread bytes resets it,
/// and the client would never see the close code.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The same once the simulator is shutting down.
const SHUTDOWN_CLOSE_WAIT: Duration = Duration::from_millis(100);

/// How a connection ends.
enum End {
    /// With a close frame.
    Close(u16, String),
    /// Without one.
    Drop,
    /// By the client.
    Left(Departure),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Left(Departure::Resumable)
    }
}

impl End {
    fn code(code: u16, reason: &str) -> Self {
        Self::Close(code, reason.to_owned())
    }

    fn by_client(frame: Option<&CloseFrame>) -> Self {
        let goodbye = frame.is_some_and(|frame| close::ends_session(frame.code));
        Self::Left(if goodbye { Departure::Goodbye } else { Departure::Resumable })
    }
}

/// The session of a connection that has one.
struct Joined {
    cell: Arc<SessionCell>,
    sight: Sight,
}

/// One connection.
pub(crate) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    stop: CancellationToken,
    orders: mpsc::Receiver<Order>,
    postponed: VecDeque<Order>,
    stream: SplitStream<WebSocket>,
    read_ahead: VecDeque<Message>,
    wire: Wire,
    joined: Option<Joined>,
    send_limit: SendLimit,
    beat_by: Instant,
    frozen: bool,
}

/// What a turn of the loop is about.
enum Turn {
    Order(Order),
    Frame(Option<Result<Message, Error>>),
    Events,
    Silence,
    Stop,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        hub: Arc<Hub>,
        stop: CancellationToken,
        orders: mpsc::Receiver<Order>,
        socket: WebSocket,
        codec: Codec,
    ) -> Self {
        let (sink, stream) = socket.split();
        let beat_by = Instant::now() + hub.config.heartbeat_interval * 2;
        Self {
            id,
            hub,
            stop,
            orders,
            postponed: VecDeque::new(),
            stream,
            read_ahead: VecDeque::new(),
            wire: Wire::new(sink, codec),
            joined: None,
            send_limit: SendLimit::default(),
            beat_by,
            frozen: false,
        }
    }

    /// Runs the connection to its end; `fault` is what is wrong with its URL.
    pub(crate) async fn run(mut self, fault: Option<String>) {
        let end = match fault {
            Some(detail) => {
                self.violation(ViolationKind::InvalidVersion, detail);
                End::code(close::INVALID_VERSION, "Invalid API version.")
            }
            None => match self.serve().await {
                Ok(never) => match never {},
                Err(end) => end,
            },
        };
        let departure = if let End::Left(departure) = end { departure } else { Departure::Resumable };
        let joined = self.joined.take();
        self.hub.close(self.id, joined.as_ref().map(|joined| &*joined.cell), departure);
        let patience = async {
            // A client that never answers is dropped.
            let _ = timeout(CLOSE_WAIT, self.stop.cancelled()).await;
            if self.stop.is_cancelled() {
                sleep(SHUTDOWN_CLOSE_WAIT).await;
            }
        };
        let farewell = async {
            match end {
                End::Close(code, reason) => {
                    tracing::debug!(connection = self.id, code, reason, "closing");
                    if self.wire.close(code, reason).await.is_ok() {
                        while let Some(Ok(_)) = self.stream.next().await {}
                    }
                }
                // Reading on lets the WebSocket answer the client's close frame.
                End::Left(_) => drop(self.stream.next().await),
                End::Drop => {}
            }
        };
        tokio::select! {
            () = farewell => {}
            () = patience => {}
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        self.wire.send(envelope::hello(self.hub.config.heartbeat_interval)).await?;
        loop {
            match self.turn().await {
                Turn::Stop => return Err(End::code(1001, "The simulator is shutting down.")),
                Turn::Silence => {
                    self.violation(
                        ViolationKind::MissedHeartbeat,
                        "no heartbeat for twice the interval".into(),
                    );
                    return Err(End::code(self.hub.config.zombie_close_code, "Session timed out."));
                }
                Turn::Order(order) => self.obey(order).await?,
                Turn::Frame(frame) => self.read(frame).await?,
                Turn::Events => self.send_events().await?,
            }
        }
    }

    /// Waits for the next thing to do; a silent client is told apart even while it is frozen.
    async fn turn(&mut self) -> Turn {
        if let Some(order) = self.postponed.pop_front() {
            return Turn::Order(order);
        }
        if let Some(frame) = self.read_ahead.pop_front() {
            return Turn::Frame(Some(Ok(frame)));
        }
        let (joined, frozen) = (&self.joined, self.frozen);
        let bell = async {
            match joined {
                Some(joined) if !frozen => joined.cell.bell.notified().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Turn::Stop,
            Some(order) = self.orders.recv() => Turn::Order(order),
            frame = self.stream.next() => Turn::Frame(frame),
            () = sleep_until(self.beat_by), if !frozen => Turn::Silence,
            () = bell => Turn::Events,
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Close { code, reason } => return Err(End::Close(code, reason)),
            Order::Abort => return Err(End::Drop),
            Order::Freeze(on) => {
                self.frozen = on;
                self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
                if let (false, Some(joined)) = (on, &self.joined) {
                    joined.cell.bell.notify_one();
                }
            }
            // A frozen connection sends nothing at all.
            Order::Reconnect | Order::InvalidSession { .. } if self.frozen => {}
            Order::Reconnect => self.wire.send(envelope::reconnect()).await?,
            Order::InvalidSession { resumable } => {
                if let Some(joined) = self.joined.take() {
                    let end = (!resumable).then_some("invalidated by a fault");
                    self.hub.leave_session(self.id, &joined.cell, end);
                }
                self.wire.send(envelope::invalid_session(resumable)).await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self, frame: Option<Result<Message, Error>>) -> Result<(), End> {
        let payload = match frame {
            Some(Ok(Message::Text(text))) => Payload::parse(text.as_bytes()),
            Some(Ok(Message::Binary(bytes))) => Payload::parse(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(frame))) => {
                return Err(End::by_client(frame.as_ref()));
            }
            Some(Err(error)) if is_too_long(&error) => Payload::Undecodable(error.to_string()),
            Some(Err(_)) | None => return Err(End::Left(Departure::Resumable)),
        };
        if self.frozen {
            return Ok(());
        }
        if !self.send_limit.allows(self.hub.now()) {
            self.violation(ViolationKind::RateLimited, "more than 120 sends in 60 s".into());
            return Err(End::code(close::RATE_LIMITED, "Rate limited."));
        }
        self.handle(payload).await
    }

    async fn handle(&mut self, payload: Payload) -> Result<(), End> {
        match payload {
            Payload::Heartbeat(sequence) => {
                self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
                if let (Some(joined), Some(sequence)) = (&self.joined, sequence) {
                    joined.cell.lock().acknowledge(sequence);
                }
                Ok(self.wire.send(envelope::heartbeat_ack()).await?)
            }
            Payload::Identify(_) | Payload::Resume(_) if self.joined.is_some() => {
                self.violation(ViolationKind::AlreadyAuthenticated, "a second IDENTIFY or RESUME".into());
                Err(End::code(close::ALREADY_AUTHENTICATED, "Already authenticated."))
            }
            Payload::Identify(asked) => {
                let outcome = self.hub.identify(self.id, asked).await;
                self.join(outcome).await
            }
            Payload::Resume(asked) => {
                let outcome = self.hub.resume(self.id, asked).await;
                self.join(outcome).await
            }
            Payload::Ignored(op) if self.joined.is_none() => {
                self.violation(ViolationKind::NotAuthenticated, format!("op {op} before IDENTIFY"));
                Err(End::code(close::NOT_AUTHENTICATED, "Not authenticated."))
            }
            Payload::Ignored(_) => Ok(()),
            Payload::UnknownOpcode(op) => {
                self.violation(ViolationKind::UnknownOpcode, format!("op {op}"));
                Err(End::code(close::UNKNOWN_OPCODE, "Unknown opcode."))
            }
            Payload::Undecodable(detail) => {
                self.violation(ViolationKind::DecodeError, detail);
                Err(End::code(close::DECODE_ERROR, "Error while decoding payload."))
            }
        }
    }

    async fn join(&mut self, outcome: Result<Arc<SessionCell>, Refusal>) -> Result<(), End> {
        match outcome {
            Ok(cell) => {
                let sight = cell.lock().sight.clone();
                cell.bell.notify_one();
                self.joined = Some(Joined { cell, sight });
                Ok(())
            }
            Err(Refusal::InvalidSession) => Ok(self.wire.send(envelope::invalid_session(false)).await?),
            Err(Refusal::Close(code, reason)) => Err(End::code(code, reason)),
        }
    }

    /// Sends what the session has for this connection, one batch.
    async fn send_events(&mut self) -> Result<(), End> {
        let Some(joined) = &self.joined else { return Ok(()) };
        let taken = joined.cell.lock().take(self.id, BATCH);
        let events = match taken {
            Taken::Events(events) => events,
            Taken::NotYours => {
                // An ended session's connection is told so; one that was taken over has an order coming.
                // The bell is the session's: what this ring was about may be for its new connection.
                joined.cell.bell.notify_one();
                return Err(End::code(close::NOT_AUTHENTICATED, "The session has ended."));
            }
            Taken::Overrun => {
                return Err(End::code(close::UNKNOWN_ERROR, "Too far behind."));
            }
        };
        let Some(from) = events.first().map(|(sequence, _)| *sequence) else { return Ok(()) };
        let cell = Arc::clone(&joined.cell);
        let handed = AtomicU64::new(0);
        let written = self.write(&events, &handed).await;
        let to = handed.into_inner();
        if to >= from {
            cell.lock().record_sent(self.id, from, to);
        }
        // There may be more; the loop looks at the socket first.
        cell.bell.notify_one();
        written
    }

    /// Writes events while reading on; `handed` becomes the last sequence that the socket took.
    async fn write(&mut self, events: &[(u64, Event)], handed: &AtomicU64) -> Result<(), End> {
        let Some(joined) = &self.joined else { return Ok(()) };
        let mut writing = pin!(self.wire.send_events(&self.hub, &joined.sight, events, handed));
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Drop),
                written = &mut writing => return Ok(written?),
                Some(order) = self.orders.recv() => match order {
                    Order::Close { code, reason } => return Err(End::Close(code, reason)),
                    Order::Abort => return Err(End::Drop),
                    other => self.postponed.push_back(other),
                },
                frame = self.stream.next(), if self.read_ahead.len() < READ_AHEAD => match frame {
                    Some(Ok(Message::Close(frame))) => return Err(End::by_client(frame.as_ref())),
                    Some(Ok(frame)) => {
                        // Handled when the write is done; it proves life already.
                        self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
                        self.read_ahead.push_back(frame);
                    }
                    Some(Err(_)) | None => return Err(End::Left(Departure::Resumable)),
                },
                () = sleep_until(self.beat_by) => {
                    self.hub.violation(
                        ViolationKind::MissedHeartbeat,
                        self.id,
                        Some(joined.sight.shard),
                        "no heartbeat, and nothing read, for twice the interval".into(),
                    );
                    return Err(End::code(self.hub.config.zombie_close_code, "Session timed out."));
                }
            }
        }
    }

    fn violation(&self, kind: ViolationKind, detail: String) {
        self.hub.violation(kind, self.id, self.shard(), detail);
    }

    fn shard(&self) -> Option<Shard> {
        self.joined.as_ref().map(|joined| joined.sight.shard)
    }
}

/// Whether a frame was refused for its length.
fn is_too_long(error: &Error) -> bool {
    use std::error::Error as _;
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.to_string().contains("Message too long")
            || inner.to_string().contains("Space limit exceeded")
        {
            return true;
        }
        source = inner.source();
    }
    false
}
