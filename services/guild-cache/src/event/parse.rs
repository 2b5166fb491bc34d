//! Reads each kind of event: its name, the guild, and the changes.

use std::borrow::Cow;

use super::{
    Broken, Event, GuildText, Kind, Losses, Parsed, Part, Reaction, Scan, element, elements, extra_id, field,
    fields, id, list, read_all,
};
use crate::{object, rules::Resources};

/// Reads an event from its name and the text of its data. `None` for an event that the cache does not use.
///
/// # Errors
/// The text is not JSON, or a required id is missing.
pub(crate) fn parse<'a>(
    name: &str,
    data: &'a str,
    resources: Resources,
) -> Result<Option<Parsed<'a>>, Broken> {
    if !is_used(name, resources) {
        return Ok(None);
    }
    let mut losses = Losses::default();
    let Some((guild, event)) = read(name, data, &mut losses)? else { return Ok(None) };
    Ok(Some(Parsed { guild, event, losses }))
}

/// Whether a cache of these resources uses events of this name.
pub fn is_used(name: &str, resources: Resources) -> bool {
    let any = |wanted: &[Resources]| wanted.iter().any(|resource| resources.has(*resource));
    let starts_with = |prefix: &str| name.starts_with(prefix);
    match name {
        // These events change counts.
        "GUILD_CREATE"
        | "GUILD_UPDATE"
        | "GUILD_DELETE"
        | "CHANNEL_CREATE"
        | "CHANNEL_UPDATE"
        | "CHANNEL_DELETE"
        | "VOICE_STATE_UPDATE"
        | "GUILD_MEMBER_ADD"
        | "GUILD_MEMBER_REMOVE" => true,
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" | "GUILD_ROLE_DELETE" => any(&[Resources::ROLES]),
        "GUILD_MEMBER_UPDATE" => any(&[Resources::MEMBERS]),
        "GUILD_MEMBERS_CHUNK" => any(&[Resources::MEMBERS, Resources::PRESENCES]),
        "PRESENCE_UPDATE" => any(&[Resources::PRESENCES]),
        "GUILD_EMOJIS_UPDATE" => any(&[Resources::EMOJIS]),
        "GUILD_STICKERS_UPDATE" => any(&[Resources::STICKERS]),
        "USER_UPDATE" => any(&[Resources::OWN_USER]),
        "THREAD_DELETE" => any(&[Resources::CHANNELS, Resources::MESSAGES]),
        _ if starts_with("CHANNEL_") || starts_with("THREAD_") || starts_with("VOICE_CHANNEL_") => {
            any(&[Resources::CHANNELS])
        }
        _ if starts_with("STAGE_INSTANCE_") => any(&[Resources::STAGE_INSTANCES]),
        _ if starts_with("GUILD_SCHEDULED_EVENT_") => any(&[Resources::SCHEDULED_EVENTS]),
        _ if starts_with("GUILD_SOUNDBOARD_SOUND") => any(&[Resources::GUILDS]),
        _ if starts_with("MESSAGE_REACTION_") => resources.has(Resources::MESSAGES.and(Resources::REACTIONS)),
        _ if starts_with("MESSAGE_") => any(&[Resources::MESSAGES]),
        _ => false,
    }
}

type Read<'a> = Result<Option<(Option<u64>, Event<'a>)>, Broken>;

