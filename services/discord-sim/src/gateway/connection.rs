//! One gateway connection.
//!
//! The loop waits for a command from the control API, a frame from the client, new events of the session, a script action that is
//! due, or a deadline. [`receiving`] handles frames, [`commands`] and [`scripts`] handle commands and scripted actions, [`writing`]
//! sends. An [`End`] says how the connection ends.

mod commands;
mod receiving;
mod scripts;
mod writing;

use super::{ending::End, envelope, wire::Wire};
use crate::{
    event::SessionParams,
    gateway::compression::Codec,
    hub::{ConnectionCommand, Disconnect, Hub, SessionCell},
    net::RawSocket,
    odd::{Action, Address, Moment},
    protocol::close,
    report::ViolationKind,
    session::ConnectionId,
    shard::Shard,
    window::SlidingWindow,
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

/// How long a closed connection waits for the client to close. Dropping a socket with unread bytes resets it, and the client would
/// not see the close code.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// [`CLOSE_WAIT`] during shutdown.
const SHUTDOWN_CLOSE_WAIT: Duration = Duration::from_millis(100);

/// The session that a connection serves.
struct AttachedSession {
    cell: Arc<SessionCell>,
    updates: watch::Receiver<()>,
    params: SessionParams,
    /// No event is sent before this time: a switch or script delays READY.
    from: Option<Instant>,
}

/// A gateway connection.
pub(crate) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    stop: CancellationToken,
    commands: mpsc::Receiver<ConnectionCommand>,
    raw: RawSocket,
    postponed: VecDeque<ConnectionCommand>,
    stream: SplitStream<WebSocket>,
    /// Frames received during a write, with their arrival times.
    read_ahead: VecDeque<(Instant, Message)>,
    wire: Wire,
    session: Option<AttachedSession>,
    sends: SlidingWindow,
    presences: SlidingWindow,
    beat_by: Instant,
    /// Time to close the connection after op 7.
    leave_by: Option<Instant>,
    frozen: bool,
    /// Which URL the client used.
    address: Address,
    /// Delayed script actions, sorted by time.
    later: Vec<(Instant, Arc<[Action]>)>,
    /// Heartbeats left unanswered since the connection was frozen.
    unanswered: u32,
}

/// The parameters of a connection's URL.
pub(crate) struct ConnectionParams {
    pub(crate) codec: Codec,
    pub(crate) address: Address,
}

/// What the loop handles next.
enum Wakeup {
    Command(ConnectionCommand),
    Frame(Option<Result<Message, Error>>, Instant),
    /// The session may have events to send.
    Events,
    HeartbeatTimeout,
    /// The client did not leave in time after op 7.
    ReconnectTimeout,
    ScriptDue(Arc<[Action]>),
    Shutdown,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        hub: Arc<Hub>,
        stop: CancellationToken,
        commands: mpsc::Receiver<ConnectionCommand>,
        raw: RawSocket,
        socket: WebSocket,
        params: ConnectionParams,
    ) -> Self {
        let (sink, stream) = socket.split();
        let beat_by = Instant::now() + hub.config.heartbeat_interval * 2;
        Self {
            id,
            hub,
            stop,
            commands,
            raw,
            postponed: VecDeque::new(),
            stream,
            read_ahead: VecDeque::new(),
            wire: Wire::new(sink, params.codec),
            session: None,
            sends: SlidingWindow::sends(),
            presences: SlidingWindow::presences(),
            beat_by,
            leave_by: None,
            frozen: false,
            address: params.address,
            later: Vec::new(),
            unanswered: 0,
        }
    }

    /// Runs the connection until it ends. `fault` says what is invalid in its URL.
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
        let disconnect = if let End::ByClient(disconnect) = end { disconnect } else { Disconnect::Resumable };
        let session = self.session.take();
        self.hub.close(self.id, session.as_ref().map(|session| &*session.cell), disconnect);
        let patience = async {
            // A client that does not close in time is dropped.
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
                End::ByServer(code, reason) if close_frames => Some((code, reason.to_owned())),
                End::ByServer(..) | End::Drop => return,
                End::Reset => return self.raw.reset(),
                // Reading once more lets the WebSocket answer the client's close frame.
                End::ByClient(_) => return drop(self.stream.next().await),
            };
            tracing::debug!(connection = self.id, ?close, "closing gateway connection");
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
            match self.next_wakeup().await {
                Wakeup::Shutdown => {
                    return Err(End::ByServer(close::GOING_AWAY, "The simulator is shutting down."));
                }
                Wakeup::ReconnectTimeout => {
                    return Err(End::ByServer(close::GOING_AWAY, "You were asked to reconnect."));
                }
                Wakeup::HeartbeatTimeout => {
                    self.violation(
                        ViolationKind::MissedHeartbeat,
                        "no heartbeat for twice the interval".into(),
                    );
                    return Err(End::timed_out(&self.hub));
                }
                Wakeup::Command(command) => self.handle_command(command).await?,
                Wakeup::ScriptDue(actions) => self.act(actions).await?,
                Wakeup::Frame(frame, arrived) => self.read(frame, arrived).await?,
                Wakeup::Events => self.send_events().await?,
            }
        }
    }

    /// Waits for what to handle next.
    async fn next_wakeup(&mut self) -> Wakeup {
        if let Some(command) = self.postponed.pop_front() {
            return Wakeup::Command(command);
        }
        if let Some((arrived, frame)) = self.read_ahead.pop_front() {
            return Wakeup::Frame(Some(Ok(frame)), arrived);
        }
        let frozen = self.frozen;
        let session = &mut self.session;
        let updates = async {
            match session {
                Some(session) if !frozen => {
                    if let Some(from) = session.from {
                        sleep_until(from).await;
                        session.from = None;
                    }
                    // The cell, which this connection holds, owns the sender.
                    let _ = session.updates.changed().await;
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
            () = self.stop.cancelled() => Wakeup::Shutdown,
            Some(command) = self.commands.recv() => Wakeup::Command(command),
            frame = self.stream.next() => Wakeup::Frame(frame, self.raw.arrived()),
            () = sleep_until(self.beat_by), if !frozen => Wakeup::HeartbeatTimeout,
            () = overstay => Wakeup::ReconnectTimeout,
            () = later => Wakeup::ScriptDue(self.later.remove(0).1),
            () = updates => Wakeup::Events,
        }
    }

    fn expect_heartbeat(&mut self) {
        self.beat_by = Instant::now() + self.hub.config.heartbeat_interval * 2;
    }

    fn violation(&self, kind: ViolationKind, detail: String) {
        self.hub.violation(kind, self.id, self.shard(), detail);
    }

    fn shard(&self) -> Option<Shard> {
        self.session.as_ref().map(|session| session.params.shard)
    }
}
