//! One connection after another with one twilight shard: how far it has come, when it is no use any more. What comes in goes
//! to the [intake](super::intake).

use std::time::Duration;

use fleet_model::ShardStatus;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use twilight_gateway::{CloseFrame, Message, Shard as Connection, ShardState};
use twilight_model::gateway::event::GatewayEventDeserializer;

use super::{
    Shard,
    attempts::Attempts,
    connection,
    intake::{Dispatch, Intake, Taken},
    receive::{Received, is_connected, poll_once, receive},
    runner::{Runner, TICK},
    silence::{Hearing, Silence},
    starting::Starting,
};
use crate::{
    checkpoints::restore::{LoadError, Restored},
    clock::BootTime,
    identify::{Granted, PermitQueue},
    threads::Turn,
};

/// How long a closing handshake may take.
const CLOSE: Duration = Duration::from_millis(200);
/// A guild that READY named and that has not come this long after the last one counts as not coming: the shard is ready
/// without it. discord.js waits as long.
const GUILD_GAP: Duration = Duration::from_secs(15);

/// How long a connection may take to come to HELLO, twilight's own waits included.
const TO_HELLO: Duration = Duration::from_mins(1);
/// How long Discord may take from IDENTIFY to READY, or from one replayed event to the next.
const TO_READY: Duration = Duration::from_secs(30);

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// No HELLO yet.
    Connecting(Instant),
    /// It waits for a permit, for as long as that takes.
    Queued,
    /// IDENTIFY or RESUME went out.
    Greeted(Instant),
    /// READY or RESUMED came.
    Running,
    /// Discord asked for another connection: this one closes, and the next is made when the peer has closed too.
    Closing(Instant),
}

