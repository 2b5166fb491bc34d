//! Permits to IDENTIFY: a connection requests one from its queue, the queue requests it from the coordinator.
//!
//! [`PermitQueue::enqueue`] hands a request to the [`client`] task, which sends it to the coordinator. The grant goes to the
//! shard's own task as a [`PermitGrant`]: only that task knows when IDENTIFY really goes out, so it checks the permit, uses it
//! and reports the use. The bucket's 5 seconds count from that report.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{clock::BootTime, shard_state::ShardState};

pub(crate) mod client;
mod requests;

/// Messages on their way to the client task: at most a request and an answer for each shard.
const MESSAGES: usize = 4096;

/// Reaches the client task. Clones reach the same.
#[derive(Clone, Debug)]
pub(crate) struct IdentifyClient {
    messages: mpsc::Sender<Message>,
}

/// A message to the client task.
#[derive(Debug)]
pub(crate) enum Message {
    /// A shard wants to IDENTIFY.
    Request(PermitRequest),
    /// What became of a permit: used, or the request it was for comes back.
    Answer { ticket: u64, unused: Option<PermitRequest> },
}

/// A shard that wants to IDENTIFY.
#[derive(Debug)]
pub(crate) struct PermitRequest {
    shard: Arc<ShardState>,
    /// Where the permit goes.
    permits: mpsc::Sender<PermitGrant>,
    /// Closed when the connection no longer waits.
    connection: oneshot::Sender<()>,
}

/// A permit, in the hands of the shard's own task.
#[derive(Debug)]
pub(crate) struct PermitGrant {
    ticket: u64,
    valid_until: BootTime,
    request: PermitRequest,
}

pub(crate) fn channel() -> (IdentifyClient, mpsc::Receiver<Message>) {
    let (messages, receiver) = mpsc::channel(MESSAGES);
    (IdentifyClient { messages }, receiver)
}

impl IdentifyClient {
    /// The queue for one connection, and where its permits come.
    pub(crate) fn queue_for(&self, shard: Arc<ShardState>) -> (PermitQueue, mpsc::Receiver<PermitGrant>) {
        // One connection has one request at a time.
        let (permits, granted) = mpsc::channel(1);
        (PermitQueue { client: self.clone(), shard, permits }, granted)
    }

    /// A permit was not used: its request asks again.
    pub(crate) async fn give_back(&self, granted: PermitGrant) {
        let answer = Message::Answer { ticket: granted.ticket, unused: Some(granted.request) };
        // A client task that has ended has a process that ends.
        let _ = self.messages.send(answer).await;
    }

    /// IDENTIFY went out.
    pub(crate) async fn used(&self, ticket: u64) {
        let _ = self.messages.send(Message::Answer { ticket, unused: None }).await;
    }
}

impl PermitGrant {
    /// It is in time, and its connection still waits for it.
    pub(crate) fn is_good(&self, now: BootTime) -> bool {
        now <= self.valid_until && !self.request.connection.is_closed()
    }

    /// Uses the permit for an IDENTIFY that is about to go out. Returns the ticket to be reported.
    pub(crate) fn use_permit(self) -> u64 {
        // Checked just before; a connection that is gone since then has not used it, and counting it as used is safe.
        let _ = self.request.connection.send(());
        self.ticket
    }
}

/// The queue of one connection.
#[derive(Clone, Debug)]
pub(crate) struct PermitQueue {
    client: IdentifyClient,
    shard: Arc<ShardState>,
    permits: mpsc::Sender<PermitGrant>,
}

impl PermitQueue {
    /// Requests a permit until the returned receiver is dropped. The permit goes to the connection's own receiver.
    pub(crate) fn enqueue(&self) -> oneshot::Receiver<()> {
        let (connection, waits) = oneshot::channel();
        self.shard.set_status(fleet_model::ShardStatus::Queued, "");
        let request = PermitRequest { shard: self.shard.clone(), permits: self.permits.clone(), connection };
        if let Err(error) = self.client.messages.try_send(Message::Request(request)) {
            // Full would mean thousands of shards; closed means that the process ends.
            tracing::error!(shard.id = %self.shard.key(), "cannot queue a request to identify; retrying");
            let messages = self.client.messages.clone();
            tokio::spawn(async move {
                // Ends with the client task.
                let _ = messages.send(error.into_inner()).await;
            });
        }
        waits
    }
}
