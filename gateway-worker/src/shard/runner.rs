//! The task of one shard: keeps its connection, takes its events in, stops when it must.

use std::{sync::Arc, time::Duration};

use fleet_model::ShardStatus;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use twilight_gateway::{CloseFrame, Event, EventTypeFlags, Message, Shard as Connection, ShardState};
use twilight_model::gateway::event::GatewayEventDeserializer;

use super::{
    Shard,
    attempts::Attempts,
    connection::{self, GatewaySettings, Resumable},
    receive::{Received, is_connected, receive},
};
use crate::{
    clock::BootTime,
    identify::{IdentifyClient, PermitQueue},
    lease::LeaseWindow,
    metrics::ShardMetrics,
};

/// How often the task goes round when nothing comes.
const TICK: Duration = Duration::from_millis(250);
/// How long a closing handshake may take.
const CLOSE: Duration = Duration::from_millis(200);
/// A guild that READY named and that has not come this long after the last one counts as not coming: the shard is ready
/// without it. discord.js waits as long.
const GUILD_GAP: Duration = Duration::from_secs(15);

/// Everything that a shard's task needs.
pub(crate) struct Runner {
    pub(crate) shard: Arc<Shard>,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) lease: LeaseWindow,
    pub(crate) identify: IdentifyClient,
    pub(crate) metrics: ShardMetrics,
    pub(crate) stop: CancellationToken,
}

/// Why a connection is not used any more.
enum Over {
    /// The shard is not ours any more, or the process stops.
    Stopped,
    /// The lease is not known to hold.
    Fenced,
    /// The session could not be resumed, time after time.
    Hopeless,
    /// Discord refused for good.
    Failed,
}

impl Runner {
    /// Runs until it is stopped.
    pub(crate) async fn run(self) {
        let mut resume: Option<Resumable> = None;
        while !self.stop.is_cancelled() {
            if !self.lease.is_open(BootTime::now()) {
                self.shard.set_status(ShardStatus::Stopped, "the lease is not known to hold");
                self.pause(TICK).await;
                continue;
            }
            let mut life = Life::new(&self, resume.take());
            let over = life.run().await;
            resume = life.close().await;
            match over {
                Over::Stopped => break,
                Over::Fenced => {
                    self.metrics.count_fenced();
                    tracing::warn!(shard.id = %self.shard.number, "shard closed: the lease is not known to hold");
                }
                Over::Hopeless => {
                    tracing::warn!(shard.id = %self.shard.number, "session given up: it could not be resumed");
                    resume = None;
                }
                // It stays where it is, shown as failed, until somebody takes it away: no hot loop, no silent stop.
                Over::Failed => self.stop_ticking_on().await,
            }
        }
        if self.shard.status() != ShardStatus::Failed {
            self.shard.set_status(ShardStatus::Stopped, "");
        }
    }

    /// Waits, but not past the stop, and lets the watchdog see that the task lives.
    async fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.shard.tick();
            let next = until.min(Instant::now() + TICK);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn stop_ticking_on(&self) {
        while !self.stop.is_cancelled() {
            self.pause(TICK).await;
        }
    }
}

/// One connection after another with one twilight shard.
struct Life<'a> {
    runner: &'a Runner,
    connection: Connection<PermitQueue>,
    wanted: EventTypeFlags,
    attempts: Attempts,
    resume: Option<Resumable>,
    /// When the last of READY's guilds came, while some are still to come.
    filling_since: Option<Instant>,
    last_close: Option<(u16, String)>,
}

impl<'a> Life<'a> {
    fn new(runner: &'a Runner, resume: Option<Resumable>) -> Self {
        let shard = &runner.shard;
        let queue = runner.identify.queue_for(shard.clone(), runner.lease.clone());
        let connection = connection::open(shard, &runner.settings, queue, resume.as_ref());
        if resume.is_some() {
            shard.set_status(ShardStatus::Resuming, "");
        }
        Self {
            runner,
            connection,
            wanted: shard.cache.wanted_events(),
            attempts: Attempts::default(),
            resume,
            filling_since: None,
            last_close: None,
        }
    }

    fn shard(&self) -> &Shard {
        &self.runner.shard
    }

