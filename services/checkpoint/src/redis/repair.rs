//! Finds and removes checkpoints that no worker can have written: their shards could not write any until they expire.

use fleet_model::ShardSlot;
use redis::cmd;
use redis_link::{FieldRule, FieldValue, InvalidPart, RecordError, RecordRule};

use super::{CheckpointRedisStore, keys::ShardKeys};
use crate::CheckpointStoreError;

const CHECKPOINT: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone(".epoch", FieldValue::ClockMade),
        FieldRule::alone(".serial", FieldValue::Number(14)),
        FieldRule::alone(".total", FieldValue::Shards),
        FieldRule::alone(".written_at_ms", FieldValue::Number(15)),
    ],
    // Its owner writes it again; without an owner the shard needs an IDENTIFY.
    whole: true,
};

/// Notes about events, and events that are set aside.
const SET_ASIDE: RecordRule = RecordRule { kind: "hash", fields: &[], whole: false };

impl CheckpointRedisStore {
    /// Returns the keys of a shard's invalid records and what is invalid of them; with `remove` they are removed: all of a checkpoint, for one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn repair(
        &self,
        slot: ShardSlot,
        remove: bool,
    ) -> Result<Vec<(String, InvalidPart)>, CheckpointStoreError> {
        let ShardKeys { checkpoint, claim, notes, aside, payloads, .. } = self.keys(slot);
        let of = |error| CheckpointStoreError::from(RecordError::of(&checkpoint, error));
        let mut found = Vec::new();
        let rules =
            [(&checkpoint, CHECKPOINT), (&notes, SET_ASIDE), (&aside, SET_ASIDE), (&payloads, SET_ASIDE)];
        for (key, rule) in rules {
            let invalid = self.link.repair_record(key, rule, remove).await.map_err(of)?;
            found.extend(invalid.map(|part| (key.clone(), part)));
        }
        if remove && found.iter().any(|(key, _)| *key == checkpoint) {
            self.link.command::<()>(cmd("UNLINK").arg(&claim)).await.map_err(of)?;
        }
        Ok(found)
    }
}
