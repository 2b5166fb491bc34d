//! One event, as the streams hold it.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use fleet_model::{Classified, ErrorClass, Gap, Mark, Position, ShardEvent, ShardKey, ShardSlot};
use serde::{
    Deserialize, Serialize,
    de::{self, Deserializer},
};

use crate::pack;

/// The name of a gap among events, and of its stream. No event of Discord has it.
pub const GAP: &str = "ALTERGOLDEN_GAP";

/// Where an entry is in all streams together: later ones have higher ids, in any stream. Milliseconds of the store's clock, and a
/// number that grows with each entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// The number.
    pub number: u64,
}

/// A text that is no entry's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cursor: it takes one that an event came with, like 1764178391000-42")]
pub struct InvalidEntryId(String);

impl Classified for InvalidEntryId {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(text: &str) -> Result<Self, InvalidEntryId> {
        let wrong = || InvalidEntryId(text.chars().take(64).collect());
        let (ms, number) = text.split_once('-').ok_or_else(wrong)?;
        match (ms.parse(), number.parse()) {
            (Ok(ms), Ok(number)) => Ok(Self { ms, number }),
            _ => Err(wrong()),
        }
    }
}

/// Returns an event's mark as an entry's field has it; empty for a fresh event.
pub(crate) fn mark_field(mark: Mark) -> &'static str {
    match mark {
        Mark::Fresh => "",
        Mark::Replayed => "replayed",
        Mark::Expired => "expired",
    }
}

pub(crate) fn mark_from_field(text: &[u8]) -> Mark {
    match text {
        b"replayed" => Mark::Replayed,
        b"expired" => Mark::Expired,
        _ => Mark::Fresh,
    }
}

/// An entry to be appended.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Its place.
    pub position: Position,
    /// Its stream: the event's name.
    pub name: Arc<str>,
    /// Its guild.
    pub guild: Option<u64>,
    /// When a worker first received it, in milliseconds since the Unix epoch.
    pub received_at_unix_ms: u64,
    /// Whether it came late.
    pub mark: Mark,
    /// W3C `traceparent`, when it is traced.
    pub traceparent: Option<Arc<str>>,
    /// MessagePack of `{shardId, payload}`.
    pub data: Bytes,
}

/// An entry as it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub id: EntryId,
    /// The shard.
    pub shard: ShardSlot,
    /// What it was appended as.
    pub content: NewEntry,
}

/// Without what people wrote.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("position", &self.position)
            .field("name", &self.name)
            .field("guild", &self.guild)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("shard", &self.shard)
            .field("content", &self.content)
            .finish()
    }
}

/// What can't be put into a stream, or read out of one.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The payload is not JSON, or nested too deep. The libraries' error texts may quote the payload, so they are left out.
    #[error("the payload is not JSON, or nested too deep (line {line}, column {column})")]
    Payload {
        /// Line of the payload, from 1; 0 if unknown.
        line: usize,
        /// Column, from 1; 0 if unknown.
        column: usize,
    },
    /// A stream cannot have the event's name.
    #[error("the event's name is not 1 to 64 of A-Z, 0-9 and _")]
    Name,
    /// The data was not written by a relay.
    #[error("the entry's data is not MessagePack of a payload")]
    Data,
}

/// What discord.js's brokers publish for an event: MessagePack of `{shardId, payload}`, where the payload is the whole dispatch
/// (`t`, `s`, `op`, `d`).
///
/// Half of a surrogate pair becomes U+FFFD, as MessagePack has only whole characters.
pub(crate) fn encode(shard: ShardKey, payload: &str) -> Result<Bytes, DataError> {
    transcode(shard, payload).or_else(|error| match outside_text::without_lone_surrogates(payload) {
        Cow::Owned(clean) => transcode(shard, &clean),
        Cow::Borrowed(_) => Err(error),
    })
}

