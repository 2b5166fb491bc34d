//! One connection of a shard from HELLO on. Passes what arrives to the [intake](super::intake) and ends the connection
//! when it cannot be used any more; its [stage] says how far it has come. The [runner](super::runner) makes
//! connections.

use fleet_model::ShardStatus;
use relay::GAP;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior},
};

use self::stage::Stage;
use super::{
    commands::DueCommand,
    dialing::Dialing,
    hints::ConnectionOutcome,
    intake::{DispatchOutcome, Intake},
    parts::{RunnerParts, TICK},
    protocol::{heartbeat_interval, is_resumable},
    silence::Silence,
    socket::{Received, Socket},
    starting::Starting,
};
use crate::{
    checkpoints::restore::{NotRestored, Restored},
    clock::BootTime,
    event::Arrived,
    identify::{PermitGrant, PermitQueue},
    payload::Payload,
    shard_state::{Progress, ShardState},
    threads::TimeSlice,
};

mod checks;
mod ending;
mod readiness;
mod sending;
mod stage;

/// Our close codes: the first keeps the session, the second ends it.
const KEEPS_SESSION: u16 = 4000;
const ENDS_SESSION: u16 = 1000;
/// The most messages, and the most bytes, that the connection takes before it looks at anything else.
const AT_ONCE: usize = 32;
const AT_ONCE_BYTES: usize = 64 * 1024;

/// Why a connection is not used any more.
pub(super) enum ConnectionEnd {
    /// The shard was released, or the process stops.
    Stopped,
    /// The lease is not known to hold.
    Fenced,
    /// Lost, or not usable: why.
    Lost(String),
    /// The session cannot be used any more: why.
    Hopeless(String),
    /// There was no room for an event: it was not received.
    Full,
    /// Another worker has the shard.
    Outranked,
    /// Discord takes no reconnect after this close code: why.
    Failed(u16, String),
}

