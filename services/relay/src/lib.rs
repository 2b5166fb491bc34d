//! Discord's events for bots in any language.
//!
//! Owns the way of a shard's events into streams that others read: one stream for each of Discord's event names, in the format of
//! discord.js's `@discordjs/brokers`, and one for gaps. Each event is in its stream once, even if several owners send it: a shard's
//! events have [positions](Position), and its fence in the [store](RelayStore) lets none in at or below the last that it took. Knows
//! nothing of sockets, handlers and gRPC.
//!
//! - [`Outbox`]: a shard's events on their way. It keeps what the store has not taken, and for a while what it has: a store that lost its
//!   last writes gets them again.
//! - [`RelayStore`]: the streams, over [Redis](RedisRelay) and [in memory](MemoryRelay).
//! - [`keeper`]: cuts what is too old, and measures how far readers are behind.
//! - [`commands`]: what bots send back.
//!
//! # Bounds
//!
//! | what | bound | when full |
//! |---|---|---|
//! | events of a shard that the store has not taken | [`Bounds`], as for the handlers' queue | the shard closes its socket; what comes then comes again |
//! | taken ones that are kept | 2,048, 1 MiB, 10 s | the oldest go; a store that lost those gets a gap in their place |
//! | a stream | [`Caps`] | the oldest go, read or not; counted, and told to readers that read on from before |
//! | the stream of bots' commands | 65,536, 64 MiB | the oldest go; counted |

mod args;
pub mod commands;
mod entry;
#[cfg(test)]
mod fuzzing;
pub mod keeper;
mod memory;
mod metrics;
mod names;
mod outbox;
mod pack;
mod redis;
mod status;
mod store;

pub use args::{RelayArgs, RelayKind};
pub use entry::{DataError, Entry, EntryId, GAP, InvalidEntryId, NewEntry, gap_event, gap_of};
pub use fleet_model::{Mark, Position};
pub use memory::MemoryRelay;
pub use metrics::RelayMetrics;
pub use names::{EventNames, InvalidNames, UNKNOWN};
pub use outbox::{Bounds, Outbox, OutboxParts};
pub use redis::{InvalidStreamPrefix, RedisRelay, RunClaim, StreamPrefix};
pub use status::RelayStatus;
pub use store::{Appended, Caps, Page, RelayError, RelayStore};
