//! The task that sends: one batch after the other, each again until the store has answered for it.

use std::{sync::Arc, time::Duration};

use fleet_model::{Epoch, Gap, ShardNumber};
use outside_text::printable;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{OutboxParts, Shared, Waiting, tail::Tail};
use crate::{Appended, NewEntry, Position, RelayMetrics, RelayStatus, RelayStore, gap_payload};

/// Between two tries when the streams are away; it grows to the second.
const AGAIN: Duration = Duration::from_millis(50);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);

pub(super) struct Sender {
    store: Arc<dyn RelayStore>,
    metrics: RelayMetrics,
    status: RelayStatus,
    shard: ShardNumber,
    epoch: Epoch,
    shared: Arc<Shared>,
    tail: Tail,
    /// How far the store has come, for all that is known.
    believed: Option<Position>,
    began: Instant,
}

/// Another worker relays the shard.
struct Outranked(Epoch);

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
        self.append(&[]).await?;
        loop {
            let batch = self.shared.next_batch().await;
            let span = tracing::info_span!("relay_events", shard.id = %self.shard, events = batch.len(), otel.kind = "producer");
            self.send(&batch).instrument(span).await?;
            self.shared.took(batch.iter().map(|event| event.position));
        }
    }

    async fn send(&mut self, batch: &[Waiting]) -> Result<(), Outranked> {
        let traceparent: Option<Arc<str>> = telemetry::trace_context::current_traceparent().map(Into::into);
        let entries: Vec<NewEntry> =
            batch.iter().map(|event| self.entry(event, traceparent.clone())).collect();
        while let Some(reached) = self.append(&entries).await? {
            self.send_again(reached).await?;
        }
        Ok(())
    }

    /// An event as the store takes it; one that can't be encoded becomes a gap in its place.
    fn entry(&self, event: &Waiting, traceparent: Option<Arc<str>>) -> NewEntry {
        let data = match event.encode(self.shard) {
            Ok(data) => data,
            Err(error) => {
                self.metrics.count_garbled();
                tracing::warn!(
                    shard.id = %self.shard, event = %printable(&event.name), sequence = event.position.sequence, %error,
                    "event cannot be relayed: a gap is told in its place"
                );
                return self.gap_in_place_of(event, traceparent);
            }
        };
        NewEntry {
            position: event.position,
            name: event.name.clone(),
            guild: event.guild,
            received_at_unix_ms: event.received_at_unix_ms,
            lateness: event.lateness,
            traceparent,
            data,
        }
    }

    fn gap_in_place_of(&self, event: &Waiting, traceparent: Option<Arc<str>>) -> NewEntry {
        let gap = Gap {
            since_unix_ms: event.received_at_unix_ms,
            until_unix_ms: event.received_at_unix_ms,
            last_sequence: event.position.sequence.saturating_sub(1),
            reason: format!("the event {} could not be encoded for the relay", printable(&event.name)),
        };
        let text = gap_payload(&gap, event.position.sequence);
        NewEntry {
            position: event.position,
            name: crate::GAP.into(),
            guild: None,
            received_at_unix_ms: event.received_at_unix_ms,
            lateness: event.lateness,
            traceparent,
            // A text of ours, without anything of the payload: it can be encoded.
            data: crate::entry::encode(self.shard, &text).unwrap_or_default(),
        }
    }

    /// Appends. `Some` says how far the store has come when it has lost writes.
    async fn append(&mut self, entries: &[NewEntry]) -> Result<Option<Option<Position>>, Outranked> {
        let mut wait = AGAIN;
        loop {
            let began = Instant::now();
            let appended = self.store.append(self.shard, self.epoch, self.believed, entries).await;
            match appended {
                Ok(Appended::Done { reached, appended, cut }) => {
                    if self.status.works(self.shard) {
                        tracing::info!(shard.id = %self.shard, "the relay goes on");
                    }
                    let bytes = entries.iter().map(|entry| entry.data.len()).sum();
                    let repeated = (entries.len() as u64).saturating_sub(appended);
                    self.metrics.count_appended(appended, repeated, bytes, cut, began.elapsed());
                    if self.believed.is_none() && appended == 0 {
                        self.tail.begin_at(reached);
                    }
                    self.believed = reached;
                    self.tail.push(entries.iter().cloned(), self.began.elapsed());
                    return Ok(None);
                }
                Ok(Appended::Lost { reached }) => {
                    self.metrics.count_lost_writes();
                    tracing::warn!(
                        shard.id = %self.shard, believed = ?self.believed, ?reached,
                        "the relay's Redis has lost its last writes: they are sent again"
                    );
                    return Ok(Some(reached));
                }
                Ok(Appended::Outranked(by)) => return Err(Outranked(by)),
                Err(error) => {
                    self.metrics.count_failure();
                    if self.status.failed(self.shard, &error.to_string()) {
                        tracing::warn!(shard.id = %self.shard, %error, "events can't be relayed; they wait");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(AGAIN_AT_MOST);
                }
            }
        }
    }

    /// The store has come only so far: sends what is kept of the rest, and a gap for what is not.
    async fn send_again(&mut self, reached: Option<Position>) -> Result<(), Outranked> {
        let mut again = self.tail.behind(reached);
        self.believed = reached;
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
            let text = gap_payload(&gap, position.sequence);
            let gap = Waiting::gap(gap.until_unix_ms, &text, position);
            again.entries.insert(0, self.entry(&gap, None));
        }
        // If it loses writes once more meanwhile, the caller comes again.
        self.append(&again.entries).await.map(drop)
    }
}
