//! The target's side: copies shards of other workers that are to move here, each in a task of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use checkpoint::{FormatError, Head, InvalidKey, PendingEvent, Record, RecordKey, decode_head};
use fleet_model::{Arriving, Epoch, ShardKey, WorkerId};
use process::{credentials::Credentials, telemetry::trace_context};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use super::source::{self, CopyPart, SourceError};
use crate::{
    cache::{CacheSettings, Prepared, RestoreError, Restoring, ShardCache},
    threads::TimeSlice,
};

/// How long the source may take to answer, and to send the next part of what it has.
const NEXT_PART: Duration = Duration::from_secs(5);
/// A copy that failed is begun again so often, so long after.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(100);
/// How long the target retries while the source refuses the ticket: the source may receive its assignment after the target.
const SOURCE_IS_TOLD: Duration = Duration::from_secs(5);
/// Bytes of records in a copy, as they are sent. A shard with a million members has less.
const LARGEST_COPY: usize = 256 * 1024 * 1024;
/// How long the source may take to send all that it has so far.
const SO_FAR: Duration = Duration::from_mins(1);
/// How long a shard that begins waits for the end of its copy: the source has sent it before it let the shard go.
const LAST_PART: Duration = Duration::from_millis(250);

/// The shards that are to come. Owned by the set of shards.
#[derive(Debug)]
pub(crate) struct Arrivals {
    worker: WorkerId,
    cache: CacheSettings,
    credentials: Credentials,
    runtime: Handle,
    /// Notified when a copy is complete up to the last part, or has failed.
    changed: Arc<Notify>,
    arriving: BTreeMap<ShardKey, Arrival>,
}

/// One shard on its way here.
#[derive(Debug)]
pub(crate) struct Arrival {
    what: Arriving,
    /// Everything but the last part is here, or nothing will be: the shard may be asked back from its owner.
    copied: Arc<AtomicBool>,
    task: AbortOnDropHandle<Option<HandoffState>>,
}

/// A shard as its previous owner left it.
#[derive(Debug)]
pub(crate) struct HandoffState {
    pub(crate) head: Head,
    pub(crate) guilds: Prepared,
    /// In order.
    pub(crate) pending: Vec<PendingEvent>,
}

impl Arrivals {
    pub(crate) fn new(
        worker: WorkerId,
        cache: CacheSettings,
        credentials: Credentials,
        runtime: Handle,
        changed: Arc<Notify>,
    ) -> Self {
        Self { worker, cache, credentials, runtime, changed, arriving: BTreeMap::new() }
    }

    /// Starts the copies that are `wanted`, and ends all others.
    /// `traces`: the handoffs that are traced.
    pub(crate) fn apply(
        &mut self,
        wanted: &BTreeMap<ShardKey, Arriving>,
        traces: &BTreeMap<ShardKey, String>,
    ) {
        self.arriving.retain(|shard, arrival| wanted.get(shard) == Some(&arrival.what));
        for (&shard, what) in wanted {
            if !self.arriving.contains_key(&shard) {
                let arrival = self.begin(shard, what.clone(), traces.get(&shard));
                self.arriving.insert(shard, arrival);
            }
        }
    }

    fn begin(&self, shard: ShardKey, what: Arriving, trace: Option<&String>) -> Arrival {
        let copied = Arc::new(AtomicBool::new(false));
        let task = Copier {
            worker: self.worker.clone(),
            shard,
            what: what.clone(),
            cache: self.cache,
            credentials: self.credentials.clone(),
            copied: copied.clone(),
            changed: self.changed.clone(),
        };
        let span = trace.map_or_else(Span::none, |trace| {
            let span =
                tracing::info_span!(parent: None, "copy_shard", shard.id = %shard, from.id = %what.from);
            trace_context::continue_from_traceparent(&span, trace);
            span
        });
        let task = AbortOnDropHandle::new(self.runtime.spawn(task.run().instrument(span)));
        Arrival { what, copied, task }
    }

    /// The shards of which everything so far is here, with their owners' epochs.
    pub(crate) fn copied(&self) -> BTreeMap<ShardKey, Epoch> {
        let copied = self.arriving.iter().filter(|(_, arrival)| arrival.copied.load(Ordering::Acquire));
        copied.map(|(shard, arrival)| (*shard, arrival.what.epoch)).collect()
    }

    /// Takes out the copy of a shard that is to start, if it is of this epoch.
    pub(crate) fn take(&mut self, shard: ShardKey, handed_over: Option<Epoch>) -> Option<Arrival> {
        self.arriving.remove(&shard).filter(|arrival| Some(arrival.what.epoch) == handed_over)
    }

