//! What the tests run: one worker with a handler, a coordinator, Discord.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use altergolden_proto::v1::shard_bridge_client::ShardBridgeClient;
use clap::Parser as _;
use coordinator::Coordinator;
use discord_sim::{Control, Fault, Sim, SimConfig, Snowflake};
use event_bus::MemoryBus;
use fleet_model::{Gap, StartKind};
use fleet_store::FleetMemoryStore;
use gateway_worker::{
    Context, Event, EventHandler, Mark, Position, Relay, RestBudget, Wanted, Worker, async_trait,
};
use process::settings::Secret;
use relay::{Caps, MemoryRelay};
use shard_bridge::BridgeClient;
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// How long anything may take on a busy machine before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a handler saw of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) position: Position,
    pub(crate) guild: Option<u64>,
    pub(crate) mark: Mark,
}

/// Notes what it is given, and waits for leave before it ends.
pub(crate) struct Recorder {
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) gaps: Mutex<Vec<Gap>>,
    /// One permit lets one handler end; closed: all.
    pub(crate) leave: Semaphore,
    /// A message with this text blocks the thread for so long.
    pub(crate) blocks: Option<(&'static str, Duration)>,
    /// A message with this text makes the handler panic.
    pub(crate) panics: Option<&'static str>,
}

impl Default for Recorder {
    /// Does not hold up the worker.
    fn default() -> Self {
        let leave = Semaphore::new(0);
        leave.close();
        Self { seen: Mutex::default(), gaps: Mutex::default(), leave, blocks: None, panics: None }
    }
}

impl Recorder {
    /// What was seen of messages, in order of their beginning.
    pub(crate) fn messages(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.name == "MESSAGE_CREATE").cloned().collect()
    }

    pub(crate) fn gaps(&self) -> Vec<Gap> {
        self.gaps.lock().unwrap().clone()
    }
}

/// The handler that the worker has: the test keeps the recorder.
pub(crate) struct Handler(pub(crate) Arc<Recorder>);

#[async_trait]
impl EventHandler for Handler {
    fn wants(&self) -> Wanted {
        Wanted::All
    }

    async fn handle(&self, _: &Context, event: &Event) {
        let seen = Seen {
            name: event.name().to_owned(),
            position: event.position(),
            guild: event.guild(),
            mark: event.mark(),
        };
        self.0.seen.lock().unwrap().push(seen);
        if let Some((text, long)) = self.0.blocks
            && event.raw().contains(text)
        {
            std::thread::sleep(long);
        }
        assert!(!self.0.panics.is_some_and(|text| event.raw().contains(text)), "as the test has it");
        if event.name() == "MESSAGE_CREATE" {
            // Closed: the handler is not held up.
            if let Ok(permit) = self.0.leave.acquire().await {
                permit.forget();
            }
        }
    }

    async fn gap(&self, _: &Context, gap: &Gap) {
        self.0.gaps.lock().unwrap().push(gap.clone());
    }
}

