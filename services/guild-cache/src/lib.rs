//! What one shard knows: its guilds and what is in them, in a few KiB a guild. Pure: no I/O, no clock.
//!
//! Objects are kept as the text that Discord sent, compressed in blocks of a few, with the ids beside them. Nothing is read that does not decide
//! something, so unknown fields, null, missing fields and half surrogate pairs come out as they came in. A block is what a
//! [record](ShardCache::record) of a checkpoint holds.
//!
//! # What events do
//!
//! | event | what it does |
//! |---|---|
//! | GUILD_CREATE | replaces everything known of the guild, except messages; `unavailable: true`: see GUILD_DELETE |
//! | GUILD_UPDATE | its fields replace the same fields of the guild; its roles, emojis and stickers replace theirs; `member_count` and the other lists stay |
//! | GUILD_DELETE | `unavailable: true` is an outage: everything stays, and the guild counts as unavailable. Otherwise everything goes |
//! | CHANNEL_CREATE, CHANNEL_UPDATE | replaces the channel; `status` and `voice_start_time`, which have events of their own, stay. `last_message_id` is the one that Discord last sent with the channel |
//! | CHANNEL_DELETE | the channel goes, with its scheduled events, the voice states in it, the threads below it, and the messages of all these |
//! | CHANNEL_PINS_UPDATE, VOICE_CHANNEL_STATUS_UPDATE, VOICE_CHANNEL_START_TIME_UPDATE | sets `last_pin_timestamp`, `status`, `voice_start_time` of a known channel; null if the event has none |
//! | THREAD_CREATE | replaces the thread, without `newly_created` |
//! | THREAD_UPDATE | its fields replace the same fields of the thread, or it is added. An archived thread goes, as GUILD_CREATE lists only active ones |
//! | THREAD_LIST_SYNC | replaces the threads below the named channels, or all; messages of a thread that is listed again stay; `members` become the `member` fields |
//! | THREAD_MEMBER_UPDATE | sets `member` of a known thread: the bot's own membership |
//! | THREAD_MEMBERS_UPDATE | sets `member_count` of a known thread, and `member` when the bot itself is added or removed |
//! | GUILD_ROLE_CREATE, GUILD_ROLE_UPDATE, GUILD_ROLE_DELETE | replaces or removes the role; members keep the ids of roles that are gone |
//! | GUILD_MEMBER_ADD, GUILD_MEMBERS_CHUNK | replaces the members |
//! | GUILD_MEMBER_UPDATE | its fields replace the same fields of a known member; the others, such as `joined_at`, stay |
//! | GUILD_MEMBER_REMOVE | the member and its presence go |
//! | VOICE_STATE_UPDATE | replaces the voice state, without `member`, which replaces the member. Without a channel the state goes, and a member that is not known is not added: it has left |
//! | PRESENCE_UPDATE | replaces the presence |
//! | GUILD_EMOJIS_UPDATE, GUILD_STICKERS_UPDATE, GUILD_SOUNDBOARD_SOUNDS_UPDATE | replaces the list |
//! | STAGE_INSTANCE_*, GUILD_SCHEDULED_EVENT_*, GUILD_SOUNDBOARD_SOUND_* | replaces or removes the object; a scheduled event that is completed or canceled goes, and a user who follows one changes its `user_count` |
//! | MESSAGE_CREATE, MESSAGE_UPDATE, MESSAGE_DELETE, MESSAGE_DELETE_BULK | adds the message, replaces the fields that the event has, removes it |
//! | MESSAGE_REACTION_* | changes the message's `reactions` |
//! | USER_UPDATE | replaces the bot's own user |
//!
//! Events of a guild that has not come, or has left, change nothing. The event's `guild_id` is dropped from members, voice states and
//! presences, which have none in GUILD_CREATE; it stays in channels, threads and the rest.

mod block;
mod cache;
mod codec;
mod doubt;
mod event;
mod guild;
mod key;
mod list;
mod messages;
mod moves;
mod object;
mod record;
mod restore;
mod rules;
mod scan;
mod users;

pub use cache::{
    Applied, Figures, GuildInfo, GuildRecords, Objects, SessionGuilds, ShardCache, is_structural,
    only_fields, read_elements, read_fields, read_string,
};
pub use codec::Codec;
pub use doubt::{Doubt, Losses, Part, ShardDoubt};
pub use event::is_used;
pub use key::{Changed, Kind, RecordKey};
pub use object::is_key;
pub use record::{FORMAT, RecordError};
pub use restore::{GuildFacts, Head, Restoring};
pub use rules::{MOST_MEMBERS, Resources, Rules, UnknownResource};
pub use scan::{Broken, Raw, Scan};