    async fn run(&mut self) -> Over {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.runner.stop.cancelled() => return Over::Stopped,
                _ = tick.tick() => {
                    self.shard().tick();
                    if !self.runner.lease.is_open(BootTime::now()) {
                        return Over::Fenced;
                    }
                    self.shard().set_latency(self.connection.latency().average());
                    self.check_filled();
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
                }
            }
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
        self.attempts.ended();
        self.wait_before_connecting().await
    }

    /// Holds the next connection back: twilight makes it when it is polled again.
    async fn wait_before_connecting(&mut self) -> Option<Over> {
        if self.attempts.session_is_hopeless() && self.connection.session().is_some() {
            return Some(Over::Hopeless);
        }
        let wait = self.attempts.wait(rand::random());
        if !wait.is_zero() {
            tracing::warn!(shard.id = %self.shard().number, ?wait, "waiting before the next connection");
            self.runner.pause(wait).await;
        }
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
                let sequence = envelope.sequence();
                let kind = envelope.event_type().unwrap_or_default().to_owned();
                self.take_dispatch(&kind, sequence, text);
                None
            }
            10 => {
                self.attempts.hello();
                if self.connection.state() == ShardState::Resuming {
                    self.shard().set_status(ShardStatus::Resuming, "");
                }
                None
            }
            9 => {
                self.runner.metrics.count_invalid_session();
                tracing::info!(shard.id = %self.shard().number, "Discord does not take the session (op 9)");
                None
            }
            _ => None,
        }
    }

    fn take_dispatch(&mut self, kind: &str, sequence: Option<u64>, text: String) {
        self.runner.metrics.count_event();
        let event = match twilight_gateway::parse(text, self.wanted) {
            Ok(event) => event.map(Event::from),
            Err(error) => {
                self.runner.metrics.count_garbled();
                tracing::warn!(shard.id = %self.shard().number, event = kind, %error, "an event could not be read");
                None
            }
        };
        if let Some(event) = &event {
            self.shard().cache.apply(event);
        }
        if let Some(sequence) = sequence {
            self.shard().set_sequence(sequence);
            if let Some(resume) = &mut self.resume {
                resume.sequence = sequence;
            }
        }
        match kind {
            "READY" => self.ready(sequence.unwrap_or_default()),
            "RESUMED" => self.resumed(),
            "GUILD_CREATE" | "GUILD_DELETE" if self.filling_since.is_some() => {
                self.filling_since = Some(Instant::now());
                self.check_filled();
            }
            _ => {}
        }
    }

    fn ready(&mut self, sequence: u64) {
        self.attempts.succeeded();
        self.runner.metrics.count_identified();
        // Where the session stands is ours to say; twilight only knows its name.
        self.resume = self.connection.session().map(|session| Resumable {
            session_id: session.id().to_owned(),
            resume_url: self.connection.resume_url().unwrap_or(&self.runner.settings.url).to_owned(),
            sequence,
        });
        self.shard().session_began();
        self.filling_since = Some(Instant::now());
        self.shard().set_status(ShardStatus::Identifying, "");
        self.check_filled();
    }

    fn resumed(&mut self) {
        self.attempts.succeeded();
        self.runner.metrics.count_resumed();
        tracing::info!(shard.id = %self.shard().number, "session resumed");
        if self.shard().cache.pending_guilds() > 0 {
            self.filling_since = Some(Instant::now());
            self.shard().set_status(ShardStatus::Identifying, "");
        }
        self.check_filled_or_ready();
    }

    fn check_filled_or_ready(&mut self) {
        if self.filling_since.is_none() {
            self.shard().set_status(ShardStatus::Ready, "");
        } else {
            self.check_filled();
        }
    }

    /// Ready once every guild of READY has come, or none has for a while.
    fn check_filled(&mut self) {
        let Some(since) = self.filling_since else { return };
        if !matches!(self.connection.state(), ShardState::Active) {
            return;
        }
        let pending = self.shard().cache.pending_guilds();
        let has_guilds_intent =
            self.runner.settings.intents.contains(twilight_model::gateway::Intents::GUILDS);
        if pending == 0 || !has_guilds_intent {
            self.filling_since = None;
            self.shard().set_status(ShardStatus::Ready, "");
        } else if since.elapsed() >= GUILD_GAP {
            self.filling_since = None;
            self.shard().set_status(ShardStatus::Ready, format!("{pending} guilds have not come"));
        }
    }

    /// Closes resumably, and says where the session stands.
    async fn close(mut self) -> Option<Resumable> {
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
        self.resume
    }
}