fn transcode(shard: ShardKey, payload: &str) -> Result<Bytes, DataError> {
    let mut data = Vec::with_capacity(payload.len() + 32);
    rmp::encode::write_map_len(&mut data, 2)
        .and_then(|_| rmp::encode::write_str(&mut data, "shardId"))
        .and_then(|()| rmp::encode::write_uint(&mut data, shard.slot().0.into()).map(drop))
        .and_then(|()| rmp::encode::write_str(&mut data, "payload"))
        .map_err(|_| DataError::Payload { line: 0, column: 0 })?;
    pack::json(payload, &mut data)
        .map_err(|error| DataError::Payload { line: error.line(), column: error.column() })?;
    Ok(data.into())
}

impl NewEntry {
    /// The payload as JSON text.
    ///
    /// # Errors
    /// It was put there by somebody else.
    pub fn payload(&self) -> Result<String, DataError> {
        #[derive(Deserialize)]
        struct Data {
            payload: serde_json::Value,
        }
        let Data { payload } = from_message_pack(&self.data).map_err(|_| DataError::Data)?;
        Ok(payload.to_string())
    }

    /// The payload's `d` as JSON text.
    ///
    /// # Errors
    /// It was put there by somebody else.
    pub fn data_text(&self) -> Result<String, DataError> {
        #[derive(Deserialize)]
        struct Data {
            payload: Dispatch,
        }
        #[derive(Deserialize)]
        struct Dispatch {
            d: JsonText,
        }
        let Data { payload } = from_message_pack(&self.data).map_err(|_| DataError::Data)?;
        Ok(payload.d.0)
    }

    /// The gap, if it is one.
    pub fn gap(&self) -> Option<Gap> {
        #[derive(Deserialize)]
        struct Data {
            payload: GapPayload,
        }
        if &*self.name != GAP {
            return None;
        }
        let Data { payload } = from_message_pack(&self.data).ok()?;
        Some(payload.d.into())
    }
}

/// How deep values may be nested: as deep as JSON that a worker has parsed (128), and an entry around it. Beyond it reading would need
/// more than a thread's stack.
const DEPTH: usize = 136;

/// Reads MessagePack that any program may have written.
pub(crate) fn from_message_pack<'a, T: Deserialize<'a>>(
    data: &'a [u8],
) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(data);
    deserializer.set_max_depth(DEPTH);
    T::deserialize(&mut deserializer)
}

/// Any value, as JSON text with the fields in the same order.
struct JsonText(String);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Vec::new();
        serde_transcode::transcode(deserializer, &mut serde_json::Serializer::new(&mut text))
            .map_err(de::Error::custom)?;
        String::from_utf8(text).map(Self).map_err(de::Error::custom)
    }
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

impl From<GapBody> for Gap {
    fn from(body: GapBody) -> Self {
        let GapBody { since_unix_ms, until_unix_ms, last_sequence, reason } = body;
        Self { since_unix_ms, until_unix_ms, last_sequence, reason }
    }
}

/// Returns the gap that an event stands for; `None` for an event of Discord.
pub fn gap_of(event: &ShardEvent) -> Option<Gap> {
    if &*event.name != GAP {
        return None;
    }
    let payload: GapPayload = serde_json::from_str(&event.text).ok()?;
    (payload.t == GAP).then(|| payload.d.into())
}

