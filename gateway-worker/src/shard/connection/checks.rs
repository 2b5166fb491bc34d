//! Checks a few times a second, with or without events: the lease, a connection that hangs, silence.

use fleet_model::ShardStatus;
use tokio::time::Instant;

use super::{Connection, ConnectionEnd, stage::Stage};
use crate::{
    clock::BootTime,
    shard::silence::{ACK_LOST, NOT_ACKNOWLEDGED, SilenceVerdict},
};

impl Connection<'_> {
    /// Runs the checks. Returns the reason when the connection must end.
    pub(super) fn look(&mut self) -> Option<ConnectionEnd> {
        self.shard().tick();
        if !self.parts.lease.is_open(BootTime::now()) {
            return Some(ConnectionEnd::Fenced);
        }
        self.shard().set_latency(self.socket.latency());
        self.check_filled();
        if let Some(what) = self.stage.hangs(self.dialing.failures()) {
            return Some(ConnectionEnd::Lost(what.to_owned()));
        }
        let elapsed = self.looked.elapsed();
        self.looked = Instant::now();
        let unacknowledged = self.socket.unacknowledged();
        if !matches!(self.stage, Stage::Running) {
            let is_dead = unacknowledged.is_some_and(|since| since >= ACK_LOST);
            return is_dead.then(|| ConnectionEnd::Lost(NOT_ACKNOWLEDGED.to_owned()));
        }
        match self.silence.look(elapsed, unacknowledged) {
            SilenceVerdict::Alive if self.shard().status() == ShardStatus::Silent => {
                self.check_filled_or_ready();
            }
            SilenceVerdict::Alive => {}
            SilenceVerdict::Late => self.shard().set_status(ShardStatus::Silent, NOT_ACKNOWLEDGED),
            SilenceVerdict::Dead(why) => {
                self.shard().set_status(ShardStatus::Silent, why);
                self.silence.given_up();
                return Some(ConnectionEnd::Lost(why.to_owned()));
            }
        }
        None
    }
}
