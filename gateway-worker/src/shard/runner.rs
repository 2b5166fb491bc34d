//! The task of one shard: takes over from the previous owner, keeps a connection, stops when it must, leaves a checkpoint.

use std::{panic::AssertUnwindSafe, time::Duration};

use fleet_model::{Position, ShardStatus};
use futures_util::FutureExt as _;
use outside_text::printable;
use shard_bridge::CommandRefused;
use tokio::time::Instant;

use super::{
    connection::{Connection, ConnectionEnd},
    dialing::DialGrant,
    hints::{ConnectionOutcome, Hints},
    intake::{Intake, IntakeParts},
    parts::{RunnerParts, TICK},
    silence::Silence,
    socket::Socket,
    starting::Starting,
};
use crate::{clock::BootTime, gateway_address::GatewayAddress, handoff::Arrival};

/// How long handlers that run may take before the last checkpoint is written. Slower ones go on to their end.
const HANDLERS: Duration = Duration::from_millis(250);

/// How long to wait for a store that is away before the shard starts without its checkpoint.
const CLAIM: Duration = Duration::from_secs(20);

/// Runs one shard.
pub(crate) struct Runner {
    parts: RunnerParts,
}

impl Runner {
    pub(crate) fn new(parts: RunnerParts) -> Self {
        Self { parts }
    }

    /// Runs until it is stopped. `arrival`: the copy from the previous owner, if it hands the shard off.
    pub(crate) async fn run(self, arrival: Option<Arrival>) {
        let mut handed_over = false;
        match self.begin(arrival).await {
            Some(mut intake) => {
                self.connect(&mut intake).await;
                // Callers waiting to send a command retry with the next owner.
                self.parts.commands.close(CommandRefused::NotMine);
                // Without the lease nothing can be written, and the next owner finds what was written before.
                if self.parts.lease.is_open(BootTime::now()) && !self.parts.shard.is_outranked() {
                    let whole = self.parts.shard.status() == ShardStatus::Ready
                        && self.parts.shard.cache().pending_guilds() == 0;
                    intake.finish(HANDLERS, &self.parts.copy_slot).await;
                    handed_over = whole;
                }
            }
            None => self.stop_ticking_on().await,
        }
        self.parts.copy_slot.close();
        self.parts.commands.close(CommandRefused::NotMine);
        self.parts.event_queue.abandon();
        if handed_over {
            // It answers questions on until the next owner can.
            self.parts.shard.set_status(ShardStatus::Moving, "handed over");
        } else if self.parts.shard.status() != ShardStatus::Failed {
            self.parts.shard.set_status(ShardStatus::Stopped, "");
        }
    }

    /// Claims the shard's checkpoint. `None` when another worker owns the shard, or it was stopped.
    async fn begin(&self, arrival: Option<Arrival>) -> Option<Intake> {
        let handed_over = match arrival {
            Some(arrival) => self.ticking(arrival.handoff_state()).await?,
            None => None,
        };
        if handed_over.is_some() {
            tracing::debug!(shard.id = %self.parts.shard.key(), "shard started from a handoff copy");
            self.parts.metrics.count_handed_over();
        }
        let parts = IntakeParts {
            shard: self.parts.shard.clone(),
            event_queue: self.parts.event_queue.clone(),
            checkpoints: self.parts.checkpoints.clone(),
            metrics: self.parts.metrics.clone(),
            intents: self.parts.settings.intents.bits(),
            resources: self.parts.resources.clone(),
            transport: self.parts.settings.compression.transport(),
            handed_over,
            ran_before: self.parts.ran_before,
        };
        self.wait_for_lease().await;
        let until = Instant::now() + CLAIM;
        let beginning = Intake::begin(parts, || Instant::now() < until);
        match self.ticking(beginning).await? {
            Ok(intake) => Some(intake),
            Err(by) => {
                self.parts.shard.outranked(by.0);
                self.parts.commands.close(CommandRefused::NotMine);
                self.parts.shard.set_status(ShardStatus::Stopped, "another worker has it");
                None
            }
        }
    }