fn read<'a>(name: &str, data: &'a str, losses: &mut Losses) -> Read<'a> {
    match name {
        "GUILD_CREATE" | "GUILD_UPDATE" => guild(name, data, losses),
        "GUILD_DELETE" => {
            let [guild, unavailable] = all(data, ["id", "unavailable"])?;
            // A flag that cannot be read counts as an outage, because an outage removes nothing.
            let is_left = matches!(unavailable, None | Some("false" | "null"));
            done(required(guild)?, if is_left { Event::Left } else { Event::Outage })
        }
        "CHANNEL_CREATE" | "CHANNEL_UPDATE" => {
            let Some((guild, element)) = of_guild(Kind::Channels, data, losses)? else { return Ok(None) };
            done(guild, Event::PutChannel { element })
        }
        "CHANNEL_DELETE" => remove(Kind::Channels, data),
        "VOICE_STATE_UPDATE" => voice(data, losses),
        "GUILD_MEMBER_ADD" => {
            let Some((guild, element)) = of_guild(Kind::Members, data, losses)? else { return Ok(None) };
            done(guild, Event::Joined { element })
        }
        "GUILD_MEMBER_REMOVE" => {
            let [guild, user] = all(data, ["guild_id", "user"])?;
            let user = required(user.and_then(|user| field(user, "id")))?;
            done(required(guild)?, Event::Remove { kind: Kind::Members, id: user })
        }
        _ if name.starts_with("CHANNEL_")
            || name.starts_with("THREAD_")
            || name.starts_with("VOICE_CHANNEL_") =>
        {
            channel(name, data, losses)
        }
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => {
            let [guild, role] = all(data, ["guild_id", "role"])?;
            let mut scan = Scan::new(role.ok_or(Broken)?);
            let element = element(&mut scan, Kind::Roles, losses)?.ok_or(Broken)?;
            done(required(guild)?, Event::Put { kind: Kind::Roles, element })
        }
        "GUILD_ROLE_DELETE" => {
            let [guild, role] = all(data, ["guild_id", "role_id"])?;
            done(required(guild)?, Event::Remove { kind: Kind::Roles, id: required(role)? })
        }
        "GUILD_MEMBER_UPDATE" => {
            let Some((guild, element)) = of_guild(Kind::Members, data, losses)? else { return Ok(None) };
            done(guild, Event::Merge { kind: Kind::Members, element, adds: false })
        }
        "GUILD_MEMBERS_CHUNK" => {
            let [guild, members, presences] = all(data, ["guild_id", "members", "presences"])?;
            let mut of = |raw: Option<&'a str>, kind| {
                raw.filter(|raw| *raw != "null")
                    .map_or(Ok(Vec::new()), |raw| list(&mut Scan::new(raw), kind, losses))
            };
            let event = Event::Chunk {
                members: of(members, Kind::Members)?,
                presences: of(presences, Kind::Presences)?,
            };
            done(required(guild)?, event)
        }
        "PRESENCE_UPDATE" => put(Kind::Presences, data, losses),
        "GUILD_EMOJIS_UPDATE" => extra_list("emojis", data),
        "GUILD_STICKERS_UPDATE" => extra_list("stickers", data),
        "GUILD_SOUNDBOARD_SOUNDS_UPDATE" => extra_list("soundboard_sounds", data),
        "STAGE_INSTANCE_CREATE" | "STAGE_INSTANCE_UPDATE" | "STAGE_INSTANCE_DELETE" => {
            extra("stage_instances", name, data, losses)
        }
        "GUILD_SCHEDULED_EVENT_USER_ADD" | "GUILD_SCHEDULED_EVENT_USER_REMOVE" => {
            let [guild, event] = all(data, ["guild_id", "guild_scheduled_event_id"])?;
            done(required(guild)?, Event::Follows { event: required(event)?, adds: name.ends_with("_ADD") })
        }
        "GUILD_SCHEDULED_EVENT_CREATE" | "GUILD_SCHEDULED_EVENT_UPDATE" | "GUILD_SCHEDULED_EVENT_DELETE" => {
            extra("guild_scheduled_events", name, data, losses)
        }
        "GUILD_SOUNDBOARD_SOUND_CREATE"
        | "GUILD_SOUNDBOARD_SOUND_UPDATE"
        | "GUILD_SOUNDBOARD_SOUND_DELETE" => extra("soundboard_sounds", name, data, losses),
        _ if name.starts_with("MESSAGE_REACTION_") => reaction(name, data),
        _ if name.starts_with("MESSAGE_") => message(name, data, losses),
        "USER_UPDATE" => {
            let [user] = all(data, ["id"])?;
            required(user)?;
            Ok(Some((None, Event::OwnUser(data.trim()))))
        }
        _ => Ok(None),
    }
}

