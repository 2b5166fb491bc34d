//! What one shard knows: its guilds and their objects, in a few KiB for each guild. Pure: no I/O, no clock.
//!
//! Objects are kept as the text that Discord sent, compressed in small blocks, with the ids beside the text. The cache reads only the fields that it
//! needs. Unknown fields, null, missing fields and half surrogate pairs come out unchanged. A [record](ShardCache::record) of a checkpoint
//! holds one block.
//!
//! # What events do
//!
//! | event | what it does |
//! |---|---|
//! | GUILD_CREATE | replaces the known guild, except messages; with `unavailable: true` it is an outage, as for GUILD_DELETE |
//! | GUILD_UPDATE | its fields replace the same fields of the guild; its roles, emojis and stickers replace the known lists; `member_count` and the other lists stay |
//! | GUILD_DELETE | `unavailable: true` is an outage: everything stays, and the guild counts as unavailable. Otherwise the guild and its messages are removed |
//! | CHANNEL_CREATE, CHANNEL_UPDATE | replaces the channel; `status` and `voice_start_time`, which have separate events, stay. `last_message_id` is the value that Discord last sent with the channel |
//! | CHANNEL_DELETE | removes the channel, its scheduled events, its voice states, its threads, and the messages of the channel and threads |
//! | CHANNEL_PINS_UPDATE, VOICE_CHANNEL_STATUS_UPDATE, VOICE_CHANNEL_START_TIME_UPDATE | sets `last_pin_timestamp`, `status` or `voice_start_time` of a known channel; null if the event lacks the field |
//! | THREAD_CREATE | replaces the thread, without `newly_created` |
//! | THREAD_UPDATE | its fields replace the same fields of the thread, or the thread is added. An archived thread is removed, because GUILD_CREATE lists only active threads |
//! | THREAD_LIST_SYNC | replaces the threads of the named channels, or all threads. Messages of threads that are still listed stay. Each of `members` becomes its thread's `member` |
//! | THREAD_MEMBER_UPDATE | sets `member` of a known thread: the bot's own membership |
//! | THREAD_MEMBERS_UPDATE | sets `member_count` of a known thread, and `member` when the bot itself is added or removed |
//! | GUILD_ROLE_CREATE, GUILD_ROLE_UPDATE, GUILD_ROLE_DELETE | replaces or removes the role; members keep the ids of removed roles |
//! | GUILD_MEMBER_ADD, GUILD_MEMBERS_CHUNK | replaces the members |
//! | GUILD_MEMBER_UPDATE | its fields replace the same fields of a known member; the others, such as `joined_at`, stay |
//! | GUILD_MEMBER_REMOVE | removes the member and its presence |
//! | VOICE_STATE_UPDATE | replaces the voice state; its `member` replaces the member. An event without a channel removes the voice state, and adds no unknown member: that user has left the guild |
//! | PRESENCE_UPDATE | replaces the presence |
//! | GUILD_EMOJIS_UPDATE, GUILD_STICKERS_UPDATE, GUILD_SOUNDBOARD_SOUNDS_UPDATE | replaces the list |
//! | STAGE_INSTANCE_*, GUILD_SCHEDULED_EVENT_*, GUILD_SOUNDBOARD_SOUND_* | replaces or removes the object; a completed or canceled scheduled event is removed; users who start or stop to follow an event change its `user_count` |
//! | MESSAGE_CREATE, MESSAGE_UPDATE, MESSAGE_DELETE, MESSAGE_DELETE_BULK | adds the message, replaces the fields that the event has, or removes the messages |
//! | MESSAGE_REACTION_* | changes the message's `reactions` |
//! | USER_UPDATE | replaces the bot's own user |
//!
//! Events of a pending guild, or of a guild that the bot has left, change nothing. The event's `guild_id` is removed from members, voice
//! states and presences, which have none in GUILD_CREATE. It stays in channels, threads and other objects.

mod block;
mod cache;
mod client_view;
mod codec;
mod doubt;
mod event;
#[cfg(test)]
mod fuzzing;
mod guild;
mod key;
mod list;
mod member_chunks;
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
pub use client_view::{ClientView, guild_create_for};
pub use codec::Codec;
pub use doubt::{Doubt, Losses, Part, ShardDoubt};
pub use event::is_used;
pub use key::{Changed, Kind, RecordKey};
pub use member_chunks::{MemberChunks, MemberRequest};
pub use object::is_key;
pub use record::{FORMAT, RecordError};
pub use restore::{GuildFacts, Head, Restoring};
pub use rules::{MOST_MEMBERS, Resources, Rules, UnknownResource};
pub use scan::{Broken, Raw, Scan};
