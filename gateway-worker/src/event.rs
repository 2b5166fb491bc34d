//! A Discord event as bot code receives it, and as it waits in a queue ([`queued`]).

use std::{
    collections::BTreeSet,
    error::Error,
    fmt,
    ops::Range,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::ShardEvent;
pub use fleet_model::{Mark, Position};
use serde::Deserialize;

use crate::{
    payload::{self, Misplaced, Payload},
    reading,
};

pub(crate) mod queued;
pub(crate) mod trace;

/// Which events a handler is given, by Discord's names for them
/// ([Receive Events](https://discord.com/developers/docs/events/gateway-events#receive-events)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None, and no gaps either.
    Nothing,
    /// All, those that this version has never heard of included.
    All,
    /// These.
    Only(BTreeSet<&'static str>),
}

impl Wanted {
    /// Only these: `Wanted::only(["INTERACTION_CREATE"])`.
    pub fn only(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self::Only(names.into_iter().collect())
    }

    /// An event of this name is wanted.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// An event as it arrives. The shard's intake adds the session, mark and time.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) event: ShardEvent,
    /// The position of the data in the text.
    data: Range<usize>,
    /// The field `id` of the data.
    pub(crate) id: Option<u64>,
}

impl Arrived {
    /// `payload`: the result of reading `text`.
    pub(crate) fn new(name: Arc<str>, sequence: u64, payload: Payload, text: String) -> Self {
        let event = ShardEvent {
            name,
            position: Position::new(0, sequence),
            guild: payload.guild(),
            mark: Mark::Fresh,
            received_at_unix_ms: 0,
            traceparent: None,
            text: text.into(),
        };
        Self { event, data: payload.data, id: payload.id }
    }

    /// The text of the event's data.
    pub(crate) fn data(&self) -> &str {
        self.event.text.get(self.data.clone()).unwrap_or_default()
    }
}

/// Returns the mark of a late event. `id`: the id in its data, which tells whether an interaction has expired.
pub(crate) fn late_mark(name: &str, id: Option<u64>, now_unix_ms: u64) -> Mark {
    if payload::interaction_age(name, id, now_unix_ms) > ANSWERED_WITHIN {
        Mark::Expired
    } else {
        Mark::Replayed
    }
}

/// How long Discord waits for the first answer to an interaction.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// One dispatch event. A clone shares it.
#[derive(Clone)]
pub struct Event(pub(crate) Arc<ShardEvent>);

impl Event {
    /// Discord's name for it: `MESSAGE_CREATE`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its place in its shard.
    pub fn position(&self) -> Position {
        self.0.position
    }

    /// The guild in which it happened.
    pub fn guild(&self) -> Option<u64> {
        self.0.guild
    }

    /// Whether it may have been handled before.
    pub fn mark(&self) -> Mark {
        self.0.mark
    }

    /// When a worker first received it.
    pub fn received_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.received_at_unix_ms)
    }

    /// The payload as Discord sent it: JSON with `op`, `t`, `s` and `d`.
    pub fn raw(&self) -> &str {
        &self.0.text
    }

    /// The payload as twilight's types; `None` for an event that twilight does not know.
    ///
    /// # Errors
    /// The payload does not match twilight's types. The error contains nothing of the payload, so it can be logged.
    #[cfg(feature = "typed-events")]
    pub fn parse(&self) -> Result<Option<twilight_model::gateway::event::Event>, EventError> {
        reading::typed::whole(self.name(), self.raw()).map_err(|error| EventError((&error).into()))
    }

    /// The payload's data (`d`) as a type of the bot's own, which may borrow from the event. Reading a few fields this way takes a fraction of
    /// the time of [`Event::parse`].
    ///
    /// # Errors
    /// The data does not match the type. The error contains nothing of the payload, so it can be logged.
    pub fn data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, EventError> {
        let read = |data| serde_json::from_str(data);
        reading::with_data(self.name(), self.raw(), read).map_err(|error| EventError((&error).into()))
    }
}

/// The error for a payload that does not match the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError(Misplaced);

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event does not match the requested type: {}", self.0)
    }
}

impl Error for EventError {}

impl fmt::Debug for Event {
    /// Leaves out what users wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Content<'a> {
        content: &'a str,
    }

    fn event(text: &str) -> Event {
        Event(Arc::new(ShardEvent {
            name: "MESSAGE_CREATE".into(),
            position: Position::new(1, 2),
            guild: None,
            mark: Mark::Fresh,
            received_at_unix_ms: 0,
            traceparent: None,
            text: text.into(),
        }))
    }

    #[test]
    fn data_is_read_in_any_order_of_fields() {
        for text in [
            r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"content":"a"}}"#,
            r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"content":"a"},"more":{"content":"b"}}"#,
            r#"{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{"content":"b"},"d":{"content":"a"}}"#,
            r#"{ "d": {"content":"a"}, "op":0, "s":2, "t":"MESSAGE_CREATE" }"#,
        ] {
            assert_eq!(event(text).data(), Ok(Content { content: "a" }), "{text}");
        }
    }

    #[test]
    fn parse_error_contains_nothing_of_the_payload() {
        for d in [r#"{"content":{"marker":"marker"}}"#, r#"["marker"]"#, r#"{"id":"marker""#] {
            let text = format!(r#"{{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{d}}}"#);
            let event = event(&text);
            let error = event.parse().unwrap_err();
            let other = event.data::<u64>().unwrap_err();
            assert!(error.source().is_none());
            let said = format!("{error} {error:?} {other} {event:?}");
            assert!(said.contains("line 1") && !said.contains("marker"), "{said}");
        }
    }
}
