//! One connection after another with one twilight shard: what comes in on it goes to the [intake](super::intake), and it is
//! given up when it is no use any more. How far it has come is its [stage].

use std::time::Duration;

use fleet_model::ShardStatus;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use twilight_gateway::{CloseFrame, Message, Shard as Connection, ShardState};
use twilight_model::gateway::event::GatewayEventDeserializer;

use self::{sending::InHand, stage::Stage};
use super::{
    Shard,
    attempts::Attempts,
    connection,
    intake::{Dispatch, Intake, Taken},
    receive::{Received, is_connected, poll_once, receive},
    runner::{Runner, TICK},
    silence::Silence,
    starting::Starting,
};
use crate::{
    checkpoints::restore::{NotRestored, Restored},
    clock::BootTime,
    identify::{Granted, PermitQueue},
    threads::Turn,
};

mod ending;
mod filling;
mod looking;
mod sending;
mod stage;

/// How long a closing handshake may take.
const CLOSE: Duration = Duration::from_millis(200);

/// Why a connection is not used any more.
pub(super) enum Over {
    /// The shard is not ours any more, or the process stops.
    Stopped,
    /// The lease is not known to hold.
    Fenced,
    /// It does not come on, and twilight would wait for ever.
    Stuck(&'static str),
    /// The session is of no use: why.
    Hopeless(String),
    /// There was no room for an event: it was not received.
    Full,
    /// Another worker has the shard.
    Outranked,
    /// Discord refused for good.
    Failed,
}

/// One connection after another with one twilight shard.
pub(super) struct Life<'a> {
    runner: &'a Runner,
    intake: &'a mut Intake,
    silence: &'a mut Silence,
    connection: Connection<PermitQueue>,
    permits: mpsc::Receiver<Granted>,
    attempts: Attempts,
    stage: Stage,
    /// The trace of this connection's way to ready, until it is; each attempt has its own.
    starting: Option<Starting>,
    /// The greeting was an IDENTIFY.
    identified: bool,
    looked: Instant,
    turn: Turn,
    /// When the last of READY's guilds came, while some are still to come.
    filling_since: Option<Instant>,
    /// What twilight is sending for bots.
    in_hand: Option<InHand>,
    last_close: Option<(u16, String)>,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        runner: &'a Runner,
        intake: &'a mut Intake,
        silence: &'a mut Silence,
        attempts: Attempts,
    ) -> Self {
        let shard = &runner.shard;
        let resume = shard.progress();
        // What was held came on a connection that is gone: it comes again.
        intake.forget_held();
        silence.connected();
        let starting = Some(Starting::begin(shard));
        let (queue, permits) = runner.identify.queue_for(shard.clone());
        let connection = connection::open(shard, &runner.settings, queue, resume.as_ref());
        if resume.is_some() {
            shard.set_status(ShardStatus::Resuming, "");
        }
        Self {
            runner,
            intake,
            silence,
            connection,
            permits,
            attempts,
            stage: Stage::Connecting(Instant::now()),
            starting,
            identified: false,
            looked: Instant::now(),
            turn: Turn::begin(),
            filling_since: None,
            in_hand: None,
            last_close: None,
        }
    }

    fn shard(&self) -> &Shard {
        &self.runner.shard
    }

    /// Runs until it is no use any more.
    pub(super) async fn run(&mut self) -> Over {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.room();
            tokio::select! {
                biased;
                () = self.runner.stop.cancelled() => return Over::Stopped,
                () = self.runner.shard.outranked.cancelled() => return Over::Outranked,
                _ = tick.tick() => {
                    if let Some(over) = self.look() {
                        return over;
                    }
                }
                loaded = self.intake.read_through() => {
                    if let Some(over) = self.install(loaded).await {
                        return over;
                    }
                }
                Some(granted) = self.permits.recv() => {
                    if let Some(over) = self.identify(granted).await {
                        return over;
                    }
                }
                () = self.runner.shard.commands().due(room) => {
                    if let Some(over) = self.send_command(room).await {
                        return over;
                    }
                }
                received = receive(&mut self.connection) => {
                    self.shard().tick();
                    // Before anything is handled: the process may have slept since it asked for this.
                    if !self.runner.lease.is_open(BootTime::now()) {
                        return Over::Fenced;
                    }
                    if let Some(over) = self.take(received).await {
                        return over;
                    }
                    // A socket that always has more must not keep the thread for itself.
                    self.turn.give_way().await;
                }
            }
        }
    }

    /// The checkpoint was read, or can't be: what came meanwhile is taken now.
    async fn install(&mut self, restored: Result<Restored, NotRestored>) -> Option<Over> {
        match self.intake.install(restored) {
            Ok(held) => {
                for dispatch in held {
                    self.shard().tick();
                    if let Some(over) = self.take_dispatch(dispatch) {
                        return Some(over);
                    }
                    self.turn.give_way().await;
                }
                None
            }
            Err(why) => Some(Over::Hopeless(format!("the checkpoint could not be read: {why}"))),
        }
    }

    /// Uses a permit: it is reported as used when IDENTIFY has gone out, not when it was let go, as a busy process may let
    /// a task wait in between for longer than a bucket's slack.
    async fn identify(&mut self, granted: Granted) -> Option<Over> {
        let now = BootTime::now();
        if !self.runner.lease.is_open(now) {
            self.runner.identify.give_back(granted).await;
            return Some(Over::Fenced);
        }
        if !granted.is_good(now) {
            self.runner.identify.give_back(granted).await;
            return None;
        }
        let ticket = granted.go();
        self.shard().set_status(ShardStatus::Identifying, "");
        self.stage = Stage::Greeted(Instant::now());
        self.greets("identify");
        let received = poll_once(&mut self.connection).await;
        tracing::debug!(shard.id = %self.shard().number, ticket, "IDENTIFY has gone out");
        self.runner.identify.used(ticket).await;
        match received {
            Some(received) => self.take(received).await,
            None => None,
        }
    }

    async fn take(&mut self, received: Received) -> Option<Over> {
        match received {
            Received::Message(Message::Text(text)) => self.take_text(text).await,
            Received::Message(Message::Close(frame)) => {
                self.last_close = frame.map(|frame| (frame.code, frame.reason.into_owned()));
                let why = match &self.last_close {
                    Some((code, reason)) => format!("closed with {code} {reason}").trim_end().to_owned(),
                    None => "closed without a word".to_owned(),
                };
                self.connection_ended(&why).await
            }
            Received::SilentEnd => self.connection_ended("dropped without a word").await,
            Received::ConnectFailed(why) => self.connection_ended(&format!("can't connect: {why}")).await,
            Received::Garbled(why) => {
                self.runner.metrics.count_garbled();
                tracing::warn!(shard.id = %self.shard().number, %why, "a message that makes no sense");
                None
            }
            Received::End => Some(self.refused_for_good()),
        }
    }

    async fn take_text(&mut self, text: String) -> Option<Over> {
        let Some(envelope) = GatewayEventDeserializer::from_json(&text) else {
            return Box::pin(self.take(Received::Garbled("no opcode".to_owned()))).await;
        };
        match envelope.op() {
            0 => {
                let (Some(sequence), Some(name)) = (envelope.sequence(), envelope.event_type()) else {
                    return Box::pin(self.take(Received::Garbled("a dispatch without s or t".to_owned())))
                        .await;
                };
                let name = name.to_owned();
                self.runner.metrics.count_event();
                self.silence.event();
                self.take_dispatch(Dispatch { name, sequence, text })
            }
            10 => {
                self.attempts.hello();
                if self.connection.state() == ShardState::Resuming {
                    self.stage = Stage::Greeted(Instant::now());
                    self.shard().set_status(ShardStatus::Resuming, "");
                    self.greets("resume");
                } else {
                    self.stage = Stage::Queued;
                    self.step("wait_for_permit");
                }
                None
            }
            7 => {
                self.asked_to_reconnect("asked to reconnect (op 7)");
                None
            }
            9 => {
                self.runner.metrics.count_invalid_session();
                tracing::info!(shard.id = %self.shard().number, "Discord does not take the session (op 9)");
                if self.connection.session().is_none() {
                    self.intake.lost_session("Discord did not take the session any more (op 9)");
                }
                self.asked_to_reconnect("invalid session (op 9)");
                None
            }
            _ => None,
        }
    }

    fn take_dispatch(&mut self, dispatch: Dispatch) -> Option<Over> {
        if let Stage::Greeted(since) = &mut self.stage {
            *since = Instant::now();
        }
        let name = dispatch.name.clone();
        match self.intake.take(dispatch) {
            Taken::Yes => {}
            Taken::Held | Taken::Again => return None,
            Taken::Full => return Some(Over::Full),
            Taken::NoSession => return Some(Over::Stuck("READY without a session id")),
        }
        match name.as_str() {
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

    /// Closes resumably.
    pub(super) async fn close(mut self) -> Attempts {
        self.give_up_sending();
        // Polled while it is apart, it would connect again.
        if is_connected(&self.connection) {
            self.connection.close(CloseFrame::RESUME);
            let closing = async {
                // Messages are not handled any more: a RESUME brings them again. Anything else is the end; one more poll
                // after it would connect again.
                while let Received::Message(Message::Text(_)) | Received::Garbled(_) =
                    receive(&mut self.connection).await
                {}
            };
            if tokio::time::timeout(CLOSE, closing).await.is_err() {
                tracing::debug!(shard.id = %self.runner.shard.number, "no closing handshake; the socket is dropped");
            }
        }
        self.attempts
    }
}
