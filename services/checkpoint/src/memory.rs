//! The store of one process: for `altergolden dev` and for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fleet_model::{Epoch, ShardKey};
use tokio::time::Instant;

use crate::{
    CheckpointStore, CheckpointStoreError, ClaimAnswer, Cursor, Freshness, PageRead, StepAnswer, WriteStep,
};

mod asides;
mod records;
mod set_aside;

use asides::MemorySetAsides;
use records::Records;

/// A store in this process's memory. Clones share the checkpoints, which end with the last of them. Its clock is tokio's, so a test
/// may pause it.
#[derive(Clone, Debug, Default)]
pub struct CheckpointMemoryStore {
    records: Arc<Mutex<Records>>,
    asides: Arc<Mutex<MemorySetAsides>>,
}

impl CheckpointMemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Each rule writes in one go after its checks, so the records are whole even if a holder panicked.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asides(&self) -> MutexGuard<'_, MemorySetAsides> {
        // The same goes for these.
        self.asides.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckpointStore for CheckpointMemoryStore {
    async fn claim(&self, shard: ShardKey, epoch: Epoch) -> Result<ClaimAnswer, CheckpointStoreError> {
        Ok(self.records().claim(shard, epoch, Instant::now()))
    }

    async fn write(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        step: &WriteStep,
    ) -> Result<StepAnswer, CheckpointStoreError> {
        Ok(self.records().write(shard, epoch, serial, step, Instant::now()))
    }

    async fn read(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        cursor: Cursor,
    ) -> Result<PageRead, CheckpointStoreError> {
        Ok(self.records().read(shard, epoch, serial, cursor, Instant::now()))
    }

    async fn freshness(&self, shard: ShardKey) -> Result<Option<Freshness>, CheckpointStoreError> {
        Ok(self.records().freshness(shard, Instant::now()))
    }
}