pub(crate) struct Bench {
    pub(crate) sim: Sim,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) client: BridgeClient,
    api: String,
    pub(crate) coordinator: String,
    pub(crate) store: Arc<FleetMemoryStore>,
    pub(crate) checkpoints: Arc<checkpoint::CheckpointMemoryStore>,
    bus: Arc<MemoryBus>,
    pub(crate) relay: MemoryRelay,
    /// Where each worker answers.
    addresses: BTreeMap<String, String>,
    workers: BTreeMap<String, AbortHandle>,
    rest: RestBudget,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    /// One shard, ready.
    pub(crate) async fn start(sim: SimConfig, recorder: Recorder, flags: &[&str]) -> Self {
        let mut bench = Self::without_workers(sim, recorder).await;
        let handler = Arc::new(Handler(bench.recorder.clone()));
        bench.worker("w", handler, &[&["--drain-timeout=100ms"], flags].concat()).await;
        bench.until_ready("the shard to be ready").await;
        bench
    }

    /// One shard that no worker runs yet.
    pub(crate) async fn without_workers(sim: SimConfig, recorder: Recorder) -> Self {
        Self::of_shards(1, sim, recorder).await
    }

    /// Shards that no worker runs yet.
    pub(crate) async fn of_shards(shards: u32, sim: SimConfig, recorder: Recorder) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sim = Sim::start(sim).await.unwrap();
        let api = format!("--discord-api-url={}", sim.http_origin());
        let (store, bus) = (Arc::new(FleetMemoryStore::new()), Arc::new(MemoryBus::new()));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let shards = format!("--shard-count={shards}");
        let args = [
            "coordinator",
            "--coordinator-listen=127.0.0.1:0",
            "--manager-health-port=0",
            &shards,
            "--settle=100ms",
            "--lease-ttl=2s",
            "--identify-interval=500ms",
            &api,
        ];
        let config = coordinator::CoordinatorArgs::try_parse_from(args).unwrap();
        let config = config.into_config(Some(Secret::new("t"))).unwrap();
        let checkpoints = Arc::new(checkpoint::CheckpointMemoryStore::new());
        let relay = MemoryRelay::new(Caps::default());
        let parts = coordinator::CoordinatorParts {
            store: store.clone(),
            set_aside: checkpoints.clone(),
            bus: bus.clone(),
            relay: Some(Arc::new(relay.clone())),
        };
        let coordinator = Coordinator::bind(config, parts).await.unwrap();
        let url = format!("http://{}", coordinator.address());
        let ends = stop.clone();
        tasks.spawn(async move { coordinator.run(ends).await.unwrap() });
        let client = BridgeClient::connect(&url, Duration::from_secs(2)).await.unwrap();
        let recorder = Arc::new(recorder);
        let addresses = BTreeMap::new();
        Self {
            sim,
            recorder,
            client,
            api,
            coordinator: url,
            store,
            checkpoints,
            bus,
            relay,
            rest: RestBudget::memory(),
            addresses,
            workers: BTreeMap::new(),
            stop,
            tasks,
        }
    }

    /// Starts a worker; the token stops it in order.
    pub(crate) async fn worker(
        &mut self,
        name: &str,
        handler: Arc<dyn EventHandler>,
        flags: &[&str],
    ) -> CancellationToken {
        self.worker_with(name, handler, flags, |_| {}).await
    }

    /// Starts a worker with a setting that has no flag.
    pub(crate) async fn worker_with(
        &mut self,
        name: &str,
        handler: Arc<dyn EventHandler>,
        flags: &[&str],
        change: impl FnOnce(&mut gateway_worker::WorkerConfig),
    ) -> CancellationToken {
        let worker_name = format!("--worker-name={name}");
        let coordinator = format!("--coordinator-url={}", self.coordinator);
        let mut args = vec!["gateway-worker", "--health-port=0", &worker_name, &coordinator, &self.api];
        if !flags.iter().any(|flag| flag.starts_with("--intents")) {
            args.push("--intents=GUILDS,GUILD_MEMBERS,GUILD_MESSAGES");
        }
        args.extend(flags);
        let config = gateway_worker::WorkerArgs::try_parse_from(args).unwrap();
        let mut config = config.into_config(Some(Secret::new("t"))).unwrap();
        change(&mut config);
        let parts = gateway_worker::WorkerParts {
            store: self.store.clone(),
            set_aside: self.checkpoints.clone(),
            checkpoints: self.checkpoints.clone(),
            bus: self.bus.clone(),
            rest: self.rest.clone(),
            handler,
            relay: Some(Relay::memory(self.relay.clone())),
        };
        let worker = Worker::bind(config, parts).await.unwrap();
        self.addresses.insert(name.to_owned(), format!("http://{}", worker.address()));
        let stop = self.stop.child_token();
        let ends = stop.clone();
        let running = self.tasks.spawn(async move { worker.run(ends).await.unwrap() });
        self.workers.insert(name.to_owned(), running);
        stop
    }

    /// Ends a worker as `kill -9` would, as far as one process allows: nothing more is sent, written or closed in order.
    pub(crate) fn kill(&mut self, name: &str) {
        self.workers.remove(name).unwrap().abort();
    }

    /// ShardBridge of a worker, or of the coordinator; each time on a connection of its own.
    pub(crate) async fn bridge(&self, process: &str) -> ShardBridgeClient<Channel> {
        let url = self.addresses.get(process).unwrap_or(&self.coordinator);
        ShardBridgeClient::connect(url.clone()).await.unwrap()
    }

    pub(crate) fn control(&self) -> Control {
        self.sim.control()
    }

    pub(crate) fn inject(&self, fault: Fault) {
        self.control().inject(fault).unwrap();
    }

    /// A user writes in each of the first `guilds` guilds.
    pub(crate) fn write(&self, guilds: usize, text: &str) {
        for guild in self.guilds().into_iter().take(guilds) {
            self.inject(Fault::Message { guild_id: guild, content: Some(text.to_owned()) });
        }
    }

    pub(crate) fn guilds(&self) -> Vec<Snowflake> {
        self.control().guilds(100, 1).into_iter().map(|guild| guild.id).collect()
    }

    pub(crate) async fn until_ready(&mut self, what: &str) -> altergolden_proto::v1::Shard {
        self.until(what, |shard| shard.status == i32::from(altergolden_proto::v1::ShardStatus::Ready)).await
    }

    /// Waits until that number of shards is ready.
    pub(crate) async fn until_all_ready(&mut self, shards: usize) {
        let asking = async {
            let ready = i32::from(altergolden_proto::v1::ShardStatus::Ready);
            loop {
                let found = self.client.shards("").await.unwrap_or_default();
                if found.iter().filter(|shard| shard.status == ready).count() == shards {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "gave up waiting for the shards; {:?}", self.client.shards("").await);
    }

    /// Until the coordinator can hand shards to this worker.
    pub(crate) async fn until_registered(&mut self, worker: &str) {
        let asking = async {
            loop {
                let workers = self.client.workers().await.unwrap_or_default();
                if workers.iter().any(|known| known.worker_id == worker && known.connected) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "gave up waiting for {worker}; {:?}", self.client.workers().await);
    }

    /// Asks the coordinator for the shard until it is as it should be.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        is: impl Fn(&altergolden_proto::v1::Shard) -> bool,
    ) -> altergolden_proto::v1::Shard {
        let asking = async {
            loop {
                if let Ok(shards) = self.client.shards("").await
                    && let [shard] = shards.as_slice()
                    && is(shard)
                {
                    return shard.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if let Ok(shard) = tokio::time::timeout(PATIENCE, asking).await {
            return shard;
        }
        panic!("gave up waiting: {what}; {:?}", self.client.shards("").await)
    }

    /// Until the recorder has seen what it should.
    pub(crate) async fn until_seen(&self, what: &str, is: impl Fn(&Recorder) -> bool) {
        let looking = async {
            while !is(&self.recorder) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, looking).await.is_ok(),
            "gave up waiting: {what}; {:?}",
            self.recorder.messages()
        );
    }

    /// Stops in order. No rule of Discord's was broken.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        let ending = async {
            while let Some(ended) = self.tasks.join_next().await {
                // One that was killed.
                if !ended.as_ref().is_err_and(JoinError::is_cancelled) {
                    ended.unwrap();
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), ending).await;
        assert!(
            ended.is_ok(),
            "{} of coordinator and workers did not stop within a minute",
            self.tasks.len()
        );
        let violations = self.sim.control().violations();
        assert!(violations.items.is_empty(), "{:#?}", violations.items);
    }
}

/// How the shard last came to be connected.
pub(crate) fn kind(shard: &altergolden_proto::v1::Shard) -> Option<StartKind> {
    use altergolden_proto::v1::StartKind as Wire;
    match shard.outcome.as_ref().map(|outcome| Wire::try_from(outcome.kind).unwrap())? {
        Wire::Identified => Some(StartKind::Identified),
        Wire::Resumed => Some(StartKind::Resumed),
        Wire::Reidentified => Some(StartKind::Reidentified),
        Wire::Unspecified => None,
    }
}

pub(crate) fn sim(guilds: u32) -> SimConfig {
    SimConfig {
        guilds,
        identify_interval: Duration::from_millis(500),
        heartbeat_interval: Duration::from_secs(1),
        ..SimConfig::default()
    }
}
