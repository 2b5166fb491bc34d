//! The cache as bot code reads it: objects by id, as twilight's types or types of the bot's own.

use std::{error::Error, fmt, marker::PhantomData};

use guild_cache::Kind;
use serde::de::DeserializeOwned;
use twilight_model::{
    channel::{Channel, Message},
    gateway::presence::Presence,
    guild::{Guild, Member, Role},
    user::{CurrentUser, User},
    voice::VoiceState,
};

use super::ShardCache;
use crate::payload::Misplaced;

/// An object as Discord sent it, kept up to date by later events. It is parsed only when a method asks for it.
///
/// ```ignore
/// let channel = context.cache().channel(guild, channel).map(|channel| channel.parse());
///
/// #[derive(serde::Deserialize)]
/// struct Topic { topic: Option<String> }
/// let topic: Topic = context.cache().channel(guild, channel)?.parse_as()?;
/// ```
#[derive(Clone)]
pub struct CachedObject<T> {
    json: String,
    of: PhantomData<fn() -> T>,
}

impl<T> CachedObject<T> {
    fn new(json: String) -> Self {
        Self { json, of: PhantomData }
    }

    /// The object's JSON, with every field that Discord sent.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The object as twilight's type. Half a surrogate pair is read as U+FFFD.
    ///
    /// # Errors
    /// A field has a value that the type cannot hold, or a required field is missing. The error contains nothing of the object.
    pub fn parse(&self) -> Result<T, CachedObjectError>
    where
        T: DeserializeOwned,
    {
        self.parse_as()
    }

    /// The object as a type of your own, which may have only the fields that you need.
    ///
    /// # Errors
    /// The same as for [`CachedObject::parse`].
    pub fn parse_as<U: DeserializeOwned>(&self) -> Result<U, CachedObjectError> {
        let json = outside_text::without_lone_surrogates(&self.json);
        serde_json::from_str(&json).map_err(|error| CachedObjectError((&error).into()))
    }
}

impl<T> fmt::Debug for CachedObject<T> {
    /// Shows only the size, because objects contain what users wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedObject({} bytes)", self.json.len())
    }
}

/// The error for an object that does not match the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedObjectError(Misplaced);

impl fmt::Display for CachedObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cached object does not match the type: {}", self.0)
    }
}

impl Error for CachedObjectError {}

/// Objects by id. `None` means that the cache does not have the object: the `CACHE` setting or the intents exclude it, it has not come yet,
/// or it does not exist. The cache may be ahead of the event that a handler has.
impl ShardCache {
    /// A guild with all its lists, as a GUILD_CREATE sent now would have them. This reads the whole guild; [`ShardCache::guild`] is much
    /// cheaper.
    pub fn whole_guild(&self, guild: u64) -> Option<CachedObject<Guild>> {
        self.read().cache.guild_create(guild).map(CachedObject::new)
    }

    /// A channel or active thread of a guild.
    pub fn channel(&self, guild: u64, channel: u64) -> Option<CachedObject<Channel>> {
        self.read().cache.channel(guild, channel).map(CachedObject::new)
    }

    /// The guild of a channel or active thread. This searches each guild of the shard; most events name the guild themselves.
    pub fn guild_of_channel(&self, channel: u64) -> Option<u64> {
        self.read().cache.guild_of_channel(channel)
    }

    /// A role of a guild.
    pub fn role(&self, guild: u64, role: u64) -> Option<CachedObject<Role>> {
        self.read().cache.role(guild, role).map(CachedObject::new)
    }

    /// A member of a guild, with its user.
    pub fn member(&self, guild: u64, user: u64) -> Option<CachedObject<Member>> {
        self.read().cache.member(guild, user).map(CachedObject::new)
    }

    /// A user, from one of the guilds where the user is cached as a member.
    pub fn user(&self, user: u64) -> Option<CachedObject<User>> {
        self.read().cache.user(user).map(CachedObject::new)
    }

    /// The bot's own user.
    pub fn own_user(&self) -> Option<CachedObject<CurrentUser>> {
        self.read().cache.own_user().map(|user| CachedObject::new(user.to_owned()))
    }

    /// The voice state of a user who is connected in a guild, without its member.
    pub fn voice_state(&self, guild: u64, user: u64) -> Option<CachedObject<VoiceState>> {
        self.read().cache.voice_state(guild, user).map(CachedObject::new)
    }

    /// The voice channel that a user is connected to in a guild.
    pub fn voice_channel(&self, guild: u64, user: u64) -> Option<u64> {
        self.read().cache.voice_channel(guild, user)
    }

    /// The presence of a user in a guild.
    pub fn presence(&self, guild: u64, user: u64) -> Option<CachedObject<Presence>> {
        let text = self.read().cache.presence(guild, user)?;
        // An event names the guild, and twilight's type needs it. An object with a user is not empty.
        let fields = text.strip_prefix('{')?;
        Some(CachedObject::new(format!("{{\"guild_id\":\"{guild}\",{fields}")))
    }

    /// A message.
    pub fn message(&self, channel: u64, message: u64) -> Option<CachedObject<Message>> {
        self.read().cache.message(channel, message).map(CachedObject::new)
    }

    /// The ids of all guilds of the shard, in no order.
    pub fn guild_ids(&self) -> Vec<u64> {
        self.read().cache.guild_ids()
    }

    /// The ids of a guild's channels without threads, in order.
    pub fn channel_ids(&self, guild: u64) -> Vec<u64> {
        self.ids(guild, Kind::Channels)
    }

    /// The ids of a guild's active threads, in order.
    pub fn thread_ids(&self, guild: u64) -> Vec<u64> {
        self.ids(guild, Kind::Threads)
    }

    /// The ids of a guild's roles, in order.
    pub fn role_ids(&self, guild: u64) -> Vec<u64> {
        self.ids(guild, Kind::Roles)
    }

    /// The users that are cached as members of a guild, in order.
    pub fn member_ids(&self, guild: u64) -> Vec<u64> {
        self.ids(guild, Kind::Members)
    }

    /// The users that are connected to voice in a guild, with their channels, in order of the users.
    pub fn connected_users(&self, guild: u64) -> Vec<(u64, u64)> {
        self.read().cache.connected(guild).to_vec()
    }

    /// The guilds that a user is cached as a member of, in no order.
    pub fn guilds_of_user(&self, user: u64) -> Vec<u64> {
        self.read().cache.guilds_of_user(user)
    }

    /// The ids of a channel's cached messages, oldest first.
    pub fn message_ids(&self, channel: u64) -> Vec<u64> {
        self.read().cache.message_ids(channel)
    }
}

#[cfg(test)]
mod tests;
