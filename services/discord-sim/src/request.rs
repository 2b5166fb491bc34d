//! What an identified client asks the gateway for, parsed strictly.
//! [Source](https://docs.discord.com/developers/events/gateway-events#send-events).

use crate::world::Snowflake;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Op 3.
    Presence(OwnPresence),
    /// Op 4.
    Voice(VoiceUpdate),
    /// Op 8.
    Members(MembersRequest),
    /// Op 31.
    Sounds(SoundsRequest),
    /// Op 43.
    ChannelInfo(ChannelInfoRequest),
}

impl Request {
    /// Its opcode, the guild that it is about, and its nonce.
    pub(crate) fn outline(&self) -> (u64, Option<Snowflake>, Option<&str>) {
        match self {
            Self::Presence(_) => (3, None, None),
            Self::Voice(asked) => (4, Some(asked.guild_id), None),
            Self::Members(asked) => (8, Some(asked.guild_id), asked.nonce.as_deref()),
            Self::Sounds(_) => (31, None, None),
            Self::ChannelInfo(asked) => (43, Some(asked.guild_id), None),
        }
    }
}

/// How the bot is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnPresence {
    /// Since when it is idle, in milliseconds since the Unix epoch.
    pub(crate) since: Option<u64>,
    #[serde(default)]
    pub(crate) activities: Vec<Activity>,
    pub(crate) status: Status,
    pub(crate) afk: bool,
}

/// What the bot does.
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

/// To join, leave or change how the bot is in a voice channel.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VoiceUpdate {
    pub(crate) guild_id: Snowflake,
    pub(crate) channel_id: Option<Snowflake>,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
}

/// Which members of a guild.
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

/// Which guilds' soundboards.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SoundsRequest {
    pub(crate) guild_ids: Vec<Snowflake>,
}

/// What about a guild's voice channels.
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
