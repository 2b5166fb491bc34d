use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use event_bus::MemoryBus;
use fleet_model::{Epoch, GuildRecord, Route, ShardReport, ShardSlot, ShardStatus, UserLookup};
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use super::*;
use crate::{
    BridgeMetrics, BridgeParts,
    command::GatewayCommand,
    hub::Hub,
    local::{CommandFuture, Delivered, ShardAnswer, ShardMessage, ShardRequest},
    object::{FoundObject, ObjectQuery, ObjectRefused},
    snapshot::{SnapshotPart, SnapshotQuery},
};

/// A worker whose answers are a script: the status of shard 0, or no shard. The last one repeats.
struct Scripted {
    answers: Mutex<VecDeque<Option<ShardStatus>>>,
    asked: Mutex<u32>,
}

impl Scripted {
    fn next(&self) -> Option<ShardStatus> {
        *self.asked.lock().unwrap() += 1;
        let mut answers: MutexGuard<'_, VecDeque<_>> = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
    }
}

#[async_trait]
impl LocalShards for Scripted {
    fn worker(&self) -> WorkerId {
        "b".parse().unwrap()
    }

    fn shards(&self) -> Vec<ShardReport> {
        self.next().map(|status| ShardReport::bare(ShardSlot(0), Epoch(2), status)).into_iter().collect()
    }

    fn users(&self, _: &[u64]) -> UserLookup {
        let shards = self.next().map(|_| ShardSlot(0)).into_iter().collect();
        UserLookup { users: Vec::new(), incomplete: None, shards }
    }

    fn guilds(&self, _: &[u64]) -> Vec<GuildRecord> {
        unreachable!("not asked here")
    }

    fn send_command(&self, _: ShardSlot, _: GatewayCommand, _: Instant) -> CommandFuture<'_> {
        unreachable!("not asked here")
    }

    fn object(&self, _: &ObjectQuery) -> Result<FoundObject, ObjectRefused> {
        unreachable!("not asked here")
    }

    fn snapshot(
        &self,
        _: &SnapshotQuery,
    ) -> Result<Option<BoxStream<'static, SnapshotPart>>, crate::BridgeError> {
        unreachable!("not asked here")
    }

    fn cached_members(&self, _: &crate::MembersQuery) -> Option<BoxStream<'static, String>> {
        unreachable!("not asked here")
    }

    async fn deliver(&self, _: Arc<ShardMessage>, _: Instant) -> Delivered {
        unreachable!("not asked here")
    }

    async fn ask(&self, _: Vec<ShardSlot>, _: Arc<ShardRequest>, _: usize) -> Vec<ShardAnswer> {
        unreachable!("not asked here")
    }
}

/// Shard 0 on worker b, the one at hand; worker a has ended.
fn bridge(answers: &[Option<ShardStatus>]) -> (Bridge, Arc<Scripted>) {
    let worker =
        Arc::new(Scripted { answers: Mutex::new(answers.iter().copied().collect()), asked: Mutex::new(0) });
    let route = |epoch| Route {
        url: "http://127.0.0.1:9".to_owned(),
        shards: [(ShardKey::new(0, 1), Epoch(epoch))].into(),
        draining: false,
    };
    let routes = Routes::new(1, [("a".parse().unwrap(), route(1)), ("b".parse().unwrap(), route(2))].into());
    let (_, routes) = watch::channel(Arc::new(routes));
    let hub = Hub::new(Arc::new(MemoryBus::new()), BridgeMetrics::default());
    let metrics = BridgeMetrics::default();
    let parts = BridgeParts {
        routes,
        local: Some(worker.clone()),
        recent: None,
        hub,
        metrics,
        sender: "test",
        relay: None,
        credentials: process::credentials::Credentials::none(),
    };
    (Bridge::new(parts), worker)
}

fn until() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[tokio::test]
async fn shard_that_moves_while_its_owners_are_asked_is_in_the_answer() {
    use ShardStatus::{Identifying, Ready, Reconnecting, Resuming};
    for first in [None, Some(Reconnecting), Some(Resuming), Some(Identifying)] {
        let (bridge, _) = bridge(&[first, Some(Ready)]);
        let stats = bridge.stats(until(), Duration::ZERO).await;
        assert!(stats.complete, "{first:?}: {stats:?}");
    }
    let (bridge, _) = bridge(&[None, Some(Ready)]);
    let found = bridge.users(&[1], true, until()).await;
    assert!(found[0].complete && !found[0].found, "{found:?}");
}

#[tokio::test]
async fn owner_is_asked_once_more_only_when_a_shard_is_missing() {
    use ShardStatus::{Failed, Queued, Ready, Resuming, Silent};
    for (answer, times) in [
        (Some(Ready), 1),
        (Some(Failed), 1),
        (Some(Queued), 1),
        (Some(Silent), 1),
        (Some(Resuming), 2),
        (None, 2),
    ] {
        let (bridge, worker) = bridge(&[answer]);
        let stats = bridge.stats(until(), Duration::ZERO).await;
        assert_eq!(stats.complete, answer == Some(Ready), "{stats:?}");
        assert_eq!(*worker.asked.lock().unwrap(), times, "{answer:?}");
    }
}
