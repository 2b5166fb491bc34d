//! Broadcasts between processes: every message to every subscriber, once, in order, or a word that some were missed.
//!
//! Owns delivery, repair and acknowledgement. Knows nothing of what the messages say. Two buses keep the same contract:
//! [`MemoryBus`] for one process, [`RedisBus`] for many.

use std::sync::Arc;

use async_trait::async_trait;
use fleet_model::{Classified, ErrorClass, ShardSlot, WorkerId};
use tokio::sync::{mpsc, watch};

mod acknowledgements;
mod memory;
mod redis;
mod subscription;

pub use memory::MemoryBus;
pub use redis::{RedisBus, repair_broadcasts};
pub use subscription::Subscription;

/// Longest body of a message, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// One process's end of the bus.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Sends a message to every subscriber of every process, this one included.
    ///
    /// # Errors
    /// [`BusError::Away`] when the bus can't be reached: then no subscriber gets it, unless only the bus's answer was lost.
    /// [`BusError::TooLarge`] above [`MAX_BODY`].
    async fn publish(&self, message: NewMessage) -> Result<Published, BusError>;

    /// Every message from now on. What a cut-off process could not be given comes later, repaired from the bus's history,
    /// or as one [`Delivery::Missed`] when the history no longer has it. A reader that falls 1,024 deliveries behind gets
    /// one [`Delivery::Missed`] in place of what came while it was full.
    ///
    /// # Errors
    /// [`BusError::Away`] when the bus was never reached yet, so that "now" has no place in its history.
    async fn subscribe(&self) -> Result<Subscription, BusError>;

    /// Tells the sender that this worker has handed the message to all its local subscribers. Best effort: an
    /// acknowledgement may be lost, never invented.
    async fn acknowledge(&self, message: &Message, worker: &WorkerId);

    /// Whether the bus can be reached, now and whenever that changes.
    fn status(&self) -> watch::Receiver<BusStatus>;
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// What kind of message it is.
    pub kind: String,
    /// Its content: JSON text.
    pub body: String,
    /// The process that sends it, for people.
    pub sender: String,
    /// Whom it is for: the bus brings it to every subscriber all the same.
    pub recipient: Recipient,
    /// W3C `traceparent`, when the sender is traced.
    pub traceparent: Option<String>,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recipient {
    /// Everybody: a broadcast.
    #[default]
    All,
    /// The shard manager.
    Manager {
        /// The shard for which the sender speaks, if it does for one.
        from: Option<ShardSlot>,
    },
}

impl NewMessage {
    fn check_size(&self) -> Result<(), BusError> {
        if self.body.len() > MAX_BODY { Err(BusError::TooLarge(self.body.len())) } else { Ok(()) }
    }
}

/// A message that was sent, and who has acknowledged it.
#[derive(Debug)]
pub struct Published {
    /// The id that subscribers see too.
    pub id: MessageId,
    /// One entry for each worker that acknowledged, as it comes; may repeat. Dropping it stops listening. Ends by itself
    /// when too many later messages wait for theirs.
    pub acknowledgements: mpsc::Receiver<WorkerId>,
}

/// A message's id on the bus: in a Redis bus the id of its stream entry. Later messages have other ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub String);

/// A message as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// What the sender gave.
    pub content: NewMessage,
    /// Where acknowledgements go; empty when the sender does not wait for them.
    pub acknowledge_to: String,
}

/// One item of a subscription.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A message.
    Message(Arc<Message>),
    /// A hole: messages that can't be had any more.
    Missed {
        /// How many, when that is known.
        count: Option<u64>,
        /// Why, for people.
        reason: String,
    },
}

/// Whether the bus can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusStatus {
    /// It can.
    Connected,
    /// It can't, and why.
    Away(String),
}

/// A message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BusError {
    /// The bus can't be reached.
    #[error("the event bus is away: {0}")]
    Away(String),
    /// The body is over 256 KiB.
    #[error("a message of {0} bytes is over the limit of {MAX_BODY}")]
    TooLarge(usize),
}

impl Classified for BusError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Away(_) => ErrorClass::Unavailable,
            Self::TooLarge(_) => ErrorClass::InvalidInput,
        }
    }
}
