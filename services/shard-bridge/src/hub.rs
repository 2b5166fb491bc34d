//! Broadcasts inside one process: from the bus to every local subscriber.
//!
//! One task reads the bus. A message is handed to all subscribers first and acknowledged then. A subscriber that does not
//! keep up loses messages and is told how many; it never holds up the others.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use event_bus::{BusError, Delivery, EventBus, Message};
use fleet_model::WorkerId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::metrics::BridgeMetrics;

/// How many messages may wait for one subscriber.
const QUEUE: usize = 1024;

/// The most subscribers that one process serves.
pub(crate) const SUBSCRIBERS: usize = 1024;

/// How long to wait before subscribing to a bus again that was away.
const AGAIN: Duration = Duration::from_millis(500);

/// One item for a subscriber.
#[derive(Clone, Debug)]
pub enum HubItem {
    /// A message.
    Message(Arc<Message>),
    /// A hole.
    Missed {
        /// How many messages, when that is known.
        count: Option<u64>,
        /// Why.
        reason: String,
    },
}

/// The process's broadcasts. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    bus: Arc<dyn EventBus>,
    subscribers: Arc<Mutex<Vec<Subscriber>>>,
    metrics: BridgeMetrics,
}

struct Subscriber {
    queue: mpsc::Sender<HubItem>,
    dropped: u64,
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

    /// Every message from now on. `None` when there are 1,024 subscribers already.
    pub fn subscribe(&self) -> Option<HubSubscription> {
        let mut subscribers = self.lock();
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if subscribers.len() >= SUBSCRIBERS {
            return None;
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        subscribers.push(Subscriber { queue: sender, dropped: 0 });
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
                    telemetry::trace_context::continue_from_traceparent(&span, traceparent);
                }
                self.deliver(message, worker).instrument(span).await;
            }
            Delivery::Missed { count, reason } => self.to_all(&HubItem::Missed { count, reason }),
        }
    }

    async fn deliver(&self, message: Arc<Message>, worker: Option<&WorkerId>) {
        self.to_all(&HubItem::Message(message.clone()));
        if let Some(worker) = worker {
            self.bus.acknowledge(&message, worker).await;
        }
    }

    fn to_all(&self, item: &HubItem) {
        self.lock().retain_mut(|subscriber| {
            if subscriber.dropped > 0 {
                let hole = HubItem::Missed {
                    count: Some(subscriber.dropped),
                    reason: "this subscriber was too slow".to_owned(),
                };
                match subscriber.queue.try_send(hole) {
                    Ok(()) => subscriber.dropped = 0,
                    Err(mpsc::error::TrySendError::Closed(_)) => return false,
                    Err(mpsc::error::TrySendError::Full(_)) => {}
                }
            }
            match subscriber.queue.try_send(item.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    subscriber.dropped += 1;
                    self.metrics.count_dropped();
                    true
                }
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
