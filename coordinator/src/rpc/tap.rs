//! Shows a sample of the fleet's events to an operator: asks the workers that run the wanted shards, and follows the shards
//! to other workers.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use altergolden_proto::{
    convert::{Bounded as _, refusal},
    v1::{self, gateway_worker_client::GatewayWorkerClient, tap_item::Item},
};
use fleet_model::{ErrorClass, Incarnation, ShardKey, WorkerId};
use outside_text::printable;
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status};

use crate::dial_back::scheme;
use crate::snapshot::{PublishedSnapshot, Snapshot};

/// The most taps of a coordinator: each has a stream from every worker that it shows.
const MOST_TAPS: usize = 4;

/// The most events of a second over all workers.
const MOST_PER_SECOND: u32 = 1_000;

/// Items on their way to the caller. When these wait, workers drop events and count them.
const ITEMS: usize = 64;

/// How long a tap lasts when the request does not say, and at most.
const USUAL: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(1);

/// How often the owners of the shards are looked up.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a worker may take to be reached and to open its tap.
const WORKER: Duration = Duration::from_secs(2);

/// The shortest and the longest wait before a worker is asked again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) type TapStream = Pin<Box<dyn Stream<Item = Result<v1::TapItem, Status>> + Send>>;

/// Opens taps. Clones share their limit.
#[derive(Clone, Debug)]
pub(super) struct FleetTaps {
    published: PublishedSnapshot,
    credentials: Credentials,
    open: Arc<Semaphore>,
}

impl FleetTaps {
    pub(super) fn new(published: PublishedSnapshot, credentials: Credentials) -> Self {
        Self { published, credentials, open: Arc::new(Semaphore::new(MOST_TAPS)) }
    }

    /// Opens a tap. Its tasks end with the stream.
    pub(super) fn open(&self, request: v1::TapRequest) -> Result<TapStream, Status> {
        request.check_bounds()?;
        let permit = self.open.clone().try_acquire_owned().map_err(|_| {
            let why = format!("this coordinator has {MOST_TAPS} open taps, the maximum: end one of them");
            refusal(ErrorClass::TooBusy, why)
        })?;
        let lasts = match request.duration_ms {
            0 => USUAL,
            ms => Duration::from_millis(ms.into()).min(LONGEST),
        };
        let (items, stream) = mpsc::channel(ITEMS);
        let tap = FleetTap {
            published: self.published.clone(),
            credentials: self.credentials.clone(),
            request,
            items,
            until: Instant::now() + lasts,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(tap.run(permit)));
        Ok(Box::pin(ReceiverStream::new(stream).map(move |item| {
            // Dropped with the stream.
            let _task = &task;
            Ok(item)
        })))
    }
}

/// One operator's tap.
struct FleetTap {
    published: PublishedSnapshot,
    credentials: Credentials,
    request: v1::TapRequest,
    items: mpsc::Sender<v1::TapItem>,
    until: Instant,
}

impl FleetTap {
    async fn run(self, _permit: OwnedSemaphorePermit) {
        let mut readers = JoinSet::new();
        let mut known: HashMap<WorkerId, KnownReader> = HashMap::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.items.closed() => return,
                () = sleep_until(self.until) => return,
                _ = look.tick() => {}
            }
            while readers.try_join_next().is_some() {}
            let snapshot = self.published.snapshot.borrow().clone();
            let wanted = wanted_workers(&snapshot, &self.request);
            let share = (self.per_second() / u32::try_from(wanted.len().max(1)).unwrap_or(u32::MAX)).max(1);
            known.retain(|worker, reader| {
                let stays = wanted.get(worker).is_some_and(|target| reader.fits(target, share));
                if !stays {
                    reader.task.abort();
                }
                stays
            });
            for (worker, target) in wanted {
                if known.contains_key(&worker) {
                    continue;
                }
                let left = self.until.saturating_duration_since(Instant::now()).as_millis();
                let request = v1::TapRequest {
                    max_per_second: share,
                    duration_ms: u32::try_from(left).unwrap_or(u32::MAX).max(1),
                    ..self.request.clone()
                };
                let (url, items) = (target.url.clone(), self.items.clone());
                let credentials = self.credentials.clone();
                let reader = Reader { worker: worker.clone(), url, credentials, request, items };
                let task = readers.spawn(reader.run());
                known.insert(worker, KnownReader { target, share, task });
            }
        }
    }

    fn per_second(&self) -> u32 {
        match self.request.max_per_second {
            0 => MOST_PER_SECOND,
            most => most.min(MOST_PER_SECOND),
        }
    }
}

/// A process of a worker, and the address to reach it at.
#[derive(Debug, PartialEq, Eq)]
struct TapTarget {
    url: String,
    incarnation: Incarnation,
}

