//! A shard that was handed over: it goes on where the owner before stopped, with nothing to read.

use std::sync::Arc;

use checkpoint::{Head, PendingEvent};

use super::Intake;
use crate::{
    bot::Queued,
    checkpoints::{restore::Beginning, writer::Stored},
    handler::Mark,
    handoff::Carried,
    shard::Progress,
};

impl Intake {
    /// Goes on from what was handed over. `beginning` is what the store has: the same, if all is well; then only what
    /// changes is written. Otherwise everything is written anew.
    pub(super) fn go_on_from(&mut self, carried: Carried, beginning: Beginning) {
        let Carried { mut head, guilds, pending } = carried;
        self.keep_own_resources(&mut head);
        let stored_in = match beginning {
            Beginning::From { head: stored, serial, format, .. } => {
                self.serial = serial;
                // Its owner wrote it last of all: nothing else is in a newer format.
                is_same(&stored, &head).then_some(format)
            }
            Beginning::Anew { serial, .. } => {
                self.serial = serial;
                None
            }
        };
        let session = head.session.ordinal;
        self.ordinal = session;
        // The owner before stopped in order: whatever it has not begun is here, and nothing else comes again.
        self.mark = Mark::Fresh;
        self.shard.cache().adopt(guilds);
        self.shard.set_progress(Some(Progress {
            session: Arc::new(head.session),
            // A store that has nothing gets this far first: from here the session can be resumed.
            began_at: if stored_in.is_some() { 0 } else { head.read },
            read: head.read,
            read_at_unix_ms: head.read_at_unix_ms,
        }));
        let positions = pending.iter().map(|event| (event.session, event.sequence)).collect();
        for event in pending {
            self.queue_pending(event, true);
        }
        if let Some(format) = stored_in {
            self.write(Some(Stored { session, pending: positions, format }));
        } else {
            self.shard.cache().note_everything(session);
            self.write(None);
        }
    }

    /// From here on the records hold what this worker keeps: what only the owner before kept grows old.
    pub(super) fn keep_own_resources(&self, head: &mut Head) {
        head.session.resources.retain(|resource| self.resources.contains(resource));
    }

    /// Queues an event that the owner before had not finished. `exact`: its word on whether it had begun holds.
    pub(super) fn queue_pending(&mut self, event: PendingEvent, exact: bool) {
        let late = !exact || event.started;
        let handled = event.handled;
        if late && !handled {
            self.replayed += 1;
        }
        match Queued::from_pending(event, late) {
            Some(queued) => self.deliveries.push_restored(queued, handled),
            None => self.metrics.count_garbled(),
        }
    }
}

/// The store has the last checkpoint of whoever handed over.
fn is_same(stored: &Head, carried: &Head) -> bool {
    let position = |head: &Head| (head.session.ordinal, head.read, head.epoch, head.exact);
    position(stored) == position(carried)
}
