//! Events as the cache applies them, read from Discord's text. Reading does not depend on what the cache holds.
//!
//! Only the fields that the cache needs are read: ids, a guild's name and counts, the channel of a voice state, whether a thread is archived.
//! The rest is passed on as text, so a field of an unexpected type does no harm. An element without an id, or one that is too large, is
//! left out and counted; so is a field that nests too deep.

use std::borrow::Cow;

use crate::{
    doubt::{Losses, Part},
    key::Kind,
    object::{self, elements, field, fields, id, read_all},
    rules::{LARGEST_OBJECT, most},
    scan::{Broken, Scan},
};

mod guild_create;
mod parse;

pub(crate) use guild_create::GuildText;
pub use parse::is_used;
pub(crate) use parse::{guild_of, parse};

/// An object with its id.
pub(crate) type Element<'a> = (u64, Cow<'a, str>);

/// The change that an event makes.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The guild came, for the first time or again. Replaces the known guild.
    Came(Box<GuildText<'a>>),
    /// The guild's own fields have changed.
    Updated(Box<GuildText<'a>>),
    /// The guild has an outage. The known guild stays.
    Outage,
    /// The bot is no longer in the guild.
    Left,
    /// Adds or replaces an object.
    Put { kind: Kind, element: Element<'a> },
    /// Adds or replaces a channel. Fields that Discord sends in events of their own stay.
    PutChannel { element: Element<'a> },
    /// Sets the fields of an object that the event has; other fields stay. `adds`: a missing object is added.
    Merge { kind: Kind, element: Element<'a>, adds: bool },
    /// Sets or removes one field of an object.
    Set { kinds: &'static [Kind], id: u64, field: &'static str, value: Option<Cow<'a, str>> },
    /// Removes an object.
    Remove { kind: Kind, id: u64 },
    /// The active threads of some channels, or of all. `parents`: the ids of these channels, sorted.
    Threads { parents: Option<Vec<u64>>, threads: Vec<Element<'a>> },
    /// Users were added to a thread, or removed from it.
    ThreadMembers { thread: u64, count: Option<&'a str>, added: Vec<Element<'a>>, removed: Vec<u64> },
    /// A member has joined.
    Joined { element: Element<'a> },
    /// Members that a client has requested.
    Chunk { members: Vec<Element<'a>>, presences: Vec<Element<'a>> },
    /// A user has joined, left or changed in voice.
    Voice { user: u64, channel: Option<u64>, text: Cow<'a, str>, member: Option<Element<'a>> },
    /// Replaces a list of the extras.
    Extra { list: &'static str, value: &'a str },
    /// Adds or replaces an element of a list of the extras.
    PutExtra { list: &'static str, element: Element<'a> },
    /// Removes an element of a list of the extras.
    RemoveExtra { list: &'static str, id: u64 },
    /// A user starts or stops to follow a scheduled event.
    Follows { event: u64, adds: bool },
    /// A message was sent.
    Message { channel: u64, element: Element<'a> },
    /// A message has changed.
    MessageUpdate { channel: u64, id: u64, patch: Cow<'a, str> },
    /// Messages were deleted.
    MessagesGone { channel: u64, ids: Vec<u64> },
    /// Reactions to a message have changed.
    Reaction { channel: u64, message: u64, reaction: Reaction<'a> },
    /// The bot's own user.
    OwnUser(&'a str),
}

/// A change to the reactions of a message.
#[derive(Debug)]
pub(crate) enum Reaction<'a> {
    Added { user: u64, emoji: &'a str, is_burst: bool },
    Removed { user: u64, emoji: &'a str, is_burst: bool },
    EmojiRemoved { emoji: &'a str },
    AllRemoved,
}

/// An event and its guild.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) guild: Option<u64>,
    pub(crate) event: Event<'a>,
    pub(crate) losses: Losses,
}

/// The lists of a guild that are kept in one block, because they are rarely large and rarely change.
pub(crate) const EXTRAS: [&str; 5] =
    ["emojis", "stickers", "stage_instances", "guild_scheduled_events", "soundboard_sounds"];

/// The name of the id field in the elements of a list of the extras.
pub(crate) fn extra_id(list: &str) -> &'static str {
    if list == "soundboard_sounds" { "sound_id" } else { "id" }
}

impl Kind {
    pub(crate) const fn part(self) -> Part {
        match self {
            Self::Core | Self::Extras => Part::Guild,
            Self::Channels => Part::Channel,
            Self::Threads => Part::Thread,
            Self::Roles => Part::Role,
            Self::Members => Part::Member,
            Self::Voice => Part::VoiceState,
            Self::Presences => Part::Presence,
        }
    }

    /// The field that holds an object's id or its user, and one more field that the cache needs.
    const fn deciding_fields(self) -> [&'static str; 2] {
        match self {
            Self::Core | Self::Extras | Self::Channels | Self::Roles => ["id", ""],
            Self::Threads => ["id", "thread_metadata"],
            Self::Members | Self::Presences => ["user", ""],
            Self::Voice => ["user_id", "channel_id"],
        }
    }

    /// Fields that belong to the event and not to the object, or that the cache keeps elsewhere.
    const fn dropped_fields(self) -> &'static [&'static str] {
        match self {
            Self::Core | Self::Extras | Self::Channels | Self::Roles => &[],
            Self::Threads => &["newly_created"],
            Self::Members | Self::Presences => &["guild_id"],
            Self::Voice => &["guild_id", "member"],
        }
    }

    /// The id of an object, from the first of its [deciding fields](Self::deciding_fields).
    fn id_of(self, found: Option<&str>) -> Option<u64> {
        match self {
            Self::Members | Self::Presences => id(field(found?, "id")?),
            _ => id(found?),
        }
    }
}

/// Reads the object of a kind that comes next in the text. `None` when the object is left out.
pub(crate) fn element<'a>(
    scan: &mut Scan<'a>,
    kind: Kind,
    losses: &mut Losses,
) -> Result<Option<Element<'a>>, Broken> {
    if scan.peek() != Some(b'{') {
        scan.value()?;
        losses.add(kind.part(), 1);
        return Ok(None);
    }
    let object = object::read(scan, kind.deciding_fields(), kind.dropped_fields())?;
    losses.add(Part::Field, object.lost);
    let id = kind.id_of(object.found[0]).filter(|_| object.text.len() <= LARGEST_OBJECT);
    let is_kept = match (kind, object.found[1]) {
        // The user is not connected.
        (Kind::Voice, None | Some("null")) if id.is_some() => return Ok(None),
        (Kind::Voice, channel) => channel.and_then(object::id).is_some(),
        _ => true,
    };
    let found = id.filter(|_| is_kept).map(|id| (id, object.text));
    losses.add(kind.part(), usize::from(found.is_none()));
    Ok(found)
}

/// Reads the list of objects that comes next in the text. Sorts it by id. If an id comes twice, the last object counts.
fn list<'a>(scan: &mut Scan<'a>, kind: Kind, losses: &mut Losses) -> Result<Vec<Element<'a>>, Broken> {
    let mut list = Vec::new();
    let mut is_first = true;
    scan.enter_list()?;
    while scan.next_element(&mut is_first)? {
        match element(scan, kind, losses)? {
            Some(_) if list.len() >= most(kind) => losses.add(kind.part(), 1),
            Some(found) => list.push(found),
            None => {}
        }
    }
    list.sort_by_key(|(id, _)| *id);
    if list.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        list.reverse();
        list.dedup_by_key(|(id, _)| *id);
        list.reverse();
    }
    Ok(list)
}
