//! Which key signs the heads of checkpoints, and the names of such keys.

use std::{fmt, str::FromStr};

/// The name of a head key, which signs the heads of checkpoints: the first 8 hex digits of its SHA-256. It says nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadKeyId(pub [u8; 4]);

/// A text that is no [`HeadKeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a head key has 8 hex digits")]
pub struct InvalidHeadKeyId;

/// How the fleet signs the heads of checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HeadSigning {
    /// The newest key that every worker holds; `None` until all workers hold the same one.
    pub by: Option<HeadKeyId>,
    /// Every worker has had a key once: unsigned heads are refused.
    pub required: bool,
}

impl fmt::Display for HeadKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl FromStr for HeadKeyId {
    type Err = InvalidHeadKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidHeadKeyId> {
        // Without the check `from_str_radix` would take a sign.
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(|number| Self(number.to_be_bytes())).ok_or(InvalidHeadKeyId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_a_key_survives_its_text() {
        let id = HeadKeyId([0, 0xab, 1, 0xff]);
        assert_eq!(id.to_string(), "00ab01ff");
        assert_eq!("00ab01ff".parse(), Ok(id));
        for text in ["", "00ab01f", "00ab01fff", "+0ab01ff", "00ab01fg"] {
            assert_eq!(text.parse::<HeadKeyId>(), Err(InvalidHeadKeyId), "{text}");
        }
    }
}
