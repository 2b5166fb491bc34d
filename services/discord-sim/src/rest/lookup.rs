//! Finding what ids in a call stand for, as far as the bot may see it.

use super::{form::Form, problem::Problem};
use crate::{
    report::GuildState,
    rest::Rest,
    world::{GuildIndex, Snowflake, World},
};
use serde_json::{Value, json};

/// What makes a direct channel's id out of its user's; applied twice it gives the user's again.
const DIRECT: u64 = 0x2a_aaaa;

/// Where messages are written.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A channel of a guild.
    Guild {
        /// Which guild.
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

impl Place {
    pub(crate) const fn guild(&self) -> Option<GuildIndex> {
        match self {
            Self::Guild { guild, .. } => Some(*guild),
            Self::Direct { .. } => None,
        }
    }

    /// The channel object. [Source](https://docs.discord.com/developers/resources/channel#channel-object).
    pub(crate) fn channel(&self, world: &World) -> Value {
        match self {
            Self::Guild { channel, .. } => channel.clone(),
            Self::Direct { id, user } => json!({
                "id": id, "type": 1, "flags": 0, "last_message_id": null,
                "recipients": [world.user(*user)],
            }),
        }
    }

    /// The channel's id.
    pub(crate) fn channel_id(&self) -> Snowflake {
        match self {
            Self::Guild { channel, .. } => snowflake(&channel["id"]).unwrap_or(Snowflake(0)),
            Self::Direct { id, .. } => *id,
        }
    }
}

/// The id of the direct channel with a user.
pub(crate) const fn direct_channel_id(user: Snowflake) -> Snowflake {
    Snowflake(user.0 ^ DIRECT)
}

/// An id in a JSON value.
pub(crate) fn snowflake(value: &Value) -> Option<Snowflake> {
    serde_json::from_value(value.clone()).ok()
}

/// An id in a path or query; `field` is how Discord's error names it.
pub(crate) fn parse_id(field: &str, text: &str) -> Result<Snowflake, Problem> {
    text.parse().map(Snowflake).map_err(|_| {
        let mut form = Form::default();
        form.wrong(field, "NUMBER_TYPE_COERCE", format!("Value \"{text}\" is not snowflake."));
        form.finish().err().unwrap_or(Problem::INVALID_FORM)
    })
}

/// The user object of anybody, the bot included.
pub(crate) fn user_body(world: &World, id: Snowflake) -> Option<Value> {
    if id == world.bot_id() {
        return Some(json!(world.bot()));
    }
    world.find_user(id).map(|index| json!(world.user(index)))
}

impl Rest {
    /// The guild with this id.
    ///
    /// # Errors
    ///
    /// When there is none, the bot is not in it, or it has an outage.
    pub(crate) fn guild(&self, id: Snowflake) -> Result<GuildIndex, Problem> {
        let guild = self.hub.world.find(id).ok_or(Problem::UNKNOWN_GUILD)?;
        self.reachable_guild(guild)
    }

    fn reachable_guild(&self, guild: GuildIndex) -> Result<GuildIndex, Problem> {
        match self.hub.guild_state(guild) {
            GuildState::Available => Ok(guild),
            GuildState::Outage => Err(Problem::UNAVAILABLE),
            GuildState::Absent => Err(Problem::MISSING_ACCESS),
        }
    }

    /// The channel or thread with this id, in a guild or with a user.
    ///
    /// # Errors
    ///
    /// When there is none, or the bot can't see it or reach its guild.
    pub(crate) fn place(&self, id: Snowflake) -> Result<Place, Problem> {
        let world = &self.hub.world;
        if let Some((guild, _)) = world.find_channel(id) {
            let guild = self.reachable_guild(guild)?;
            let channel = world.channel_by_id(id).ok_or(Problem::MISSING_ACCESS)?;
            return Ok(Place::Guild { guild, channel: json!(channel) });
        }
        if let Some((guild, number)) = world.find_thread(id) {
            let guild = self.reachable_guild(guild)?;
            return Ok(Place::Guild { guild, channel: json!(world.thread(guild, number)) });
        }
        let user = world.find_user(direct_channel_id(id)).ok_or(Problem::UNKNOWN_CHANNEL)?;
        Ok(Place::Direct { id, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_channels_lead_back_to_their_users() {
        let world = World::new(3, 40);
        let user = world.user(9).id;
        assert_eq!(world.find_user(direct_channel_id(direct_channel_id(user))), Some(9));
        assert_eq!(world.find_channel(direct_channel_id(user)), None);
        assert!(parse_id("channel_id", "x").is_err());
    }
}
