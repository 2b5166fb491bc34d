//! Reads single fields of a payload without parsing all of it.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The first second of 2015, from which Discord's ids count
/// ([Snowflakes](https://discord.com/developers/docs/reference#snowflakes)).
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

/// The largest sequence: every JSON parser, Redis script and store counts exactly up to here.
pub(crate) const LARGEST_SEQUENCE: u64 = (1 << 53) - 1;
/// Longer event names are not read; Discord's longest has 38 bytes.
const LONGEST_NAME: usize = 100;

/// The fields of a gateway message beside its data, in any order and spacing. An unreadable field is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) op: Option<u64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) name: Option<String>,
}

impl Envelope {
    /// Reads a message; `None` if it is not a JSON object.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Envelope, M::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "lowercase")]
        enum Key {
            Op,
            S,
            T,
            #[serde(other)]
            Other,
        }
        let mut envelope = Envelope::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Op => envelope.op = integer(map.next_value()?),
                Key::S => envelope.sequence = integer(map.next_value()?),
                Key::T => {
                    let name = serde_json::from_str(map.next_value::<&RawValue>()?.get());
                    envelope.name =
                        name.ok().filter(|name: &String| (1..=LONGEST_NAME).contains(&name.len()));
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(envelope)
    }
}

/// A number up to [`LARGEST_SEQUENCE`], also one in quotes or with a fraction of zero.
fn integer(raw: &RawValue) -> Option<u64> {
    let text = raw.get().trim_matches('"');
    let whole = |number: f64| {
        (number.fract() == 0.0 && (0.0..=LARGEST_SEQUENCE as f64).contains(&number)).then_some(number as u64)
    };
    let number = text.parse().ok().or_else(|| whole(text.parse().ok()?))?;
    (number <= LARGEST_SEQUENCE).then_some(number)
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    d: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    guild_id: Option<&'a RawValue>,
}

/// An id given as text or as a number.
fn id(raw: &RawValue) -> Option<u64> {
    raw.get().trim_matches('"').parse().ok()
}

/// Why and where JSON text cannot be read. Unlike serde's message it quotes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at line {line}, column {column}")]
pub(crate) struct Misplaced {
    kind: &'static str,
    line: usize,
    column: usize,
}

impl From<&serde_json::Error> for Misplaced {
    fn from(error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let kind = match error.classify() {
            Category::Io => "read error",
            Category::Syntax => "invalid JSON",
            Category::Data => "an unexpected value",
            Category::Eof => "end of the text",
        };
        Self { kind, line: error.line(), column: error.column() }
    }
}

/// The guild of an event: its `guild_id`, or for an event about a guild itself its `id`.
pub(crate) fn guild_of(name: &str, text: &str) -> Option<u64> {
    let payload: Payload<'_> = serde_json::from_str(text).ok()?;
    let raw = match name {
        "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => payload.d.id,
        _ => payload.d.guild_id,
    };
    id(raw?)
}