/// A reader that runs, or has ended because its worker has no taps.
struct KnownReader {
    target: TapTarget,
    /// The events a second that its worker may send.
    share: u32,
    task: tokio::task::AbortHandle,
}

impl KnownReader {
    /// Whether it goes on: with the same process, and a share that the number of workers has not changed much.
    fn fits(&self, target: &TapTarget, share: u32) -> bool {
        let changed = share > self.share.saturating_mul(2) || self.share > share.saturating_mul(2);
        self.target == *target && !changed
    }
}

/// Returns the workers that run wanted shards.
fn wanted_workers(snapshot: &Snapshot, request: &v1::TapRequest) -> BTreeMap<WorkerId, TapTarget> {
    let of_range = |shard: ShardKey| {
        let slot = shard.slot().0;
        request.shards.is_empty()
            || request.shards.iter().any(|range| (range.first..=range.last).contains(&slot))
    };
    let of_guild = |shard: ShardKey| {
        request.guild_ids.is_empty() || request.guild_ids.iter().any(|guild| shard.has_guild(*guild))
    };
    let workers = snapshot
        .fleet
        .workers
        .iter()
        .filter(|(_, worker)| worker.shards.keys().any(|shard| of_range(*shard) && of_guild(*shard)));
    let dialled = |worker: &fleet::WorkerView| {
        let address = worker.address.map(|address| format!("{}://{address}", scheme(&worker.url)));
        address.unwrap_or_else(|| worker.url.clone())
    };
    let target = |worker: &fleet::WorkerView| TapTarget {
        url: dialled(worker),
        incarnation: worker.incarnation.clone(),
    };
    workers.map(|(name, worker)| (name.clone(), target(worker))).collect()
}

/// Reads the tap of one worker, again and again.
struct Reader {
    worker: WorkerId,
    url: String,
    credentials: Credentials,
    request: v1::TapRequest,
    items: mpsc::Sender<v1::TapItem>,
}

impl Reader {
    async fn run(self) {
        let mut wait = FIRST_WAIT;
        let mut told = String::new();
        loop {
            let ended = self.read(&mut told, &mut wait).await;
            let is_final = ended.code() == Code::Unimplemented;
            let reason = if is_final { "the worker's version does not support tap" } else { ended.message() };
            let reason = printable(reason).to_string();
            if told != reason {
                if self.tell(false, &reason).await.is_none() {
                    return;
                }
                told = reason;
            }
            if is_final {
                return;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Reads until the tap ends; returns why.
    async fn read(&self, told: &mut String, wait: &mut Duration) -> Status {
        let opened = timeout(WORKER, self.open()).await;
        let late = |_| Err(refusal(ErrorClass::TooLate, format!("no answer within {} s", WORKER.as_secs())));
        let mut stream = match opened.unwrap_or_else(late) {
            Ok(stream) => stream,
            Err(status) => return status,
        };
        let closed = || refusal(ErrorClass::Unavailable, "the caller is gone");
        if self.tell(true, "").await.is_none() {
            return closed();
        }
        told.clear();
        *wait = FIRST_WAIT;
        loop {
            let mut item = match stream.message().await {
                Ok(Some(item)) => item,
                Ok(None) => return refusal(ErrorClass::Unavailable, "the worker ended the tap"),
                Err(status) => return status,
            };
            match &mut item.item {
                Some(Item::Event(event)) => event.worker_id = self.worker.to_string(),
                Some(Item::Dropped(dropped)) => dropped.worker_id = self.worker.to_string(),
                Some(Item::Worker(_)) | None => continue,
            }
            if self.items.send(item).await.is_err() {
                return closed();
            }
        }
    }

    async fn open(&self) -> Result<tonic::Streaming<v1::TapItem>, Status> {
        let no_url = |_| refusal(ErrorClass::Unavailable, "the worker's address is not a URL");
        let server = GrpcServer::new(&self.url, WORKER, WORKER).map_err(no_url)?;
        let channel = server.connect(&self.credentials, Role::Worker).await;
        let channel =
            channel.map_err(|_| refusal(ErrorClass::Unavailable, "cannot connect to the worker"))?;
        Ok(GatewayWorkerClient::new(channel).tap(self.request.clone()).await?.into_inner())
    }

    /// `None`: the caller is gone.
    async fn tell(&self, is_shown: bool, reason: &str) -> Option<()> {
        let item = Item::Worker(v1::TapWorker {
            worker_id: self.worker.to_string(),
            is_shown,
            reason: reason.to_owned(),
        });
        self.items.send(v1::TapItem { item: Some(item) }).await.ok()
    }
}
