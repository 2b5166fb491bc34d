//! Messages inside one process: from the bus, and from those who send to a shard here, to every local subscriber that wants them.
//!
//! One task reads the bus. A message is handed to all subscribers first and acknowledged then, if it is a broadcast. A subscriber that
//! does not keep up loses messages and is told how many; it never holds up the others.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use event_bus::{BusError, Delivery, EventBus, Message, Recipient};
use fleet_model::WorkerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{local::ShardMessage, metrics::BridgeMetrics};

/// How many messages may wait for one subscriber.
const QUEUE: usize = 1024;

/// The most subscribers that one process serves.
pub(crate) const SUBSCRIBERS: usize = 1024;

/// How long to wait before subscribing to a bus again that was away.
const AGAIN: Duration = Duration::from_millis(500);

/// One item for a subscriber.
#[derive(Clone, Debug)]
pub enum HubItem {
    /// A message from the bus: a broadcast, or one to the manager.
    Message(Arc<Message>),
    /// A message to a shard that runs in this process.
    ToShard(Arc<ShardMessage>),
    /// A hole.
    Missed {
        /// How many messages, when that is known.
        count: Option<u64>,
        /// Why.
        reason: String,
    },
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientKind {
    /// Every worker: a broadcast.
    All,
    /// The shard manager.
    Manager,
    /// One shard.
    Shard,
}

/// What a subscriber wants to be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// These types; all when empty.
    types: BTreeSet<String>,
    broadcasts: bool,
    to_manager: bool,
    to_shards: bool,
}

impl Wants {
    /// Every message.
    pub fn everything() -> Self {
        Self { types: BTreeSet::new(), broadcasts: true, to_manager: true, to_shards: true }
    }

    /// Messages of these types, of all types when empty, to these recipients, to all recipients when `None`.
    pub fn only(types: impl IntoIterator<Item = String>, recipients: Option<&[RecipientKind]>) -> Self {
        let has = |wanted| recipients.is_none_or(|recipients| recipients.contains(&wanted));
        Self {
            types: types.into_iter().collect(),
            broadcasts: has(RecipientKind::All),
            to_manager: has(RecipientKind::Manager),
            to_shards: has(RecipientKind::Shard),
        }
    }

    fn has_type(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.contains(kind)
    }

    fn has(&self, item: &HubItem) -> bool {
        match item {
            HubItem::Message(message) => {
                let recipient = match message.content.recipient {
                    Recipient::All => self.broadcasts,
                    Recipient::Manager { .. } => self.to_manager,
                };
                recipient && self.has_type(&message.content.kind)
            }
            HubItem::ToShard(message) => self.to_shards && self.has_type(&message.kind),
            // Messages to shards do not come over the bus.
            HubItem::Missed { .. } => self.broadcasts || self.to_manager,
        }
    }
}

/// The process's messages. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    bus: Arc<dyn EventBus>,
    subscribers: Arc<Mutex<Vec<Subscriber>>>,
    metrics: BridgeMetrics,
}

struct Subscriber {
    queue: mpsc::Sender<HubItem>,
    wants: Wants,
    dropped: u64,
}

/// What became of one item for one subscriber.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    Given,
    NotWanted,
    Dropped,
    /// The subscriber has left.
    Gone,
}

impl Subscriber {
    fn offer(&mut self, item: &HubItem) -> Offered {
        if self.dropped > 0 {
            let hole = HubItem::Missed {
                count: Some(self.dropped),
                reason: "this subscriber was too slow".to_owned(),
            };
            match self.queue.try_send(hole) {
                Ok(()) => self.dropped = 0,
                Err(mpsc::error::TrySendError::Closed(_)) => return Offered::Gone,
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        if !self.wants.has(item) {
            return if self.queue.is_closed() { Offered::Gone } else { Offered::NotWanted };
        }
        match self.queue.try_send(item.clone()) {
            Ok(()) => Offered::Given,
            Err(mpsc::error::TrySendError::Closed(_)) => Offered::Gone,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped += 1;
                Offered::Dropped
            }
        }
    }
}

/// A local subscription.
#[derive(Debug)]
pub struct HubSubscription {
    queue: mpsc::Receiver<HubItem>,
}

impl HubSubscription {
    /// The next item; `None` when the process ends.
    pub async fn next(&mut self) -> Option<HubItem> {
        self.queue.recv().await
    }
}

impl Hub {
    /// A hub on a bus.
    pub fn new(bus: Arc<dyn EventBus>, metrics: BridgeMetrics) -> Self {
        Self { bus, subscribers: Arc::default(), metrics }
    }

    /// The bus below.
    pub fn bus(&self) -> &Arc<dyn EventBus> {
        &self.bus
    }

    /// Every message that is wanted, from now on. `None` when there are 1,024 subscribers already.
    pub fn subscribe(&self, wants: Wants) -> Option<HubSubscription> {
        let mut subscribers = self.lock();
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if subscribers.len() >= SUBSCRIBERS {
            return None;
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        subscribers.push(Subscriber { queue: sender, wants, dropped: 0 });
        Some(HubSubscription { queue })
    }

    /// Reads the bus until `stop`. Acknowledges as `worker`, if the process is one.
    pub async fn run(self, worker: Option<WorkerId>, stop: CancellationToken) {
        let reading = async {
            loop {
                match self.bus.subscribe().await {
                    Ok(mut subscription) => {
                        while let Some(delivery) = subscription.next().await {
                            self.hand_on(delivery, worker.as_ref()).await;
                        }
                    }
                    Err(BusError::Away(reason)) => tracing::debug!(%reason, "waiting for the event bus"),
                    Err(error) => tracing::error!(%error, "the event bus refused a subscription"),
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
        self.lock().clear();
    }

    async fn hand_on(&self, delivery: Delivery, worker: Option<&WorkerId>) {
        match delivery {
            Delivery::Message(message) => {
                let span = tracing::info_span!(
                    "deliver_broadcast",
                    otel.kind = "consumer",
                    messaging.message.id = %message.id.0,
                );
                if let Some(traceparent) = &message.content.traceparent {
                    process::telemetry::trace_context::continue_from_traceparent(&span, traceparent);
                }
                self.deliver(message, worker).instrument(span).await;
            }
            Delivery::Missed { count, reason } => {
                self.to_all(&HubItem::Missed { count, reason });
            }
        }
    }

    async fn deliver(&self, message: Arc<Message>, worker: Option<&WorkerId>) {
        self.to_all(&HubItem::Message(message.clone()));
        if let (Recipient::All, Some(worker)) = (message.content.recipient, worker) {
            self.bus.acknowledge(&message, worker).await;
        }
    }

    /// Gives a message to those who are subscribed to what is sent to shards here. How many got it.
    pub fn give_to_shard(&self, message: Arc<ShardMessage>) -> usize {
        self.to_all(&HubItem::ToShard(message))
    }

    /// How many got it.
    fn to_all(&self, item: &HubItem) -> usize {
        let mut given = 0;
        self.lock().retain_mut(|subscriber| {
            let offered = subscriber.offer(item);
            match offered {
                Offered::Given => given += 1,
                Offered::Dropped => self.metrics.count_dropped(),
                Offered::NotWanted | Offered::Gone => {}
            }
            offered != Offered::Gone
        });
        given
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
