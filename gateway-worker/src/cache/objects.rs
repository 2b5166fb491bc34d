//! Single objects out of the cache, as Discord writes them, for bots that keep no cache.

use serde_json::{Map, Value};
use twilight_cache_inmemory::ResourceType;
use twilight_model::{
    gateway::Intents,
    id::{Id, marker::GuildMarker},
};

use super::{
    Contents, ShardCache,
    records::{extras, guild_fields, member, roles, value},
};
use crate::{reading::Doubt, tally::KnownGuild};

/// Why the cache does not give an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// As far as the cache knows it is not there: true once all guilds have come.
    Absent(String),
    /// It may be there.
    Unknown(String),
    /// By a setting it is never there.
    NotCached(String),
}

impl ShardCache {
    /// A guild, with its roles, emojis and stickers as far as they are kept.
    pub(crate) fn guild_object(&self, guild: u64) -> Result<Value, Missing> {
        self.needs(ResourceType::GUILD, "guilds", Intents::GUILDS)?;
        let contents = self.contents.load();
        let (id, known) = contents.known(guild)?;
        let store = &contents.store;
        let Some(cached) = store.guild(id) else { return Err(not_yet(guild)) };
        let mut object = guild_fields(cached.value(), known.members);
        drop(cached);
        object.insert("unavailable".to_owned(), Value::Bool(known.unavailable));
        let kept = self.settings.resources.0;
        if kept.contains(ResourceType::ROLE) {
            object.insert("roles".to_owned(), Value::Array(list(&roles(store, id))));
        }
        if kept.intersects(ResourceType::EMOJI | ResourceType::STICKER) {
            let extras = extras(store, id);
            for (resource, name, json) in [
                (ResourceType::EMOJI, "emojis", extras.emojis),
                (ResourceType::STICKER, "stickers", extras.stickers),
            ] {
                if kept.contains(resource) {
                    object.insert(name.to_owned(), Value::Array(list(&json)));
                }
            }
        }
        Ok(Value::Object(object))
    }

    /// A channel or thread of a guild.
    pub(crate) fn channel_object(&self, guild: u64, channel: u64) -> Result<Value, Missing> {
        self.needs(ResourceType::CHANNEL, "channels", Intents::GUILDS)?;
        let contents = self.contents.load();
        let (guild_id, known) = contents.known(guild)?;
        let cached = Id::new_checked(channel).and_then(|id| contents.store.channel(id));
        match cached.filter(|channel| channel.guild_id == Some(guild_id)) {
            Some(channel) => Ok(Value::Object(value(channel.value()))),
            None if known.unavailable => Err(outage(guild)),
            None if known.doubt.has(Doubt::CHANNELS) => Err(unreadable(guild, "channels")),
            None => Err(Missing::Absent(format!(
                "guild {guild} has no channel {channel}, or the bot cannot see it, or it is an archived thread"
            ))),
        }
    }

    /// A member of a guild, with its user.
    pub(crate) fn member_object(&self, guild: u64, user: u64) -> Result<Value, Missing> {
        self.needs(ResourceType::MEMBER, "members", Intents::GUILDS)?;
        let contents = self.contents.load();
        let (_, known) = contents.known(guild)?;
        let book = contents.book();
        if let Some(object) = member(&book.members, guild, user) {
            return Ok(Value::Object(object));
        }
        if !self.settings.intents.contains(Intents::GUILD_MEMBERS) {
            return Err(Missing::NotCached(format!(
                "user {user} is not cached as a member of guild {guild}, and may be one: the intent GUILD_MEMBERS is off (INTENTS)"
            )));
        }
        if known.unavailable {
            return Err(outage(guild));
        }
        if known.doubt.has(Doubt::MEMBERS) {
            return Err(unreadable(guild, "members"));
        }
        let (cached, members) = (book.members.count(guild), known.members.unwrap_or(0));
        if cached < members {
            return Err(Missing::Unknown(format!(
                "user {user} is not cached as a member of guild {guild}, and may be one: {cached} of its {members} members are \
                 cached (RequestGuildMembers brings all)"
            )));
        }
        Err(Missing::Absent(format!("user {user} is no member of guild {guild}")))
    }

    /// All roles of a guild, by position.
    pub(crate) fn role_objects(&self, guild: u64) -> Result<Value, Missing> {
        self.needs(ResourceType::ROLE, "roles", Intents::GUILDS)?;
        let contents = self.contents.load();
        let (id, known) = contents.known(guild)?;
        if known.doubt.has(Doubt::ROLES) {
            return Err(unreadable(guild, "roles"));
        }
        let mut roles = list(&roles(&contents.store, id));
        // Of one position, the older is the lower
        // (https://discord.com/developers/docs/topics/permissions#role-object).
        roles.sort_by_cached_key(|role| {
            let id = role["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or(0_u64);
            (role["position"].as_i64(), id)
        });
        Ok(Value::Array(roles))
    }

    fn needs(&self, resource: ResourceType, name: &str, intent: Intents) -> Result<(), Missing> {
        if !self.settings.resources.0.contains(resource) {
            return Err(Missing::NotCached(format!("{name} are not cached: CACHE is without `{name}`")));
        }
        if !self.settings.intents.contains(intent) {
            return Err(Missing::NotCached(format!(
                "{name} are not cached: INTENTS is without {intent:?}, and Discord tells nothing of them"
            )));
        }
        Ok(())
    }
}

impl Contents {
    /// Finds a guild that belongs to the shard and is not pending.
    fn known(&self, guild: u64) -> Result<(Id<GuildMarker>, KnownGuild), Missing> {
        let known = self.tally(|tally| tally.guild(guild));
        match (Id::new_checked(guild), known) {
            (Some(id), Some(known)) if known.members.is_some() => Ok((id, known)),
            (Some(_), Some(_)) => Err(not_yet(guild)),
            _ => Err(Missing::Absent(format!("the bot is not in guild {guild}"))),
        }
    }
}

fn not_yet(guild: u64) -> Missing {
    Missing::Unknown(format!("guild {guild} has not come yet, or has had an outage since the shard started"))
}

fn unreadable(guild: u64, what: &str) -> Missing {
    Missing::Unknown(format!("some {what} of guild {guild} could not be read, and this may be one of them"))
}

fn outage(guild: u64) -> Missing {
    Missing::Unknown(format!("guild {guild} has an outage, and this was not cached before it"))
}

/// A list that was just written.
fn list(json: &[u8]) -> Vec<Value> {
    let list: Vec<Map<String, Value>> = serde_json::from_slice(json).unwrap_or_default();
    let without_null = |mut object: Map<String, Value>| {
        object.retain(|_, value| !value.is_null());
        Value::Object(object)
    };
    list.into_iter().map(without_null).collect()
}
