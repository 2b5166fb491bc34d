//! Shards and the numbers that fence writes about them.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};

/// The most shards of a fleet: Discord's largest bots run a few thousand.
pub const MAX_SHARDS: u32 = 65_536;

/// How far epochs and terms may be ahead of a clock, in milliseconds: clocks of a fleet disagree by less.
pub const AHEAD_MS: u64 = 24 * 3600 * 1000;

/// One shard: one gateway connection of the bot.
///
/// `number` and `total` are Discord's: they go into IDENTIFY, choose the permit bucket, and say which guilds the shard has.
/// The slot is the shard's identity within the fleet, so keys compare and hash by it alone.
#[derive(Clone, Copy, Debug)]
pub struct ShardKey {
    number: u32,
    total: u32,
    slot: ShardSlot,
}

/// The fleet's short name of a shard, used in Redis keys, records, labels, tables and texts, and as the wire's `shard_id`. A slot
/// from outside becomes a [`ShardKey`] where the total is known.
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

impl ShardKey {
    /// Returns shard `number` of `total`. Its slot equals its number as long as a fleet has one total.
    pub const fn new(number: u32, total: u32) -> Self {
        debug_assert!(number < total, "the shard is below its total");
        Self { number, total, slot: ShardSlot(number) }
    }

    /// Returns all shards of a total, by slot.
    pub fn all(total: u32) -> impl ExactSizeIterator<Item = Self> + Clone {
        (0..total).map(move |number| Self::new(number, total))
    }

    /// Discord's number of the shard, from 0.
    pub const fn number(self) -> u32 {
        self.number
    }

    /// The number of shards among which Discord divides the guilds.
    pub const fn total(self) -> u32 {
        self.total
    }

    /// Returns whether a guild lives on the shard.
    pub fn has_guild(self, guild_id: u64) -> bool {
        shard_of_guild(guild_id, self.total).is_some_and(|shard| shard.number == self.number)
    }

    /// The fleet's name of the shard.
    pub const fn slot(self) -> ShardSlot {
        self.slot
    }
}

impl ShardSlot {
    /// Returns the shard of this slot in a fleet with this total; `None` when the fleet has no such slot.
    pub fn in_total(self, total: u32) -> Option<ShardKey> {
        (self.0 < total).then(|| ShardKey::new(self.0, total))
    }
}

/// Returns the shard on which a guild lives, by Discord's rule `(guild_id >> 22) % total`
/// ([Sharding](https://discord.com/developers/docs/events/gateway#sharding)); `None` when `total` is 0.
pub fn shard_of_guild(guild_id: u64, total: u32) -> Option<ShardKey> {
    (guild_id >> 22).checked_rem(u64::from(total)).map(|number| ShardKey::new(number as u32, total))
}

impl PartialEq for ShardKey {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot
    }
}

impl Eq for ShardKey {}

impl PartialOrd for ShardKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShardKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.slot.cmp(&other.slot)
    }
}

impl Hash for ShardKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.slot.hash(state);
    }
}

/// Lets a map keyed by [`ShardKey`] be searched by slot.
impl Borrow<ShardSlot> for ShardKey {
    fn borrow(&self) -> &ShardSlot {
        &self.slot
    }
}

impl From<ShardKey> for ShardSlot {
    fn from(key: ShardKey) -> Self {
        key.slot
    }
}

impl fmt::Display for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(f)
    }
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
        // Discord Developers.
        let guild = 613_425_648_685_547_541;
        for (total, number) in [(10, 4), (1, 0)] {
            let shard = shard_of_guild(guild, total).unwrap();
            assert_eq!((shard.number(), shard.total(), shard.slot()), (number, total, ShardSlot(number)));
            assert!(shard.has_guild(guild) && !ShardKey::new(3, 10).has_guild(guild));
        }
    }

    #[test]
    fn shard_of_the_only_total_is_named_by_its_number() {
        let shard = ShardKey::new(3, 8);
        assert_eq!(format!("{shard} {:>3}", shard.slot()), "3   3");
        assert_eq!(std::collections::HashMap::from([(shard, "found")]).get(&ShardSlot(3)), Some(&"found"));
        assert!(ShardKey::all(8).is_sorted() && ShardKey::all(8).nth(3) == Some(shard));
    }

    #[test]
    fn slot_beyond_the_total_is_no_shard() {
        assert_eq!(ShardSlot(7).in_total(8), Some(ShardKey::new(7, 8)));
        assert_eq!(ShardSlot(8).in_total(8), None);
    }

    #[test]
    fn zero_total_has_no_shard() {
        assert_eq!(shard_of_guild(1 << 22, 0), None);
    }
}