    /// Makes one connection after another, with a wait before each.
    async fn connect(&self, intake: &mut Intake) {
        let dialing = &self.parts.dialing;
        let mut silence = Silence::default();
        let mut hints = Hints::default();
        while !self.parts.stop.is_cancelled() {
            if !self.parts.lease.is_open(BootTime::now()) {
                self.wait_for_lease().await;
                continue;
            }
            if self.parts.shard.is_outranked() {
                self.rest_outranked().await;
                continue;
            }
            let Some(grant) = self.ticking(dialing.grant()).await else { continue };
            if !self.parts.lease.is_open(BootTime::now()) {
                continue;
            }
            let mut outcome = ConnectionOutcome::default();
            let before = self.position();
            let connection = self.one_connection(grant, intake, &mut silence, &mut outcome);
            let end = Box::pin(self.guarded(connection)).await;
            intake.lost_connection();
            match &end {
                ConnectionEnd::Lost(_) | ConnectionEnd::Hopeless(_) => dialing.failed(rand::random()),
                ConnectionEnd::Failed(..) => dialing.refused(self.parts.shard.progress().is_some()),
                // It brought nothing: no better than a lost one.
                ConnectionEnd::Full if self.position() == before => dialing.failed(rand::random()),
                ConnectionEnd::Stopped
                | ConnectionEnd::Fenced
                | ConnectionEnd::Full
                | ConnectionEnd::Outranked => dialing.ended(),
            }
            match end {
                ConnectionEnd::Stopped => break,
                ConnectionEnd::Fenced => {
                    self.parts.metrics.count_fenced();
                    tracing::warn!(shard.id = %self.parts.shard.key(), "shard closed: the lease is not known to hold");
                }
                ConnectionEnd::Lost(cause) => {
                    hints.note_outcome(outcome, Instant::now());
                    if self.parts.shard.progress().is_none() {
                        hints.forget_session();
                    }
                    self.parts.metrics.count_reconnect();
                    let given_up = self.give_up_hints(&mut hints, intake);
                    self.show_wait(&format!("{cause}{given_up}"));
                }
                ConnectionEnd::Hopeless(why) => {
                    hints.forget_session();
                    self.show_wait(&why);
                    self.give_up_session(&why, intake);
                }
                ConnectionEnd::Full => self.wait_for_room(intake).await,
                ConnectionEnd::Outranked => self.rest_outranked().await,
                // Discord may refuse by mistake, and a token or intent can be put right: retried, after long waits.
                ConnectionEnd::Failed(code, why) => {
                    let wait = dialing.wait();
                    let minutes = wait.as_secs().div_ceil(60);
                    self.parts.shard.set_failed(code, format!("{why}; next attempt in {minutes} min"));
                    let why = CommandRefused::NotConnected(self.parts.shard.in_words());
                    self.parts.commands.close(why);
                    self.pause(wait).await;
                    self.parts.commands.open();
                }
            }
        }
    }

    /// Runs a connection to its end. A panic in it is a bug that may repeat: it is counted and treated as a lost
    /// connection.
    async fn guarded(&self, connection: impl Future<Output = ConnectionEnd>) -> ConnectionEnd {
        AssertUnwindSafe(connection).catch_unwind().await.unwrap_or_else(|_| {
            self.parts.metrics.count_panic();
            // It may have happened in the middle of a change.
            self.parts.shard.cache().doubt_everything();
            tracing::error!(shard.id = %self.parts.shard.key(), "shard task panicked");
            ConnectionEnd::Lost("the shard's task panicked".to_owned())
        })
    }

    /// Makes a connection, and runs it to its end.
    async fn one_connection(
        &self,
        grant: DialGrant,
        intake: &mut Intake,
        silence: &mut Silence,
        outcome: &mut ConnectionOutcome,
    ) -> ConnectionEnd {
        let starting = Starting::begin(&self.parts.shard);
        let (address, by_resume_url) = self.address();
        outcome.by_resume_url = by_resume_url;
        let socket = match self.ticking(Socket::dial(&address, self.parts.settings.compression, grant)).await
        {
            Some(Ok(socket)) => socket,
            Some(Err(why)) => return ConnectionEnd::Lost(format!("cannot connect: {why}")),
            None if self.parts.stop.is_cancelled() => return ConnectionEnd::Stopped,
            None => return ConnectionEnd::Outranked,
        };
        let mut connection = Connection::new(&self.parts, intake, silence, outcome, socket, starting);
        let end = connection.run().await;
        connection.close().await;
        end
    }

    /// The session's ordinal and watermark.
    fn position(&self) -> Option<Position> {
        self.parts.shard.progress().map(|progress| progress.position())
    }

    /// Where to connect next, and whether that is the session's resume URL. A URL that must not get the token is
    /// forgotten.
    fn address(&self) -> (GatewayAddress, bool) {
        let gateway = &self.parts.settings.gateway;
        let session = self.parts.shard.progress().map(|progress| progress.session);
        if let Some(session) = session.filter(|session| !session.resume_url.is_empty()) {
            match gateway.resume(&session.resume_url) {
                Ok(address) => return (address, true),
                Err(why) => {
                    let url = printable(&session.resume_url);
                    tracing::warn!(shard.id = %self.parts.shard.key(), %url, %why, "resume URL refused; using the gateway's");
                    self.parts.shard.forget_resume_url();
                }
            }
        }
        (gateway.address().clone(), false)
    }

