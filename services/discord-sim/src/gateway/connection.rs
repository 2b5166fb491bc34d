//! One gateway connection.
//!
//! A loop over four things: an order from the control API, a frame from the client, the session's bell, the heartbeat
//! deadline. What it writes goes through [`writing`], how it ends is an [`End`].

mod acting;
mod writing;

use super::{ending::End, envelope, wire::Wire};
use crate::{
    event::{Event, Sight},
    gateway::compression::Codec,
    hub::{Departure, Hub, Order, Refusal, SessionCell},
    net::Tap,
    odd::{Action, Address, Moment},
    protocol::{Payload, close},
    report::ViolationKind,
    request::Request,
    session::{ConnectionId, Taken},
    shard::Shard,
    window::Window,
};
use acting::Answer;
use axum::{
    Error,
    extract::ws::{Message, WebSocket},
};
use futures_util::{StreamExt, stream::SplitStream};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use writing::{LONGEST_PAUSE, Outgoing};

/// Events written before the socket is looked at again.
const BATCH: usize = 64;
/// How long a closed connection waits for the client to close too: dropping a socket that holds unread bytes resets it,
/// and the client would never see the close code.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The same once the simulator is shutting down.
const SHUTDOWN_CLOSE_WAIT: Duration = Duration::from_millis(100);

/// The session of a connection that has one.
struct Joined {
    cell: Arc<SessionCell>,
    bell: watch::Receiver<()>,
    sight: Sight,
    /// Nothing is sent before: READY may be slow.
    from: Option<Instant>,
}

/// One connection.
pub(crate) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    stop: CancellationToken,
    orders: mpsc::Receiver<Order>,
    tap: Tap,
    postponed: VecDeque<Order>,
    stream: SplitStream<WebSocket>,
    /// Frames read while something was written, with when each arrived.
    read_ahead: VecDeque<(Instant, Message)>,
    wire: Wire,
    joined: Option<Joined>,
    sends: Window,
    presences: Window,
    beat_by: Instant,
    /// When it is closed, once op 7 has asked it to go.
    leave_by: Option<Instant>,
    frozen: bool,
    /// The URL that the client connected to.
    address: Address,
    /// Delayed actions of scripts, in order of time.
    later: Vec<(Instant, Arc<[Action]>)>,
    /// Heartbeats that were not answered since it is frozen.
    unanswered: u32,
}

/// The parameters of a connection's URL.
pub(crate) struct Asked {
    pub(crate) codec: Codec,
    pub(crate) address: Address,
}

