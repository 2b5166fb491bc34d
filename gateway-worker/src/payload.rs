//! Reads single fields of a payload without parsing all of it.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use guild_cache::{Broken, Scan, is_key, read_string};

/// The first second of 2015, from which Discord's ids count
/// ([Snowflakes](https://discord.com/developers/docs/reference#snowflakes)).
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

/// The largest sequence: every JSON parser, Redis script and store counts exactly up to here.
pub(crate) const LARGEST_SEQUENCE: u64 = (1 << 53) - 1;
/// Longer event names are not read; Discord's longest has 38 bytes.
const LONGEST_NAME: usize = 100;

/// A gateway message, read and checked in one pass over its text, with fields in any order and spacing. An unreadable field is `None`. If a
/// field is written twice, the last one counts.
///
/// The whole text is checked, even if nothing else reads it. The end of the text is not enough to find the guild: `"guild_id":"5"}}` may
/// end a nested object of a message that was cut off, or a field after the data.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) op: Option<u64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) name: Option<Arc<str>>,
    /// The position of the data in the text; empty when missing.
    pub(crate) data: Range<usize>,
    /// The field `id` of the data.
    pub(crate) id: Option<u64>,
    guild_id: Option<u64>,
}

impl Payload {
    /// Reads a message; `None` if it is not a JSON object.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::scan(text).ok()
    }

    fn scan(text: &str) -> Result<Self, Broken> {
        let mut payload = Self::default();
        let mut scan = Scan::new(text);
        scan.enter_object()?;
        let mut is_first = true;
        while let Some(key) = scan.next_key(&mut is_first)? {
            match field_of(key, ["t", "s", "op", "d"]) {
                Some("t") => payload.name = name(scan.value()?.text),
                Some("s") => payload.sequence = integer(scan.value()?.text),
                Some("op") => payload.op = integer(scan.value()?.text),
                Some(_) => payload.scan_data(&mut scan)?,
                None => drop(scan.value()?),
            }
        }
        scan.end()?;
        Ok(payload)
    }

    fn scan_data(&mut self, scan: &mut Scan<'_>) -> Result<(), Broken> {
        (self.id, self.guild_id) = (None, None);
        let is_object = scan.peek() == Some(b'{');
        let from = scan.offset();
        if is_object {
            scan.enter_object()?;
            let mut is_first = true;
            while let Some(key) = scan.next_key(&mut is_first)? {
                let value = scan.value()?.text;
                match field_of(key, ["id", "guild_id"]) {
                    Some("id") => self.id = id(value),
                    Some(_) => self.guild_id = id(value),
                    None => {}
                }
            }
        } else {
            scan.value()?;
        }
        self.data = from..scan.offset();
        Ok(())
    }

    /// The guild of an event: the data's `guild_id`, or the data's `id` for an event about the guild itself.
    pub(crate) fn guild(&self) -> Option<u64> {
        match self.name.as_deref() {
            Some("GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE") => self.id,
            _ => self.guild_id,
        }
    }
}

/// Returns the one of these fields that a key names. The key is as written, so it may have escapes.
fn field_of<const N: usize>(key: &str, names: [&'static str; N]) -> Option<&'static str> {
    let has_escapes = key.contains('\\');
    names.into_iter().find(|name| key == *name || has_escapes && is_key(key, name))
}

/// The name of an event; `None` for one longer than [`LONGEST_NAME`].
fn name(raw: &str) -> Option<Arc<str>> {
    let plain =
        raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).filter(|name| !name.contains('\\'));
    let name = match plain {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(read_string(raw)?),
    };
    (1..=LONGEST_NAME).contains(&name.len()).then(|| name.into())
}

/// A number up to [`LARGEST_SEQUENCE`], also one in quotes or with a fraction of zero.
fn integer(raw: &str) -> Option<u64> {
    let text = raw.trim_matches('"');
    let whole = |number: f64| {
        (number.fract() == 0.0 && (0.0..=LARGEST_SEQUENCE as f64).contains(&number)).then_some(number as u64)
    };
    let number = text.parse().ok().or_else(|| whole(text.parse().ok()?))?;
    (number <= LARGEST_SEQUENCE).then_some(number)
}

/// An id given as text or as a number.
fn id(raw: &str) -> Option<u64> {
    raw.trim_matches('"').parse().ok()
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

/// The age of an interaction with this id, which a RESUME may bring late; zero for any other event.
pub(crate) fn interaction_age(name: &str, id: Option<u64>, now_unix_ms: u64) -> Duration {
    if name != "INTERACTION_CREATE" {
        return Duration::ZERO;
    }
    let made_at = id.map_or(u64::MAX, |id| (id >> 22) + DISCORD_EPOCH_MS);
    Duration::from_millis(now_unix_ms.saturating_sub(made_at))
}

/// Returns the time from the creation of a message or an interaction, by its id, to its receipt, if it is plausible: up to an hour.
pub(crate) fn age_of_creation(name: &str, text: &str, received_at_unix_ms: u64) -> Option<Duration> {
    if !matches!(name, "MESSAGE_CREATE" | "INTERACTION_CREATE") {
        return None;
    }
    let made_at = (Payload::read(text)?.id? >> 22) + DISCORD_EPOCH_MS;
    let age = Duration::from_millis(received_at_unix_ms.checked_sub(made_at)?);
    (age <= Duration::from_hours(1)).then_some(age)
}

#[cfg(test)]
mod tests;
