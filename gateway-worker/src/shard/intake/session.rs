//! The start and end of sessions: READY, RESUMED, and what is lost between two sessions.

use std::sync::Arc;

use checkpoint::Session;
use fleet_model::{Position, ShardEvent};

use super::{DispatchOutcome, Intake};
use crate::{
    checkpoints::{Keep, LostSession},
    clock::{dispatch_clock, unix_ms},
    event::{Arrived, Mark},
    reading::SessionStart,
    shard_state::Progress,
};

impl Intake {
    /// The session can't be resumed.
    pub(in crate::shard) fn lost_session(&mut self, reason: &str) {
        if let Some(Progress { session, read, read_at_unix_ms, .. }) = self.shard.give_up_session() {
            let lost = LostSession {
                since_unix_ms: read_at_unix_ms,
                last_sequence: read,
                reason: reason.to_owned(),
            };
            self.lost = Some(lost.or_before(self.unread.take(), &session));
        }
    }

    /// Begins a session with READY. It may exceed the queue's bound, up to a limit: refusing it would cost another
    /// session and a gap. Nothing changes before there is room.
    pub(super) fn take_ready(&mut self, mut ready: Arrived) -> DispatchOutcome {
        if !self.event_queue.has_room_for_session(ready.event.text.len()) {
            return self.overflowed(dispatch_clock());
        }
        let start = match self.read_ready(&ready) {
            Ok(start) => start,
            Err(refused) => {
                self.metrics.count_garbled();
                tracing::error!(shard.id = %self.shard.key(), ?refused, "READY refused");
                return refused;
            }
        };
        let early = std::mem::take(&mut self.early);
        // Waiting events belong to the session before.
        self.forget_held();
        let (sequence, received_at) = (ready.event.position.sequence, unix_ms());
        self.begin_session(sequence, start);
        let mut queued = true;
        let mut before = 0;
        for mut early in early.into_events() {
            // Positions must be unique and grow.
            let event = &early.event;
            if !(before + 1..sequence).contains(&event.position.sequence) {
                self.not_taken(Some(&event.name), event.guild);
                continue;
            }
            before = event.position.sequence;
            self.complete(&mut early, received_at);
            self.apply(&early);
            self.show(&early, received_at);
            queued &= self.queue(early.event);
        }
        self.complete(&mut ready, received_at);
        self.show(&ready, received_at);
        queued &= self.queue(ready.event);
        if !queued {
            // A shut queue: the shard ends, and no checkpoint may hold a session whose READY was not queued.
            self.shard.set_progress(None);
            return DispatchOutcome::Full;
        }
        self.shard.set_read(sequence, received_at);
        DispatchOutcome::Applied
    }

    /// Queues an event if bot code wants it. Returns false if the queue is shut.
    fn queue(&self, event: ShardEvent) -> bool {
        !self.event_queue.wants(&event.name) || self.event_queue.push(event)
    }

    /// Begins a session. `ready`: the sequence of its READY.
    fn begin_session(&mut self, ready: u64, start: SessionStart) {
        self.lost_session("Discord began another session");
        self.ordinal = next_ordinal(self.ordinal, self.event_queue.relayed_session(), unix_ms());
        let now = unix_ms();
        self.missing = 0..0;
        self.shard.cache().begin_session(self.ordinal, &start.guilds);
        let session = Session {
            id: start.session_id,
            resume_url: start.resume_url,
            ordinal: self.ordinal,
            shard: Some(self.shard.key().slot()),
            total: self.shard.key().total(),
            intents: self.intents,
            transport: self.transport.to_owned(),
            resources: self.resources.clone(),
            opened_at_unix_ms: now,
        };
        self.shard.set_progress(Some(Progress {
            session: Arc::new(session),
            began_at: ready,
            read: 0,
            read_at_unix_ms: now,
        }));
        self.mark = Mark::Fresh;
        self.replaying = false;
        self.began_session = true;
        if let Some(lost) = self.lost.take() {
            self.tell_gap(lost.until(now), Position::new(self.ordinal, 0));
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
        self.replaying = false;
        self.check_suspects();
        if let (Some(writer), Some(progress)) = (&self.writer, self.shard.progress())
            && self.checkpoints.keep != Keep::Off
        {
            self.event_queue.hold_until_covered(progress.position());
            writer.write_soon();
        }
    }
}

/// The largest ordinal that counts as a clock's; the relay moves fences above it back.
const HIGHEST: u64 = 1 << 52;

/// Returns the next session's ordinal: above the previous session and the last one in the relay's streams, even if this
/// worker's clock is behind.
fn next_ordinal(before: u64, relayed: Option<u64>, now_unix_ms: u64) -> u64 {
    let relayed = relayed.filter(|session| *session < HIGHEST).unwrap_or_default();
    now_unix_ms.max(before.max(relayed).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_session_is_above_every_session_that_is_known() {
        const NOW: u64 = 1_764_000_000_000;
        for (before, relayed, expected) in [
            (0, None, NOW),
            (NOW - 1, None, NOW),
            (NOW, None, NOW + 1),
            (0, Some(NOW + 5_000), NOW + 5_001),
            (NOW + 9_000, Some(NOW + 5_000), NOW + 9_001),
            (NOW - 5, Some(NOW - 3), NOW),
            (0, Some(u64::MAX), NOW),
            (u64::MAX, None, u64::MAX),
        ] {
            assert_eq!(next_ordinal(before, relayed, NOW), expected, "{before} {relayed:?}");
        }
    }
}
