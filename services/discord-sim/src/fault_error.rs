//! Errors of injecting faults.

use crate::world::Snowflake;

/// Why a fault was not injected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// The guild does not exist.
    #[error("there is no guild {0}")]
    UnknownGuild(Snowflake),
    /// The bot is not in the guild, or the guild has an outage.
    #[error("the bot is not in guild {0}, or the guild has an outage")]
    NotAvailable(Snowflake),
    /// The bot is already in the guild.
    #[error("the bot is already in guild {0}")]
    AlreadyThere(Snowflake),
    /// The user is not a member.
    #[error("guild {0} has no member {1}")]
    UnknownMember(Snowflake, Snowflake),
    /// The channel does not exist, is not a voice channel or is hidden from the bot.
    #[error("guild {0} has no voice channel {1} that the bot can see")]
    NoVoiceChannel(Snowflake, Snowflake),
    /// The bot has already joined all guilds of this world.
    #[error("no guild is left that the bot has never joined")]
    NoSpareGuild,
    /// An invalid rate.
    #[error("per_second must be a number from 0 to 1000000")]
    BadRate,
    /// An invalid wait.
    #[error("retry_after must be a number of seconds from 0 to 86400")]
    BadRetryAfter,
    /// An interaction that is not one of command, component and modal, or lacks a part.
    #[error(
        "an interaction needs exactly one of command, component (with message_id) and modal; autocomplete needs options; options must be objects"
    )]
    BadInteraction,
    /// The bot is in no guild, or all its guilds have an outage.
    #[error("the bot has no available guild")]
    NoGuild,
    /// The channel does not exist.
    #[error("there is no channel {0}")]
    UnknownChannel(Snowflake),
    /// The channel's guild is not available.
    #[error("the bot is not in the guild of channel {0}, or the guild has an outage")]
    Unreachable(Snowflake),
    /// The user does not exist or is not in the guild.
    #[error("there is no user {0} in that place")]
    UnknownUser(Snowflake),
    /// The message is not one of the bot's newest.
    #[error("the bot has written no message {0}, or it is no longer stored")]
    UnknownMessage(Snowflake),
    /// An invalid close code.
    #[error("code must be from 1000 to 4999, except 1004, 1005, 1006 and 1015, which are never sent")]
    BadCode,
    /// A reason that does not fit a close frame.
    #[error("reason must have at most 123 bytes")]
    BadReason,
    /// An invalid event name.
    #[error("name must be an event name, such as GUILD_BAN_ADD")]
    BadName,
    /// The preset does not exist.
    #[error("there is no preset {0}; GET /sim/presets lists them")]
    UnknownPreset(String),
    /// An invalid oddity.
    #[error("{0}")]
    BadOddity(&'static str),
    /// Too many oddities are active.
    #[error("{0} oddities are already active; clear some")]
    TooManyOddities(usize),
    /// A limit of 0.
    #[error("max_concurrency and shards must be at least 1")]
    BadSessionLimit,
    /// A control API call turned the fault on, so a schedule does not touch it.
    #[error("the fault is already on")]
    AlreadyOn,
}
