//! What can be made to happen while the simulator runs.

use crate::{Dispatched, Snowflake};
use serde::{Deserialize, Serialize};

/// Something to make happen. In JSON an object whose `kind` is the variant's name in snake_case.
///
/// `shards` are shard numbers; `None`, or left out, means every connection that has identified or resumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Sends op 7; the connection stays open until the client closes it.
    Reconnect {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Sends op 9. When not resumable the session ends.
    InvalidSession {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// The value of `d`.
        resumable: bool,
    },
    /// Closes with a code; the session can be resumed.
    Close {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// The close code, 1000 to 4999.
        code: u16,
        /// The close reason.
        #[serde(default)]
        reason: String,
    },
    /// Resets TCP connections without a close frame; the sessions can be resumed.
    Abort {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Stops or starts sending anything, ACKs included, on connections that are open now.
    Freeze {
        /// Whose.
        shards: Option<Vec<u32>>,
        /// Stop or start.
        on: bool,
    },
    /// Sends op 1: the client shall send a heartbeat at once.
    RequestHeartbeat {
        /// Whose.
        shards: Option<Vec<u32>>,
    },
    /// Answers every RESUME with op 9 `false`, which ends its session.
    DenyResumes {
        /// On or off.
        on: bool,
    },
    /// Accepts the next WebSocket connections and resets them before HELLO.
    AcceptThenClose {
        /// How many; 0 ends it.
        connections: u32,
    },
    /// Starts (GUILD_DELETE with `unavailable`) or ends (GUILD_CREATE) a guild's outage.
    GuildOutage {
        /// Which guild.
        guild_id: Snowflake,
        /// Start or end.
        on: bool,
    },
    /// Removes the bot from a guild.
    GuildLeave {
        /// Which guild.
        guild_id: Snowflake,
    },
    /// Lets the bot join a guild.
    GuildJoin {
        /// One that it left; `None` takes one that it was never in.
        guild_id: Option<Snowflake>,
    },
    /// Lets somebody write a message in a guild.
    Message {
        /// Which guild.
        guild_id: Snowflake,
        /// The text; `None` names the message's serial.
        content: Option<String>,
    },
    /// Somebody joins, changes or leaves a voice channel.
    Voice {
        /// In which guild.
        guild_id: Snowflake,
        /// Which member.
        user_id: Snowflake,
        /// A voice channel of the guild that the bot can see; `None` is to leave.
        channel_id: Option<Snowflake>,
    },
    /// Sends any dispatch event, to those sessions that its name's intents let it through to.
    Event {
        /// The name in `t`, such as `GUILD_BAN_ADD`.
        name: String,
        /// The guild whose shard gets it; without one it goes to shard 0.
        guild_id: Option<Snowflake>,
        /// The body. Nothing checks it.
        d: serde_json::Value,
    },
    /// Sets how many messages a second are written over all guilds.
    EventRate {
        /// 0 to 1,000,000.
        per_second: f64,
    },
    /// Refuses every token: 4004 for IDENTIFY and RESUME, 401 for REST. Open sessions stay.
    RejectToken {
        /// On or off.
        on: bool,
    },
    /// Answers every REST call with 503.
    RestDown {
        /// On or off.
        on: bool,
    },
}

/// What a fault did at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FaultOutcome {
    /// How many connections were told.
    pub connections: usize,
    /// The guild that it was about.
    pub guild_id: Option<Snowflake>,
    /// The message's number: its nonce is `sim-SERIAL`.
    pub serial: Option<u64>,
    /// The sessions that get an event of it, and as which sequence.
    pub dispatched: Vec<Dispatched>,
}

/// Why a fault can't be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// No such guild.
    #[error("there is no guild {0}")]
    UnknownGuild(Snowflake),
    /// The bot is not in it, or it has an outage.
    #[error("the bot is not in guild {0}, or the guild has an outage")]
    NotAvailable(Snowflake),
    /// The bot is in it.
    #[error("the bot is in guild {0} already")]
    AlreadyThere(Snowflake),
    /// No such member.
    #[error("guild {0} has no member {1}")]
    UnknownMember(Snowflake, Snowflake),
    /// No such channel, or none for voice, or the bot can't see it.
    #[error("guild {0} has no voice channel {1} that the bot can see")]
    NoVoiceChannel(Snowflake, Snowflake),
    /// All guilds of this world are used up.
    #[error("there is no guild left that the bot was never in")]
    NoSpareGuild,
    /// Not a rate.
    #[error("per_second must be a number from 0 to 1000000")]
    BadRate,
    /// Not a close code.
    #[error("code must be from 1000 to 4999")]
    BadCode,
}

/// Faults that stay on until switched off.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) deny_resumes: bool,
    pub(crate) accept_then_close: u32,
    pub(crate) reject_token: bool,
    pub(crate) rest_down: bool,
}
