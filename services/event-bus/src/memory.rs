//! The bus of one process: for `altergolden dev` and for tests.
//!
//! No message is ever on its way, so there is no history and nothing to repair.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fleet_model::WorkerId;
use tokio::sync::watch;

use crate::{
    BusError, BusStatus, Delivery, EventBus, Message, MessageId, NewMessage, Published, Subscription,
    acknowledgements::AcknowledgementWaits,
    subscription::{Outlet, subscription},
};

/// A bus in this process's memory. Clones are ends of the same bus, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// One lock over both, so that every subscriber sees the same order.
    state: Mutex<State>,
    waits: AcknowledgementWaits,
    status: watch::Sender<BusStatus>,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    outlets: Vec<Outlet>,
}

impl MemoryBus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        let status = watch::Sender::new(BusStatus::Connected);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                waits: AcknowledgementWaits::default(),
                status,
            }),
        }
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    async fn publish(&self, message: NewMessage) -> Result<Published, BusError> {
        message.check_size()?;
        let (wait, acknowledgements) = self.shared.waits.open();
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_id += 1;
        let id = MessageId(state.last_id.to_string());
        let message =
            Arc::new(Message { id: id.clone(), content: message, acknowledge_to: wait.to_string() });
        state.outlets.retain(|outlet| outlet.offer(Delivery::Message(Arc::clone(&message))));
        Ok(Published { id, acknowledgements })
    }

    async fn subscribe(&self) -> Result<Subscription, BusError> {
        let (outlet, subscription) = subscription();
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).outlets.push(outlet);
        Ok(subscription)
    }

    async fn acknowledge(&self, message: &Message, worker: &WorkerId) {
        if let Ok(wait) = message.acknowledge_to.parse() {
            self.shared.waits.acknowledge(wait, worker.clone());
        }
    }

    fn status(&self) -> watch::Receiver<BusStatus> {
        self.shared.status.subscribe()
    }
}
