//! Finds and removes checkpoints that no worker can have written: their shards could not write any until they expire.

use fleet_model::ShardSlot;
use redis::cmd;
use redis_link::{FieldRule, FieldValue, InvalidPart, RecordError, RecordRule};

use super::CheckpointRedisStore;
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

impl CheckpointRedisStore {
    /// Returns the key of a shard's checkpoint and what is invalid of it; with `remove` the whole checkpoint is removed then.
    ///
    /// # Errors
    /// The store is away.
    pub async fn repair(
        &self,
        slot: ShardSlot,
        remove: bool,
    ) -> Result<Option<(String, InvalidPart)>, CheckpointStoreError> {
        let keys = self.keys(slot);
        let of = |error| CheckpointStoreError::from(RecordError::of(&keys.checkpoint, error));
        let found = self.link.repair_record(&keys.checkpoint, CHECKPOINT, remove).await.map_err(of)?;
        if remove && found.is_some() {
            self.link.command::<()>(cmd("UNLINK").arg(&keys.claim)).await.map_err(of)?;
        }
        Ok(found.map(|part| (keys.checkpoint.clone(), part)))
    }
}
