//! The queue between the bus and one subscriber.
//!
//! Owns what happens when it is full: the bus never waits, the reader is told how many deliveries it missed, at the very
//! place where they are missing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::Delivery;

/// Deliveries that wait for a reader.
const CAPACITY: usize = 1024;

/// Size limit of the queued messages in bytes. A larger single one is queued alone.
const BYTES: usize = 16 * 1024 * 1024;

/// A subscription. Bounded: a reader that lags is given a [`Delivery::Missed`], never made to hold the others up.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

/// The bus's end of a subscription.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Delivery>,
    /// Total size of the queued messages.
    bytes: usize,
    /// What came while the queue was full, all of it newer than what waits.
    hole: Option<DroppedDeliveries>,
    /// One of the two ends is gone.
    closed: bool,
}

/// Deliveries dropped one after the other; how many messages, when that is known.
#[derive(Clone, Copy, Debug)]
struct DroppedDeliveries(Option<u64>);

impl DroppedDeliveries {
    fn widen(hole: Option<Self>, delivery: &Delivery) -> Self {
        let more = match delivery {
            Delivery::Message(_) => Some(1),
            Delivery::Missed { count, .. } => *count,
        };
        let before = hole.map_or(Some(0), |hole| hole.0);
        Self(before.zip(more).map(|(before, more)| before.saturating_add(more)))
    }

    fn into_delivery(self) -> Delivery {
        Delivery::Missed {
            count: self.0,
            reason: format!("the reader fell {CAPACITY} deliveries or {BYTES} bytes behind"),
        }
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }
}

/// The size of a delivery's message in bytes.
fn size(delivery: &Delivery) -> usize {
    match delivery {
        Delivery::Message(message) => message.content.body.len(),
        Delivery::Missed { .. } => 0,
    }
}

/// A new queue's two ends.
pub(crate) fn subscription() -> (Outlet, Subscription) {
    let queue = Arc::<Queue>::default();
    (Outlet { queue: Arc::clone(&queue) }, Subscription { queue })
}

impl Outlet {
    /// Gives the reader one more delivery, or notes that it missed it. `false` once the reader is gone.
    pub(crate) fn offer(&self, delivery: Delivery) -> bool {
        let mut state = self.queue.state();
        if state.closed {
            return false;
        }
        let bytes = size(&delivery);
        let is_full = state.waiting.len() >= CAPACITY
            || !state.waiting.is_empty() && state.bytes.saturating_add(bytes) > BYTES;
        if is_full {
            state.hole = Some(DroppedDeliveries::widen(state.hole, &delivery));
            return true;
        }
        if let Some(hole) = state.hole.take() {
            state.waiting.push_back(hole.into_delivery());
        }
        state.waiting.push_back(delivery);
        state.bytes += bytes;
        drop(state);
        self.queue.changed.notify_one();
        true
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Subscription {
    /// The next delivery; `None` when the bus has ended and nothing waits any more. Nothing is lost when the wait is
    /// cancelled.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut state = self.queue.state();
                if let Some(delivery) = state.waiting.pop_front() {
                    state.bytes = state.bytes.saturating_sub(size(&delivery));
                    return Some(delivery);
                }
                if let Some(hole) = state.hole.take() {
                    return Some(hole.into_delivery());
                }
                if state.closed {
                    return None;
                }
            }
            // A change since the look above has left a permit.
            self.queue.changed.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(count: Option<u64>) -> Delivery {
        Delivery::Missed { count, reason: String::new() }
    }

    fn counts(state: &State) -> Vec<Option<u64>> {
        let count = |delivery: &Delivery| match delivery {
            Delivery::Missed { count, .. } => *count,
            Delivery::Message(_) => None,
        };
        state.waiting.iter().map(count).collect()
    }

    #[tokio::test]
    async fn dropped_messages_are_reported_at_their_position() {
        let (outlet, mut subscription) = subscription();
        for number in 0..CAPACITY as u64 {
            assert!(outlet.offer(missed(Some(number))));
        }
        assert!(outlet.offer(missed(Some(3))));
        assert!(outlet.offer(missed(Some(4))));
        assert!(matches!(subscription.next().await, Some(Delivery::Missed { count: Some(0), .. })));
        assert!(outlet.offer(missed(Some(77))));
        let queued = counts(&outlet.queue.state());
        assert_eq!(queued[CAPACITY - 1..], [Some(7), Some(77)]);
    }

    #[tokio::test]
    async fn a_hole_at_the_end_needs_no_later_message() {
        let (outlet, mut subscription) = subscription();
        for _ in 0..=CAPACITY {
            assert!(outlet.offer(missed(None)));
        }
        for _ in 0..CAPACITY {
            subscription.next().await.expect("it waits");
        }
        assert!(matches!(subscription.next().await, Some(Delivery::Missed { count: None, .. })));
        drop(outlet);
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn queue_is_bounded_by_bytes() {
        let (outlet, mut subscription) = subscription();
        let message = Delivery::Message(Arc::new(crate::Message {
            id: crate::MessageId(String::new()),
            content: crate::NewMessage {
                kind: String::new(),
                body: "x".repeat(crate::MAX_BODY),
                sender: String::new(),
                recipient: crate::Recipient::All,
                traceparent: None,
            },
            acknowledge_to: String::new(),
        }));
        for _ in 0..CAPACITY {
            assert!(outlet.offer(message.clone()));
        }
        let fits = BYTES / crate::MAX_BODY;
        for _ in 0..fits {
            assert!(matches!(subscription.next().await, Some(Delivery::Message(_))));
        }
        let dropped = Some((CAPACITY - fits) as u64);
        assert!(
            matches!(subscription.next().await, Some(Delivery::Missed { count, .. }) if count == dropped)
        );
        assert!(outlet.offer(message));
        assert!(matches!(subscription.next().await, Some(Delivery::Message(_))), "there is room again");
    }

    #[tokio::test]
    async fn a_reader_that_left_is_noticed() {
        let (outlet, subscription) = subscription();
        drop(subscription);
        assert!(!outlet.offer(missed(None)));
    }
}
