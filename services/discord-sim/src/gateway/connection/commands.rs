//! What the control API orders a connection to do.

use super::{Connection, writing::LONGEST_PAUSE};
use crate::{
    gateway::{ending::End, envelope},
    hub::Order,
};
use tokio::time::Instant;

impl Connection {
    pub(super) async fn obey(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Close { code, reason } => return Err(End::Close(code, reason)),
            Order::Superseded => return Err(End::superseded()),
            Order::Abort => return Err(End::Reset),
            Order::Act(actions) => self.act(actions).await?,
            Order::Freeze(on) => {
                self.frozen = on;
                self.unanswered = 0;
                self.expect_heartbeat();
            }
            // A frozen connection sends nothing at all.
            Order::Reconnect | Order::RequestHeartbeat if self.frozen => {}
            Order::Reconnect => {
                self.leave_by = Some(Instant::now() + self.hub.switches().reconnect_grace.min(LONGEST_PAUSE));
                self.send(envelope::reconnect()).await?;
            }
            Order::RequestHeartbeat => {
                // It shall beat at once; that it has one interval for it is our choice.
                self.beat_by = self.beat_by.min(Instant::now() + self.hub.config.heartbeat_interval);
                self.send(envelope::heartbeat()).await?;
            }
            Order::InvalidSession { resumable } => {
                if let Some(joined) = self.joined.take() {
                    let end = (!resumable).then_some("invalidated by a fault");
                    self.hub.leave_session(self.id, &joined.cell, end);
                }
                if !self.frozen {
                    self.send(envelope::invalid_session(resumable)).await?;
                }
            }
        }
        Ok(())
    }
}