fn guild<'a>(name: &str, data: &'a str, losses: &mut Losses) -> Read<'a> {
    let guild = GuildText::read(data, losses)?;
    let id = guild.id;
    if name == "GUILD_UPDATE" {
        return done(id, Event::Updated(Box::new(guild)));
    }
    if guild.is_unavailable {
        return done(id, Event::Outage);
    }
    guild.count_missing(losses);
    done(id, Event::Came(Box::new(guild)))
}

fn channel<'a>(name: &str, data: &'a str, losses: &mut Losses) -> Read<'a> {
    match name {
        "CHANNEL_PINS_UPDATE" => {
            let [guild, channel, at] = all(data, ["guild_id", "channel_id", "last_pin_timestamp"])?;
            set(guild, channel, "last_pin_timestamp", Some(at.unwrap_or("null")))
        }
        "VOICE_CHANNEL_STATUS_UPDATE" => {
            let [guild, channel, status] = all(data, ["guild_id", "id", "status"])?;
            set(guild, channel, "status", Some(status.unwrap_or("null")))
        }
        "VOICE_CHANNEL_START_TIME_UPDATE" => {
            let [guild, channel, time] = all(data, ["guild_id", "id", "voice_start_time"])?;
            set(guild, channel, "voice_start_time", Some(time.unwrap_or("null")))
        }
        "THREAD_CREATE" | "THREAD_UPDATE" => {
            let Some((guild, (id, text))) = of_guild(Kind::Threads, data, losses)? else { return Ok(None) };
            let archived = field(&text, "thread_metadata").and_then(|metadata| field(metadata, "archived"));
            done(
                guild,
                // GUILD_CREATE, too, lists only active threads.
                if archived == Some("true") {
                    Event::Remove { kind: Kind::Threads, id }
                } else if name == "THREAD_CREATE" {
                    Event::Put { kind: Kind::Threads, element: (id, text) }
                } else {
                    Event::Merge { kind: Kind::Threads, element: (id, text), adds: true }
                },
            )
        }
        "THREAD_DELETE" => remove(Kind::Threads, data),
        "THREAD_MEMBER_UPDATE" => {
            // The bot's own membership, as in GUILD_CREATE.
            let object = read_all(data, ["guild_id", "id"], &["guild_id"])?;
            let [guild, thread] = object.found;
            let member = Event::Set {
                kinds: &[Kind::Threads],
                id: required(thread)?,
                field: "member",
                value: Some(object.text),
            };
            guild.map_or(Ok(None), |guild| done(required(Some(guild))?, member))
        }
        "THREAD_MEMBERS_UPDATE" => {
            let wanted = ["guild_id", "id", "member_count", "added_members", "removed_member_ids"];
            let [guild, thread, count, added, removed] = all(data, wanted)?;
            let added = added.and_then(elements).unwrap_or_default().into_iter().filter_map(thread_member);
            let removed = removed.and_then(elements).unwrap_or_default().into_iter().filter_map(id);
            let (added, removed) = (added.collect(), removed.collect());
            done(required(guild)?, Event::ThreadMembers { thread: required(thread)?, count, added, removed })
        }
        "THREAD_LIST_SYNC" => thread_sync(data, losses),
        _ => Ok(None),
    }
}

/// A user in a thread, as a thread's `member`.
fn thread_member(text: &str) -> Option<super::Element<'_>> {
    let object = read_all(text, ["user_id"], &["member", "presence"]).ok()?;
    Some((id(object.found[0]?)?, object.text))
}

