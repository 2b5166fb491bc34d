//! An event in a shard's queue, and how it comes out of a checkpoint and goes into one.

use std::sync::Arc;

use checkpoint::PendingEvent;
use dispatch::Item;
use fleet_model::ShardEvent;
use relay::{GAP, gap_of};

use crate::{
    clock::{dispatch_clock, unix_ms},
    event::{Mark, late_mark, trace::EventTrace},
    payload::Payload,
};

/// An event that waits for its handler.
pub(crate) struct Queued {
    pub(crate) event: Arc<ShardEvent>,
    /// An operator replays the event. It stays set aside until its handler has ended, so checkpoints leave it out.
    pub(crate) is_replay: bool,
    /// Its trace, if it has one.
    pub(crate) trace: Option<Box<EventTrace>>,
}

impl Queued {
    /// Converts the event for the queue. `suspect`: the event counts as a suspect even if its mark is fresh.
    pub(crate) fn into_item(self, suspect: bool) -> Item<Self> {
        let event = &self.event;
        Item {
            sequence: event.position.sequence,
            lane: event.guild,
            // Its handler may have started before, so that an owner may have died of it.
            suspect: suspect || event.mark.is_late() || is_gap(event) || self.is_replay,
            kind: event.name.clone(),
            bytes: event.text.len(),
            received_at: dispatch_clock(),
            payload: self,
        }
    }
}

/// Returns whether an event is a gap: handlers receive gaps by a method of their own.
pub(crate) fn is_gap(event: &ShardEvent) -> bool {
    &*event.name == GAP
}

/// Reads a pending event of a checkpoint. `late`: its handler may have started. `None` if it cannot be read.
pub(crate) fn from_pending(pending: PendingEvent, late: bool) -> Option<ShardEvent> {
    let PendingEvent { position, received_at_unix_ms, text, .. } = pending;
    let payload = Payload::read(&text)?;
    let guild = payload.guild();
    let name = payload.name?;
    let mark = if late && &*name != GAP { late_mark(&name, payload.id, unix_ms()) } else { Mark::Fresh };
    let event = ShardEvent { name, position, guild, mark, received_at_unix_ms, traceparent: None, text };
    (!is_gap(&event) || gap_of(&event).is_some()).then_some(event)
}

/// Converts an event for a checkpoint.
pub(crate) fn as_pending(event: &ShardEvent, started: bool, handled: bool) -> PendingEvent {
    PendingEvent {
        position: event.position,
        started,
        handled,
        received_at_unix_ms: event.received_at_unix_ms,
        text: event.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{Gap, Position};

    use super::*;

    #[test]
    fn gap_survives_a_checkpoint() {
        let gap =
            Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "a \"why\"".to_owned() };
        let event = relay::gap_event(&gap, Position::new(7, 4));
        let restored = from_pending(as_pending(&event, false, false), true).unwrap();
        assert_eq!((gap_of(&restored), restored), (Some(gap), event));
    }

    #[test]
    fn payload_that_is_not_json_is_refused() {
        let pending = PendingEvent {
            position: Position::new(1, 1),
            started: false,
            handled: false,
            received_at_unix_ms: 0,
            text: "{".into(),
        };
        assert!(from_pending(pending, true).is_none());
    }
}
