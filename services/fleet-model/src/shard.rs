//! Shards and the numbers that fence writes about them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most shards of a fleet: Discord's largest bots run a few thousand.
pub const MAX_SHARDS: u32 = 65_536;

/// How far epochs and terms may be ahead of a clock, in milliseconds: clocks of a fleet disagree by less.
pub const AHEAD_MS: u64 = 24 * 3600 * 1000;

/// A shard's short name within its fleet: keys in Redis, records, the wire's `shard_id`, labels, tables and texts use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShardSlot(pub u32);

/// A number per shard that grows with each assignment: the fencing token in every write about that shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The acting coordinator's fencing number: the coordinator with the highest term acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

/// The shard on which a guild lives, by Discord's rule `(guild_id >> 22) % total`
/// ([Sharding](https://discord.com/developers/docs/events/gateway#sharding)). `None` when `total` is 0.
pub fn shard_of_guild(guild_id: u64, total: u32) -> Option<ShardSlot> {
    (guild_id >> 22).checked_rem(u64::from(total)).map(|number| ShardSlot(number as u32))
}

impl fmt::Display for ShardSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guild_belongs_to_the_shard_of_discords_rule() {
        // Discord Developers, in a bot of 10 shards.
        assert_eq!(shard_of_guild(613_425_648_685_547_541, 10), Some(ShardSlot(4)));
        assert_eq!(shard_of_guild(613_425_648_685_547_541, 1), Some(ShardSlot(0)));
    }

    #[test]
    fn zero_total_has_no_shard() {
        assert_eq!(shard_of_guild(1 << 22, 0), None);
    }
}
