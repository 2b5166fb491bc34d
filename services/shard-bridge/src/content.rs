//! What a message, a question or a reply may hold: how much, and how deeply nested. Pure.
//!
//! Data stays JSON text from sender to reader, so that numbers arrive unchanged. It becomes a [`Value`] only for bot code in
//! Rust, and for peers that do not know the text.

use std::fmt;

use altergolden_proto::convert;
use fleet_model::{Classified, ErrorClass};
use serde::de::IgnoredAny;
use serde_json::Value;

/// The largest data and the largest reply, in bytes of JSON text.
pub const LARGEST: usize = event_bus::MAX_BODY;

/// The most shards that one question may go to.
pub const MOST_SHARDS: usize = fleet_model::MAX_SHARDS as usize;

/// The longest type, in characters.
const LONGEST_TYPE: usize = 100;

/// Characters of a number that an error shows.
const LONGEST_NUMBER: usize = 40;

/// The deepest nesting of lists and objects. Protobuf's readers take 100 messages within each other, and an object takes three
/// (`Value`, `Struct`, the entry); what is around it takes some too.
const DEEPEST: usize = 30;

/// A message or a question is not as it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContent {
    /// The type is empty or too long.
    #[error("type takes 1 to {LONGEST_TYPE} characters")]
    Type,
    /// The data is too large.
    #[error("data of {0} bytes is over the limit of {LARGEST}")]
    Size(usize),
    /// It is nested too deeply.
    #[error("data is nested deeper than {DEEPEST} levels")]
    Depth,
    /// Not JSON.
    #[error("data is invalid JSON: {0}")]
    Json(String),
    /// Bot code in Rust would get another number.
    #[error("data holds {0}, a number that does not fit into 64 bits: send it as a string")]
    Number(String),
}

impl Classified for InvalidContent {
    fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

/// Outgoing data: JSON text, and a protobuf value for peers that do not know the text.
#[derive(Clone, PartialEq)]
pub struct Data {
    pub(crate) value: prost_types::Value,
    /// Empty when the value is exact.
    pub(crate) json: String,
}

impl fmt::Debug for Data {
    /// Leaves out the data, which is the bot's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data").finish_non_exhaustive()
    }
}

impl Data {
    /// Data from JSON text, with numbers of any size.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn from_text(json: &str) -> Result<Self, InvalidContent> {
        check_json(json)?;
        Ok(Self { value: value_for_old_peers(json), json: json.trim().to_owned() })
    }
}

impl From<prost_types::Value> for Data {
    fn from(value: prost_types::Value) -> Self {
        Self { value, json: String::new() }
    }
}

impl From<Value> for Data {
    fn from(json: Value) -> Self {
        let text = json.to_string();
        Self { value: convert::from_json(json), json: text }
    }
}

/// Incoming data as JSON text: the text wins over the value.
pub(crate) fn received(json: String, value: Option<prost_types::Value>) -> String {
    if json.is_empty() { convert::to_json(value.unwrap_or_default()).to_string() } else { json }
}

/// The value for peers that do not know the text; null where a number does not fit into a double.
pub(crate) fn value_for_old_peers(json: &str) -> prost_types::Value {
    convert::from_json(serde_json::from_str(json).unwrap_or_default())
}

/// The data as JSON text.
pub(crate) fn checked(kind: &str, data: &Value) -> Result<String, InvalidContent> {
    // Checked before it is written: bot code may build values of any depth.
    if nests_too_deep(data) {
        return Err(InvalidContent::Depth);
    }
    let json = data.to_string();
    check(kind, &json)?;
    Ok(json)
}

/// Checks the limits of type and data.
pub(crate) fn check(kind: &str, json: &str) -> Result<(), InvalidContent> {
    if kind.is_empty() || kind.chars().count() > LONGEST_TYPE {
        return Err(InvalidContent::Type);
    }
    if json.len() > LARGEST {
        return Err(InvalidContent::Size(json.len()));
    }
    check_json(json)?;
    let mut depth = 0_usize;
    for token in tokens(json) {
        match token {
            "[" | "{" => depth += 1,
            "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(InvalidContent::Depth);
        }
    }
    Ok(())
}

fn check_json(json: &str) -> Result<(), InvalidContent> {
    serde_json::from_str::<IgnoredAny>(json)
        .map(drop)
        .map_err(|error| InvalidContent::Json(error.to_string()))
}

/// Data for bot code in Rust: integers of up to 64 bits are exact, other numbers are doubles.
///
/// # Errors
/// A number would be changed.
pub fn exact_value(json: &str) -> Result<Value, InvalidContent> {
    for token in tokens(json).filter(|token| token.starts_with(|c: char| c == '-' || c.is_ascii_digit())) {
        let fits = if token.contains(['.', 'e', 'E']) {
            token.parse::<f64>().is_ok_and(f64::is_finite)
        } else {
            token.parse::<u64>().is_ok() || token.parse::<i64>().is_ok()
        };
        if !fits {
            return Err(InvalidContent::Number(token.chars().take(LONGEST_NUMBER).collect()));
        }
    }
    serde_json::from_str(json).map_err(|error| InvalidContent::Json(error.to_string()))
}

/// Removes whitespace between tokens, which leaves one line.
pub fn one_line(json: &str) -> String {
    tokens(json).collect()
}

/// The tokens of valid JSON text.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let first = rest.chars().next()?;
        let end = match first {
            '"' => {
                let mut is_escaped = false;
                let mut ends = rest.char_indices().skip(1).filter(|(_, c)| {
                    let is_end = *c == '"' && !is_escaped;
                    is_escaped = *c == '\\' && !is_escaped;
                    is_end
                });
                ends.next().map_or(rest.len(), |(at, _)| at + 1)
            }
            '[' | ']' | '{' | '}' | ',' | ':' => 1,
            _ => rest
                .find([' ', '\t', '\n', '\r', '[', ']', '{', '}', ',', ':', '"'])
                .unwrap_or(rest.len())
                .max(first.len_utf8()),
        };
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}

/// Whether it can't be sent, as protobuf's readers would not take it.
pub fn nests_too_deep(value: &Value) -> bool {
    deeper_than(value, DEEPEST)
}

/// Never looks further than it has to: bot code may make values of any depth.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let mut inner: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return false,
    };
    levels == 0 || inner.any(|value| deeper_than(value, levels - 1))
}

#[cfg(test)]
mod tests;
