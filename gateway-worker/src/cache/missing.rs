//! Single objects as Discord sent them, for bots without a cache of their own, and why an object is missing.

use guild_cache::{Doubt, GuildInfo, Kind, Resources, only_fields, read_elements, read_fields};
use twilight_model::gateway::Intents;

use super::{Contents, ShardCache};

/// Why the cache cannot return an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The object does not exist, as far as the cache knows. Certain once all guilds have come.
    Absent(String),
    /// The object may exist.
    Unknown(String),
    /// A setting keeps such objects out of the cache.
    NotCached(String),
}

/// Objects as JSON text. `fields`: the fields to return; empty means all.
impl ShardCache {
    /// A guild with its roles, emojis and stickers, if the cache keeps them.
    pub(crate) fn find_guild(&self, guild: u64, fields: &[String]) -> Result<String, Missing> {
        self.needs(Resources::GUILDS, "guilds", Intents::GUILDS)?;
        let contents = self.read();
        contents.known(guild)?;
        let mut text = contents.cache.guild_object(guild).ok_or_else(|| not_yet(guild))?;
        if read_fields(&text, ["unavailable"])[0].is_none()
            && let Some(end) = text.rfind('}')
        {
            text.insert_str(end, ",\"unavailable\":false");
        }
        Ok(picked(text, fields))
    }

    /// A channel or thread of a guild.
    pub(crate) fn find_channel(
        &self,
        guild: u64,
        channel: u64,
        fields: &[String],
    ) -> Result<String, Missing> {
        self.needs(Resources::CHANNELS, "channels", Intents::GUILDS)?;
        let contents = self.read();
        let known = contents.known(guild)?;
        match contents.cache.channel(guild, channel) {
            Some(text) => Ok(picked(text, fields)),
            None if known.is_unavailable => Err(outage(guild)),
            None if known.doubt.has(Doubt::CHANNELS) => Err(unreadable(guild, "channels")),
            None => Err(Missing::Absent(format!(
                "guild {guild} has no channel {channel}, or the bot cannot see it, or it is an archived thread"
            ))),
        }
    }

    /// A member of a guild, with its user.
    pub(crate) fn find_member(&self, guild: u64, user: u64, fields: &[String]) -> Result<String, Missing> {
        self.needs(Resources::MEMBERS, "members", Intents::GUILDS)?;
        let contents = self.read();
        let known = contents.known(guild)?;
        if let Some(text) = contents.cache.member(guild, user) {
            return Ok(picked(text, fields));
        }
        if !self.settings.intents.contains(Intents::GUILD_MEMBERS) {
            return Err(Missing::NotCached(format!(
                "user {user} is not cached as a member of guild {guild}, but may be a member: the intent GUILD_MEMBERS is off (INTENTS)"
            )));
        }
        if known.is_unavailable {
            return Err(outage(guild));
        }
        if known.doubt.has(Doubt::MEMBERS) {
            return Err(unreadable(guild, "members"));
        }
        let (cached, members) = (known.cached_members, known.members.unwrap_or(0));
        if cached < members {
            return Err(Missing::Unknown(format!(
                "user {user} is not cached as a member of guild {guild}, but may be a member: {cached} of its {members} members are \
                 cached (RequestGuildMembers requests all)"
            )));
        }
        Err(Missing::Absent(format!("user {user} is not a member of guild {guild}")))
    }

    /// All roles of a guild as a list, by position.
    pub(crate) fn find_roles(&self, guild: u64, fields: &[String]) -> Result<String, Missing> {
        self.needs(Resources::ROLES, "roles", Intents::GUILDS)?;
        let contents = self.read();
        if contents.known(guild)?.doubt.has(Doubt::ROLES) {
            return Err(unreadable(guild, "roles"));
        }
        let roles = contents.cache.roles(guild).unwrap_or_else(|| "[]".to_owned());
        if fields.is_empty() {
            return Ok(roles);
        }
        let picked =
            read_elements(&roles).unwrap_or_default().into_iter().map(|role| only_fields(role, fields));
        Ok(format!("[{}]", picked.collect::<Vec<_>>().join(",")))
    }

    fn needs(&self, resource: Resources, name: &str, intent: Intents) -> Result<(), Missing> {
        if !self.keeps(resource) {
            return Err(Missing::NotCached(format!("{name} are not cached: CACHE does not name `{name}`")));
        }
        if !self.settings.intents.contains(intent) {
            return Err(Missing::NotCached(format!(
                "{name} are not cached: Discord does not send them without the intent {intent:?} (INTENTS)"
            )));
        }
        Ok(())
    }

    /// The ids of the objects of a kind in a guild, in order.
    pub(super) fn ids(&self, guild: u64, kind: Kind) -> Vec<u64> {
        self.read().cache.ids(guild, kind)
    }
}

impl Contents {
    /// Finds a guild of the shard whose GUILD_CREATE has come.
    fn known(&self, guild: u64) -> Result<GuildInfo, Missing> {
        match self.cache.guild(guild) {
            Some(known) if known.members.is_some() => Ok(known),
            Some(_) => Err(not_yet(guild)),
            None => Err(Missing::Absent(format!("the bot is not in guild {guild}"))),
        }
    }
}

fn picked(text: String, fields: &[String]) -> String {
    if fields.is_empty() { text } else { only_fields(&text, fields) }
}

fn not_yet(guild: u64) -> Missing {
    Missing::Unknown(format!("guild {guild} has not come yet, or has had an outage since the shard started"))
}

fn unreadable(guild: u64, what: &str) -> Missing {
    Missing::Unknown(format!(
        "some {what} of guild {guild} could not be read, and the requested one may be among them"
    ))
}

fn outage(guild: u64) -> Missing {
    Missing::Unknown(format!(
        "guild {guild} has an outage, and the requested object was not cached before the outage"
    ))
}
