//! A shard's number and total.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A shard's number and the shard total; in JSON `[number, total]` as in IDENTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// From 0 to `total - 1`.
    pub number: u32,
    /// The client's shard total.
    pub total: u32,
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.total)
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.number, self.total).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, total) = Deserialize::deserialize(deserializer)?;
        Ok(Self { number, total })
    }
}
