//! What is read of a payload without parsing all of it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The first second of 2015, from which Discord's ids count
/// ([Snowflakes](https://discord.com/developers/docs/reference#snowflakes)).
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

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
    fn the_guild_of_an_event_is_its_guild_id_or_its_own_id() {
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
    fn an_interaction_is_as_old_as_its_id() {
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
