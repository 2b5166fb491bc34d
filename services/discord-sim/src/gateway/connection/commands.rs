//! Executes the hub's commands on a connection.

use super::{Connection, writing::LONGEST_PAUSE};
use crate::{
    gateway::{ending::End, envelope},
    hub::ConnectionCommand,
};
use tokio::time::Instant;

impl Connection {
    pub(super) async fn handle_command(&mut self, command: ConnectionCommand) -> Result<(), End> {
        match command {
            ConnectionCommand::Close { code, reason } => return Err(End::Close(code, reason)),
            ConnectionCommand::Superseded => return Err(End::superseded()),
            ConnectionCommand::Abort => return Err(End::Reset),
            ConnectionCommand::Act(actions) => self.act(actions).await?,
            ConnectionCommand::Freeze(on) => {
                self.frozen = on;
                self.unanswered = 0;
                self.expect_heartbeat();
            }
            // A frozen connection sends nothing.
            ConnectionCommand::Reconnect | ConnectionCommand::RequestHeartbeat if self.frozen => {}
            ConnectionCommand::Reconnect => {
                self.leave_by = Some(Instant::now() + self.hub.switches().reconnect_grace.min(LONGEST_PAUSE));
                self.send(envelope::reconnect()).await?;
            }
            ConnectionCommand::RequestHeartbeat => {
                // The client must send a heartbeat at once. Allowing one interval is our choice.
                self.beat_by = self.beat_by.min(Instant::now() + self.hub.config.heartbeat_interval);
                self.send(envelope::heartbeat()).await?;
            }
            ConnectionCommand::InvalidSession { resumable } => {
                if let Some(session) = self.session.take() {
                    let end = (!resumable).then_some("invalidated by a fault");
                    self.hub.leave_session(self.id, &session.cell, end);
                }
                if !self.frozen {
                    self.send(envelope::invalid_session(resumable)).await?;
                }
            }
        }
        Ok(())
    }
}
