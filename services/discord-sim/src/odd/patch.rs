//! Changes events before they are sent.

use super::edit::{self, Edit};
use crate::{fault_error::FaultError, shard::Shard, world::Snowflake};
use serde::{Deserialize, Serialize};

/// The most copies of an event.
const MOST_COPIES: u32 = 10_000;

/// Changes events before they are sent; their sequences and the ledger stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patch {
    /// Name for `clear_oddities`.
    pub name: Option<String>,
    /// Name of the events, such as `GUILD_CREATE`; `*` for all.
    pub event: String,
    /// Only events of this guild.
    pub guild_id: Option<Snowflake>,
    /// Only sessions of these shards.
    pub shards: Option<Vec<u32>>,
    /// Number of events; by default all.
    pub times: Option<u32>,
    /// Changes to `d`.
    pub edits: Vec<Edit>,
    /// Additional copies, with the same sequence.
    pub repeat: u32,
    /// Drops the event, so that its sequence is missing.
    pub leave_out: bool,
}

impl Patch {
    pub(super) fn validate(&self) -> Result<(), FaultError> {
        if self.event.is_empty() {
            return Err(FaultError::BadOddity("a patch needs the name of an event, or *"));
        }
        if self.repeat > MOST_COPIES {
            return Err(FaultError::BadOddity("repeat must be at most 10000"));
        }
        Ok(())
    }

    pub(super) fn is_for(&self, event: &str, guild: Option<Snowflake>, shard: Shard) -> bool {
        (self.event == "*" || self.event == event)
            && (self.guild_id.is_none() || self.guild_id == guild)
            && self.shards.as_ref().is_none_or(|shards| shards.contains(&shard.number))
    }

    pub(super) fn apply(&self, body: &[u8]) -> Vec<u8> {
        if self.edits.is_empty() { body.to_vec() } else { edit::apply(&self.edits, body) }
    }
}
