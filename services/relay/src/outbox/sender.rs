//! The task that sends: one batch after the other, each again until the store has answered for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{Epoch, Gap, ShardEvent, ShardKey};
use outside_text::printable_within;
use process::telemetry::{SpanKind, TimedSpan};
use tokio::time::Instant;

use super::{OutboxParts, Shared, tail::Tail};
use crate::{
    Appended, DataError, Mark, NewEntry, Position, RelayError, RelayMetrics, RelayStatus, RelayStore,
    entry::encode, gap_event, names::is_name,
};

/// How much of a name is shown.
const NAME: usize = 64;

/// Between two tries when the streams are away; it grows to the second.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

/// Shortest time between two resends to another Redis: two bots under one prefix look like a new Redis with each event.
const REPLACED_AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Sender {
    store: Arc<dyn RelayStore>,
    metrics: RelayMetrics,
    status: RelayStatus,
    shard: ShardKey,
    epoch: Epoch,
    shared: Arc<Shared>,
    tail: Tail,
    /// How far the store has come, for all that is known.
    believed: Option<Position>,
    /// Where a fence was before it was moved back.
    rewound_from: Option<Position>,
    /// When a different Redis was last found.
    replaced_at: Option<Instant>,
    /// When the last batch was made.
    sent_at: Option<Instant>,
    began: Instant,
}

/// Another worker relays the shard.
struct Outranked(Epoch);

/// The store's answer to entries.
enum StoreAnswer {
    /// The entries are in the streams, now or before.
    Taken,
    /// The store lost writes, has only this position, and took nothing.
    Lost(Option<Position>),
    /// The fence is in a later session than the entries, so the store took none.
    Ahead(Position),
}

impl Sender {
    pub(super) fn new(parts: OutboxParts, shared: Arc<Shared>) -> Self {
        let OutboxParts { store, metrics, status, shard, epoch, .. } = parts;
        Self {
            store,
            metrics,
            status,
            shard,
            epoch,
            shared,
            tail: Tail::default(),
            believed: None,
            rewound_from: None,
            replaced_at: None,
            sent_at: None,
            began: Instant::now(),
        }
    }

    /// Sends until it is dropped, or outranked.
    pub(super) async fn run(mut self) {
        let Err(Outranked(by)) = self.send_all().await;
        self.metrics.count_outranked();
        tracing::warn!(
            shard.id = %self.shard, epoch = %self.epoch, %by,
            "another worker relays the shard, or another bot does under the same RELAY_PREFIX: nothing more goes from here"
        );
        self.shared.outranked();
    }

    async fn send_all(&mut self) -> Result<std::convert::Infallible, Outranked> {
        // Not before the checkpoint is claimed, and what was pending is here: until then the owner before relays what it has.
        self.shared.begun().await;
        // Says who relays the shard now, and hears how far the owner before has come.
        self.append(&mut Vec::new()).await?;
        loop {
            let batch = self.shared.next_batch(self.sent_at.map_or(Duration::MAX, |at| at.elapsed())).await;
            self.sent_at = Some(Instant::now());
            let spans = self.trace(&batch);
            self.send(&batch).await?;
            drop(spans);
            self.shared.took(batch.iter().map(|event| event.position));
        }
    }

    /// Begins a span in the trace of each event that has one.
    fn trace(&self, batch: &[Arc<ShardEvent>]) -> Vec<TimedSpan> {
        let traceparents = batch.iter().filter_map(|event| event.traceparent.as_deref());
        let spans = traceparents.filter_map(|traceparent| {
            let span = TimedSpan::continuing(traceparent, "relay_event", SpanKind::Producer)?;
            span.set("shard.id", i64::from(self.shard.slot().0));
            span.set("batch.events", batch.len() as i64);
            Some(span)
        });
        spans.collect()
    }

    async fn send(&mut self, batch: &[Arc<ShardEvent>]) -> Result<(), Outranked> {
        let mut entries: Vec<NewEntry> = batch.iter().map(|event| self.entry(event)).collect();
        loop {
            match self.append(&mut entries).await? {
                StoreAnswer::Taken => return Ok(()),
                StoreAnswer::Lost(reached) => self.send_again(reached).await?,
                StoreAnswer::Ahead(fence) => self.rewind(fence, &mut entries).await?,
            }
        }
    }

    /// Encodes an event; one that can't be encoded, or whose name can't be a stream's, becomes a gap in its place.
    fn entry(&self, event: &ShardEvent) -> NewEntry {
        let encoded =
            if is_name(&event.name) { encode(self.shard, &event.text) } else { Err(DataError::Name) };
        let new = |event: &ShardEvent, mark, data| NewEntry {
            position: event.position,
            name: event.name.clone(),
            guild: event.guild,
            received_at_unix_ms: event.received_at_unix_ms,
            mark,
            traceparent: event.traceparent.clone(),
            data,
        };
        let error = match encoded {
            Ok(data) => return new(event, self.mark(event.position, event.mark), data),
            Err(error) => error,
        };
        self.metrics.count_garbled();
        let name = printable_within(&event.name, NAME);
        tracing::warn!(
            shard.id = %self.shard, event = %name, sequence = event.position.sequence,
            %error, "cannot encode event; relaying a gap"
        );
        let gap = Gap {
            since_unix_ms: event.received_at_unix_ms,
            until_unix_ms: event.received_at_unix_ms,
            last_sequence: event.position.sequence.saturating_sub(1),
            reason: format!("the event {name} could not be encoded for the relay"),
        };
        let gap = gap_event(&gap, event.position);
        // Our own text, without the payload, can always be encoded.
        new(&gap, event.mark, encode(self.shard, &gap.text).unwrap_or_default())
    }

