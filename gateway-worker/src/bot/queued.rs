//! What waits for its handler: an event, a gap, or something that was set aside.

use checkpoint::PendingEvent;
use dispatch::{Item, Kind};
use fleet_model::Gap;
use serde::{Deserialize, Serialize};

use super::dispatch_clock;
use crate::handler::{Event, Mark};

/// The name under which a gap waits for its handler, and is kept in a checkpoint.
const GAP: &str = "ALTERGOLDEN_GAP";

/// What waits for its handler.
pub(crate) enum Queued {
    Event(Event),
    /// Told before what came after it in the shard's own lane.
    Gap(Told),
    /// Something that was set aside, for the handler again. It is kept where it was until its handler has come to its end, so no
    /// checkpoint holds it.
    Replay(Box<Self>),
}

/// A gap on its way to the handler: as text it looks like a dispatch, so that a checkpoint can hold it among the events.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(super) gap: Gap,
    session: u64,
    sequence: u64,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct GapPayload {
    op: u8,
    t: String,
    s: u64,
    d: GapBody,
}

#[derive(Serialize, Deserialize)]
struct GapBody {
    since_unix_ms: u64,
    until_unix_ms: u64,
    last_sequence: u64,
    reason: String,
}

impl Told {
    /// `sequence`: one that no event of the session has.
    pub(crate) fn new(gap: Gap, session: u64, sequence: u64) -> Self {
        let Gap { since_unix_ms, until_unix_ms, last_sequence, reason } = gap.clone();
        let d = GapBody { since_unix_ms, until_unix_ms, last_sequence, reason };
        let payload = GapPayload { op: 0, t: GAP.to_owned(), s: sequence, d };
        let text = serde_json::to_string(&payload).unwrap_or_default();
        Self { gap, session, sequence, text }
    }

    /// A gap that was kept as text.
    fn from_text(text: String, session: u64) -> Option<Self> {
        let payload: GapPayload =
            serde_json::from_str(&text).ok().filter(|payload: &GapPayload| payload.t == GAP)?;
        let GapBody { since_unix_ms, until_unix_ms, last_sequence, reason } = payload.d;
        let gap = Gap { since_unix_ms, until_unix_ms, last_sequence, reason };
        Some(Self { gap, session, sequence: payload.s, text })
    }
}

impl Queued {
    /// What a checkpoint kept.
    pub(crate) fn from_pending(pending: PendingEvent, mark: Mark) -> Option<Self> {
        let PendingEvent { session, sequence, received_at_unix_ms, text, .. } = pending;
        let envelope = twilight_model::gateway::event::GatewayEventDeserializer::from_json(&text)?;
        let name = envelope.event_type()?.to_owned();
        if name == GAP {
            return Told::from_text(text, session).map(Self::Gap);
        }
        let guild = guild_of(&name, &text);
        let name = Kind::from(name.as_str());
        Some(Self::Event(Event { name, session, sequence, guild, mark, received_at_unix_ms, text }))
    }

    pub(super) fn as_pending(&self, started: bool) -> PendingEvent {
        let (session, sequence, received_at_unix_ms, text) = match self {
            Self::Event(event) => {
                (event.session, event.sequence, event.received_at_unix_ms, event.text.clone())
            }
            Self::Gap(told) => (told.session, told.sequence, told.gap.until_unix_ms, told.text.clone()),
            Self::Replay(replayed) => return replayed.as_pending(started),
        };
        PendingEvent { session, sequence, started, received_at_unix_ms, text }
    }

    /// Its session's ordinal, and its sequence there.
    pub(super) fn position(&self) -> (u64, u64) {
        match self {
            Self::Event(event) => (event.session, event.sequence),
            Self::Gap(told) => (told.session, told.sequence),
            Self::Replay(replayed) => replayed.position(),
        }
    }

    /// For a checkpoint to hold.
    pub(super) fn is_for_checkpoints(&self) -> bool {
        !matches!(self, Self::Replay(_))
    }

    /// It may have been begun with before: what its shard's owners died of, if they did.
    pub(super) fn is_suspect(&self) -> bool {
        match self {
            Self::Event(event) => event.mark == Mark::Replayed,
            Self::Gap(_) | Self::Replay(_) => true,
        }
    }

    /// For the queue. `suspect`: it is one whatever its mark says.
    pub(super) fn into_item(self, suspect: bool) -> Item<Self> {
        let (kind, lane, bytes) = self.figures();
        let (sequence, suspect) = (self.position().1, suspect || self.is_suspect());
        Item { sequence, lane, suspect, kind, bytes, received_at: dispatch_clock(), payload: self }
    }

    fn figures(&self) -> (Kind, Option<u64>, usize) {
        match self {
            Self::Event(event) => (event.name.clone(), event.guild, event.text.len()),
            Self::Gap(told) => (Kind::from(GAP), None, told.text.len()),
            Self::Replay(replayed) => replayed.figures(),
        }
    }
}

/// The guild of an event: its `guild_id`, or for an event about a guild itself its `id`.
pub(crate) fn guild_of(name: &str, text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        d: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow, default)]
        id: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow, default)]
        guild_id: Option<std::borrow::Cow<'a, str>>,
    }
    let payload: Payload<'_> = serde_json::from_str(text).ok()?;
    let id = match name {
        "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => payload.d.id,
        _ => payload.d.guild_id,
    };
    id?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guild_of_an_event_is_its_guild_id_or_its_own_id() {
        let of = |name: &str, d: &str| guild_of(name, &format!(r#"{{"t":"{name}","s":1,"op":0,"d":{d}}}"#));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","guild_id":"5","author":{"id":"9"}}"#), Some(5));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","message_reference":{"guild_id":"5"}}"#), None);
        assert_eq!(of("GUILD_DELETE", r#"{"id":"7","unavailable":true}"#), Some(7));
        assert_eq!(of("RESUMED", r#"{"_trace":["\u00e9"]}"#), None);
        assert_eq!(of("USER_UPDATE", r#"{"id":"7","guild_id":null}"#), None);
        assert_eq!(guild_of("X", "no json"), None);
    }

    #[test]
    fn a_gap_survives_a_checkpoint() {
        let gap =
            Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "a \"why\"".to_owned() };
        let pending = Queued::Gap(Told::new(gap.clone(), 7, 4)).as_pending(false);
        match Queued::from_pending(pending, Mark::Replayed) {
            Some(Queued::Gap(told)) => assert_eq!((told.gap, told.session, told.sequence), (gap, 7, 4)),
            _ => panic!("no gap"),
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_event() {
        let pending = PendingEvent {
            session: 1,
            sequence: 1,
            started: false,
            received_at_unix_ms: 0,
            text: "{".to_owned(),
        };
        assert!(Queued::from_pending(pending, Mark::Replayed).is_none());
    }
}
