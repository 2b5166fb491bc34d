//! The rules of [`SetAsideStore`] in memory: the fence, then [`asides`](super::asides).

use async_trait::async_trait;
use fleet_model::{Epoch, ShardKey, ShardSlot};
use tokio::time::Instant;

use super::CheckpointMemoryStore;
use crate::{CheckpointStoreError, Fenced, NoteAnswer, Position, SetAside, SetAsideStore, SetAsideSummary};

#[async_trait]
impl SetAsideStore for CheckpointMemoryStore {
    async fn note(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
        below: u32,
    ) -> Result<NoteAnswer, CheckpointStoreError> {
        let now = Instant::now();
        if let Some(by) = self.records().above(shard, epoch, now) {
            return Ok(NoteAnswer::Outranked(by));
        }
        Ok(self.asides().note(shard.slot(), epoch, at, below, now))
    }

    async fn void_notes(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Option<Position>,
        owners: &[Epoch],
    ) -> Result<Fenced, CheckpointStoreError> {
        if let Some(by) = self.records().above(shard, epoch, Instant::now()) {
            return Ok(Fenced::Outranked(by));
        }
        self.asides().void_notes(shard.slot(), at, owners);
        Ok(Fenced::Done { forgotten: 0 })
    }

    async fn take_back(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        at: Position,
    ) -> Result<Fenced, CheckpointStoreError> {
        if let Some(by) = self.records().above(shard, epoch, Instant::now()) {
            return Ok(Fenced::Outranked(by));
        }
        self.asides().take_back(shard.slot(), at);
        Ok(Fenced::Done { forgotten: 0 })
    }

    async fn set_aside(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        event: &SetAside,
    ) -> Result<Fenced, CheckpointStoreError> {
        let now = Instant::now();
        if let Some(by) = self.records().above(shard, epoch, now) {
            return Ok(Fenced::Outranked(by));
        }
        Ok(Fenced::Done { forgotten: self.asides().set_aside(shard.slot(), event, now) })
    }

    async fn list_aside(&self, shard: ShardSlot) -> Result<Vec<SetAsideSummary>, CheckpointStoreError> {
        Ok(self.asides().list_aside(shard, Instant::now()))
    }

    async fn get_aside(
        &self,
        shard: ShardSlot,
        at: Position,
    ) -> Result<Option<SetAside>, CheckpointStoreError> {
        Ok(self.asides().get_aside(shard, at, Instant::now()))
    }

    async fn drop_aside(&self, shard: ShardSlot, at: Position) -> Result<bool, CheckpointStoreError> {
        Ok(self.asides().drop_aside(shard, at, Instant::now()))
    }
}
