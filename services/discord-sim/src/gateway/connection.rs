//! One gateway connection.
//!
//! A loop over four things: an order from the control API, a frame from the client, the session's bell, the heartbeat
//! deadline. What it writes goes through [`writing`], how it ends is an [`End`].

mod commands;
mod receiving;
mod scripts;
mod writing;

use super::{ending::End, envelope, wire::Wire};
use crate::{
    event::Sight,
    gateway::compression::Codec,
    hub::{Departure, Hub, Order, SessionCell},
    net::Tap,
    odd::{Action, Address, Moment},
    protocol::close,
    report::ViolationKind,
    session::ConnectionId,
    shard::Shard,
    window::Window,
};
use axum::{
    Error,
    extract::ws::{Message, WebSocket},
};
use futures_util::{StreamExt, stream::SplitStream};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use writing::{LONGEST_PAUSE, Outgoing};

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

    fn expect_heartbeat(&mut self) {
        self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
    }

    fn violation(&self, kind: ViolationKind, detail: String) {
        self.hub.violation(kind, self.id, self.shard(), detail);
    }

    fn shard(&self) -> Option<Shard> {
        self.joined.as_ref().map(|joined| joined.sight.shard)
    }
}
