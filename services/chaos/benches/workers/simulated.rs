//! A worker without shards' connections: it registers, reports each second that all its shards are ready, obeys its assignments, and renews
//! its lease through the store as well, as workers do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use altergolden_proto::{
    DESCRIPTORS, PROTOCOL_MAX, PROTOCOL_MIN,
    v1::{
        self, coordinator_client::CoordinatorClient, directive::Directive,
        gateway_worker_server::GatewayWorkerServer,
    },
};
use fleet_store::{FleetRedisStore, FleetStore as _, LeaseRenewal, WorkerRecord};
use process::{
    credentials::{Credentials, Role},
    server::{Limits, Listener, serve_grpc},
};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes as Services, transport::Channel};

use super::answers::Answers;

/// Reports that wait to be sent.
const REPORTS: usize = 16;
/// How long a call may take.
const CALL: Duration = Duration::from_secs(20);
/// Pause between two attempts to register.
const AGAIN: Duration = Duration::from_millis(200);

/// What a worker has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The shards that it runs, with their epochs.
    pub(crate) shards: BTreeMap<u32, u64>,
    shard_total: u32,
    revision: u64,
    arriving: Vec<v1::ShardEpoch>,
    /// Shards that it gives up with its next report.
    released: Vec<v1::ShardEpoch>,
    /// When reports were sent that have not been answered.
    sent: BTreeMap<u64, Instant>,
    /// How long answers took.
    pub(crate) renewals: Vec<Duration>,
    /// When the report that was answered last had been sent.
    pub(crate) answered: Option<Instant>,
    /// Since when the lease counts.
    pub(crate) renewed: Option<Instant>,
    /// Times that a lease ended: it was refused, or not renewed in time.
    pub(crate) lost_leases: u32,
    /// Bytes of directives that are no answers to reports.
    pub(crate) directive_bytes: u64,
}

/// A worker, until it is dropped.
pub(crate) struct SimulatedWorker {
    pub(crate) seen: Arc<Mutex<Seen>>,
    breaks: mpsc::Sender<Duration>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What all workers have in common.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) coordinator: String,
    pub(crate) credentials: Credentials,
    pub(crate) lease_ttl: Duration,
    pub(crate) store: FleetRedisStore,
}

impl Seen {
    /// Notes that a lease was renewed, from this moment on.
    fn renew(&mut self, sent: Instant, ttl: Duration) {
        let Some(before) = self.renewed else {
            self.renewed = Some(sent);
            return;
        };
        // A worker uses its lease less 20 %.
        self.lost_leases += u32::from(before.elapsed() > ttl * 4 / 5);
        self.renewed = Some(before.max(sent));
    }
}

/// How a connection to the coordinator ended.
enum Ended {
    Stopped,
    /// It is to be made again.
    Broken,
}

