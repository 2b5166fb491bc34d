//! What the tests of several modules are made of: a fleet of one worker whose answers are a script.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use event_bus::MemoryBus;
use fleet_model::{
    Epoch, GuildRecord, Route, Routes, ShardKey, ShardReport, ShardSlot, UserLookup, WorkerId,
};
use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use process::credentials::{ClientFacingCertificate, Credentials};
use relay::{Caps, MemoryRelay};
use shard_bridge::{
    Bridge, BridgeError, BridgeMetrics, BridgeParts, CommandFuture, CommandRefused, Delivered, FoundObject,
    GatewayCommand, Hub, LocalShards, MembersQuery, ObjectQuery, ObjectRefused, ShardAnswer, ShardMessage,
    ShardRequest, SnapshotPart, SnapshotQuery,
};
use tokio::{sync::watch, time::Instant};

use crate::{BotIdentity, GatewayConfig, GatewayMetrics, GatewayParts, Shared};

/// What the worker answers to a question for a shard's guilds; `number` counts the questions for the shard.
type Snapshots = dyn Fn(&SnapshotQuery, usize) -> Vec<SnapshotPart> + Send + Sync;

/// The worker.
pub(crate) struct Scripted {
    pub(crate) snapshots: Box<Snapshots>,
    /// What it was asked for.
    pub(crate) asked: Mutex<Vec<SnapshotQuery>>,
    /// Questions for members.
    pub(crate) members_asked: Mutex<usize>,
    /// Commands that went out, and what becomes of the next one of a shard.
    pub(crate) sent: Mutex<Vec<(ShardSlot, String)>>,
    pub(crate) fates: Mutex<BTreeMap<ShardSlot, Fate>>,
}

/// What becomes of a command.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    Refused,
    /// It goes out after 10 s.
    Late,
    /// It waits until its caller is gone.
    Waits,
}

impl Scripted {
    pub(crate) fn new(
        snapshots: impl Fn(&SnapshotQuery, usize) -> Vec<SnapshotPart> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            snapshots: Box::new(snapshots),
            asked: Mutex::default(),
            members_asked: Mutex::default(),
            sent: Mutex::default(),
            fates: Mutex::default(),
        })
    }

    /// The shards on which commands went out since the last call.
    pub(crate) fn sent_on(&self) -> Vec<u32> {
        let mut sent: Vec<u32> = self.sent.lock().unwrap().drain(..).map(|(shard, _)| shard.0).collect();
        sent.sort_unstable();
        sent
    }
}

#[async_trait]
impl LocalShards for Scripted {
    fn worker(&self) -> WorkerId {
        "w".parse().unwrap()
    }

    fn shards(&self) -> Vec<ShardReport> {
        unreachable!("not asked here")
    }

    fn users(&self, _: &[u64]) -> UserLookup {
        unreachable!("not asked here")
    }

    fn guilds(&self, _: &[u64]) -> Vec<GuildRecord> {
        unreachable!("not asked here")
    }

    fn send_command(&self, shard: ShardSlot, command: GatewayCommand, _: Instant) -> CommandFuture<'_> {
        async move {
            let fate = self.fates.lock().unwrap().remove(&shard);
            match fate {
                Some(Fate::Refused) => Err(CommandRefused::NotConnected("no connection".to_owned())),
                Some(Fate::Waits) => std::future::pending().await,
                fate => {
                    if fate.is_some() {
                        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
                    }
                    self.sent.lock().unwrap().push((shard, command.into_text()));
                    Ok(())
                }
            }
        }
        .boxed()
    }

    fn object(&self, _: &ObjectQuery) -> Result<FoundObject, ObjectRefused> {
        unreachable!("not asked here")
    }

    fn snapshot(
        &self,
        query: &SnapshotQuery,
    ) -> Result<Option<BoxStream<'static, SnapshotPart>>, BridgeError> {
        let mut asked = self.asked.lock().unwrap();
        let number = asked.iter().filter(|asked| asked.shard == query.shard).count();
        asked.push(query.clone());
        drop(asked);
        Ok(Some(stream::iter((self.snapshots)(query, number)).boxed()))
    }

    /// One chunk without members.
    fn cached_members(&self, query: &MembersQuery) -> Option<BoxStream<'static, String>> {
        *self.members_asked.lock().unwrap() += 1;
        let chunk =
            format!(r#"{{"guild_id":"{}","members":[],"chunk_index":0,"chunk_count":1}}"#, query.guild);
        Some(stream::iter([chunk]).boxed())
    }

    async fn deliver(&self, _: Arc<ShardMessage>, _: Instant) -> Delivered {
        unreachable!("not asked here")
    }

    async fn ask(&self, _: Vec<ShardSlot>, _: Arc<ShardRequest>, _: usize) -> Vec<ShardAnswer> {
        unreachable!("not asked here")
    }
}

/// A fleet with this number of shards, all at this worker.
pub(crate) fn bridge(shards: u32, worker: &Arc<Scripted>) -> Bridge {
    let route = Route {
        url: "http://127.0.0.1:9".to_owned(),
        shards: ShardKey::all(shards).map(|shard| (shard, Epoch(1))).collect(),
        draining: false,
    };
    let (_, routes) = watch::channel(Arc::new(Routes::new(shards, [(worker.worker(), route)].into())));
    Bridge::new(BridgeParts {
        routes,
        local: Some(worker.clone()),
        recent: None,
        hub: Hub::new(Arc::new(MemoryBus::new()), BridgeMetrics::default()),
        metrics: BridgeMetrics::default(),
        sender: "test",
        relay: None,
        credentials: Credentials::none(),
    })
}

/// What clients of this worker share, over an empty relay.
pub(crate) fn shared(shards: u32, worker: &Arc<Scripted>) -> Shared {
    let identity = BotIdentity { user_id: 7, user: "{}".to_owned(), application: "{}".to_owned() };
    let config = GatewayConfig {
        token: "t".to_owned(),
        allows_any_token: false,
        fleet: "test".to_owned(),
        intents: crate::intents::Intents::ALL.0,
        url: String::new(),
        clients: 10,
    };
    let parts = GatewayParts {
        config,
        bridge: bridge(shards, worker),
        relay: Arc::new(MemoryRelay::new(Caps::default())),
        identity: Arc::new(move || std::future::ready(Ok(identity.clone())).boxed()),
        certificate: ClientFacingCertificate::none(),
        metrics: GatewayMetrics::default(),
    };
    Shared::new(parts).0
}