fn thread_sync<'a>(data: &'a str, losses: &mut Losses) -> Read<'a> {
    let [guild, parents, threads, members] = all(data, ["guild_id", "channel_ids", "threads", "members"])?;
    let parents = match parents.filter(|parents| *parents != "null") {
        None => None,
        Some(parents) => {
            let parents: Vec<_> = elements(parents).ok_or(Broken)?.into_iter().map(id).collect();
            // An id that cannot be read may be the id of any channel.
            losses.add(Part::Thread, parents.iter().filter(|parent| parent.is_none()).count());
            let mut parents: Vec<u64> = parents.into_iter().flatten().collect();
            parents.sort_unstable();
            Some(parents)
        }
    };
    let mut threads = list(&mut Scan::new(threads.ok_or(Broken)?), Kind::Threads, losses)?;
    for member in members.and_then(elements).unwrap_or_default() {
        let Some(thread) = field(member, "id").and_then(id) else { continue };
        if let Ok(place) = threads.binary_search_by_key(&thread, |(id, _)| *id) {
            let with = object::with_field(&threads[place].1, "member", member);
            threads[place].1 = with.into();
        }
    }
    done(required(guild)?, Event::Threads { parents, threads })
}

fn voice<'a>(data: &'a str, losses: &mut Losses) -> Read<'a> {
    let object = read_all(data, ["guild_id", "user_id", "channel_id", "member"], &["guild_id", "member"])?;
    let [guild, user, channel, member] = object.found;
    // A call outside guilds.
    let Some(guild) = guild.filter(|guild| *guild != "null") else { return Ok(None) };
    losses.add(Part::Field, object.lost);
    let channel = match channel {
        None | Some("null") => None,
        Some(channel) => Some(id(channel).ok_or(Broken)?),
    };
    let member = match member.filter(|member| member.starts_with('{')) {
        Some(member) => element(&mut Scan::new(member), Kind::Members, losses)?,
        None => None,
    };
    done(required(Some(guild))?, Event::Voice { user: required(user)?, channel, text: object.text, member })
}

fn extra_list<'a>(list: &'static str, data: &'a str) -> Read<'a> {
    let [guild, value] = all(data, ["guild_id", list])?;
    let value = value.filter(|value| value.starts_with('[')).ok_or(Broken)?;
    done(required(guild)?, Event::Extra { list, value })
}

fn extra<'a>(list: &'static str, name: &str, data: &'a str, losses: &mut Losses) -> Read<'a> {
    let object = read_all(data, ["guild_id", extra_id(list), "status"], &[])?;
    let [guild, id, status] = object.found;
    let (guild, id) = (required(guild)?, required(id)?);
    losses.add(Part::Field, object.lost);
    // Status 3 is completed and 4 is canceled. Both are final, and GUILD_CREATE lists neither.
    let has_ended = list == "guild_scheduled_events" && matches!(status, Some("3" | "4"));
    done(
        guild,
        if has_ended || name.ends_with("_DELETE") {
            Event::RemoveExtra { list, id }
        } else {
            Event::PutExtra { list, element: (id, object.text) }
        },
    )
}

fn message<'a>(name: &str, data: &'a str, losses: &mut Losses) -> Read<'a> {
    let object = read_all(data, ["guild_id", "channel_id", "id", "ids"], &[])?;
    let [guild, channel, message, ids] = object.found;
    // Messages outside guilds have no guild.
    let guild = guild.filter(|guild| *guild != "null").map(|guild| required(Some(guild))).transpose()?;
    let channel = required(channel)?;
    losses.add(Part::Field, object.lost);
    let event = match name {
        "MESSAGE_CREATE" => Event::Message { channel, element: (required(message)?, object.text) },
        "MESSAGE_UPDATE" => Event::MessageUpdate { channel, id: required(message)?, patch: object.text },
        "MESSAGE_DELETE" => Event::MessagesGone { channel, ids: vec![required(message)?] },
        "MESSAGE_DELETE_BULK" => {
            let ids = ids.and_then(elements).ok_or(Broken)?;
            Event::MessagesGone { channel, ids: ids.into_iter().filter_map(id).collect() }
        }
        _ => return Ok(None),
    };
    Ok(Some((guild, event)))
}