    /// Counts how long fresh events took. Others were received long before they came here.
    fn count_delays(&self, entries: &[NewEntry]) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let fresh = entries.iter().filter(|entry| entry.mark == Mark::Fresh && entry.received_at_unix_ms > 0);
        for entry in fresh {
            let received = Duration::from_millis(entry.received_at_unix_ms);
            self.metrics.count_delay(since_epoch.saturating_sub(received));
        }
    }

    /// Appends entries to the stream. Moves the entries that the store has taken to `tail`.
    async fn append(&mut self, entries: &mut Vec<NewEntry>) -> Result<StoreAnswer, Outranked> {
        let began = Instant::now();
        let (store, shard, epoch) = (self.store.clone(), self.shard, self.epoch);
        let believed = self.believed;
        match self.until_answered(|| store.append(shard, epoch, believed, &*entries)).await {
            Appended::Done { reached, appended, cut } => {
                let session = entries.last().map(|last| last.position.session);
                if let Some(fence) = reached.filter(|fence| session.is_some_and(|own| fence.session > own)) {
                    return Ok(StoreAnswer::Ahead(fence));
                }
                let bytes = entries.iter().map(|entry| entry.data.len()).sum();
                let repeated = (entries.len() as u64).saturating_sub(appended);
                self.metrics.count_appended(appended, repeated, bytes, cut, began.elapsed());
                self.count_delays(entries);
                if self.believed.is_none() && appended == 0 {
                    self.tail.begin_at(reached);
                }
                self.note_reached(reached);
                self.tail.push(entries.drain(..), self.began.elapsed());
                Ok(StoreAnswer::Taken)
            }
            Appended::Lost { reached } => {
                self.metrics.count_lost_writes();
                tracing::warn!(
                    shard.id = %self.shard, believed = ?self.believed, ?reached,
                    "relay's Redis lost writes; sending them again"
                );
                Ok(StoreAnswer::Lost(reached))
            }
            Appended::Outranked(by) => Err(Outranked(by)),
        }
    }

    /// The mark of an event: a pending one may have been relayed already when a fence above it was moved back.
    fn mark(&self, position: Position, mark: Mark) -> Mark {
        let restored_up_to = self.shared.lock().restored_up_to;
        let may_be_there = Some(position) <= restored_up_to && Some(position) <= self.rewound_from;
        if mark == Mark::Fresh && may_be_there { Mark::Replayed } else { mark }
    }

    fn note_reached(&mut self, reached: Option<Position>) {
        self.believed = reached;
        self.shared.lock().reached = reached;
    }

    /// Retries until the store answers.
    async fn until_answered<F>(&self, ask: impl Fn() -> F) -> Appended
    where
        F: Future<Output = Result<Appended, RelayError>>,
    {
        let mut wait = AGAIN;
        loop {
            match ask().await {
                Ok(answer) => {
                    if self.status.works(self.shard) {
                        tracing::info!(shard.id = %self.shard, "the relay goes on");
                    }
                    return answer;
                }
                Err(error) => {
                    self.metrics.count_failure();
                    if self.status.failed(self.shard, &error.to_string()) {
                        tracing::warn!(shard.id = %self.shard, %error, "events cannot be relayed; they wait");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN_AT_MOST);
                }
            }
        }
    }

    /// Moves the store's fence back below events of an earlier session: this worker's clock, or the one that numbered the
    /// session, was behind; or this is another Redis. Events that were pending on a previous owner may have been relayed by it,
    /// and are marked as replayed.
    async fn rewind(&mut self, fence: Position, entries: &mut [NewEntry]) -> Result<(), Outranked> {
        let Some(first) = entries.first().map(|entry| entry.position) else { return Ok(()) };
        // The fence was not there when this worker started: another Redis, which lacks the earlier entries.
        let is_another = self.believed.is_none_or(|believed| believed.session <= first.session)
            && self.replaced_at.is_none_or(|at| at.elapsed() > REPLACED_AGAIN);
        let to = if is_another { Position::default() } else { first.before() };
        self.metrics.count_rewound();
        tracing::warn!(
            shard.id = %self.shard, fence = %fence, %to,
            "relay fence is ahead of the shard's session; moved back"
        );
        let (store, shard, epoch) = (self.store.clone(), self.shard, self.epoch);
        match self.until_answered(|| store.rewind(shard, epoch, fence, to)).await {
            Appended::Outranked(by) => return Err(Outranked(by)),
            Appended::Done { reached, .. } | Appended::Lost { reached } => self.note_reached(reached),
        }
        self.rewound_from = self.rewound_from.max(Some(fence));
        for entry in entries {
            entry.mark = self.mark(entry.position, entry.mark);
        }
        if is_another {
            self.replaced_at = Some(Instant::now());
            return self.send_again(None).await;
        }
        self.tail.restart_at(to);
        Ok(())
    }

    /// The store has come only so far: sends what is kept of the rest, and a gap for what is not.
    async fn send_again(&mut self, reached: Option<Position>) -> Result<(), Outranked> {
        let mut again = self.tail.behind(reached);
        self.note_reached(reached);
        if let Some(position) = again.hole {
            self.metrics.count_gap();
            let gap = Gap {
                since_unix_ms: 0,
                until_unix_ms: again.entries.first().map_or(0, |entry| entry.received_at_unix_ms),
                last_sequence: reached
                    .filter(|at| at.session == position.session)
                    .map_or(0, |at| at.sequence),
                reason: "the relay's Redis lost events that it had taken".to_owned(),
            };
            again.entries.insert(0, self.entry(&gap_event(&gap, position)));
        }
        // If it loses writes once more meanwhile, the caller comes again.
        self.append(&mut again.entries).await.map(drop)
    }
}
