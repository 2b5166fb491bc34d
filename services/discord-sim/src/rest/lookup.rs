//! Finding what ids in a call stand for, as far as the bot may see it.

use super::{form::Form, problem::Problem};
use crate::{
    hub::Hub,
    report::GuildState,
    world::{GuildIndex, Snowflake, Visibility, World},
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

/// The pool index of the user with this id.
pub(crate) fn find_user(world: &World, id: Snowflake) -> Option<u64> {
    let at = |index| world.user(index).id.timestamp_ms();
    let (first, step) = (at(0), at(1) - at(0));
    let index = id.timestamp_ms().checked_sub(first)? / step;
    (world.user(index).id == id).then_some(index)
}

/// The user object of anybody, the bot included.
pub(crate) fn user_body(world: &World, id: Snowflake) -> Option<Value> {
    if id == world.bot_id() {
        return Some(json!(world.bot()));
    }
    find_user(world, id).map(|index| json!(world.user(index)))
}

/// The position of a user among the members of a guild; the bot's is 0.
pub(crate) fn member_position(world: &World, guild: GuildIndex, user: Snowflake) -> Option<u64> {
    if user == world.bot_id() {
        return Some(0);
    }
    world.position_of(guild, find_user(world, user)?)
}

/// A guild as REST shows it, with its channels.
fn whole_guild(world: &World, guild: GuildIndex) -> Value {
    let sight = Visibility { presences: false, voice_states: false, large_threshold: 50 };
    json!(world.guild(guild, sight, true))
}

/// The guild object without what only GUILD_CREATE has.
/// [Source](https://docs.discord.com/developers/resources/guild#guild-object).
pub(crate) fn guild_body(world: &World, guild: GuildIndex) -> Value {
    let mut body = whole_guild(world, guild);
    if let Some(fields) = body.as_object_mut() {
        for gateway_only in [
            "joined_at",
            "large",
            "unavailable",
            "member_count",
            "voice_states",
            "members",
            "channels",
            "threads",
            "presences",
            "stage_instances",
            "guild_scheduled_events",
            "soundboard_sounds",
        ] {
            fields.remove(gateway_only);
        }
    }
    body
}

/// The channels of a guild, each with `guild_id`.
pub(crate) fn channel_bodies(world: &World, guild: GuildIndex) -> Vec<Value> {
    let mut body = whole_guild(world, guild);
    let Value::Array(mut channels) = body["channels"].take() else { return Vec::new() };
    for channel in &mut channels {
        channel["guild_id"] = json!(world.head(guild).id);
    }
    channels
}

/// The longest time between a guild and its last channel.
const CHANNELS_WITHIN_MS: u64 = 60 * 7_000 + 1;

fn find_channel(world: &World, id: Snowflake) -> Option<(GuildIndex, Value)> {
    let guilds = (0..world.all_guilds()).filter(|guild| {
        let age = id.timestamp_ms().checked_sub(world.head(*guild).id.timestamp_ms());
        age.is_some_and(|age| age <= CHANNELS_WITHIN_MS)
    });
    let text = json!(id);
    guilds
        .flat_map(|guild| channel_bodies(world, guild).into_iter().map(move |channel| (guild, channel)))
        .find(|(_, channel)| channel["id"] == text)
}

impl Hub {
    /// The guild with this id.
    ///
    /// # Errors
    ///
    /// When there is none, the bot is not in it, or it has an outage.
    pub(crate) fn guild_for_rest(&self, id: Snowflake) -> Result<GuildIndex, Problem> {
        let guild = self.world.find(id).ok_or(Problem::UNKNOWN_GUILD)?;
        self.reachable_guild(guild)
    }

    fn reachable_guild(&self, guild: GuildIndex) -> Result<GuildIndex, Problem> {
        match self.guild_state(guild) {
            GuildState::Available => Ok(guild),
            GuildState::Outage => Err(Problem::UNAVAILABLE),
            GuildState::Absent => Err(Problem::MISSING_ACCESS),
        }
    }

    /// The channel with this id, in a guild or with a user.
    ///
    /// # Errors
    ///
    /// When there is none, or the bot can't reach its guild.
    pub(crate) fn place(&self, id: Snowflake) -> Result<Place, Problem> {
        if let Some((guild, channel)) = find_channel(&self.world, id) {
            return self.reachable_guild(guild).map(|guild| Place::Guild { guild, channel });
        }
        let user = find_user(&self.world, direct_channel_id(id)).ok_or(Problem::UNKNOWN_CHANNEL)?;
        Ok(Place::Direct { id, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_back_to_what_they_name() {
        let world = World::new(3, 40);
        for guild in [0, 7, 39] {
            for channel in channel_bodies(&world, guild) {
                let found = find_channel(&world, snowflake(&channel["id"]).unwrap());
                assert_eq!(found, Some((guild, channel)));
            }
        }
        let user = world.user(9).id;
        assert_eq!(find_user(&world, user), Some(9));
        assert_eq!(find_user(&world, Snowflake(user.0 ^ 1)), None);
        assert_eq!(find_user(&world, world.bot_id()), None);
        assert_eq!(direct_channel_id(direct_channel_id(user)), user);
        let first = world.user_index(0, 1);
        assert_eq!(member_position(&world, 0, world.user(first).id), Some(1));
        assert!(parse_id("channel_id", "x").is_err());
    }
}
