//! Why a fault can't be made to happen.

use crate::world::Snowflake;

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
    /// Not a time to wait.
    #[error("retry_after must be a number of seconds from 0 to 86400")]
    BadRetryAfter,
    /// Not one of the three things that somebody can do.
    #[error(
        "an interaction needs one of command, component (with message_id) and modal; autocomplete needs options; options are objects"
    )]
    BadInteraction,
    /// The bot is in no guild, or all have an outage.
    #[error("there is no guild that the bot is in")]
    NoGuild,
    /// No such channel.
    #[error("there is no channel {0}")]
    UnknownChannel(Snowflake),
    /// A channel of a guild that the bot can't reach.
    #[error("the bot is not in the guild of channel {0}, or the guild has an outage")]
    Unreachable(Snowflake),
    /// No such user, or not in the guild.
    #[error("there is no user {0} there")]
    UnknownUser(Snowflake),
    /// Not one of the bot's newest messages.
    #[error("the bot has written no message {0}, or it is no longer kept")]
    UnknownMessage(Snowflake),
    /// Not a close code.
    #[error("code must be from 1000 to 4999, and none of those that are never sent (1004, 1005, 1006, 1015)")]
    BadCode,
    /// Too long for a close frame.
    #[error("reason must have at most 123 bytes")]
    BadReason,
    /// Not an event's name.
    #[error("name must be an event's, such as GUILD_BAN_ADD")]
    BadName,
    /// Unknown preset.
    #[error("there is no preset {0}: GET /sim/presets lists them")]
    UnknownPreset(String),
    /// An invalid oddity.
    #[error("{0}")]
    BadOddity(&'static str),
    /// Too many at once.
    #[error("{0} oddities are active already: clear some")]
    TooManyOddities(usize),
    /// Limits of 0.
    #[error("max_concurrency and shards must be at least 1")]
    BadSessionLimit,
    /// It was switched on by hand: a schedule leaves it alone.
    #[error("it is on already")]
    AlreadyOn,
}
