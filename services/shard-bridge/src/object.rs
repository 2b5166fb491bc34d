//! An object out of a worker's cache: what is asked for, and why it may not be had.

use fleet_model::{Classified, ErrorClass};

use crate::answer::BridgeError;

/// Larger answers than 4 MiB are not taken by gRPC clients; the rest is for what goes around it.
const LARGEST: usize = 4 * 1024 * 1024 - 16 * 1024;

/// Which object, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectQuery {
    /// The guild that it is in.
    pub guild: u64,
    /// Which object of the guild.
    pub kind: ObjectKind,
    /// Only these fields, by Discord's names; all when empty.
    pub fields: Vec<String>,
}

/// Which object of a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// The guild itself.
    Guild,
    /// A channel or thread.
    Channel(u64),
    /// A member, by the user's id.
    Member(u64),
    /// All roles.
    Roles,
}

/// An object out of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundObject {
    /// The object as Discord's own JSON.
    pub json: String,
    /// Why parts of it may be missing or out of date; empty when nothing is in doubt.
    pub doubt: String,
}

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectRefused {
    /// The worker does not run the guild's shard.
    #[error("its shard is on the move")]
    NotMine,
    /// It is not there.
    #[error("{0}")]
    NotFound(String),
    /// Whether it is there can't be told now.
    #[error("{0}")]
    Unknown(String),
    /// It is not cached, by a setting.
    #[error("{0}")]
    NotCached(String),
}

impl Classified for ObjectRefused {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotMine | Self::Unknown(_) => ErrorClass::Unavailable,
            Self::NotFound(_) => ErrorClass::NotFound,
            Self::NotCached(_) => ErrorClass::NotPermitted,
        }
    }
}

impl From<ObjectRefused> for BridgeError {
    fn from(refused: ObjectRefused) -> Self {
        Self::new(refused.class(), refused.to_string())
    }
}

/// Refuses an answer that a gRPC client would not take.
///
/// # Errors
/// [`ErrorClass::TooBusy`], with the size.
pub fn check_size(bytes: usize) -> Result<(), BridgeError> {
    if bytes > LARGEST {
        let message = format!("the answer has {bytes} bytes, gRPC takes {LARGEST}: ask for fewer fields");
        return Err(BridgeError::new(ErrorClass::TooBusy, message));
    }
    Ok(())
}
