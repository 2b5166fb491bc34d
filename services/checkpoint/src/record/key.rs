//! Which record is which, and the short text by which a store knows it.

use std::{fmt, str::FromStr};

use fleet_model::Position;

/// What a record is about.
///
/// Its text is a letter and decimal numbers: `c:81384788765712384`, `m:81384788765712384:2`, `p:1795401774221:4711`, `b:81384788765712384:3:0`.
/// A guild's records are [`RecordKey::Block`]s in format 3, and the other kinds in formats 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// A guild without its long lists.
    Core(u64),
    /// A guild's channels.
    Channels(u64),
    /// A guild's roles.
    Roles(u64),
    /// A guild's emojis, stickers, stage instances and scheduled events.
    Extras(u64),
    /// A block of a guild's members: the guild, and the number of the block.
    Members(u64, u32),
    /// A pending event.
    Pending(Position),
    /// A block of the cache, which alone reads and writes its bytes.
    Block {
        /// The guild.
        guild: u64,
        /// The kind of its objects, as the cache's number for it.
        kind: u8,
        /// The first id that the block may hold.
        low: u64,
    },
}

/// A text that names no record of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} names no record")]
pub struct InvalidKey {
    given: String,
}

/// Longest part of an invalid text that is shown.
const SHOWN: usize = 64;

impl RecordKey {
    /// The guild that the record belongs to; an event has none here.
    pub fn guild(self) -> Option<u64> {
        match self {
            Self::Core(guild)
            | Self::Channels(guild)
            | Self::Roles(guild)
            | Self::Extras(guild)
            | Self::Members(guild, _)
            | Self::Block { guild, .. } => Some(guild),
            Self::Pending(_) => None,
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(guild) => write!(f, "c:{guild}"),
            Self::Channels(guild) => write!(f, "h:{guild}"),
            Self::Roles(guild) => write!(f, "r:{guild}"),
            Self::Extras(guild) => write!(f, "x:{guild}"),
            Self::Members(guild, block) => write!(f, "m:{guild}:{block}"),
            Self::Pending(Position { session, sequence }) => write!(f, "p:{session}:{sequence}"),
            Self::Block { guild, kind, low } => write!(f, "b:{guild}:{kind}:{low}"),
        }
    }
}

impl FromStr for RecordKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        parse(text).ok_or_else(|| InvalidKey { given: text.chars().take(SHOWN).collect() })
    }
}

fn parse(text: &str) -> Option<RecordKey> {
    let (kind, number) = text.split_once(':')?;
    match kind {
        "c" => decimal(number).map(RecordKey::Core),
        "h" => decimal(number).map(RecordKey::Channels),
        "r" => decimal(number).map(RecordKey::Roles),
        "x" => decimal(number).map(RecordKey::Extras),
        "m" => {
            let (guild, block) = number.split_once(':')?;
            Some(RecordKey::Members(decimal(guild)?, decimal(block)?))
        }
        "p" => {
            let (session, sequence) = number.split_once(':')?;
            Some(RecordKey::Pending(Position::new(decimal(session)?, decimal(sequence)?)))
        }
        "b" => {
            let (guild, rest) = number.split_once(':')?;
            let (kind, low) = rest.split_once(':')?;
            Some(RecordKey::Block { guild: decimal(guild)?, kind: decimal(kind)?, low: decimal(low)? })
        }
        _ => None,
    }
}

/// One text for each number, so that no record has two names.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_has_its_text() {
        let texts = [
            (RecordKey::Core(0), "c:0"),
            (RecordKey::Channels(1), "h:1"),
            (RecordKey::Roles(2), "r:2"),
            (RecordKey::Extras(3), "x:3"),
            (RecordKey::Members(u64::MAX, u32::MAX), "m:18446744073709551615:4294967295"),
            (RecordKey::Pending(Position::new(4, 5)), "p:4:5"),
            (RecordKey::Block { guild: 6, kind: 3, low: u64::MAX }, "b:6:3:18446744073709551615"),
        ];
        for (key, text) in texts {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse(), Ok(key));
        }
    }

    #[test]
    fn invalid_texts_are_errors() {
        let invalid = [
            "",
            ":",
            "c",
            "c:",
            "c:x",
            "c:-1",
            "c:+1",
            "c:01",
            "c: 1",
            "c:1 ",
            "c:1:2",
            "C:1",
            ".serial",
            "m:1",
            "m:1:",
            "m:1:2:3",
            "m:1:01",
            "m:1:4294967296",
            "p:1",
            "p:1:18446744073709551616",
            "b:1:2",
            "b:1:256:0",
            "b:1:2:03",
            "b:1:2:3:4",
            "z:1",
            "é:1",
        ];
        for text in invalid {
            assert!(text.parse::<RecordKey>().is_err(), "{text:?}");
        }
        let error = "a".repeat(10_000).parse::<RecordKey>().unwrap_err();
        assert!(error.to_string().len() < 100, "{error}");
    }

    proptest! {
        #[test]
        fn a_text_has_one_meaning(text in "[bchrxmpz.]?:?[0-9+:]{0,22}") {
            if let Ok(key) = text.parse::<RecordKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
