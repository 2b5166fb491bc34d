//! Runs [scripts](crate::odd::Script) on a connection.

use super::{
    Connection,
    writing::{LONGEST_PAUSE, Outgoing},
};
use crate::{
    gateway::{ending::End, envelope},
    hub::ConnectionCommand,
    odd::{Action, Moment, from_hex},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How a RESUME is answered after its script ran.
pub(super) enum ResumeReply {
    /// With a replay. No event is sent before `from`.
    Normal {
        /// Earliest time to send events; `None` is at once.
        from: Option<Instant>,
    },
    /// By the script, or not at all. The session is unchanged or has ended.
    Scripted,
}

fn withheld_until(ms: u64) -> Instant {
    Instant::now() + if ms == 0 { LONGEST_PAUSE } else { Duration::from_millis(ms) }
}

impl Connection {
    /// Runs the script for this moment, if one is active.
    pub(super) async fn run_script(&mut self, at: Moment) -> Result<(), End> {
        match self.hub.odd.script(at, self.address, self.shard()) {
            Some(script) => self.act(script.actions.into()).await,
            None => Ok(()),
        }
    }

    /// Runs the script for a RESUME, before it takes effect.
    pub(super) async fn run_resume_script(&mut self, session_id: &str) -> Result<ResumeReply, End> {
        let shard = self.hub.shard_of_session(session_id);
        let script = self.hub.odd.script(Moment::Resume, self.address, shard);
        let mut from = None;
        for action in script.iter().flat_map(|script| &script.actions) {
            match action {
                Action::Wait { ms } => self.write(Outgoing::Pause(Duration::from_millis(*ms))).await?,
                Action::Withhold { ms } => from = Some(withheld_until(*ms)),
                Action::InvalidSession { resumable } => {
                    if !resumable {
                        self.hub.invalidate(session_id);
                    }
                    self.send(envelope::invalid_session(*resumable)).await?;
                    return Ok(ResumeReply::Scripted);
                }
                action => self.act_once(action).await?,
            }
        }
        Ok(if self.frozen { ResumeReply::Scripted } else { ResumeReply::Normal { from } })
    }

    /// Runs the script for the moment before HELLO. Returns whether it replaces HELLO.
    pub(super) async fn run_hello_script(&mut self) -> Result<bool, End> {
        let Some(script) = self.hub.odd.script(Moment::BeforeHello, self.address, None) else {
            return Ok(false);
        };
        for action in &script.actions {
            match action {
                Action::Wait { ms } => {
                    let wait = Duration::from_millis(*ms);
                    self.beat_by += wait;
                    self.write(Outgoing::Pause(wait)).await?;
                }
                action => self.act_once(action).await?,
            }
        }
        Ok(script.instead)
    }

    /// Runs actions up to the first wait and schedules the rest.
    pub(super) async fn act(&mut self, actions: Arc<[Action]>) -> Result<(), End> {
        for (done, action) in actions.iter().enumerate() {
            if let Action::Wait { ms } = action {
                let at = Instant::now() + Duration::from_millis(*ms);
                self.later.push((at, actions[done + 1..].into()));
                self.later.sort_by_key(|(at, _)| *at);
                return Ok(());
            }
            self.act_once(action).await?;
        }
        Ok(())
    }

    async fn act_once(&mut self, action: &Action) -> Result<(), End> {
        match action {
            Action::Close { code: Some(code), reason } => Err(End::Close(*code, reason.clone())),
            Action::Close { code: None, .. } => Err(End::CloseWithoutCode),
            Action::Reset => Err(End::Reset),
            Action::End => Err(End::Drop),
            Action::Silence => {
                self.frozen = true;
                Ok(())
            }
            Action::Withhold { ms } => {
                if let Some(session) = &mut self.session {
                    session.from = Some(withheld_until(*ms));
                }
                Ok(())
            }
            Action::Reconnect => Box::pin(self.handle_command(ConnectionCommand::Reconnect)).await,
            Action::InvalidSession { resumable } => {
                let session = self.session.is_some();
                Box::pin(self.handle_command(ConnectionCommand::InvalidSession { resumable: *resumable }))
                    .await?;
                if session {
                    // The session is gone; drop its delayed actions.
                    self.later.clear();
                }
                Ok(())
            }
            Action::Text { text, times } => self.write(Outgoing::Texts { text, times: *times }).await,
            Action::Bytes { hex, fill, times } => {
                let mut bytes = from_hex(hex).unwrap_or_default();
                bytes.resize(bytes.len() + *fill as usize, b'a');
                self.write(Outgoing::RawBytes { bytes: &bytes, times: *times }).await
            }
            Action::Inflate { bytes } => self.write(Outgoing::Inflating(*bytes)).await,
            // Callers handle waits; refusals apply only at connect.
            Action::Wait { .. } | Action::Refuse { .. } => Ok(()),
        }
    }
}
