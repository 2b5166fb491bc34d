//! An item of a shard's queue: an event, a gap, or an event that was set aside.

use checkpoint::PendingEvent;
use dispatch::{Item, Kind};
use fleet_model::{Gap, Position};
use relay::{GAP, gap_of_payload, gap_payload};

use crate::{
    clock::{dispatch_clock, unix_ms},
    event::{Event, Mark, late_mark},
    payload::guild_of,
};

/// An item that waits for its handler.
pub(crate) enum Queued {
    Event(Event),
    /// Handled before later events of the shard's own lane.
    Gap(QueuedGap),
    /// An event that was set aside, for its handler again. It stays set aside until its handler has ended, so no checkpoint
    /// holds it.
    Replay(Box<Self>),
}

/// A gap in the queue. Its text looks like a dispatch, so that a checkpoint can hold it among the events.
#[derive(Clone, Debug)]
pub(crate) struct QueuedGap {
    pub(crate) gap: Gap,
    position: Position,
    /// The gap as a dispatch.
    pub(crate) text: String,
}

impl QueuedGap {
    /// `position` must not be an event's.
    pub(crate) fn new(gap: Gap, position: Position) -> Self {
        let text = gap_payload(&gap, position.sequence);
        Self { gap, position, text }
    }

    /// Reads a gap that was kept as text.
    fn from_text(text: String, session: u64) -> Option<Self> {
        let (gap, sequence) = gap_of_payload(&text)?;
        Some(Self { gap, position: Position::new(session, sequence), text })
    }
}

impl Queued {
    /// Reads a pending event of a checkpoint. `late`: its handler may have started.
    pub(crate) fn from_pending(pending: PendingEvent, late: bool) -> Option<Self> {
        let PendingEvent { session, sequence, received_at_unix_ms, text, .. } = pending;
        let envelope = twilight_model::gateway::event::GatewayEventDeserializer::from_json(&text)?;
        let name = envelope.event_type()?.to_owned();
        if name == GAP {
            return QueuedGap::from_text(text, session).map(Self::Gap);
        }
        let guild = guild_of(&name, &text);
        let mark = if late { late_mark(&name, &text, unix_ms()) } else { Mark::Fresh };
        let name = Kind::from(name.as_str());
        Some(Self::Event(Event { name, session, sequence, guild, mark, received_at_unix_ms, text }))
    }

    pub(crate) fn as_pending(&self, started: bool) -> PendingEvent {
        let (received_at_unix_ms, text) = match self {
            Self::Event(event) => (event.received_at_unix_ms, event.text.clone()),
            Self::Gap(queued) => (queued.gap.until_unix_ms, queued.text.clone()),
            Self::Replay(replayed) => return replayed.as_pending(started),
        };
        let Position { session, sequence } = self.position();
        PendingEvent { session, sequence, started, handled: false, received_at_unix_ms, text }
    }

    /// Its place in its shard.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Event(event) => event.position(),
            Self::Gap(queued) => queued.position,
            Self::Replay(replayed) => replayed.position(),
        }
    }

    /// Whether a checkpoint must hold it.
    pub(crate) fn is_for_checkpoints(&self) -> bool {
        !matches!(self, Self::Replay(_))
    }

    /// Whether its handler may have started before, so that an owner may have died of it.
    pub(crate) fn is_suspect(&self) -> bool {
        match self {
            Self::Event(event) => event.mark.is_late(),
            Self::Gap(_) | Self::Replay(_) => true,
        }
    }

    /// Converts it for the queue. `suspect`: it is one, even with a fresh mark.
    pub(crate) fn into_item(self, suspect: bool) -> Item<Self> {
        let (kind, lane, bytes) = self.figures();
        let (sequence, suspect) = (self.position().sequence, suspect || self.is_suspect());
        Item { sequence, lane, suspect, kind, bytes, received_at: dispatch_clock(), payload: self }
    }

    fn figures(&self) -> (Kind, Option<u64>, usize) {
        match self {
            Self::Event(event) => (event.name.clone(), event.guild, event.text.len()),
            Self::Gap(queued) => (Kind::from(GAP), None, queued.text.len()),
            Self::Replay(replayed) => replayed.figures(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_survives_a_checkpoint() {
        let gap =
            Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "a \"why\"".to_owned() };
        let pending = Queued::Gap(QueuedGap::new(gap.clone(), Position::new(7, 4))).as_pending(false);
        match Queued::from_pending(pending, true) {
            Some(Queued::Gap(queued)) => {
                assert_eq!((queued.gap, queued.position), (gap, Position::new(7, 4)));
            }
            _ => panic!("no gap"),
        }
    }

    #[test]
    fn payload_that_is_not_json_is_refused() {
        let pending = PendingEvent {
            session: 1,
            sequence: 1,
            started: false,
            handled: false,
            received_at_unix_ms: 0,
            text: "{".to_owned(),
        };
        assert!(Queued::from_pending(pending, true).is_none());
    }
}
