//! The shards as the rest of the worker reads them.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use fleet_model::{ShardKey, ShardSlot, WorkerId};
use tokio::sync::Semaphore;

use super::{RunningShard, commands::CommandMetrics, messages::CALLS};
use crate::clock::BootTime;

/// How long a shard that was handed over answers questions at most.
pub(super) const ANSWERS: Duration = Duration::from_secs(10);

/// The shards as others read them. Clones are the same.
#[derive(Clone, Debug)]
pub struct RunningShards {
    pub(crate) worker: WorkerId,
    shards: Arc<RwLock<Published>>,
    pub(super) commands: CommandMetrics,
    /// For messages and questions to shards that are under way.
    pub(crate) calls: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Published {
    running: BTreeMap<ShardKey, Arc<RunningShard>>,
    /// Handed over lately, and when: they answer questions until the next owner can.
    departed: BTreeMap<ShardKey, (Arc<RunningShard>, BootTime)>,
}

impl RunningShards {
    /// None yet.
    pub(crate) fn new(worker: WorkerId) -> Self {
        Self {
            worker,
            shards: Arc::default(),
            commands: CommandMetrics::default(),
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Those that run now.
    pub fn all(&self) -> Vec<Arc<RunningShard>> {
        self.read().running.values().cloned().collect()
    }

    /// One that runs now.
    pub(crate) fn get(&self, shard: impl Into<ShardSlot>) -> Option<Arc<RunningShard>> {
        self.read().running.get(&shard.into()).cloned()
    }

    /// Those that can be asked: shards that run, and shards just handed off that no other worker can answer for yet.
    pub(super) fn askable(&self) -> Vec<Arc<RunningShard>> {
        let published = self.read();
        let now = BootTime::now();
        let departed = published.departed.iter().filter(|&(shard, (_, since))| {
            !published.running.contains_key(shard) && now.since(*since) < ANSWERS
        });
        published.running.values().chain(departed.map(|(_, (shard, _))| shard)).cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(
        &self,
        running: BTreeMap<ShardKey, Arc<RunningShard>>,
        departed: BTreeMap<ShardKey, (Arc<RunningShard>, BootTime)>,
    ) {
        *self.shards.write().unwrap_or_else(PoisonError::into_inner) = Published { running, departed };
    }
}
