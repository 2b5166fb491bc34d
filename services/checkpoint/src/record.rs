//! What a checkpoint consists of: one head and many small records.
//!
//! Owns the types alone. Lists of Discord's objects are JSON arrays of API v10, as Discord sends them: the one form that outlives
//! any cache library. Nothing here looks into them.

use bytes::Bytes;
use fleet_model::{ByteString, Epoch, Position, ShardSlot};

mod debug;
mod key;

pub use key::{InvalidKey, RecordKey};

/// A shard's head: the session and how far it was read. Written last, and never ahead of a change that is not written.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// What is resumed.
    pub session: Session,
    /// The sequence of the last event that was applied to the cache and queued. RESUME goes from here.
    pub read: u64,
    /// When that event came, in milliseconds since the Unix epoch.
    pub read_at_unix_ms: u64,
    /// The guilds that READY named and of which nothing has come yet.
    pub expecting: Vec<u64>,
    /// Discord's user object of the bot itself, when the cache keeps it.
    pub own_user: Option<Bytes>,
    /// Why a guild or a part of one may exist that no record names, as a number of the worker's; 0 when nothing is in doubt.
    pub doubt: u32,
    /// The presence that bot code set last, as it was sent (op 3): a new session is given it. `None` from an owner that knew of none, or
    /// of a version without it.
    pub presence: Option<String>,
    /// The epoch of the owner that wrote it.
    pub epoch: Epoch,
    /// The last word of an owner that stopped in order: what the pending events say in `started` is exact, as long as no other owner
    /// has claimed the shard since ([`StoredCheckpoint::owner_before`](crate::StoredCheckpoint::owner_before) is `epoch`). Otherwise an event may
    /// have been started after it was written down.
    pub exact: bool,
}

/// A gateway session, and what it was opened with: who wants something else must not resume it.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Discord's session id. With the bot's token it lets anyone resume, so it is never shown in full.
    pub id: String,
    /// Where Discord wants it resumed.
    pub resume_url: String,
    /// Grows with each READY of the shard.
    pub ordinal: u64,
    /// The slot of the shard that identified; `None` from a version that did not write it.
    pub shard: Option<ShardSlot>,
    /// The shard total of the IDENTIFY.
    pub total: u32,
    /// The intents of the IDENTIFY.
    pub intents: u64,
    /// Encoding and compression, such as `json+zstd-stream`.
    pub transport: String,
    /// The names of the cache resources that the records hold.
    pub resources: Vec<String>,
    /// When READY came, in milliseconds since the Unix epoch.
    pub opened_at_unix_ms: u64,
}

/// An event up to [`Head::read`] that bot code has not finished. One above `read` was written before its head could be: Discord
/// sends it again, so a reader leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingEvent {
    /// Its place in its shard. The session may be one before the head's.
    pub position: Position,
    /// Whether bot code had begun with it when this was written, here or, for all that is known, on an owner before.
    pub started: bool,
    /// Whether bot code had come to its end with it, and only the relay had not taken it.
    pub handled: bool,
    /// When it came, in milliseconds since the Unix epoch.
    pub received_at_unix_ms: u64,
    /// The gateway payload as it came.
    pub text: ByteString,
}

/// A guild without its long lists.
#[derive(Clone, PartialEq, Eq)]
pub struct GuildCore {
    /// The sequence of the last event that was applied to the guild: events up to it change nothing of the guild any more. So
    /// everything they changed is written in the same step (channels, roles, extras, and what is removed) or in one before (blocks of
    /// members), nothing of it later.
    pub stamp: u64,
    /// How many members the guild has, if Discord said so.
    pub members: Option<u64>,
    /// How many channels it has.
    pub channels: u32,
    /// Who is in a voice channel.
    pub in_voice: Vec<u64>,
    /// Discord said that the guild is unavailable.
    pub unavailable: bool,
    /// Discord's guild object without its lists, when the cache keeps guilds.
    pub object: Option<Bytes>,
    /// A JSON array of voice states; empty when the cache keeps none.
    pub voice_states: Bytes,
    /// Over how many blocks its members are spread.
    pub member_blocks: u32,
    /// Bits of what could not be read of the guild; 0 when nothing is in doubt.
    pub doubt: u32,
}

/// The rarer lists of a guild. Each is a JSON array; empty when the cache keeps none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Emojis.
    pub emojis: Bytes,
    /// Stickers.
    pub stickers: Bytes,
    /// Stage instances.
    pub stage_instances: Bytes,
    /// Scheduled events.
    pub scheduled_events: Bytes,
}

/// A block of a guild's members.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The sequence of the last event that the block holds; it may be above the guild's. Blocks may be many, so they are written in
    /// steps before the guild's core.
    pub stamp: u64,
    /// A JSON array of member objects, each with its `user`.
    pub list: Bytes,
}

/// One record. Its [`RecordKey`] says of what.
#[derive(Clone, PartialEq, Eq)]
pub enum Record {
    /// A guild without its long lists.
    Core(GuildCore),
    /// A guild's channels and threads: a JSON array.
    Channels(Bytes),
    /// A guild's roles: a JSON array.
    Roles(Bytes),
    /// A guild's rarer lists.
    Extras(Extras),
    /// Some of a guild's members.
    Members(Members),
    /// An event that bot code has not finished.
    Pending(PendingEvent),
}