    /// Publishes why the shard is not connected, and when it will retry.
    fn show_wait(&self, cause: &str) {
        let wait = self.parts.dialing.wait();
        let failures = self.parts.dialing.failures();
        let wait_ms = wait.as_millis() as u64;
        tracing::info!(shard.id = %self.parts.shard.key(), cause, failures, wait_ms, "gateway connection lost");
        let detail = match wait.as_millis().div_ceil(1000) {
            0 => cause.to_owned(),
            seconds => format!("{cause}; next attempt in {seconds} s"),
        };
        self.parts.shard.set_status(ShardStatus::Reconnecting, detail);
    }

    /// Gives up a bad resume URL or session, here and in the checkpoint. Returns a suffix for the cause.
    fn give_up_hints(&self, hints: &mut Hints, intake: &mut Intake) -> &'static str {
        if hints.is_session_bad() {
            hints.forget_session();
            self.give_up_session("repeated attempts to resume it failed", intake);
            "; session given up"
        } else if hints.is_resume_url_bad() {
            hints.forget_resume_url();
            self.parts.shard.forget_resume_url();
            "; resume URL given up"
        } else {
            ""
        }
    }

    fn give_up_session(&self, why: &str, intake: &mut Intake) {
        if self.parts.shard.progress().is_some() {
            tracing::warn!(shard.id = %self.parts.shard.key(), why, "session given up");
            intake.lost_session(why);
        }
    }

    /// Waits until the lease is refused or the assignment changes.
    async fn rest_outranked(&self) {
        self.parts.shard.set_status(ShardStatus::Stopped, "another worker has it");
        self.parts.commands.close(CommandRefused::NotMine);
        self.stop_ticking_on().await;
    }

    /// Keeps the socket closed while handlers are behind: until they have caught up, or events must be dropped.
    async fn wait_for_room(&self, intake: &mut Intake) {
        tracing::warn!(shard.id = %self.parts.shard.key(), "handlers are behind; connection closed until they catch up");
        self.parts.shard.set_status(ShardStatus::Reconnecting, "the handlers are behind");
        if intake.is_reading() {
            if let Some(Err(why)) = self.ticking(intake.read_and_install()).await {
                intake.lost_session(&format!("the checkpoint could not be read: {why}"));
            }
            return;
        }
        while !intake.may_open() {
            if self.ticking(intake.room()).await.is_none() {
                return;
            }
        }
    }

    async fn wait_for_lease(&self) {
        while !self.parts.lease.is_open(BootTime::now()) && !self.parts.stop.is_cancelled() {
            self.parts.shard.set_status(ShardStatus::Stopped, "the lease is not known to hold");
            self.pause(TICK).await;
        }
    }

    /// Waits for `work`, and shows the watchdog that the task runs. `None` when the shard stops first.
    async fn ticking<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            self.parts.shard.tick();
            tokio::select! {
                () = self.parts.stop.cancelled() => return None,
                () = self.parts.shard.wait_outranked() => return None,
                done = &mut work => return Some(done),
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Waits for `duration`, or until the shard stops.
    pub(super) async fn pause(&self, duration: Duration) {
        self.ticking(tokio::time::sleep(duration)).await;
    }

    async fn stop_ticking_on(&self) {
        while !self.parts.stop.is_cancelled() {
            self.parts.shard.tick();
            tokio::select! {
                () = self.parts.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Problem, ProblemCode};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn shard_without_a_connection_is_not_queued() {
        let shard = testing::shard_at(testing::EPOCH, "none");
        let problem = Problem::of_report(&shard.report()).unwrap();
        assert_eq!(
            (problem.code, problem.message.as_str()),
            (ProblemCode::ShardNotReady, "reconnecting: not connected yet")
        );
    }

    #[tokio::test]
    async fn panic_is_a_lost_connection() {
        let (parts, _requests) = testing::runner_parts("ws://127.0.0.1:1", CancellationToken::new());
        let runner = Runner::new(parts);
        let end = runner.guarded(async { panic!("test") }).await;
        assert!(matches!(end, ConnectionEnd::Lost(cause) if cause.contains("panicked")));
        assert_eq!(runner.parts.metrics.panics(), 1);
    }
}
