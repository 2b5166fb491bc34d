//! A shard's guilds for a client of the gateway: what is asked for, and the parts of the answer.

use fleet_model::{Position, ShardSlot};
use futures_util::stream::BoxStream;

use crate::answer::BridgeError;

/// Which guilds of a shard, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// The fleet's shard.
    pub shard: ShardSlot,
    /// Number and total of the client's shard: only guilds with `(id >> 22) % total == number`.
    pub client_shard: (u32, u32),
    /// The client's intents, by their bits.
    pub intents: u32,
    /// The client's `large_threshold`.
    pub large_threshold: u8,
    /// The bot's user.
    pub own_user: u64,
    /// Only these guilds; all when `None`.
    pub only: Option<Vec<u64>>,
}

/// A part of the answer: first the head, then each guild, then the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotPart {
    /// Which guilds there are.
    Head {
        /// Every event up to here is in the guilds.
        read: Position,
        /// Guilds that follow.
        present: Vec<u64>,
        /// Guilds in an outage, or that have not come yet.
        absent: Vec<u64>,
    },
    /// One of the guilds.
    Guild(GuildSnapshot),
    /// No guild has an event from behind this.
    End {
        /// Where the shard was after the last guild.
        read: Position,
    },
}

/// A guild at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuildSnapshot {
    /// The guild.
    pub id: u64,
    /// The last event that is in it.
    pub stamp: Position,
    /// The last event that is in its members.
    pub members_stamp: Position,
    /// The data of its GUILD_CREATE; `None` if the bot has left it, or it has an outage.
    pub data: Option<String>,
}

/// The parts, in order.
pub type SnapshotParts = BoxStream<'static, Result<SnapshotPart, BridgeError>>;

/// The data of GUILD_MEMBERS_CHUNK events.
pub type MemberChunks = BoxStream<'static, Result<String, BridgeError>>;