/// Returns a gap as an event of its own, with [`GAP`] as its name. `position`: one that no event has.
pub fn gap_event(gap: &Gap, position: Position) -> ShardEvent {
    let d = GapBody {
        since_unix_ms: gap.since_unix_ms,
        until_unix_ms: gap.until_unix_ms,
        last_sequence: gap.last_sequence,
        reason: gap.reason.clone(),
    };
    let payload = GapPayload { op: 0, t: GAP.to_owned(), s: position.sequence, d };
    ShardEvent {
        name: GAP.into(),
        position,
        guild: None,
        mark: Mark::Fresh,
        received_at_unix_ms: gap.until_unix_ms,
        traceparent: None,
        // Only text and numbers.
        text: serde_json::to_string(&payload).unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = r#"{"t":"MESSAGE_CREATE","s":7,"op":0,"d":{"id":"1","nested":[{"a":null},-1,1.5,true],"emoji":"é💥","big":18446744073709551615}}"#;

    fn entry(name: &str, data: Bytes) -> NewEntry {
        NewEntry {
            position: Position { session: 1, sequence: 7 },
            name: name.into(),
            guild: None,
            received_at_unix_ms: 0,
            mark: Mark::Fresh,
            traceparent: None,
            data,
        }
    }

    #[test]
    fn payload_survives_encoding() {
        let entry = entry("MESSAGE_CREATE", encode(ShardKey::new(300, 400), PAYLOAD).unwrap());
        let [went_in, came_out]: [serde_json::Value; 2] =
            [PAYLOAD, &entry.payload().unwrap()].map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(went_in, came_out);
        // What another MessagePack library sees.
        let value: serde_json::Value = rmp_serde::from_slice(&entry.data).unwrap();
        assert_eq!(value["shardId"], 300);
        assert_eq!(value["payload"]["t"], "MESSAGE_CREATE");
        for broken in ["{", "{}}", "", r#"{"a":1e999}"#, &"[".repeat(200)] {
            encode(ShardKey::new(0, 1), broken).unwrap_err();
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced() {
        let data = encode(ShardKey::new(0, 1), r#"{"d":{"content":"a\ud83d b"}}"#).unwrap();
        let payload: serde_json::Value =
            serde_json::from_str(&entry("MESSAGE_CREATE", data).payload().unwrap()).unwrap();
        assert_eq!(payload["d"]["content"], "a\u{fffd} b");
    }

    #[test]
    fn errors_contain_no_payload() {
        let error = encode(ShardKey::new(0, 1), r#"{"d":"secret" oops}"#).unwrap_err().to_string();
        assert!(
            error.contains("column 15") && !error.contains("oops") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn a_gap_is_a_dispatch_of_its_own() {
        let gap =
            Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: "a \"why\"".to_owned() };
        let event = gap_event(&gap, Position::new(1, 4));
        assert_eq!(gap_of(&event), Some(gap.clone()));
        assert!(event.text.contains(r#""s":4,"#) && event.received_at_unix_ms == 2);
        assert_eq!(gap_of(&ShardEvent { text: PAYLOAD.into(), ..event.clone() }), None);
        assert_eq!(gap_of(&ShardEvent { name: "MESSAGE_CREATE".into(), ..event.clone() }), None);
        let data = encode(ShardKey::new(0, 1), &event.text).unwrap();
        assert_eq!(entry(GAP, data.clone()).gap(), Some(gap));
        assert_eq!(entry("MESSAGE_CREATE", data).gap(), None);
    }

    #[test]
    fn ids_and_positions_are_texts_and_back() {
        let id = EntryId { ms: 12, number: u64::MAX };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "1", "1-", "-1", "1-2-3", "a-b"] {
            wrong.parse::<EntryId>().unwrap_err();
        }
        let position = Position { session: 3, sequence: 9 };
        assert_eq!(position.to_string().parse(), Ok(position));
        "3".parse::<Position>().unwrap_err();
    }

    #[test]
    fn deeply_nested_entry_is_refused() {
        // `d` is 100,000 arrays, each in the next.
        let mut data = vec![0x81, 0xa7];
        data.extend(b"payload");
        data.extend([0x81, 0xa1, b'd']);
        data.extend(vec![0x91; 100_000]);
        data.push(0xc0);
        assert!(from_message_pack::<serde_json::Value>(&data).is_err());
        assert!(from_message_pack::<JsonText>(&data).is_err());
        // As deep as a payload can be.
        let deep = format!("{}1{}", "[".repeat(126), "]".repeat(126));
        let value: serde_json::Value = serde_json::from_str(&deep).unwrap();
        let data = rmp_serde::to_vec(&serde_json::json!({ "payload": { "d": value } })).unwrap();
        assert!(from_message_pack::<JsonText>(&data).is_ok());
    }
}
