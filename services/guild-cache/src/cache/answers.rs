//! Answers of the cache: objects as Discord's own text, and counts.

use std::sync::Arc;

use super::{Figures, Guild, Kind, ShardCache};
use crate::{
    codec::Codec,
    doubt::{Doubt, ShardDoubt},
    list::List,
    member_chunks::{MemberChunks, MemberRequest},
    object::{self, field, lossy_string, push_field},
};

/// Name, counts and state of a guild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuildInfo {
    /// `None` when guilds are not kept, the guild has not come, or its name cannot be read.
    pub name: Option<String>,
    /// `None` when the guild has been unavailable since READY.
    pub members: Option<u64>,
    /// Members that are cached.
    pub cached_members: u64,
    /// Channels without threads.
    pub channels: u32,
    /// Users connected to voice.
    pub voice_connections: u32,
    /// The guild has an outage, or has not come yet.
    pub is_unavailable: bool,
    /// The guild's GUILD_CREATE has not come yet, nor a notice of an outage.
    pub is_pending: bool,
    /// The parts of the guild that are in doubt.
    pub doubt: Doubt,
}

/// Objects of one kind in one guild at one moment, still compressed. Their texts can be unpacked without the cache's lock.
#[derive(Clone, Debug)]
pub struct Objects {
    list: List,
    codec: Arc<Codec>,
}

impl Objects {
    /// Calls `with` with the id and text of each object that has a text, in order.
    pub fn each(&self, with: impl FnMut(u64, &str)) {
        self.list.each(&self.codec, with);
    }

    /// Calls `with` with each object from this id on, in order, until it returns false.
    pub(crate) fn each_from(&self, from: u64, with: impl FnMut(u64, &str) -> bool) {
        self.list.each_from(from, &self.codec, with);
    }

