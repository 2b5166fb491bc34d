//! The words of the platform as types, shared by coordinator, gateway workers and the bridge between them.
//!
//! Owns what a shard, an epoch, a term, a worker and a routing table *are*. Does no I/O, reads no clock, knows no wire
//! format: `altergolden-proto` turns these into messages, `fleet-store` into Redis records.

mod advertised;
mod assignment;
mod copy_ticket;
mod directive;
mod error_class;
mod event;
mod event_rate;
mod head_signing;
mod history;
mod lookup;
mod outcome;
mod permit;
mod problem;
mod registration;
mod report;
mod routes;
mod session;
mod shard;
mod shard_count;
mod slot_ranges;
mod worker;

pub use advertised::{AdvertisedAddress, AdvertisedHost, is_one_host};
pub use assignment::{Arriving, Assignment, Departing, ShardRange};
pub use bytestring::ByteString;
pub use copy_ticket::CopyTicket;
pub use directive::{Directive, RefusedDirective, SentReport};
pub use error_class::{Classified, ErrorClass};
pub use event::{Mark, Position, ShardEvent};
pub use event_rate::EventRate;
pub use head_signing::{HeadKeyId, HeadSigning, InvalidHeadKeyId};
pub use history::{HistoryEntry, HistoryFilter, HistoryKind};
pub use lookup::{GuildRecord, OwnGuild, UserLookup, UserRecord};
pub use outcome::{Gap, StartKind, StartOutcome};
pub use permit::{IdentifyAnswer, IdentifyMessage};
pub use problem::{Problem, ProblemClock, ProblemCode, Weight, in_ranges, listed, without_numbers};
pub use registration::{CheckpointFormats, ClaimedShards, FIRST_FORMAT, WorkerProfile};
pub use report::{RoutingUpdates, ShardReport, ShardStatus, WorkerFigures, WorkerReport};
pub use routes::{MissedUpdate, Owner, Route, Routes, RoutesUpdate};
pub use session::SessionNeeds;
pub use shard::{AHEAD_MS, Epoch, MAX_SHARDS, ShardKey, ShardSlot, Term, shard_of_guild};
pub use shard_count::{Percent, ShardCount};
pub use slot_ranges::SlotRanges;
pub use worker::{Generation, Incarnation, InvalidName, WorkerId};
