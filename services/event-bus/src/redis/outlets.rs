//! The local subscribers of one process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::position::Stamp;
use crate::{
    Delivery, Subscription,
    subscription::{Outlet, subscription},
};

/// The local subscribers, each with the newest broadcast there was when it came: it gets those after.
#[derive(Debug, Default)]
pub(super) struct Outlets {
    outlets: Mutex<Vec<(Stamp, Outlet)>>,
}

impl Outlets {
    fn lock(&self) -> MutexGuard<'_, Vec<(Stamp, Outlet)>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscriber.
    pub(super) fn subscribe(&self, after: Stamp) -> Subscription {
        let (outlet, subscription) = subscription();
        self.lock().push((after, outlet));
        subscription
    }

    /// Gives a broadcast to everyone who came before it.
    pub(super) fn deliver(&self, stamp: &Stamp, delivery: &Delivery) {
        self.lock().retain(|(after, outlet)| {
            let before = stamp.generation == after.generation
                && stamp.sequence <= after.sequence
                && stamp.id <= after.id;
            before || outlet.offer(delivery.clone())
        });
    }

    /// Reports a hole to all subscribers. What comes next may be earlier in the stream than where a subscriber began.
    pub(super) fn deliver_to_all(&self, delivery: &Delivery) {
        self.lock().retain_mut(|(after, outlet)| {
            *after = Stamp::default();
            outlet.offer(delivery.clone())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire, *};

    #[tokio::test]
    async fn subscriber_receives_nothing_published_earlier() {
        let stamp = |id, sequence, generation| wire::stamp(id, sequence, generation).unwrap();
        let outlets = Outlets::default();
        let mut subscription = outlets.subscribe(stamp("50-0", "5", "g"));
        let delivered = |count| Delivery::Missed { count: Some(count), reason: String::new() };
        outlets.deliver(&stamp("40-0", "4", "g"), &delivered(4));
        outlets.deliver(&stamp("50-0", "5", "g"), &delivered(5));
        outlets.deliver(&stamp("60-0", "6", "g"), &delivered(6));
        outlets.deliver(&stamp("10-0", "1", "h"), &delivered(1));
        outlets.deliver(&stamp("70-0", "3", "g"), &delivered(3));
        outlets.deliver_to_all(&delivered(0));
        outlets.deliver(&stamp("45-0", "4", "g"), &delivered(4));
        drop(outlets);
        let mut counts = Vec::new();
        while let Some(Delivery::Missed { count, .. }) = subscription.next().await {
            counts.extend(count);
        }
        assert_eq!(counts, [6, 1, 3, 0, 4], "new, of another generation, under a later id, or after a hole");
    }
}