    pub(crate) fn get(&self, id: u64) -> Option<String> {
        self.list.get(id, &self.codec)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

impl ShardCache {
    /// Name, counts and state of a guild.
    pub fn guild(&self, guild: u64) -> Option<GuildInfo> {
        let guild = self.guild_ref(guild)?;
        let figures = guild.figures();
        Some(GuildInfo {
            name: guild.name.as_deref().map(str::to_owned),
            members: guild.members,
            cached_members: figures.cached_members,
            channels: figures.channels,
            voice_connections: figures.voice,
            is_unavailable: guild.is_unavailable,
            is_pending: guild.is_pending,
            doubt: guild.doubt,
        })
    }

    /// A guild object with its roles, emojis and stickers. `member_count` is the current number, and `unavailable` is true in an outage.
    pub fn guild_object(&self, guild: u64) -> Option<String> {
        self.guild_ref(guild)?.object(&self.codec)
    }

    /// The sequence of the last event that changed a guild; 0 for an unknown guild.
    pub fn stamp(&self, guild: u64) -> u64 {
        self.guild_ref(guild).map_or(0, |guild| guild.stamp)
    }

    /// The sequence of the last event that a guild's members include. It can be newer than [`ShardCache::stamp`] after a restore.
    pub fn members_stamp(&self, guild: u64) -> u64 {
        self.guild_ref(guild).map_or(0, Guild::members_stamp)
    }

    /// A guild object without its lists.
    pub fn guild_fields(&self, guild: u64) -> Option<String> {
        self.guild_ref(guild)?.fields(&self.codec)
    }

    /// An object with the lists of emojis, stickers, stage instances, scheduled events and soundboard sounds of a guild that are kept.
    pub fn extras(&self, guild: u64) -> Option<String> {
        self.guild_ref(guild)?.extras.get(guild, &self.codec)
    }

    /// The current objects of a kind in a guild.
    pub fn objects(&self, guild: u64, kind: Kind) -> Objects {
        let list = self.guild_ref(guild).filter(|_| kind.is_list()).map(|guild| guild.list(kind).clone());
        Objects { list: list.unwrap_or_default(), codec: Arc::clone(&self.codec) }
    }

    /// The data of a GUILD_CREATE with the guild's current state. Its lists are in the order of ids.
    pub fn guild_create(&self, guild: u64) -> Option<String> {
        self.guild_ref(guild)?.create(&self.codec)
    }

    /// A channel or an active thread, always with its `guild_id`.
    pub fn channel(&self, guild: u64, channel: u64) -> Option<String> {
        let known = self.guild_ref(guild)?;
        let of = |kind| known.list(kind).get(channel, &self.codec);
        let mut text = of(Kind::Channels).or_else(|| of(Kind::Threads))?;
        // Discord sends `guild_id` in events and not in GUILD_CREATE.
        if !text.contains("\"guild_id\"") || field(&text, "guild_id").is_none() {
            text = object::with_new_field(text, "guild_id", &format!("\"{guild}\""));
        }
        Some(text)
    }

    /// A member with its user.
    pub fn member(&self, guild: u64, user: u64) -> Option<String> {
        self.guild_ref(guild)?.list(Kind::Members).get(user, &self.codec)
    }

    /// Cached members of a guild, as Discord answers a request for members. Whether all are cached is for the caller to check.
    pub fn member_chunks(&self, guild: u64, request: MemberRequest) -> MemberChunks {
        let (members, presences) = (self.objects(guild, Kind::Members), self.objects(guild, Kind::Presences));
        MemberChunks::new(guild, members, presences, request)
    }

    /// A role.
    pub fn role(&self, guild: u64, role: u64) -> Option<String> {
        self.guild_ref(guild)?.list(Kind::Roles).get(role, &self.codec)
    }

    /// The roles of a guild as a JSON list, lowest first. Of two roles with one position the older is the lower one
    /// ([Role](https://docs.discord.com/developers/topics/permissions#role-object)).
    pub fn roles(&self, guild: u64) -> Option<String> {
        let mut roles = Vec::new();
        self.guild_ref(guild)?.list(Kind::Roles).each(&self.codec, |id, text| {
            let position = field(text, "position").and_then(|position| position.parse::<i64>().ok());
            roles.push((position, id, text.to_owned()));
        });
        roles.sort();
        Some(array(roles.iter().map(|(_, _, text)| text.as_str())))
    }

    /// The voice states of a guild as a JSON list.
    pub fn voice_states(&self, guild: u64) -> Option<String> {
        let mut states = Vec::new();
        self.guild_ref(guild)?.list(Kind::Voice).each(&self.codec, |_, text| states.push(text.to_owned()));
        Some(array(states.iter().map(String::as_str)))
    }

    /// A user's voice state in a guild.
    pub fn voice_state(&self, guild: u64, user: u64) -> Option<String> {
        self.guild_ref(guild)?.list(Kind::Voice).get(user, &self.codec)
    }

    /// The voice channel that a user is connected to in a guild.
    pub fn voice_channel(&self, guild: u64, user: u64) -> Option<u64> {
        let voice = &self.guild_ref(guild)?.voice;
        Some(voice[voice.binary_search_by_key(&user, |(user, _)| *user).ok()?].1)
    }

    /// A user's presence in a guild.
    pub fn presence(&self, guild: u64, user: u64) -> Option<String> {
        self.guild_ref(guild)?.list(Kind::Presences).get(user, &self.codec)
    }

    /// A message.
    pub fn message(&self, channel: u64, message: u64) -> Option<String> {
        self.messages.get(channel, message, &self.rules, &self.codec)
    }

    /// The ids of the messages of a channel, oldest first.
    pub fn message_ids(&self, channel: u64) -> Vec<u64> {
        self.messages.ids(channel, &self.rules)
    }

    /// Number of messages.
    pub fn messages(&self) -> usize {
        self.messages.count(&self.rules)
    }

    /// The guilds that a user is a cached member of.
    pub fn guilds_of_user(&self, user: u64) -> Vec<u64> {
        self.users.slots(user).filter_map(|slot| Some(self.slot(slot)?.id)).collect()
    }

    /// Whether a user is a cached member of a guild.
    pub fn is_user_known(&self, user: u64) -> bool {
        self.users.slots(user).next().is_some()
    }

    /// A user, from one of the guilds where the user is cached as a member.
    pub fn user(&self, user: u64) -> Option<String> {
        let slot = self.users.slots(user).next()?;
        let member = self.slot(slot)?.list(Kind::Members).get(user, &self.codec)?;
        field(&member, "user").map(str::to_owned)
    }

    /// A user's name.
    pub fn username(&self, user: u64) -> Option<String> {
        lossy_string(field(&self.user(user)?, "username")?)
    }

    /// The bot's own user.
    pub fn own_user(&self) -> Option<&str> {
        self.own_user.as_deref()
    }

    /// The ids of the objects of a kind in a guild, in order. Members, voice states and presences have the ids of their users.
    pub fn ids(&self, guild: u64, kind: Kind) -> Vec<u64> {
        let guild = self.guild_ref(guild).filter(|_| kind.is_list());
        guild.into_iter().flat_map(|guild| guild.list(kind).ids()).collect()
    }

    /// The users connected to voice in a guild, with their channels.
    pub fn connected(&self, guild: u64) -> &[(u64, u64)] {
        self.guild_ref(guild).map_or(&[], |guild| &guild.voice)
    }

    /// The guild of a channel or an active thread. Searches each guild.
    pub fn guild_of_channel(&self, channel: u64) -> Option<u64> {
        let has = |guild: &&Guild| {
            guild.list(Kind::Channels).contains(channel) || guild.list(Kind::Threads).contains(channel)
        };
        self.each_guild().find(has).map(|guild| guild.id)
    }

    /// The ids of all guilds.
    pub fn guild_ids(&self) -> Vec<u64> {
        self.guilds.keys().copied().collect()
    }

    /// The ids of the pending guilds.
    pub fn pending_guilds(&self) -> Vec<u64> {
        self.each_guild().filter(|guild| guild.is_pending).map(|guild| guild.id).collect()
    }

    /// The figures of the shard.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Why an object that is missing from the cache may exist.
    pub fn shard_doubt(&self) -> Option<ShardDoubt> {
        self.doubt
    }

    /// Bytes of the cache, without the allocator's overhead and without the shared [`Codec`](crate::Codec).
    pub fn memory(&self) -> usize {
        let guilds: usize = self.each_guild().map(Guild::memory).sum();
        let tables = self.guilds.capacity() * (size_of::<(u64, u32)>() + 1)
            + self.slots.capacity() * size_of::<Option<Box<Guild>>>();
        size_of::<Self>() + guilds + tables + self.users.memory() + self.messages.memory()
    }

    /// Bytes by purpose, for measurements.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        let sum = |size: &dyn Fn(&Guild) -> usize| self.each_guild().map(size).sum::<usize>();
        let mut sizes = vec![
            ("guild", sum(&|_| size_of::<Guild>())),
            ("core", sum(&|guild| guild.core.memory())),
            ("extras", sum(&|guild| guild.extras.memory())),
            ("users", self.users.memory()),
        ];
        for kind in Kind::LISTS {
            sizes.push((kind.list_name(), sum(&|guild| guild.list(kind).memory())));
        }
        sizes
    }

    fn slot(&self, slot: u32) -> Option<&Guild> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(super) fn each_guild(&self) -> impl Iterator<Item = &Guild> {
        self.slots.iter().filter_map(Option::as_deref)
    }
}

/// The texts of some fields of an object; `None` for each missing field, and for all when `text` is not an object.
pub fn read_fields<'a, const N: usize>(text: &'a str, names: [&str; N]) -> [Option<&'a str>; N] {
    object::fields(text, names)
}

/// The texts of a list's elements; `None` when `text` is not a list.
pub fn read_elements(text: &str) -> Option<Vec<&str>> {
    object::elements(text)
}

/// The text of a JSON string, with U+FFFD in place of half a surrogate pair; `None` for anything else.
pub fn read_string(raw: &str) -> Option<String> {
    lossy_string(raw)
}

/// An object with only the named fields.
pub fn only_fields(text: &str, names: &[String]) -> String {
    let mut picked = String::new();
    for (key, value) in object::all_fields(text) {
        if names.iter().any(|name| object::is_key(key, name)) {
            push_field(&mut picked, key, value);
        }
    }
    object::close(picked)
}

fn array<'a>(elements: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::from("[");
    for element in elements {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(element);
    }
    text.push(']');
    text
}
