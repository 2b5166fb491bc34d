//! Reads events as twilight's types.

use serde::de::DeserializeSeed as _;
use twilight_model::{
    gateway::{
        event::{DispatchEventWithTypeDeserializer, Event, EventType},
        payload::incoming::GuildCreate,
    },
    guild::{Guild, UnavailableGuild},
};

use super::with_data;

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
