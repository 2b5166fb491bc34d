//! A shard that was handed off: it continues where the previous owner stopped, with nothing to read.

use fleet_model::Position;
use std::sync::Arc;

use checkpoint::{Head, PendingEvent, Session};

use super::{Intake, older};
use crate::{
    cache::Layouts,
    checkpoints::{
        LostSession,
        restore::{Beginning, FreshStart},
        writer::Stored,
    },
    event::{Mark, queued::from_pending},
    handoff::HandoffState,
    payload::LARGEST_SEQUENCE,
    shard_state::Progress,
};

impl Intake {
    /// Goes on from what was handed over. `beginning` is what the store has: the same, if all is well; then only what
    /// changes is written. Otherwise everything is written again.
    pub(super) fn go_on_from(&mut self, handed_over: HandoffState, beginning: Beginning) {
        let HandoffState { mut head, guilds, pending } = handed_over;
        self.keep_own_resources(&mut head);
        let stored_in = match beginning {
            Beginning::Resume { head: stored, serial, format, .. } => {
                self.serial = serial;
                // The previous owner wrote this head last, so no other record has a newer format. If the copy has another layout, the
                // stored records have other names than the records of the copy.
                let is_alike = is_same(&stored, &head) && !guilds.layouts().has_other_than(format);
                is_alike.then_some(format)
            }
            Beginning::Fresh(start) => {
                self.serial = start.serial;
                None
            }
        };
        let session = head.session.ordinal;
        self.ordinal = session;
        // The previous owner stopped in order, so everything unhandled is here. Whether events of earlier owners may be
        // repeated, its checkpoint says.
        let exact = head.exact;
        self.mark = if exact { Mark::Fresh } else { Mark::Replayed };
        self.shard.cache().adopt(guilds);
        self.shard.set_progress(Some(Progress {
            session: Arc::new(head.session),
            // A store that has nothing gets this far first: from here the session can be resumed.
            began_at: if stored_in.is_some() { 0 } else { head.read },
            read: head.read,
            read_at_unix_ms: head.read_at_unix_ms,
        }));
        let positions = pending.iter().map(|event| event.position).collect();
        self.queue_all_pending(pending, exact);
        if let Some(Progress { session, read, read_at_unix_ms, .. }) = self.shard.progress() {
            self.report_unread(&session, (read, read_at_unix_ms));
        }
        if let Some(format) = stored_in {
            let layouts = Layouts::of(format);
            self.write(Some(Stored { session, pending: positions, format, layouts }));
        } else {
            self.shard.cache().note_everything(session);
            self.write(None);
        }
    }

    /// From here on the records hold what this worker keeps: what only the owner before kept grows old.
    pub(super) fn keep_own_resources(&self, head: &mut Head) {
        head.session.resources.retain(|resource| self.resources.contains(resource));
    }

    /// Queues unfinished events of previous owners. `exact`: their `started` marks can be trusted.
    pub(super) fn queue_all_pending(&mut self, pending: Vec<PendingEvent>, exact: bool) {
        for event in pending {
            let late = !exact || event.started;
            let (handled, at) = (event.handled, event.position);
            if let Some(event) = from_pending(event, late) {
                self.replayed += u64::from(late && !handled);
                self.event_queue.push_restored(event, handled);
            } else {
                self.metrics.count_garbled();
                self.unread = older(self.unread, at);
            }
        }
    }

    /// Reports a gap when a pending event of this or an earlier session cannot be read. `read`: the session's last
    /// sequence, and when it came.
    pub(super) fn report_unread(&mut self, session: &Session, (read, read_at_unix_ms): (u64, u64)) {
        let Some(unread) = self.unread.take() else { return };
        let lost = LostSession {
            since_unix_ms: read_at_unix_ms,
            last_sequence: read,
            reason: "pending events could not be read".to_owned(),
        };
        // At the unreadable event, or at the session's end.
        let at = if unread == Position::default() {
            Position::new(session.ordinal, LARGEST_SEQUENCE)
        } else {
            unread
        };
        self.tell_gap(lost.or_before(Some(unread), session).until(read_at_unix_ms), at);
    }
}

impl HandoffState {
    /// What remains for a worker that cannot resume the session. `stored`: the store's checkpoint.
    pub(super) fn without_session(self, why: String, stored: &Beginning) -> FreshStart {
        let serial = match stored {
            Beginning::Fresh(start) => start.serial,
            Beginning::Resume { serial, .. } => *serial,
        };
        FreshStart {
            serial,
            lost: Some(LostSession::of(&self.head, why)),
            presence: self.head.presence,
            ordinal: self.head.session.ordinal,
            pending: self.pending,
            exact: self.head.exact,
        }
    }
}

/// Whether the store has the last checkpoint of the worker that handed the shard off.
fn is_same(stored: &Head, handed_over: &Head) -> bool {
    let position = |head: &Head| (head.session.ordinal, head.read, head.epoch, head.exact);
    position(stored) == position(handed_over)
}

#[cfg(test)]
mod tests;
