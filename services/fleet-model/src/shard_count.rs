//! The operator's choice of the number of shards.

use std::str::FromStr;

use crate::MAX_SHARDS;

/// How many shards the bot has, as the operator sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardCount {
    /// Discord's recommendation plus headroom.
    Auto,
    /// This number.
    Fixed(u32),
}

impl FromStr for ShardCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(count @ 1..=MAX_SHARDS) => Ok(Self::Fixed(count)),
            _ => Err("it takes `auto` or a number from 1 to 65536".to_owned()),
        }
    }
}

/// A share of a hundred: `10`, or `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl Percent {
    /// Returns this share of `whole`, rounded up.
    pub fn of(self, whole: u32) -> u32 {
        (u64::from(whole) * u64::from(self.0)).div_ceil(100) as u32
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim_end_matches('%').trim_end().parse() {
            Ok(percent @ 0..=100) => Ok(Self(percent)),
            _ => Err("it takes a percentage from 0 to 100".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_rounds_up() {
        assert_eq!("10%".parse::<Percent>().unwrap().of(1_001), 101);
        assert_eq!(Percent(0).of(1_000), 0);
        assert!("101".parse::<Percent>().is_err());
    }
}
