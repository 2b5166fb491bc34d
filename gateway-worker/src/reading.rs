//! Reads Discord's events part by part, so that one odd field does not cost the whole event.
//!
//! Turns a dispatch's text into twilight's types. Normally twilight reads the whole event at once. Otherwise [`mend`]
//! reads its parts: ids are required, an unreadable field is replaced by the cached value or a default ([`least`]), an
//! unreadable list element is left out. [`Odd`] lists the losses. Bot code still gets the original text. No error
//! contains any of the payload.

use serde::{Deserialize, de::DeserializeSeed as _};
use serde_json::{Map, Value, value::RawValue};
use twilight_model::{
    gateway::{
        event::{DispatchEventWithTypeDeserializer, Event, EventType},
        payload::incoming::GuildCreate,
    },
    guild::{Guild, UnavailableGuild},
    id::{Id, marker::GuildMarker},
    user::CurrentUser,
};

mod json;
mod least;
mod mend;
mod odd;

pub(crate) use least::is_structural;
pub(crate) use odd::{Doubt, Odd, Part, ShardDoubt};

use mend::Mend;

/// An event, and what could not be read of it.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) event: Event,
    pub(crate) odd: Odd,
}

/// An event without one of its ids, or that is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads a dispatch. `known` returns the cached object that an update changes; it is called only for an update that
/// cannot be read whole.
pub(crate) fn read(
    name: &str,
    text: &str,
    known: impl FnOnce(&Value) -> Option<Value>,
) -> Result<Reading, Unreadable> {
    let data = data_of(text).ok_or(Unreadable)?;
    let mut odd = Odd::default();
    if let Ok(event) = parse(name, data.get()) {
        if is_without_channels(&event, data) {
            odd.lost(Part::Channel, 1);
        }
        return Ok(Reading { event, odd });
    }
    let given = json::tolerant(data, &mut odd).ok_or(Unreadable)?;
    if name == "GUILD_CREATE" && given.get("unavailable") == Some(&Value::Bool(true)) {
        // An outage; the rest does not matter.
        let id = least::id_of(&given["id"]).and_then(Id::new_checked).ok_or(Unreadable)?;
        return Ok(Reading { event: outage(id), odd });
    }
    let least = least::of_event(name).and_then(|least| least::fill(least, &given)).ok_or(Unreadable)?;
    let known = known(&least);
    let fits = &mut |text: &str| parse(name, text).is_ok();
    let mended =
        Mend::new(&mut odd, fits).event(Part::of_event(name), least, known, given).ok_or(Unreadable)?;
    let event = parse(name, &mended.to_string()).map_err(|_| Unreadable)?;
    Ok(Reading { event, odd })
}

/// Reads a payload without mending it; `None` for an event that twilight does not know.
///
/// # Errors
/// The payload does not match twilight's types.
pub(crate) fn whole(name: &str, text: &str) -> Result<Option<Event>, serde_json::Error> {
    let envelope: Envelope<'_> = serde_json::from_str(text)?;
    EventType::try_from(name).is_ok().then(|| parse(name, envelope.d.get())).transpose()
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
    pub(crate) guilds: Vec<u64>,
    /// READY named unreadable guilds: more than `guilds` will come.
    pub(crate) more_guilds: bool,
    pub(crate) own_user: Option<CurrentUser>,
    pub(crate) odd: Odd,
}

/// Reads READY part by part. Only a session id within its bound is required.
pub(crate) fn session_start(text: &str) -> Result<SessionStart, Unreadable> {
    let mut odd = Odd::default();
    let given = json::tolerant(data_of(text).ok_or(Unreadable)?, &mut odd).ok_or(Unreadable)?;
    let text_of = |name: &str, longest: usize| {
        let text = given.get(name).and_then(Value::as_str).filter(|text| text.len() <= longest);
        text.unwrap_or_default().to_owned()
    };
    let session_id = text_of("session_id", LONGEST_SESSION_ID);
    if session_id.is_empty() {
        return Err(Unreadable);
    }
    let resume_url = text_of("resume_gateway_url", LONGEST_RESUME_URL);
    if resume_url.is_empty() {
        odd.mended(Part::Session, 1);
    }
    let named: Option<&Vec<Value>> = given.get("guilds").and_then(Value::as_array);
    let guilds: Vec<u64> =
        named.into_iter().flatten().filter_map(|guild| least::id_of(guild.get("id")?)).collect();
    let unreadable = named.map_or(1, |named| named.len() - guilds.len());
    odd.lost(Part::Guild, unreadable);
    let shard = given.get("shard").and_then(|shard| match shard.as_array()?.as_slice() {
        [number, total] => Some((number.as_u64()?, total.as_u64()?)),
        _ => None,
    });
    let own_user = own_user(given.get("user").cloned().unwrap_or_default(), &mut odd);
    Ok(SessionStart { session_id, resume_url, shard, guilds, more_guilds: unreadable > 0, own_user, odd })
}

fn own_user(given: Value, odd: &mut Odd) -> Option<CurrentUser> {
    let read = |text: &str| serde_json::from_str(text).ok();
    if let Some(user) = read(&given.to_string()) {
        return Some(user);
    }
    let fits = &mut |text: &str| read(text).is_some();
    let mended = least::fill(least::own_user(), &given)
        .and_then(|least| Mend::new(odd, fits).event(Part::User, least, None, given));
    let user = mended.and_then(|user| read(&user.to_string()));
    if user.is_none() {
        odd.lost(Part::User, 1);
    }
    user
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    d: &'a RawValue,
}

fn data_of(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<Envelope<'_>>(text).ok().map(|envelope| envelope.d)
}

/// twilight's own parser, which takes all or nothing. It reads only text: twilight's types are compiled again for each other source.
fn parse(name: &str, data: &str) -> Result<Event, serde_json::Error> {
    if name == "GUILD_CREATE" {
        // twilight's enum is untagged: it buffers the whole guild, and takes an odd one for an outage.
        let guild = serde_json::from_str::<Guild>(data)?;
        return Ok(match guild.unavailable {
            Some(true) => outage(guild.id),
            _ => Event::GuildCreate(Box::new(GuildCreate::Available(guild))),
        });
    }
    let mut data = serde_json::Deserializer::from_str(data);
    DispatchEventWithTypeDeserializer::new(name).deserialize(&mut data).map(Event::from)
}

fn outage(id: Id<GuildMarker>) -> Event {
    Event::GuildCreate(Box::new(GuildCreate::Unavailable(UnavailableGuild { id, unavailable: true })))
}

/// Whether the channels are missing, which twilight reads as an empty list.
fn is_without_channels(event: &Event, data: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Channels<'a> {
        #[serde(borrow)]
        channels: Option<&'a RawValue>,
    }
    let Event::GuildCreate(created) = event else { return false };
    matches!(&**created, GuildCreate::Available(guild) if guild.channels.is_empty())
        && serde_json::from_str::<Channels<'_>>(data.get()).is_ok_and(|guild| guild.channels.is_none())
}

/// Merges `given` over `base`, object by object.
fn overlay(base: &Map<String, Value>, given: &Map<String, Value>) -> Map<String, Value> {
    let mut all = base.clone();
    for (key, value) in given {
        match (all.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => *below = overlay(below, above),
            _ => {
                all.insert(key.clone(), value.clone());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
