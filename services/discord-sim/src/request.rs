//! Gateway requests of identified clients, parsed strictly.
//! [Source](https://docs.discord.com/developers/events/gateway-events#send-events).

use crate::world::Snowflake;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A gateway request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Update presence, op 3.
    Presence(OwnPresence),
    /// Update voice state, op 4.
    Voice(VoiceUpdate),
    /// Request guild members, op 8.
    Members(MembersRequest),
    /// Request soundboard sounds, op 31.
    Sounds(SoundsRequest),
    /// Request channel info, op 43.
    ChannelInfo(ChannelInfoRequest),
}

impl Request {
    /// Returns the opcode, guild and nonce.
    pub(crate) fn outline(&self) -> (u64, Option<Snowflake>, Option<&str>) {
        match self {
            Self::Presence(_) => (3, None, None),
            Self::Voice(request) => (4, Some(request.guild_id), None),
            Self::Members(request) => (8, Some(request.guild_id), request.nonce.as_deref()),
            Self::Sounds(_) => (31, None, None),
            Self::ChannelInfo(request) => (43, Some(request.guild_id), None),
        }
    }
}

/// The bot's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnPresence {
    /// Time since when the bot is idle, in milliseconds since the Unix epoch.
    pub(crate) since: Option<u64>,
    #[serde(default)]
    pub(crate) activities: Vec<Activity>,
    pub(crate) status: Status,
    pub(crate) afk: bool,
}

/// An activity of the bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activity {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Online,
    Dnd,
    Idle,
    Invisible,
    Offline,
}

/// Moves the bot into, between or out of voice channels.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VoiceUpdate {
    pub(crate) guild_id: Snowflake,
    pub(crate) channel_id: Option<Snowflake>,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
}

/// Requests members of a guild.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MembersRequest {
    pub(crate) guild_id: Snowflake,
    pub(crate) query: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) presences: Option<bool>,
    #[serde(default, deserialize_with = "one_or_many")]
    pub(crate) user_ids: Option<Vec<Value>>,
    pub(crate) nonce: Option<String>,
}

/// Requests the soundboards of guilds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SoundsRequest {
    pub(crate) guild_ids: Vec<Snowflake>,
}

/// Requests fields of a guild's voice channels.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ChannelInfoRequest {
    pub(crate) guild_id: Snowflake,
    pub(crate) fields: Vec<String>,
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Value>>, D::Error> {
    Ok(Option::deserialize(from)?.map(|ids| match ids {
        Value::Array(ids) => ids,
        one => vec![one],
    }))
}
