//! Reads READY part by part. The cache reads its events itself, and [`typed`] reads events for bot code.
//!
//! No error contains a part of the payload.

use guild_cache::{SessionGuilds, read_elements, read_fields, read_string};

use crate::payload::Payload;

#[cfg(feature = "typed-events")]
pub(crate) mod typed;

/// READY has no usable session id, or is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads the data of a payload. `read` must accept only a text that is exactly one JSON value.
///
/// # Errors
/// `read` failed, or the payload has no data.
pub(crate) fn with_data<'a, T>(
    name: &str,
    text: &'a str,
    read: impl Fn(&'a str) -> Result<T, serde_json::Error>,
) -> Result<T, serde_json::Error> {
    // First tries the place of the data in Discord's order of fields. If the text there is one JSON value, it is the data, because it
    // takes up the rest of the payload.
    if let Some(data) = usual_data(name, text)
        && let Ok(value) = read(data)
    {
        return Ok(value);
    }
    read(data_of(text).unwrap_or_default())
}

/// The text between the first fields of a payload in Discord's order and its last bracket.
fn usual_data<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let behind_name = text.strip_prefix(r#"{"t":""#)?.strip_prefix(name)?.strip_prefix(r#"","s":"#)?;
    let behind_sequence = behind_name.trim_start_matches(|digit: char| digit.is_ascii_digit());
    behind_sequence.strip_prefix(r#","op":0,"d":"#)?.strip_suffix('}')
}

/// The longest session id; Discord's have 32 bytes.
const LONGEST_SESSION_ID: usize = 256;
/// The longest resume URL.
const LONGEST_RESUME_URL: usize = 512;

/// The beginning of a session, from READY.
#[derive(Debug, Default)]
pub(crate) struct SessionStart {
    /// At most [`LONGEST_SESSION_ID`] bytes.
    pub(crate) session_id: String,
    /// Empty when it cannot be read: then RESUME goes to the gateway's own address.
    pub(crate) resume_url: String,
    /// The shard's number and the total; `None` when missing or unreadable.
    pub(crate) shard: Option<(u64, u64)>,
    /// The guilds and the bot's user.
    pub(crate) guilds: SessionGuilds,
}

impl SessionStart {
    /// The parts of READY that could not be read, as label values of the metric for unreadable parts.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = &'static str> {
        let SessionGuilds { names_more, own_user, .. } = &self.guilds;
        let parts =
            [(self.resume_url.is_empty(), "session"), (*names_more, "guild"), (own_user.is_none(), "user")];
        parts.into_iter().filter(|(is_unreadable, _)| *is_unreadable).map(|(_, part)| part)
    }
}

/// Reads READY part by part. `data`: the text of its field `d`. Only a session id of at most [`LONGEST_SESSION_ID`] bytes is required.
pub(crate) fn session_start(data: &str) -> Result<SessionStart, Unreadable> {
    let [session_id, resume_url, shard] = read_fields(data, ["session_id", "resume_gateway_url", "shard"]);
    let text_of = |raw: Option<&str>, longest: usize| {
        raw.and_then(read_string).filter(|text| text.len() <= longest).unwrap_or_default()
    };
    let session_id = text_of(session_id, LONGEST_SESSION_ID);
    if session_id.is_empty() {
        return Err(Unreadable);
    }
    let shard = shard.and_then(read_elements).and_then(|shard| match shard.as_slice() {
        [number, total] => Some((number.parse().ok()?, total.parse().ok()?)),
        _ => None,
    });
    Ok(SessionStart {
        session_id,
        resume_url: text_of(resume_url, LONGEST_RESUME_URL),
        shard,
        guilds: SessionGuilds::read(data),
    })
}

/// The text of an event's data; `None` when the text is not a JSON object.
fn data_of(text: &str) -> Option<&str> {
    text.get(Payload::read(text)?.data)
}
