//! Between the wire and the domain.
//!
//! Nothing from the wire is trusted: an invalid name, a range that ends before it begins or is longer than any
//! bot, an unknown status are [`Malformed`], never a panic.

mod assignment;
mod bounds;
mod cached;
mod directive;
mod history;
mod json;
mod lookup;
mod outcome;
mod page;
mod permit;
mod problem;
mod report;
pub(crate) mod routes;
mod session;
mod status;

pub use assignment::{running_ranges, running_shards};
pub use bounds::{Bounded, for_people};
pub use cached::CachedObject;
pub use directive::{directive_from_wire, directive_to_wire};
pub use json::{encoded_len, from_json, is_exact, to_json};
pub use page::page;
pub use permit::{permit_answer, permit_message};
pub use report::{status_from_wire, worker_report};
pub use status::{class_of, refusal, status};

pub use fleet_model::MAX_SHARDS;

/// A message that no peer of ours would send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A name with characters that no name has.
    #[error(transparent)]
    Name(#[from] fleet_model::InvalidName),
    /// Shards beyond [`MAX_SHARDS`], or a range that ends before it begins.
    #[error("shards {first} to {last} are no range below {MAX_SHARDS}")]
    Range {
        /// The range's first shard.
        first: u32,
        /// The range's last shard.
        last: u32,
    },
    /// Bytes that are no update of the routing table.
    #[error("the update of the routing table cannot be read: {0}")]
    Encoded(String),
    /// A sample below 0 or above 1.
    #[error("sample must be from 0 to 1")]
    Share,
    /// A shard at or above the total that comes with it.
    #[error("shard {last} is beyond a total of {shard_total}")]
    Beyond {
        /// The highest shard.
        last: u32,
        /// The total.
        shard_total: u32,
    },
    /// A text longer than any that a peer of this version sends.
    #[error("{field} has {bytes} bytes: the limit is {most}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A list longer than any that a peer of this version sends.
    #[error("{field} has {count} entries: the limit is {most}")]
    TooMany {
        /// The field.
        field: &'static str,
        /// Number of entries, ranges expanded.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// A shard number above the limit.
    #[error("shard {0} is above the highest possible shard number")]
    Shard(fleet_model::ShardSlot),
    /// A page token that no answer had.
    #[error("page_token is not next_page_token of an answer")]
    PageToken,
    /// A number that stands for no status.
    #[error("{0} is no shard status")]
    Status(i32),
}

/// Returns whole milliseconds.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