/// What a turn of the loop is about.
enum Turn {
    Order(Order),
    Frame(Option<Result<Message, Error>>, Instant),
    Events,
    Silence,
    Overstay,
    Act(Arc<[Action]>),
    Stop,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        hub: Arc<Hub>,
        stop: CancellationToken,
        orders: mpsc::Receiver<Order>,
        tap: Tap,
        socket: WebSocket,
        asked: Asked,
    ) -> Self {
        let (sink, stream) = socket.split();
        let beat_by = Instant::now() + hub.config.heartbeat_interval * 2;
        Self {
            id,
            hub,
            stop,
            orders,
            tap,
            postponed: VecDeque::new(),
            stream,
            read_ahead: VecDeque::new(),
            wire: Wire::new(sink, asked.codec),
            joined: None,
            sends: Window::sends(),
            presences: Window::presences(),
            beat_by,
            leave_by: None,
            frozen: false,
            address: asked.address,
            later: Vec::new(),
            unanswered: 0,
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
        let close_frames = self.hub.switches().close_frames;
        let farewell = async {
            let close = match end {
                End::Close(code, reason) => Some((code, reason)),
                End::CloseWithoutCode => None,
                End::Unprovoked(code, reason) if close_frames => Some((code, reason.to_owned())),
                End::Unprovoked(..) | End::Drop => return,
                End::Reset => return self.tap.cut(),
                // Reading on lets the WebSocket answer the client's close frame.
                End::Left(_) => return drop(self.stream.next().await),
            };
            tracing::debug!(connection = self.id, ?close, "closing");
            if self.wire.close(close).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        tokio::select! {
            () = farewell => {}
            () = patience => {}
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let delay = self.hub.switches().hello_delay;
        if !delay.is_zero() {
            self.beat_by += delay.min(LONGEST_PAUSE);
            self.write(Outgoing::Pause(delay)).await?;
        }
        let instead = self.run_hello_script().await?;
        if !instead && !self.frozen {
            self.send(envelope::hello(self.hub.config.heartbeat_interval)).await?;
        }
        self.expect_heartbeat();
        self.run_script(Moment::AfterHello).await?;
        loop {
            match self.turn().await {
                Turn::Stop => {
                    return Err(End::Unprovoked(close::GOING_AWAY, "The simulator is shutting down."));
                }
                Turn::Overstay => {
                    return Err(End::Unprovoked(close::GOING_AWAY, "You were asked to reconnect."));
                }
                Turn::Silence => {
                    self.violation(
                        ViolationKind::MissedHeartbeat,
                        "no heartbeat for twice the interval".into(),
                    );
                    return Err(End::timed_out(&self.hub));
                }
                Turn::Order(order) => self.obey(order).await?,
                Turn::Act(actions) => self.act(actions).await?,
                Turn::Frame(frame, arrived) => self.read(frame, arrived).await?,
                Turn::Events => self.send_events().await?,
            }
        }
    }

    /// Waits for the next thing to do.
    async fn turn(&mut self) -> Turn {
        if let Some(order) = self.postponed.pop_front() {
            return Turn::Order(order);
        }
        if let Some((arrived, frame)) = self.read_ahead.pop_front() {
            return Turn::Frame(Some(Ok(frame)), arrived);
        }
        let frozen = self.frozen;
        let joined = &mut self.joined;
        let bell = async {
            match joined {
                Some(joined) if !frozen => {
                    if let Some(from) = joined.from {
                        sleep_until(from).await;
                        joined.from = None;
                    }
                    // The sender is in the cell that this connection holds.
                    let _ = joined.bell.changed().await;
                }
                _ => std::future::pending().await,
            }
        };
        let leave_by = self.leave_by;
        let overstay = async {
            match leave_by {
                Some(at) if !frozen => sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        let due = self.later.first().map(|(at, _)| *at);
        let later = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Turn::Stop,
            Some(order) = self.orders.recv() => Turn::Order(order),
            frame = self.stream.next() => Turn::Frame(frame, self.tap.arrived()),
            () = sleep_until(self.beat_by), if !frozen => Turn::Silence,
            () = overstay => Turn::Overstay,
            () = later => Turn::Act(self.later.remove(0).1),
            () = bell => Turn::Events,
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Close { code, reason } => return Err(End::Close(code, reason)),
            Order::Superseded => return Err(End::superseded()),
            Order::Abort => return Err(End::Reset),
            Order::Act(actions) => self.act(actions).await?,
            Order::Freeze(on) => {
                self.frozen = on;
                self.unanswered = 0;
                self.expect_heartbeat();
            }
            // A frozen connection sends nothing at all.
            Order::Reconnect | Order::RequestHeartbeat if self.frozen => {}
            Order::Reconnect => {
                self.leave_by = Some(Instant::now() + self.hub.switches().reconnect_grace.min(LONGEST_PAUSE));
                self.send(envelope::reconnect()).await?;
            }
            Order::RequestHeartbeat => {
                // It shall beat at once; that it has one interval for it is our choice.
                self.beat_by = self.beat_by.min(Instant::now() + self.hub.config.heartbeat_interval);
                self.send(envelope::heartbeat()).await?;
            }
            Order::InvalidSession { resumable } => {
                if let Some(joined) = self.joined.take() {
                    let end = (!resumable).then_some("invalidated by a fault");
                    self.hub.leave_session(self.id, &joined.cell, end);
                }
                if !self.frozen {
                    self.send(envelope::invalid_session(resumable)).await?;
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, frame: Option<Result<Message, Error>>, arrived: Instant) -> Result<(), End> {
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
            self.notice_zombie(&payload);
            return Ok(());
        }
        let arrived = self.hub.since_start(arrived);
        if !self.sends.allows(arrived) {
            self.violation(ViolationKind::RateLimited, "more than 120 sends in 60 s".into());
            return Err(End::code(close::RATE_LIMITED, "Rate limited."));
        }
        self.handle(payload, arrived).await
    }

    async fn handle(&mut self, payload: Payload, arrived: Duration) -> Result<(), End> {
        match payload {
            Payload::Heartbeat(sequence) => {
                self.expect_heartbeat();
                if let (Some(joined), Some(sequence)) = (&self.joined, sequence) {
                    let trim = self.hub.switches().heartbeat_trims;
                    joined.cell.lock().acknowledge(sequence, trim);
                }
                self.send(envelope::heartbeat_ack()).await
            }
            Payload::Identify(_) | Payload::Resume(_) if self.joined.is_some() => {
                self.violation(ViolationKind::AlreadyAuthenticated, "a second IDENTIFY or RESUME".into());
                Err(End::code(close::ALREADY_AUTHENTICATED, "Already authenticated."))
            }
            Payload::Identify(asked) => {
                if asked.compress {
                    self.wire.compress_payloads();
                }
                let delay = self.hub.switches().ready_delay;
                let from = (!delay.is_zero()).then(|| Instant::now() + delay.min(LONGEST_PAUSE));
                let outcome = self.hub.identify(self.id, asked, arrived).await;
                self.join(outcome, from).await?;
                if self.joined.is_some() { self.run_script(Moment::Identify).await } else { Ok(()) }
            }
            Payload::Resume(asked) => {
                let Answer::Usual { from } = self.run_resume_script(&asked.session_id).await? else {
                    return Ok(());
                };
                let outcome = self.hub.resume(self.id, asked).await;
                self.join(outcome, from).await
            }
            Payload::Request(asked) => match (asked, &self.joined) {
                (_, None) => {
                    self.violation(ViolationKind::NotAuthenticated, "a request before IDENTIFY".into());
                    Err(End::code(close::NOT_AUTHENTICATED, "Not authenticated."))
                }
                (Err(detail), _) => {
                    self.violation(ViolationKind::DecodeError, detail);
                    Err(End::code(close::DECODE_ERROR, "Error while decoding payload."))
                }
                (Ok(Request::Presence(_)), _) if !self.presences.allows(arrived) => {
                    self.violation(
                        ViolationKind::PresenceLimit,
                        "more than 5 presence updates in 20 s".into(),
                    );
                    Ok(())
                }
                (Ok(asked), Some(joined)) => {
                    self.hub.request(self.id, &joined.cell, asked, arrived);
                    Ok(())
                }
            },
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

    async fn join(
        &mut self,
        outcome: Result<Arc<SessionCell>, Refusal>,
        from: Option<Instant>,
    ) -> Result<(), End> {
        match outcome {
            Ok(cell) => {
                let sight = cell.lock().sight.clone();
                let bell = cell.bell();
                self.joined = Some(Joined { cell, bell, sight, from });
                Ok(())
            }
            Err(Refusal::InvalidSession { resumable }) => {
                self.send(envelope::invalid_session(resumable)).await
            }
            Err(Refusal::Close(code, reason)) => Err(End::code(code, reason)),
        }
    }

    /// Sends what the session has for this connection, one batch.
    async fn send_events(&mut self) -> Result<(), End> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let taken = joined.cell.lock().take(self.id, BATCH);
        let (events, replay_until) = match taken {
            Taken::Events { events, replay_until } => (events, replay_until),
            // An ended session's connection is told so; one that was taken over has an order coming.
            Taken::NotYours if !joined.cell.lock().has_ended() => return Err(End::superseded()),
            Taken::NotYours => return Err(End::code(close::NOT_AUTHENTICATED, "The session has ended.")),
            Taken::Overrun => {
                return Err(End::code(close::UNKNOWN_ERROR, "Too far behind."));
            }
        };
        let Some(from) = events.first().map(|(sequence, _)| *sequence) else { return Ok(()) };
        // There may be more; the loop looks at the socket first.
        joined.bell.mark_changed();
        let cell = Arc::clone(&joined.cell);
        let handed = AtomicU64::new(0);
        let written = self.write(Outgoing::Events { events: &events, handed: &handed }).await;
        let to = handed.into_inner();
        if to >= from {
            cell.lock().record_sent(self.id, from, to, replay_until);
        }
        written?;
        for (_, event) in &events {
            match event {
                Event::Ready(_) => self.run_script(Moment::Ready).await?,
                Event::Resumed => self.run_script(Moment::Resumed).await?,
                _ => {}
            }
        }
        Ok(())
    }

    fn expect_heartbeat(&mut self) {
        self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
    }

    /// A client that got no answer to a heartbeat must close before the next one is due.
    fn notice_zombie(&mut self, payload: &Payload) {
        if matches!(payload, Payload::Heartbeat(_)) {
            self.unanswered += 1;
            if self.unanswered == 2 {
                self.violation(
                    ViolationKind::ZombieKept,
                    "a second heartbeat, and the first had no ACK".into(),
                );
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
