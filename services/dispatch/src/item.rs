//! One event, as the queue sees it.

use std::{fmt, sync::Arc, time::Duration};

/// An event on its way to its handler.
#[derive(Clone)]
pub struct Item<T> {
    /// Its sequence number in its session. Unique and growing within one queue, with two exceptions: pending events
    /// from a checkpoint come first with their old numbers, and a new session starts at 1 again.
    pub sequence: u64,
    /// The guild that it belongs to: events of one lane are handled one after the other, in order. `None` is the shard's own
    /// lane, for events without a guild.
    pub lane: Option<u64>,
    /// It may be what its shard's owners died of: a careful queue starts it alone.
    pub suspect: bool,
    /// The event's name, as Discord spells it, such as `MESSAGE_CREATE`
    /// ([Gateway Events](https://discord.com/developers/docs/events/gateway-events#receive-events)).
    pub kind: Arc<str>,
    /// How much it counts against [`Limits::bytes`](crate::Limits::bytes).
    pub bytes: usize,
    /// When it was received, on the owner's clock.
    pub received_at: Duration,
    /// The event itself.
    pub payload: T,
}

/// Without the payload: an interaction's has its token in it.
impl<T> fmt::Debug for Item<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("sequence", &self.sequence)
            .field("lane", &self.lane)
            .field("suspect", &self.suspect)
            .field("kind", &self.kind)
            .field("bytes", &self.bytes)
            .field("received_at", &self.received_at)
            .finish_non_exhaustive()
    }
}
