//! How a connection ends, and what comes after it.

use fleet_model::ShardStatus;
use tokio::time::Instant;
use twilight_gateway::ShardState;

use super::{Life, Over, stage::Stage};
use crate::shard::{connection, starting::Starting};

impl Life<'_> {
    pub(super) async fn connection_ended(&mut self, why: &str) -> Option<Over> {
        if self.connection.state() == ShardState::FatallyClosed {
            return Some(self.refused_for_good());
        }
        self.give_up_sending();
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

    pub(super) fn refused_for_good(&self) -> Over {
        let (code, reason) = self.last_close.clone().unwrap_or_default();
        let meaning = connection::fatal_meaning(code).unwrap_or("Discord takes no reconnect after this code");
        tracing::error!(shard.id = %self.shard().number, code, %reason, "shard failed: {meaning}");
        self.shard().set_failed(code, format!("closed with {code}: {meaning}"));
        Over::Failed
    }

    /// twilight closes now, and connects again when the peer has closed too.
    pub(super) fn asked_to_reconnect(&mut self, why: &str) {
        self.stage = Stage::Closing(Instant::now());
        // twilight may connect without a word when the peer closes without one, so the next trace begins here.
        self.starting = Some(Starting::begin(self.shard()));
        self.shard().set_status(ShardStatus::Reconnecting, why);
    }
}