/// One connection of a shard.
pub(super) struct Connection<'a> {
    parts: &'a RunnerParts,
    intake: &'a mut Intake,
    silence: &'a mut Silence,
    dialing: &'a Dialing,
    /// How far this connection has come.
    outcome: &'a mut ConnectionOutcome,
    socket: Socket,
    queue: PermitQueue,
    permits: mpsc::Receiver<PermitGrant>,
    /// Open while a permit is requested.
    request: Option<oneshot::Receiver<()>>,
    stage: Stage,
    /// The trace of the start, until the shard is ready; each attempt has its own.
    starting: Option<Starting>,
    /// IDENTIFY was sent.
    identified: bool,
    looked: Instant,
    slice: TimeSlice,
    /// When the last of READY's guilds came, while some are still to come.
    filling_since: Option<Instant>,
    /// A bot's command that is not flushed yet.
    in_hand: Option<DueCommand>,
    close_code: u16,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        parts: &'a RunnerParts,
        intake: &'a mut Intake,
        silence: &'a mut Silence,
        outcome: &'a mut ConnectionOutcome,
        socket: Socket,
        starting: Starting,
    ) -> Self {
        let shard = &parts.shard;
        // What was held came on a connection that is gone: it comes again.
        intake.forget_held();
        silence.connected();
        let stage = Stage::connecting(outcome.by_resume_url);
        let (queue, permits) = parts.identify.queue_for(shard.clone());
        if shard.progress().is_some() && parts.dialing.failures() == 0 {
            shard.set_status(ShardStatus::Resuming, "");
        }
        Self {
            parts,
            intake,
            silence,
            dialing: &parts.dialing,
            outcome,
            socket,
            queue,
            permits,
            request: None,
            stage,
            starting: Some(starting),
            identified: false,
            looked: Instant::now(),
            slice: TimeSlice::begin(),
            filling_since: None,
            in_hand: None,
            close_code: KEEPS_SESSION,
        }
    }

    fn shard(&self) -> &ShardState {
        &self.parts.shard
    }

    /// Runs until the connection must end. Returns why.
    pub(super) async fn run(&mut self) -> ConnectionEnd {
        let end = self.serve().await;
        self.intake.start_handlers();
        end
    }

    async fn serve(&mut self) -> ConnectionEnd {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.intake.start_handlers();
            let room = self.room();
            tokio::select! {
                biased;
                () = self.parts.stop.cancelled() => return ConnectionEnd::Stopped,
                () = self.parts.shard.wait_outranked() => return ConnectionEnd::Outranked,
                _ = tick.tick() => {
                    if let Some(end) = self.look() {
                        return end;
                    }
                }
                loaded = self.intake.read_through() => {
                    if let Some(end) = self.install(loaded).await {
                        return end;
                    }
                }
                Some(granted) = self.permits.recv() => {
                    if let Some(end) = self.identify(granted).await {
                        return end;
                    }
                }
                () = self.parts.commands.due(room) => {
                    if let Some(end) = self.send_command(room).await {
                        return end;
                    }
                }
                received = self.socket.receive() => {
                    if let Some(end) = self.take_all(received).await {
                        return end;
                    }
                    // A socket that always has more must not keep the thread for itself.
                    self.slice.yield_if_over().await;
                }
            }
        }
    }

    /// Takes a message, and further messages that have already arrived, up to [`AT_ONCE`] and [`AT_ONCE_BYTES`].
    async fn take_all(&mut self, received: Received) -> Option<ConnectionEnd> {
        let (mut next, mut messages, mut bytes) = (Some(received), 0, 0);
        while let Some(received) = next {
            if let Received::Text(text) = &received {
                bytes += text.len();
            }
            messages += 1;
            let now = BootTime::now();
            self.shard().tick_at(now);
            // Checked before the message is handled, because the process may have slept while it waited for the message.
            if !self.parts.lease.is_open(now) {
                return Some(ConnectionEnd::Fenced);
            }
            if let Some(end) = self.take(received) {
                return Some(end);
            }
            let is_more_taken = messages < AT_ONCE && bytes < AT_ONCE_BYTES;
            next = if is_more_taken { self.socket.poll_once().await } else { None };
        }
        None
    }

    /// Installs the checkpoint that was read, or failed to be, and takes the events that arrived meanwhile.
    async fn install(&mut self, restored: Result<Restored, NotRestored>) -> Option<ConnectionEnd> {
        match self.intake.install(restored) {
            Ok(held) => {
                for arrived in held {
                    self.shard().tick();
                    if let Some(end) = self.take_event(arrived) {
                        return Some(end);
                    }
                    self.intake.start_handlers();
                    self.slice.yield_if_over().await;
                }
                None
            }
            Err(why) => Some(ConnectionEnd::Hopeless(format!("the checkpoint could not be read: {why}"))),
        }
    }

    /// Uses a permit: it is reported as used when IDENTIFY has gone out, not when it was let go, as a busy process may let
    /// a task wait in between for longer than a bucket's slack.
    async fn identify(&mut self, granted: PermitGrant) -> Option<ConnectionEnd> {
        let now = BootTime::now();
        if !self.parts.lease.is_open(now) {
            self.parts.identify.give_back(granted).await;
            return Some(ConnectionEnd::Fenced);
        }
        if !granted.is_good(now) {
            self.parts.identify.give_back(granted).await;
            return None;
        }
        let ticket = granted.use_permit();
        self.request = None;
        self.shard().set_status(ShardStatus::Identifying, "");
        self.stage = Stage::greeted();
        self.identified = true;
        self.greets("identify");
        self.socket.send(self.parts.settings.identify(self.shard()));
        let received = self.socket.poll_once().await;
        tracing::debug!(shard.id = %self.shard().key(), ticket, "IDENTIFY has gone out");
        self.parts.identify.used(ticket).await;
        match received {
            Some(received) => self.take(received),
            None => None,
        }
    }

    fn take(&mut self, received: Received) -> Option<ConnectionEnd> {
        match received {
            Received::Text(text) => self.take_text(text),
            Received::Closed(close) => Some(self.closed(close)),
            Received::Lost(why) => Some(ConnectionEnd::Lost(why)),
            Received::Malformed(why) => {
                self.parts.metrics.count_garbled();
                tracing::error!(shard.id = %self.shard().key(), why, "malformed gateway message; connection closed");
                Some(ConnectionEnd::Lost(why))
            }
        }
    }

    fn take_text(&mut self, text: String) -> Option<ConnectionEnd> {
        let Some(payload @ Payload { op: Some(op), .. }) = Payload::read(&text) else {
            self.malformed("a message without an opcode");
            return None;
        };
        match op {
            0 => self.dispatch(payload, text),
            1 => {
                self.socket.asked_for_heartbeat();
                None
            }
            7 => Some(ConnectionEnd::Lost("asked to reconnect (op 7)".to_owned())),
            9 => Some(self.invalid_session(&text)),
            10 => self.hello(&text),
            11 => {
                self.socket.acknowledged();
                None
            }
            _ => None,
        }
    }

    fn dispatch(&mut self, payload: Payload, text: String) -> Option<ConnectionEnd> {
        let name = payload.name.clone();
        let sequence = payload.sequence.or_else(|| match name.as_deref() {
            // It is undocumented whether RESUMED has a sequence of its own.
            Some("RESUMED") => self.shard().progress().map(|progress| progress.read),
            Some("READY") => Some(1),
            _ => None,
        });
        let what = match (sequence, &name) {
            (Some(_), Some(name)) if !self.is_expected(name) => "a dispatch out of order",
            // Only our own gaps have this name, from here on.
            (Some(_), Some(name)) if &**name == GAP => "a dispatch with a reserved name",
            (Some(sequence), Some(name)) => {
                self.socket.set_sequence(sequence);
                self.parts.metrics.count_event();
                self.silence.event();
                return self.take_event(Arrived::new(name.clone(), sequence, payload, text));
            }
            _ => "a dispatch without s or t",
        };
        self.malformed(what);
        self.intake.not_taken(name.as_deref(), payload.guild());
        None
    }

    /// Handles HELLO: resumes the session, or requests a permit to begin one.
    fn hello(&mut self, text: &str) -> Option<ConnectionEnd> {
        if !matches!(self.stage, Stage::Connecting { .. }) {
            self.malformed("a second HELLO");
            return None;
        }
        let Some(interval) = heartbeat_interval(text) else {
            self.malformed("HELLO without a usable heartbeat interval");
            return Some(ConnectionEnd::Lost("HELLO without a usable heartbeat interval".to_owned()));
        };
        self.outcome.hello = true;
        self.socket.begin_heartbeats(interval, rand::random());
        let Some(Progress { session, read, .. }) = self.shard().progress() else {
            self.stage = Stage::Queued;
            self.request = Some(self.queue.enqueue());
            self.step("wait_for_permit");
            return None;
        };
        self.outcome.offered = true;
        self.socket.set_sequence(read);
        self.socket.send(self.parts.settings.resume(&session.id, read));
        self.stage = Stage::greeted();
        self.shard().set_status(ShardStatus::Resuming, "");
        self.greets("resume");
        None
    }

    fn invalid_session(&mut self, text: &str) -> ConnectionEnd {
        self.parts.metrics.count_invalid_session();
        let resumable = is_resumable(text);
        tracing::info!(shard.id = %self.shard().key(), resumable, "invalid session (op 9)");
        if !resumable {
            self.close_code = ENDS_SESSION;
            self.intake.lost_session("Discord refused the session (op 9)");
        }
        ConnectionEnd::Lost("invalid session (op 9)".to_owned())
    }

    /// Whether a dispatch may come now: READY once after IDENTIFY; RESUMED after RESUME, repeatedly, as Discord replays
    /// earlier ones; all others after either.
    fn is_expected(&self, name: &str) -> bool {
        let greeted = matches!(self.stage, Stage::Greeted { .. });
        match name {
            "READY" => greeted,
            "RESUMED" if self.identified => false,
            _ => greeted || matches!(self.stage, Stage::Running),
        }
    }

    fn malformed(&self, what: &'static str) {
        self.parts.metrics.count_garbled();
        tracing::warn!(shard.id = %self.shard().key(), what, "malformed gateway message ignored");
    }

    fn take_event(&mut self, arrived: Arrived) -> Option<ConnectionEnd> {
        self.stage.event_came();
        let name = arrived.event.name.clone();
        match self.intake.take(arrived) {
            DispatchOutcome::Applied => {}
            DispatchOutcome::Repeated if &*name == "RESUMED" => {}
            DispatchOutcome::Held | DispatchOutcome::Repeated => return None,
            DispatchOutcome::Full => return Some(ConnectionEnd::Full),
            DispatchOutcome::Unusable(why) => return Some(ConnectionEnd::Lost(why.to_owned())),
            DispatchOutcome::Hopeless(why) => {
                self.close_code = ENDS_SESSION;
                return Some(ConnectionEnd::Hopeless(why.to_owned()));
            }
        }
        match &*name {
            "READY" => self.ready(),
            "RESUMED" => self.resumed(),
            "GUILD_CREATE" | "GUILD_DELETE" if self.filling_since.is_some() => {
                self.filling_since = Some(Instant::now());
                self.check_filled();
            }
            _ => {}
        }
        None
    }

    /// Closes the connection.
    pub(super) async fn close(mut self) {
        self.give_up_sending();
        self.socket.close(self.close_code).await;
    }
}
