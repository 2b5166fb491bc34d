//! Discord's ids.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Milliseconds between the Unix epoch and Discord's, 2015-01-01T00:00:00Z.
/// [Source](https://docs.discord.com/developers/reference#snowflakes).
pub(crate) const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;

/// An id: milliseconds since Discord's epoch in the upper 42 bits; in JSON a string of digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Snowflake(pub u64);

impl Snowflake {
    /// Builds the id created `ms` after Discord's epoch; `low` fills the lower 22 bits.
    pub(crate) const fn new(ms: u64, low: u64) -> Self {
        Self((ms << 22) | (low & 0x3f_ffff))
    }

    /// Returns the creation time in milliseconds after Discord's epoch.
    pub const fn timestamp_ms(self) -> u64 {
        self.0 >> 22
    }

    /// Returns the shard of a guild with this id for a shard total.
    /// [Source](https://docs.discord.com/developers/events/gateway#sharding).
    pub const fn shard(self, total: u32) -> u32 {
        (self.timestamp_ms() % total as u64) as u32
    }
}

impl fmt::Display for Snowflake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for Snowflake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for Snowflake {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Snowflake {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl de::Visitor<'_> for Digits {
            type Value = Snowflake;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an id, as a string of digits or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Snowflake, E> {
                text.parse().map(Snowflake).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Snowflake, E> {
                Ok(Snowflake(id))
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_json_strings_and_give_the_shard() {
        let id = Snowflake::new(5_000_000_007, 99);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{}\"", id.0));
        assert_eq!(serde_json::from_str::<Snowflake>(&format!("\"{id}\"")).unwrap(), id);
        assert_eq!(serde_json::from_str::<Snowflake>("12").unwrap(), Snowflake(12));
        assert!(serde_json::from_str::<Snowflake>("\"x\"").is_err());
        assert_eq!(id.shard(10), 7);
    }
}