/// How old an interaction is by its id, as a RESUME brings it late; zero for any other event.
pub(crate) fn interaction_age(name: &str, text: &str, now_unix_ms: u64) -> Duration {
    if name != "INTERACTION_CREATE" {
        return Duration::ZERO;
    }
    let made = serde_json::from_str(text).ok().and_then(|payload: Payload<'_>| id(payload.d.id?));
    let made_at = made.map_or(u64::MAX, |id: u64| (id >> 22) + DISCORD_EPOCH_MS);
    Duration::from_millis(now_unix_ms.saturating_sub(made_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope_is_read_in_any_order_and_spacing() {
        let whole = (Some(0), Some(7), Some("READY"));
        for (text, expected) in [
            (r#"{"t":"READY","s":7,"op":0,"d":{}}"#, whole),
            (r#"{"d":{"op":9,"s":2,"t":"X","a":[{"op":7}]},"op":0,"s":7,"t":"READY"}"#, whole),
            ("\t{ \"op\" : 0 ,\n\"s\" : 7 , \"t\" : \"READY\" , \"d\" : null }", whole),
            (r#"{"t":"READY","s":"7","op":"0","d":{}}"#, whole),
            (r#"{"t":"READY","s":7.0,"op":0e0,"d":{}}"#, whole),
            (r#"{"t":"READY","s":7,"op":0,"d":{"a":"\ud83d"},"more":[1]}"#, whole),
            (r#"{"t":"READY","s":9,"op":1,"s":7,"op":0}"#, whole),
            (r#"{"\u0074":"READY","s":7,"op":0}"#, whole),
            (r#"{"t":"\u0052EADY","s":7,"op":0}"#, whole),
            (r#"{"op":10,"d":{"heartbeat_interval":1}}"#, (Some(10), None, None)),
            (r#"{"t":null,"s":null,"op":11,"d":null}"#, (Some(11), None, None)),
            (r#"{"t":"","s":-1,"op":0.5}"#, (None, None, None)),
            (r#"{"t":["READY"],"s":[7],"op":{}}"#, (None, None, None)),
            (r#"{"op":0,"s":9007199254740991}"#, (Some(0), Some(LARGEST_SEQUENCE), None)),
            (r#"{"op":0,"s":9007199254740992}"#, (Some(0), None, None)),
            (r#"{"op":0,"s":18446744073709551616}"#, (Some(0), None, None)),
            (r#"{"op":0,"s":1e300}"#, (Some(0), None, None)),
            (r#"{"op":0,"s":"NaN"}"#, (Some(0), None, None)),
        ] {
            let Envelope { op, sequence, name } = Envelope::read(text).unwrap();
            assert_eq!((op, sequence, name.as_deref()), expected, "{text}");
        }
        for text in ["", "{", "[]", "null", r#"{"op":0"#, r#"{"op":0} x"#] {
            assert_eq!(Envelope::read(text), None, "{text}");
        }
    }

    #[test]
    fn envelope_bounds_names_and_takes_any_depth() {
        let name = |length| format!(r#"{{"t":"{}","s":1,"op":0}}"#, "N".repeat(length));
        assert!(Envelope::read(&name(LONGEST_NAME)).unwrap().name.is_some());
        assert_eq!(Envelope::read(&name(LONGEST_NAME + 1)).unwrap().name, None);
        let deep = format!(r#"{{"d":{}{},"op":0}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Envelope::read(&deep).unwrap().op, Some(0));
    }

    #[test]
    fn guild_of_an_event_is_its_guild_id_or_its_own_id() {
        let of = |name: &str, d: &str| guild_of(name, &format!(r#"{{"t":"{name}","s":1,"op":0,"d":{d}}}"#));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","guild_id":"5","author":{"id":"9"}}"#), Some(5));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":"7","message_reference":{"guild_id":"5"}}"#), None);
        assert_eq!(of("GUILD_DELETE", r#"{"id":"7","unavailable":true}"#), Some(7));
        assert_eq!(of("RESUMED", r#"{"_trace":["\u00e9"]}"#), None);
        assert_eq!(of("MESSAGE_CREATE", r#"{"guild_id":5}"#), Some(5));
        assert_eq!(of("MESSAGE_CREATE", r#"{"id":{"odd":"\ud83d"},"guild_id":"5"}"#), Some(5));
        assert_eq!(of("USER_UPDATE", r#"{"id":"7","guild_id":null}"#), None);
        assert_eq!(guild_of("X", "no json"), None);
    }

    #[test]
    fn parse_error_quotes_nothing() {
        for text in [r#"{"a":"marker"}"#, "marker", r#"["marker"#, r#""marker""#] {
            let error = serde_json::from_str::<u64>(text).unwrap_err();
            let said = Misplaced::from(&error).to_string();
            assert!(said.contains("line 1") && !said.contains("marker"), "{said}");
        }
    }

    #[test]
    fn interaction_is_as_old_as_its_id() {
        let id = 1_000_000_000_u64 << 22;
        let made_at = 1_000_000_000 + DISCORD_EPOCH_MS;
        let text = format!(r#"{{"t":"INTERACTION_CREATE","s":1,"op":0,"d":{{"id":"{id}"}}}}"#);
        let age = |name: &str, text: &str, now| interaction_age(name, text, now);
        assert_eq!(age("INTERACTION_CREATE", &text, made_at + 3_001), Duration::from_millis(3_001));
        assert_eq!(age("INTERACTION_CREATE", &text, made_at - 5), Duration::ZERO);
        assert_eq!(age("MESSAGE_CREATE", &text, made_at + 3_001), Duration::ZERO);
        assert_eq!(age("INTERACTION_CREATE", "no json", made_at), Duration::ZERO);
    }
}