fn reaction<'a>(name: &str, data: &'a str) -> Read<'a> {
    let wanted = ["guild_id", "channel_id", "message_id", "user_id", "emoji", "burst"];
    let [guild, channel, message, user, emoji, burst] = all(data, wanted)?;
    let guild = guild.filter(|guild| *guild != "null").map(|guild| required(Some(guild))).transpose()?;
    let is_burst = burst == Some("true");
    let emoji = emoji.filter(|emoji| emoji.starts_with('{'));
    let reaction = match name {
        "MESSAGE_REACTION_ADD" => {
            Reaction::Added { user: required(user)?, emoji: emoji.ok_or(Broken)?, is_burst }
        }
        "MESSAGE_REACTION_REMOVE" => {
            Reaction::Removed { user: required(user)?, emoji: emoji.ok_or(Broken)?, is_burst }
        }
        "MESSAGE_REACTION_REMOVE_EMOJI" => Reaction::EmojiRemoved { emoji: emoji.ok_or(Broken)? },
        "MESSAGE_REACTION_REMOVE_ALL" => Reaction::AllRemoved,
        _ => return Ok(None),
    };
    Ok(Some((guild, Event::Reaction { channel: required(channel)?, message: required(message)?, reaction })))
}

fn put<'a>(kind: Kind, data: &'a str, losses: &mut Losses) -> Read<'a> {
    let Some((guild, element)) = of_guild(kind, data, losses)? else { return Ok(None) };
    done(guild, Event::Put { kind, element })
}

fn remove(kind: Kind, data: &str) -> Read<'_> {
    let [guild, object] = all(data, ["guild_id", "id"])?;
    let Some(guild) = guild else { return Ok(None) };
    done(required(Some(guild))?, Event::Remove { kind, id: required(object)? })
}

fn set<'a>(
    guild: Option<&str>,
    channel: Option<&str>,
    field: &'static str,
    value: Option<&'a str>,
) -> Read<'a> {
    // Pins of a channel outside guilds.
    let Some(guild) = guild else { return Ok(None) };
    let (id, value) = (required(channel)?, value.map(Cow::Borrowed));
    done(required(Some(guild))?, Event::Set { kinds: &[Kind::Channels, Kind::Threads], id, field, value })
}

/// An object with its guild; `None` without a guild.
fn of_guild<'a>(
    kind: Kind,
    data: &'a str,
    losses: &mut Losses,
) -> Result<Option<(u64, super::Element<'a>)>, Broken> {
    let object = read_all(data, ["guild_id", kind.deciding_fields()[0]], kind.dropped_fields())?;
    let Some(guild) = object.found[0] else { return Ok(None) };
    losses.add(Part::Field, object.lost);
    let id = kind.id_of(object.found[1]).filter(|_| object.text.len() <= super::LARGEST_OBJECT);
    Ok(Some((required(Some(guild))?, (id.ok_or(Broken)?, object.text))))
}

fn all<'a, const N: usize>(data: &'a str, wanted: [&str; N]) -> Result<[Option<&'a str>; N], Broken> {
    Ok(read_all(data, wanted, &[])?.found)
}

fn required(raw: Option<&str>) -> Result<u64, Broken> {
    raw.and_then(id).ok_or(Broken)
}

#[allow(clippy::unnecessary_wraps, reason = "most readers of events end with it")]
fn done(guild: u64, event: Event<'_>) -> Read<'_> {
    Ok(Some((Some(guild), event)))
}

/// The guild of an event; `None` if it cannot be read.
pub(crate) fn guild_of(name: &str, data: &str) -> Option<u64> {
    let field =
        if matches!(name, "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE") { "id" } else { "guild_id" };
    fields(data, [field])[0].and_then(id)
}