    /// Ends all copies.
    pub(crate) fn clear(&mut self) {
        self.arriving.clear();
    }
}

impl Arrival {
    /// What has come, if all of it has.
    pub(crate) async fn handoff_state(self) -> Option<HandoffState> {
        timeout(LAST_PART, self.task).await.ok()?.ok()?
    }
}

/// Copies one shard.
struct Copier {
    worker: WorkerId,
    shard: ShardKey,
    what: Arriving,
    cache: CacheSettings,
    credentials: Credentials,
    copied: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

/// A copy that did not come to its end.
#[derive(Debug, thiserror::Error)]
enum CopyFailed {
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("copy stream stalled")]
    Stalled,
    #[error("copy stream ended early")]
    Cut,
    #[error("the copy is larger than {} MiB", LARGEST_COPY / 1024 / 1024)]
    TooLarge,
    #[error("{0}")]
    Key(#[from] InvalidKey),
    #[error("{0}")]
    Record(#[from] FormatError),
    #[error("{0}")]
    Guilds(#[from] RestoreError),
}

impl Copier {
    async fn run(self) -> Option<HandoffState> {
        let mut tries = 0;
        let told_by = Instant::now() + SOURCE_IS_TOLD;
        loop {
            match self.copy().await {
                Ok(state) => return Some(state),
                Err(CopyFailed::Source(SourceError::Forbidden(_)))
                    if self.what.ticket.is_some() && Instant::now() < told_by =>
                {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                Err(error) => {
                    tries += 1;
                    let from = &self.what.from;
                    tracing::debug!(shard.id = %self.shard, from.id = %from, %error, tries, "copy failed");
                    if tries >= TRIES {
                        break;
                    }
                }
            }
            tokio::time::sleep(AGAIN * tries).await;
        }
        tracing::info!(
            shard.id = %self.shard, from.id = %self.what.from,
            "cannot copy the shard; it will start from its checkpoint"
        );
        self.mark_copied();
        None
    }

    fn mark_copied(&self) {
        self.copied.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    async fn copy(&self) -> Result<HandoffState, CopyFailed> {
        let opening = source::copy(self.shard, &self.what, &self.worker, &self.credentials);
        let mut parts = timeout(NEXT_PART, opening).await.map_err(|_| CopyFailed::Stalled)??;
        let mut copy = ShardCache::new(self.cache).restoring();
        let mut pending = Vec::new();
        let mut slice = TimeSlice::begin();
        let (mut so_far, mut bytes) = (false, 0_usize);
        let so_far_by = Instant::now() + SO_FAR;
        loop {
            // The last part comes when the source is told to stop, whenever that is.
            let part = if so_far {
                parts.next().await?
            } else {
                let by = so_far_by.min(Instant::now() + NEXT_PART);
                timeout_at(by, parts.next()).await.map_err(|_| CopyFailed::Stalled)??
            };
            match part.ok_or(CopyFailed::Cut)? {
                CopyPart::Records { gone, set } => {
                    let sizes = set.iter().map(|(key, record)| key.len() + record.len());
                    bytes = bytes.saturating_add(sizes.sum());
                    if bytes > LARGEST_COPY {
                        return Err(CopyFailed::TooLarge);
                    }
                    for key in gone {
                        copy.remove(key.parse()?);
                    }
                    take(&mut copy, &mut pending, set, &mut slice).await?;
                }
                CopyPart::SoFar => {
                    make_guilds(&mut copy, &mut slice).await?;
                    so_far = true;
                    fail::fail_point!("handoff_copied");
                    self.mark_copied();
                }
                CopyPart::HandedOver(head) => {
                    make_guilds(&mut copy, &mut slice).await?;
                    let head = decode_head(&head)?;
                    pending.sort_by_key(|event: &PendingEvent| event.position);
                    fail::fail_point!("handoff_carried");
                    return Ok(HandoffState { guilds: copy.finish(&head), head, pending });
                }
            }
        }
    }
}

async fn take(
    copy: &mut Restoring,
    pending: &mut Vec<PendingEvent>,
    records: Vec<(String, Vec<u8>)>,
    slice: &mut TimeSlice,
) -> Result<(), CopyFailed> {
    for (key, record) in records {
        let key: RecordKey = key.parse()?;
        if let Some(Record::Pending(event)) = copy.take(key, &record)? {
            pending.push(event);
        }
        slice.yield_if_over().await;
    }
    Ok(())
}

async fn make_guilds(copy: &mut Restoring, slice: &mut TimeSlice) -> Result<(), RestoreError> {
    while copy.next_guild()? {
        slice.yield_if_over().await;
    }
    Ok(())
}