impl Stage {
    /// What it hangs in, if it does: twilight sets no limit to any of these.
    fn hangs(self) -> Option<&'static str> {
        match self {
            Self::Connecting(since) | Self::Closing(since) if since.elapsed() >= TO_HELLO => {
                Some("connecting")
            }
            Self::Greeted(since) if since.elapsed() >= TO_READY => Some("waiting for READY or RESUMED"),
            Self::Connecting(_) | Self::Queued | Self::Greeted(_) | Self::Running | Self::Closing(_) => None,
        }
    }
}

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

    /// What is looked at a few times a second, events or not.
    fn look(&mut self) -> Option<Over> {
        self.shard().tick();
        if !self.runner.lease.is_open(BootTime::now()) {
            return Some(Over::Fenced);
        }
        self.shard().set_latency(self.connection.latency().average());
        self.check_filled();
        if let Some(stage) = self.stage.hangs() {
            return Some(Over::Stuck(stage));
        }
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        if !matches!(self.stage, Stage::Running) {
            return None;
        }
        match self.silence.look(elapsed, self.unacknowledged()) {
            Hearing::Heard if self.shard().status() == ShardStatus::Silent => self.check_filled_or_ready(),
            Hearing::Heard => {}
            Hearing::Late => self.shard().set_status(ShardStatus::Silent, "heartbeats are not acknowledged"),
            Hearing::Dead(why) => {
                self.shard().set_status(ShardStatus::Silent, why);
                self.silence.given_up();
                return Some(Over::Stuck(why));
            }
        }
        None
    }

    /// How long ago the heartbeat was sent that is not acknowledged yet.
    fn unacknowledged(&self) -> Option<Duration> {
        let latency = self.connection.latency();
        let sent = latency.sent()?;
        let acknowledged = latency.received().is_some_and(|received| received >= sent);
        (!acknowledged).then(|| sent.elapsed())
    }

    /// The checkpoint was read, or can't be: what came meanwhile is taken now.
    async fn install(&mut self, restored: Result<Restored, LoadError>) -> Option<Over> {
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

    async fn connection_ended(&mut self, why: &str) -> Option<Over> {
        if self.connection.state() == ShardState::FatallyClosed {
            return Some(self.refused_for_good());
        }
        self.runner.metrics.count_reconnect();
        tracing::info!(shard.id = %self.shard().number, why, "gateway connection lost");
        self.shard().set_status(ShardStatus::Reconnecting, why);
        self.intake.lost_connection();
        // A trace that began when Discord asked for another connection is of the next attempt already.
        if !matches!(self.stage, Stage::Closing(_)) {
            self.starting = None;
        }
        self.attempts.ended();
        self.wait_before_connecting().await
    }

    /// Holds the next connection back: twilight makes it when it is polled again.
    async fn wait_before_connecting(&mut self) -> Option<Over> {
        if self.attempts.session_is_hopeless() && self.connection.session().is_some() {
            return Some(Over::Hopeless("it could not be resumed, time after time".to_owned()));
        }
        let wait = self.attempts.wait(rand::random());
        if !wait.is_zero() {
            tracing::warn!(shard.id = %self.shard().number, ?wait, "waiting before the next connection");
            self.runner.pause(wait).await;
            if self.runner.stop.is_cancelled() {
                return Some(Over::Stopped);
            }
        }
        self.stage = Stage::Connecting(Instant::now());
        self.starting.get_or_insert_with(|| Starting::begin(&self.runner.shard));
        None
    }

    fn refused_for_good(&self) -> Over {
        let (code, reason) = self.last_close.clone().unwrap_or_default();
        let meaning = connection::fatal_meaning(code).unwrap_or("Discord takes no reconnect after this code");
        tracing::error!(shard.id = %self.shard().number, code, %reason, "shard failed: {meaning}");
        self.shard().set_failed(code, format!("closed with {code}: {meaning}"));
        Over::Failed
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

    /// twilight closes now, and connects again when the peer has closed too.
    fn asked_to_reconnect(&mut self, why: &str) {
        self.stage = Stage::Closing(Instant::now());
        // twilight may connect without a word when the peer closes without one, so the next trace begins here.
        self.starting = Some(Starting::begin(self.shard()));
        self.shard().set_status(ShardStatus::Reconnecting, why);
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

    fn ready(&mut self) {
        self.attempts.succeeded();
        self.stage = Stage::Running;
        self.identified = true;
        self.runner.metrics.count_identified();
        self.intake.session_began();
        self.step("receive_guilds");
        self.shard().session_began();
        self.filling_since = Some(Instant::now());
        self.shard().set_status(ShardStatus::Identifying, "");
        self.check_filled();
    }

    fn resumed(&mut self) {
        self.attempts.succeeded();
        self.stage = Stage::Running;
        self.identified = false;
        self.runner.metrics.count_resumed();
        self.intake.resumed();
        if self.shard().cache.pending_guilds() > 0 {
            self.filling_since = Some(Instant::now());
            self.shard().set_status(ShardStatus::Identifying, "");
        }
        self.check_filled_or_ready();
    }

    fn check_filled_or_ready(&mut self) {
        if self.filling_since.is_none() {
            self.is_ready(String::new());
        } else {
            self.check_filled();
        }
    }

    /// Ready once every guild of READY has come, or none has for a while.
    fn check_filled(&mut self) {
        let Some(since) = self.filling_since else { return };
        if !matches!(self.connection.state(), ShardState::Active) || self.intake.is_reading() {
            return;
        }
        let pending = self.shard().cache.pending_guilds();
        let has_guilds_intent =
            self.runner.settings.intents.contains(twilight_model::gateway::Intents::GUILDS);
        if pending == 0 || !has_guilds_intent {
            self.filling_since = None;
            self.is_ready(String::new());
        } else if since.elapsed() >= GUILD_GAP {
            self.filling_since = None;
            self.is_ready(format!("{pending} guilds have not come"));
        }
    }

    fn is_ready(&mut self, detail: String) {
        self.shard().set_status(ShardStatus::Ready, detail);
        // None: it was ready before, and only silent for a while.
        if let Some(starting) = self.starting.take() {
            let outcome = self.intake.ready(self.identified);
            tracing::info!(
                shard.id = %self.shard().number(), epoch = %self.shard().epoch(), how = %outcome.kind,
                took_ms = outcome.took.as_millis() as u64, replayed = outcome.replayed,
                gap = outcome.gap.is_some(), "shard ready"
            );
            starting.ready(&outcome);
        }
    }

    fn step(&mut self, name: &'static str) {
        if let Some(starting) = &mut self.starting {
            starting.step(name);
        }
    }

    fn greets(&mut self, how: &'static str) {
        if let Some(starting) = &mut self.starting {
            starting.greets(how);
        }
    }

    /// Closes resumably.
    pub(super) async fn close(mut self) -> Attempts {
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
