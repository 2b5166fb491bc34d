//! Permits to IDENTIFY: twilight asks its queue, the queue asks the coordinator.
//!
//! A wish's way: [`PermitQueue::enqueue`] hands it to the [`client`] task, which asks the coordinator, waits for the permit,
//! checks that it is still good and that the shard is still ours, lets the connection go on, and reports the permit used.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use twilight_gateway_queue::Queue;

use crate::{lease::LeaseWindow, shard::Shard};

pub(crate) mod client;
mod wishes;

/// Wishes on their way to the client task.
const WISHES: usize = 4096;

/// Hands wishes to the client task. Clones reach the same task.
#[derive(Clone, Debug)]
pub(crate) struct IdentifyClient {
    wishes: mpsc::Sender<Wish>,
}

/// A shard that wants to IDENTIFY.
#[derive(Debug)]
pub(crate) struct Wish {
    shard: Arc<Shard>,
    lease: LeaseWindow,
    go: oneshot::Sender<()>,
}

pub(crate) fn channel() -> (IdentifyClient, mpsc::Receiver<Wish>) {
    let (wishes, receiver) = mpsc::channel(WISHES);
    (IdentifyClient { wishes }, receiver)
}

impl IdentifyClient {
    /// The queue for one shard's connection.
    pub(crate) fn queue_for(&self, shard: Arc<Shard>, lease: LeaseWindow) -> PermitQueue {
        PermitQueue { client: self.clone(), shard, lease }
    }
}

/// twilight's queue for one shard.
#[derive(Clone, Debug)]
pub(crate) struct PermitQueue {
    client: IdentifyClient,
    shard: Arc<Shard>,
    lease: LeaseWindow,
}

impl Queue for PermitQueue {
    fn enqueue(&self, _: u32) -> oneshot::Receiver<()> {
        let (go, gone) = oneshot::channel();
        self.shard.set_status(fleet_model::ShardStatus::Queued, "");
        let wish = Wish { shard: self.shard.clone(), lease: self.lease.clone(), go };
        if let Err(error) = self.client.wishes.try_send(wish) {
            // One wish a shard: full means thousands of shards, closed means that the process ends. Dropping the sender
            // makes twilight ask again at once, so the wish is kept open instead.
            tracing::error!(shard.id = %self.shard.number(), %error, "a wish to identify could not be queued");
            let wish = error.into_inner();
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                drop(wish);
            });
        }
        gone
    }
}
