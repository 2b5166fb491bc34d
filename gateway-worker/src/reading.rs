//! Reads READY part by part, and other events as twilight's types for bot code. The cache reads its events itself.
//!
//! No error contains a part of the payload.

use guild_cache::{SessionGuilds, read_elements, read_fields, read_string};
use serde::de::DeserializeSeed as _;
use twilight_model::{
    gateway::{
        event::{DispatchEventWithTypeDeserializer, Event, EventType},
        payload::incoming::GuildCreate,
    },
    guild::{Guild, UnavailableGuild},
};

use crate::payload::Payload;

/// READY has no usable session id, or is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads a payload; `None` for an event that twilight does not know.
///
/// # Errors
/// The payload does not match twilight's types.
pub(crate) fn whole(name: &str, text: &str) -> Result<Option<Event>, serde_json::Error> {
    if EventType::try_from(name).is_err() {
        return Ok(None);
    }
    with_data(name, text, |data| parse(name, data)).map(Some)
}

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

/// twilight's own parser, which takes all or nothing. It reads only text: twilight's types are compiled again for each other source.
fn parse(name: &str, data: &str) -> Result<Event, serde_json::Error> {
    if name == "GUILD_CREATE" {
        // twilight's enum is untagged: it buffers the whole guild, and takes an odd one for an outage.
        let guild = serde_json::from_str::<Guild>(data)?;
        return Ok(match guild.unavailable {
            Some(true) => {
                let guild = UnavailableGuild { id: guild.id, unavailable: true };
                Event::GuildCreate(Box::new(GuildCreate::Unavailable(guild)))
            }
            _ => Event::GuildCreate(Box::new(GuildCreate::Available(guild))),
        });
    }
    let mut data = serde_json::Deserializer::from_str(data);
    let event = DispatchEventWithTypeDeserializer::new(name).deserialize(&mut data).map(Event::from)?;
    data.end()?;
    Ok(event)
}
