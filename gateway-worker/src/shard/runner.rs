//! The task of one shard: takes over what an owner before left, keeps a connection, stops when it must, leaves a checkpoint.

use std::{sync::Arc, time::Duration};

use fleet_model::ShardStatus;
use shard_bridge::CommandRefused;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shard,
    attempts::Attempts,
    connection::GatewaySettings,
    intake::{Intake, IntakeParts},
    life::{Life, Over},
    silence::Silence,
};
use crate::{
    bot::Deliveries, checkpoints::Checkpoints, clock::BootTime, handoff::Arrival, identify::IdentifyClient,
    lease::LeaseWindow, metrics::ShardMetrics,
};

/// How often the task goes round when nothing comes.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// How long handlers that run may take before the last checkpoint is written. Slower ones go on to their end.
const HANDLERS: Duration = Duration::from_millis(250);

/// How long a store that is away is waited for before the shard begins without its checkpoint.
const CLAIM: Duration = Duration::from_secs(20);

/// Everything that a shard's task needs.
pub(crate) struct Runner {
    pub(crate) shard: Arc<Shard>,
    pub(crate) settings: Arc<GatewaySettings>,
    pub(crate) lease: LeaseWindow,
    pub(crate) identify: IdentifyClient,
    pub(crate) metrics: ShardMetrics,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) deliveries: Deliveries,
    /// Names of the cache resources that a checkpoint must hold.
    pub(crate) resources: Vec<String>,
    /// What comes of it from the owner before, if that hands it over.
    pub(crate) arrival: Option<Arrival>,
    /// Another worker ran it before, says the coordinator.
    pub(crate) ran_before: bool,
    pub(crate) stop: CancellationToken,
}

impl Runner {
    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        let arrival = self.arrival.take();
        let mut handed_over = false;
        match self.begin(arrival).await {
            Some(mut intake) => {
                self.connect(&mut intake).await;
                // Whoever waits to send something asks the next owner.
                self.shard.commands().close(CommandRefused::NotMine);
                // Without the lease nothing can be written, and whoever has it finds what was written before.
                if self.lease.is_open(BootTime::now()) && !self.shard.outranked.is_cancelled() {
                    let whole =
                        self.shard.status() == ShardStatus::Ready && self.shard.cache.pending_guilds() == 0;
                    intake.finish(HANDLERS).await;
                    handed_over = whole;
                }
            }
            None => self.stop_ticking_on().await,
        }
        self.shard.desk().close();
        self.shard.commands().close(CommandRefused::NotMine);
        self.deliveries.abandon();
        if handed_over {
            // It answers questions on until the next owner can.
            self.shard.set_status(ShardStatus::Moving, "handed over");
        } else if self.shard.status() != ShardStatus::Failed {
            self.shard.set_status(ShardStatus::Stopped, "");
        }
    }

    /// Claims what is written of the shard. `None` when it is another's, or the end has come.
    async fn begin(&self, arrival: Option<Arrival>) -> Option<Intake> {
        let carried = match arrival {
            Some(arrival) => self.ticking(arrival.carried()).await?,
            None => None,
        };
        if carried.is_some() {
            tracing::debug!(shard.id = %self.shard.number, "the shard was handed over with all it knows");
            self.metrics.count_carried();
        }
        let parts = IntakeParts {
            shard: self.shard.clone(),
            deliveries: self.deliveries.clone(),
            checkpoints: self.checkpoints.clone(),
            metrics: self.metrics.clone(),
            intents: self.settings.intents.bits(),
            resources: self.resources.clone(),
            carried,
            ran_before: self.ran_before,
        };
        self.wait_for_lease().await;
        let until = Instant::now() + CLAIM;
        let beginning = Intake::begin(parts, || Instant::now() < until);
        match self.ticking(beginning).await? {
            Ok(intake) => Some(intake),
            Err(by) => {
                self.shard.outranked(by.0);
                self.shard.commands().close(CommandRefused::NotMine);
                self.shard.set_status(ShardStatus::Stopped, "another worker has it");
                None
            }
        }
    }

    /// Makes one connection after another.
    async fn connect(&self, intake: &mut Intake) {
        let mut attempts = Attempts::default();
        let mut silence = Silence::default();
        while !self.stop.is_cancelled() {
            if !self.lease.is_open(BootTime::now()) {
                self.wait_for_lease().await;
                continue;
            }
            let mut life = Life::new(self, intake, &mut silence, attempts);
            let over = life.run().await;
            attempts = life.close().await;
            intake.lost_connection();
            match over {
                Over::Stopped => break,
                Over::Fenced => {
                    self.metrics.count_fenced();
                    tracing::warn!(shard.id = %self.shard.number, "shard closed: the lease is not known to hold");
                }
                Over::Stuck(what) => {
                    tracing::warn!(shard.id = %self.shard.number, what, "gateway connection hangs: making another");
                    self.metrics.count_reconnect();
                    self.shard.set_status(ShardStatus::Reconnecting, format!("it hung: {what}"));
                    attempts.ended();
                    self.pause(attempts.wait(rand::random())).await;
                }
                Over::Hopeless(why) => {
                    attempts = Attempts::default();
                    tracing::warn!(shard.id = %self.shard.number, why, "session given up");
                    intake.lost_session(&why);
                }
                Over::Full => self.wait_for_room(intake).await,
                // The lease will be refused, or the assignment changes: until then there is nothing to do.
                Over::Outranked => {
                    self.shard.set_status(ShardStatus::Stopped, "another worker has it");
                    self.shard.commands().close(CommandRefused::NotMine);
                    self.stop_ticking_on().await;
                }
                // It stays where it is, shown as failed, until somebody takes it away: no hot loop, no silent stop.
                Over::Failed => {
                    let why = CommandRefused::NotConnected(self.shard.in_words());
                    self.shard.commands().close(why);
                    self.stop_ticking_on().await;
                }
            }
        }
    }

    /// The handlers are behind: the socket stays shut until they have caught up, or so long that events must be shed.
    async fn wait_for_room(&self, intake: &mut Intake) {
        tracing::warn!(shard.id = %self.shard.number, "handlers are behind: the connection is closed until they catch up");
        self.shard.set_status(ShardStatus::Reconnecting, "the handlers are behind");
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
        while !self.lease.is_open(BootTime::now()) && !self.stop.is_cancelled() {
            self.shard.set_status(ShardStatus::Stopped, "the lease is not known to hold");
            self.pause(TICK).await;
        }
    }

    /// Waits for something, and lets the watchdog see that the task lives. `None` when the end comes first.
    async fn ticking<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            self.shard.tick();
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = self.shard.outranked.cancelled() => return None,
                done = &mut work => return Some(done),
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Waits, but not past the stop.
    pub(super) async fn pause(&self, duration: Duration) {
        self.ticking(tokio::time::sleep(duration)).await;
    }

    async fn stop_ticking_on(&self) {
        while !self.stop.is_cancelled() {
            self.shard.tick();
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}
