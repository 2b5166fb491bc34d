//! Resolves ids of a call to what the bot can see.

use super::{error::RestError, form::Form};
use crate::{
    report::GuildState,
    rest::Rest,
    world::{GuildIndex, Snowflake, World},
};
use serde_json::{Value, json};

/// XOR mask between the id of a user and of its direct channel.
const DIRECT: u64 = 0x2a_aaaa;

/// A channel that the bot can reach.
#[derive(Clone, Debug)]
pub(crate) enum ChannelRef {
    /// A channel of a guild.
    Guild {
        /// The guild.
        guild: GuildIndex,
        /// The channel object, with `guild_id`.
        channel: Value,
    },
    /// The direct channel of the bot and a user.
    Direct {
        /// The channel's id.
        id: Snowflake,
        /// The user's index.
        user: u64,
    },
}

impl ChannelRef {
    pub(crate) const fn guild(&self) -> Option<GuildIndex> {
        match self {
            Self::Guild { guild, .. } => Some(*guild),
            Self::Direct { .. } => None,
        }
    }

    /// Returns the channel object. [Source](https://docs.discord.com/developers/resources/channel#channel-object).
    pub(crate) fn channel(&self, world: &World) -> Value {
        match self {
            Self::Guild { channel, .. } => channel.clone(),
            Self::Direct { id, user } => json!({
                "id": id, "type": 1, "flags": 0, "last_message_id": null,
                "recipients": [world.user(*user)],
            }),
        }
    }

    /// Returns the channel's id.
    pub(crate) fn channel_id(&self) -> Snowflake {
        match self {
            Self::Guild { channel, .. } => snowflake(&channel["id"]).unwrap_or(Snowflake(0)),
            Self::Direct { id, .. } => *id,
        }
    }
}

/// Returns the id of the direct channel with a user.
pub(crate) const fn direct_channel_id(user: Snowflake) -> Snowflake {
    Snowflake(user.0 ^ DIRECT)
}

/// Parses an id in a JSON value.
pub(crate) fn snowflake(value: &Value) -> Option<Snowflake> {
    serde_json::from_value(value.clone()).ok()
}

/// Parses an id in a path or query. `field` is its name in Discord's error.
pub(crate) fn parse_id(field: &str, text: &str) -> Result<Snowflake, RestError> {
    text.parse().map(Snowflake).map_err(|_| {
        let mut form = Form::default();
        form.add_error(field, "NUMBER_TYPE_COERCE", format!("Value \"{text}\" is not snowflake."));
        form.finish().err().unwrap_or(RestError::INVALID_FORM)
    })
}

/// Returns the user object of any user, including the bot.
pub(crate) fn user_body(world: &World, id: Snowflake) -> Option<Value> {
    if id == world.bot_id() {
        return Some(json!(world.bot()));
    }
    world.find_user(id).map(|index| json!(world.user(index)))
}

impl Rest {
    /// Finds a guild.
    ///
    /// # Errors
    ///
    /// The guild does not exist, the bot is not in it, or it has an outage.
    pub(crate) fn guild(&self, id: Snowflake) -> Result<GuildIndex, RestError> {
        let guild = self.hub.world.find(id).ok_or(RestError::UNKNOWN_GUILD)?;
        self.reachable_guild(guild)
    }

    fn reachable_guild(&self, guild: GuildIndex) -> Result<GuildIndex, RestError> {
        match self.hub.guild_state(guild) {
            GuildState::Available => Ok(guild),
            GuildState::Outage => Err(RestError::UNAVAILABLE),
            GuildState::Absent => Err(RestError::MISSING_ACCESS),
        }
    }

    /// Finds a channel, thread or direct channel.
    ///
    /// # Errors
    ///
    /// It does not exist, the bot can't see it, or its guild is not available.
    pub(crate) fn place(&self, id: Snowflake) -> Result<ChannelRef, RestError> {
        let world = &self.hub.world;
        if let Some((guild, _)) = world.find_channel(id) {
            let guild = self.reachable_guild(guild)?;
            let channel = world.channel_by_id(id).ok_or(RestError::MISSING_ACCESS)?;
            return Ok(ChannelRef::Guild { guild, channel: json!(channel) });
        }
        if let Some((guild, number)) = world.find_thread(id) {
            let guild = self.reachable_guild(guild)?;
            return Ok(ChannelRef::Guild { guild, channel: json!(world.thread(guild, number)) });
        }
        let user = world.find_user(direct_channel_id(id)).ok_or(RestError::UNKNOWN_CHANNEL)?;
        Ok(ChannelRef::Direct { id, user })
    }

    /// Finds a channel in which messages can be written.
    pub(crate) fn text_place(&self, channel: &str) -> Result<ChannelRef, RestError> {
        let place = self.place(parse_id("channel_id", channel)?)?;
        let category = matches!(&place, ChannelRef::Guild { channel, .. } if channel["type"] == 4);
        if category { Err(RestError::NOT_A_TEXT_CHANNEL) } else { Ok(place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_channel_ids_resolve_to_their_users() {
        let world = World::new(3, 40);
        let user = world.user(9).id;
        assert_eq!(world.find_user(direct_channel_id(direct_channel_id(user))), Some(9));
        assert_eq!(world.find_channel(direct_channel_id(user)), None);
        assert!(parse_id("channel_id", "x").is_err());
    }
}
