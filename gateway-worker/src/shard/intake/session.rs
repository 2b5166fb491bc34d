//! Where one session ends and another begins: READY, RESUMED, and what is lost between two sessions.

use std::sync::Arc;

use checkpoint::Session;
use super::{Dispatch, Intake, Taken};
use crate::{
    bot::Queued,
    checkpoints::{Keep, LostSession, unix_ms},
    handler::Mark,
    reading::SessionStart,
    shard::{Progress, connection::TRANSPORT},
};

impl Intake {
    /// The session can't be resumed.
    pub(in crate::shard) fn lost_session(&mut self, reason: &str) {
        if let Some(Progress { read, read_at_unix_ms, .. }) = self.shard.progress() {
            self.lost = Some(LostSession {
                since_unix_ms: read_at_unix_ms,
                last_sequence: read,
                reason: reason.to_owned(),
            });
            self.shard.set_progress(None);
        }
    }

    /// READY: a new session. There is always room for it: one that was refused would begin again, and that is a gap.
    pub(super) fn take_ready(&mut self, dispatch: Dispatch) -> Taken {
        let Ok(start) = self.read_ready(&dispatch.text) else {
            self.metrics.count_garbled();
            tracing::error!(shard.id = %self.shard.number(), "READY has no session id: the connection is of no use");
            return Taken::NoSession;
        };
        let early = std::mem::take(&mut self.early);
        // Whatever waits is of the session before.
        self.forget_held();
        self.begin_session(&dispatch, start);
        let (sequence, received_at) = (dispatch.sequence, unix_ms());
        for early in early.into_dispatches() {
            self.apply(&early);
            if self.deliveries.wants(&early.name) {
                self.deliveries.push_over_bound(Queued::Event(self.event(early, received_at)));
            }
        }
        if self.deliveries.wants(&dispatch.name) {
            self.deliveries.push_over_bound(Queued::Event(self.event(dispatch, received_at)));
        }
        self.shard.set_read(sequence, received_at);
        Taken::Yes
    }

    fn begin_session(&mut self, dispatch: &Dispatch, start: SessionStart) {
        self.lost_session("Discord began another session");
        // Above any that another worker gave, even if the store forgot it.
        self.ordinal = unix_ms().max(self.ordinal + 1);
        let now = unix_ms();
        self.shard.cache().begin_session(self.ordinal, Some(&start));
        let session = Session {
            id: start.session_id,
            resume_url: start.resume_url,
            ordinal: self.ordinal,
            total: self.shard.total(),
            intents: self.intents,
            transport: TRANSPORT.to_owned(),
            resources: self.resources.clone(),
            opened_at_unix_ms: now,
        };
        self.shard.set_progress(Some(Progress {
            session: Arc::new(session),
            began_at: dispatch.sequence,
            read: 0,
            read_at_unix_ms: now,
        }));
        self.mark = Mark::Fresh;
        self.replayed = 0;
        if let Some(lost) = self.lost.clone() {
            self.tell_gap(lost.until(now), 0);
        }
        self.check_suspects();
    }

    /// READY was taken: its head is worth writing at once.
    pub(in crate::shard) fn session_began(&self) {
        if let Some(writer) = &self.writer {
            writer.write_soon();
        }
    }

    /// RESUMED: what comes now is new, and is handled once a checkpoint reaches this far.
    pub(in crate::shard) fn resumed(&mut self) {
        self.mark = Mark::Fresh;
        self.check_suspects();
        if let (Some(writer), Some(progress)) = (&self.writer, self.shard.progress())
            && self.checkpoints.keep != Keep::Off
        {
            self.deliveries.hold_until_covered((progress.session.ordinal, progress.read));
            writer.write_soon();
        }
    }
}