impl SimulatedWorker {
    /// Starts a worker.
    pub(crate) async fn start(fleet: Fleet, number: u32) -> Self {
        let address = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(address, "worker", Limits::GRPC).await.expect("a port is free");
        let scheme = if fleet.credentials.is_enforced() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.address().expect("it is bound"));
        let name = format!("simulated-{number:04}");
        let incarnation = format!("{:016x}", rand::random::<u64>());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = CancellationToken::new();
        let service = Answers { worker: name.clone(), incarnation: incarnation.clone(), seen: seen.clone() };
        let services = Services::new(GatewayWorkerServer::new(service));
        let server = serve_grpc::<GatewayWorkerServer<Answers>>(
            listener,
            fleet.credentials.clone(),
            services,
            DESCRIPTORS,
            stop.clone(),
        );
        let (breaks, asked_to_break) = mpsc::channel(1);
        let link = Link { fleet, name, incarnation, url, seen: seen.clone(), stop: stop.clone() };
        let tasks = vec![
            tokio::spawn(async move { server.await.expect("the server runs") }),
            tokio::spawn(renew(link.fleet.clone(), link.record(), seen.clone())),
            tokio::spawn(link.run(asked_to_break)),
        ];
        Self { seen, breaks, stop, tasks }
    }

    /// Breaks the connection to the coordinator; it is made again after `wait`.
    pub(crate) async fn reconnect(&self, wait: Duration) {
        let _ = self.breaks.send(wait).await;
    }

    /// Gives up one shard.
    pub(crate) fn release_one(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((shard_id, epoch)) = seen.shards.pop_first() else { return };
        seen.released.push(v1::ShardEpoch { shard_id, epoch });
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for SimulatedWorker {
    fn drop(&mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Renews a lease through the store, each second from its first renewal on.
async fn renew(fleet: Fleet, record: WorkerRecord, seen: Arc<Mutex<Seen>>) {
    let mut due = interval(Duration::from_secs(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due.reset_after(Duration::from_secs(1).mul_f64(rand::random()));
    loop {
        due.tick().await;
        if seen.lock().unwrap_or_else(PoisonError::into_inner).renewed.is_none() {
            continue;
        }
        let sent = Instant::now();
        if let Ok(LeaseRenewal::Held(_)) = fleet.store.renew_lease(&record, fleet.lease_ttl, true).await {
            seen.lock().unwrap_or_else(PoisonError::into_inner).renew(sent, fleet.lease_ttl);
        }
    }
}

struct Link {
    fleet: Fleet,
    name: String,
    incarnation: String,
    url: String,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
}

impl Link {
    async fn run(self, mut breaks: mpsc::Receiver<Duration>) {
        let mut sequence = 0;
        while !self.stop.is_cancelled() {
            match timeout(CALL, self.connect()).await {
                Ok(Ok((channel, interval))) => {
                    let live = self.live(channel, interval, &mut sequence);
                    let wait = tokio::select! {
                        ended = live => match ended {
                            Ok(Ended::Stopped) => return,
                            Ok(Ended::Broken) | Err(_) => AGAIN,
                        },
                        wait = breaks.recv() => wait.unwrap_or(AGAIN),
                    };
                    tokio::time::sleep(wait).await;
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    fn record(&self) -> WorkerRecord {
        WorkerRecord {
            worker: self.name.parse().expect("it is a name"),
            incarnation: self.incarnation.parse().expect("it is a name"),
            url: self.url.clone(),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<(Channel, Duration), Status> {
        let channel =
            fleet_fixture::channel(&self.fleet.coordinator, &self.fleet.credentials, Role::Coordinator).await;
        let request = {
            let seen = self.seen();
            let range = |(&shard, &epoch): (&u32, &u64)| v1::ShardRange { first: shard, last: shard, epoch };
            v1::RegisterRequest {
                worker_id: self.name.clone(),
                incarnation: self.incarnation.clone(),
                advertise_url: self.url.clone(),
                protocol_min: PROTOCOL_MIN,
                protocol_max: PROTOCOL_MAX,
                running: seen.shards.iter().map(range).collect(),
                running_total: if seen.shards.is_empty() { 0 } else { seen.shard_total },
                checkpoint_format_max: 2,
                needs: Some(v1::SessionNeeds::default()),
                ..Default::default()
            }
        };
        let admitted = CoordinatorClient::new(channel.clone()).register(request).await?.into_inner();
        if let Some(assignment) = admitted.assignment {
            self.obey(assignment);
        }
        Ok((channel, Duration::from_millis(admitted.heartbeat_interval_ms)))
    }

    async fn live(&self, channel: Channel, every: Duration, sequence: &mut u64) -> Result<Ended, Status> {
        let (sender, receiver) = mpsc::channel(REPORTS);
        let _ = sender.try_send(self.report(sequence));
        let mut directives =
            CoordinatorClient::new(channel).heartbeat(ReceiverStream::new(receiver)).await?.into_inner();
        let mut due = interval(every);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        due.reset_after(every.mul_f64(rand::random()));
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
                _ = due.tick() => if sender.try_send(self.report(sequence)).is_err() { return Ok(Ended::Broken) },
                directive = directives.next() => {
                    let Some(directive) = directive else { return Ok(Ended::Broken) };
                    if self.take(directive?) && sender.try_send(self.report(sequence)).is_err() {
                        return Ok(Ended::Broken);
                    }
                }
            }
        }
    }

    fn report(&self, sequence: &mut u64) -> v1::WorkerReport {
        *sequence += 1;
        let mut seen = self.seen();
        seen.sent.insert(*sequence, Instant::now());
        let shard = |(&shard_id, &epoch): (&u32, &u64)| v1::ShardReport {
            shard_id,
            epoch,
            status: v1::ShardStatus::Ready.into(),
            sequence: *sequence,
            latency_ms: Some(41.5),
            guilds: 1_000,
            users: Some(250_000),
            channels: Some(30_000),
            voice_connections: Some(120),
            uptime_seconds: 3_600,
            ..Default::default()
        };
        v1::WorkerReport {
            worker_id: self.name.clone(),
            incarnation: self.incarnation.clone(),
            sequence: *sequence,
            assignment_revision: seen.revision,
            shards: seen.shards.iter().map(shard).collect(),
            rss_bytes: 100 << 20,
            arrived: seen.arriving.clone(),
            released: std::mem::take(&mut seen.released),
            figures: Some(v1::WorkerFigures::default()),
            routing: v1::RoutingUpdates::Changes.into(),
            ..Default::default()
        }
    }

    /// Takes a directive. Returns whether a report is due.
    fn take(&self, directive: v1::Directive) -> bool {
        if !matches!(directive.directive, Some(Directive::LeaseRenewed(_))) {
            self.seen().directive_bytes += directive.encoded_len() as u64;
        }
        match directive.directive {
            Some(Directive::LeaseRenewed(renewed)) => {
                let mut seen = self.seen();
                if let Some(sent) = seen.sent.remove(&renewed.report_sequence) {
                    seen.renewals.push(sent.elapsed());
                    seen.answered = Some(sent);
                    seen.renew(sent, self.fleet.lease_ttl);
                }
                seen.sent = seen.sent.split_off(&renewed.report_sequence);
                false
            }
            Some(Directive::Assignment(assignment)) => {
                self.obey(assignment);
                true
            }
            Some(Directive::LeaseRefused(_)) => {
                let mut seen = self.seen();
                seen.lost_leases += 1;
                seen.shards.clear();
                false
            }
            _ => false,
        }
    }

    fn obey(&self, assignment: v1::Assignment) {
        let mut seen = self.seen();
        if assignment.revision < seen.revision {
            return;
        }
        let all = |range: v1::ShardRange| (range.first..=range.last).map(move |shard| (shard, range.epoch));
        seen.shards = assignment.shards.into_iter().flat_map(all).collect();
        seen.shard_total = assignment.shard_total;
        seen.revision = assignment.revision;
        let copied =
            |arriving: v1::Arriving| v1::ShardEpoch { shard_id: arriving.shard_id, epoch: arriving.epoch };
        seen.arriving = assignment.arriving.into_iter().map(copied).collect();
    }
}
