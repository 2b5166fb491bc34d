//! The task that talks to the coordinator's identify queue. Requests outlive its streams: each is sent again on the next one.

use std::time::Duration;

use altergolden_proto::{
    convert::for_people,
    v1::{
        self, coordinator_client::CoordinatorClient, identify_down::Message as Down,
        identify_up::Message as Up,
    },
};
use fleet_model::{Incarnation, ShardStatus, Term, WorkerId};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Streaming, transport::Channel};

use super::{
    Message,
    requests::{PermitAsk, PermitRequests},
};
use crate::clock::BootTime;

/// How often abandoned requests are looked for, and the wait before a broken stream is opened again.
const ROUND: Duration = Duration::from_millis(500);
/// Bound of messages to the coordinator.
const UP: usize = 1024;

/// Where requests go: known once the worker has registered.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) channel: Channel,
    pub(crate) worker: WorkerId,
    pub(crate) incarnation: Incarnation,
}

/// Requests permits for connections that wait, until `stop`.
pub(crate) async fn run(
    mut messages: mpsc::Receiver<Message>,
    mut registered: watch::Receiver<Option<Registered>>,
    stop: CancellationToken,
) {
    let mut waiting = PermitRequests::default();
    loop {
        let now = registered.borrow_and_update().clone();
        let stream = match now {
            Some(registered) => open(&registered).await,
            None => None,
        };
        let Some((up, down)) = stream else {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(message) = messages.recv() => match message {
                    Message::Request(request) => waiting.add(request),
                    Message::Answer { ticket, unused } => {
                        waiting.answered(ticket, unused);
                    }
                },
                _ = registered.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
            continue;
        };
        waiting.ask_again();
        let mut stream = Stream { up, down, waiting: &mut waiting, refused: Vec::new() };
        tokio::select! {
            () = stop.cancelled() => return,
            () = stream.serve(&mut messages) => tokio::time::sleep(ROUND).await,
            // Another incarnation, or another connection.
            _ = registered.changed() => {}
        }
    }
}

async fn open(
    registered: &Registered,
) -> Option<(mpsc::Sender<v1::IdentifyUp>, Streaming<v1::IdentifyDown>)> {
    let (up, messages) = mpsc::channel(UP);
    let hello = v1::IdentifyHello {
        worker_id: registered.worker.to_string(),
        incarnation: registered.incarnation.to_string(),
    };
    up.try_send(v1::IdentifyUp { message: Some(Up::Hello(hello)) }).ok()?;
    let mut client = CoordinatorClient::new(registered.channel.clone());
    let opening = client.acquire_identify(ReceiverStream::new(messages));
    match tokio::time::timeout(Duration::from_secs(5), opening).await {
        Ok(Ok(response)) => Some((up, response.into_inner())),
        Ok(Err(status)) => {
            tracing::debug!(%status, "cannot reach the identify queue");
            None
        }
        Err(_) => None,
    }
}

struct Stream<'a> {
    up: mpsc::Sender<v1::IdentifyUp>,
    down: Streaming<v1::IdentifyDown>,
    waiting: &'a mut PermitRequests,
    /// Sent again with the next round.
    refused: Vec<u64>,
}

impl Stream<'_> {
    /// Serves until the stream ends.
    async fn serve(&mut self, messages: &mut mpsc::Receiver<Message>) {
        let mut round = tokio::time::interval(ROUND);
        loop {
            let asks = self.waiting.unasked(BootTime::now());
            for PermitAsk { ticket, shard, epoch } in asks {
                let traceparent =
                    self.waiting.request(ticket).and_then(|request| request.shard.traceparent());
                let ask = v1::IdentifyAsk {
                    ticket,
                    shard_id: shard.slot().0,
                    epoch: epoch.0,
                    traceparent: traceparent.unwrap_or_default(),
                };
                if !self.send(Up::Ask(ask)).await {
                    return;
                }
            }
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Message::Request(request)) => self.waiting.add(request),
                    Some(Message::Answer { ticket, unused }) => {
                        if !self.answer(ticket, unused).await {
                            return;
                        }
                    }
                    None => return,
                },
                message = self.down.message() => match message {
                    Ok(Some(v1::IdentifyDown { message: Some(message) })) => {
                        if !self.take(message).await {
                            return;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                },
                _ = round.tick() => {
                    for ticket in std::mem::take(&mut self.refused) {
                        self.waiting.ask_one_again(ticket);
                    }
                    self.waiting.ask_overdue_again(BootTime::now());
                    for ticket in self.waiting.abandoned() {
                        if !self.send(Up::Cancel(v1::IdentifyCancel { ticket })).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Returns false when the stream has ended.
    async fn send(&self, message: Up) -> bool {
        self.up.send(v1::IdentifyUp { message: Some(message) }).await.is_ok()
    }

    /// Reports that a shard used a permit or gave it back.
    async fn answer(&mut self, ticket: u64, unused: Option<super::PermitRequest>) -> bool {
        let answer = match &unused {
            None => Up::Used(v1::IdentifyUsed { ticket }),
            Some(_) => Up::Cancel(v1::IdentifyCancel { ticket }),
        };
        !self.waiting.answered(ticket, unused) || self.send(answer).await
    }

    async fn take(&mut self, message: Down) -> bool {
        match message {
            Down::Permit(permit) => {
                let valid = Duration::from_millis(permit.valid_ms_after_ask);
                let (ticket, term) = (permit.ticket, Term(permit.term));
                if let Err(why) = self.waiting.permitted(ticket, valid, term) {
                    tracing::warn!(ticket, why, "permit given back");
                    return self.send(Up::Cancel(v1::IdentifyCancel { ticket })).await;
                }
                true
            }
            Down::Waiting(waiting) => {
                if let Some(request) = self.waiting.request(waiting.ticket) {
                    request.shard.set_status(ShardStatus::Queued, for_people(&waiting.reason));
                }
                true
            }
            Down::Refused(refused) => {
                if let Some(request) = self.waiting.request(refused.ticket) {
                    tracing::info!(shard.id = %request.shard.key(), reason = %refused.reason, "permit refused; requesting again");
                }
                // By the next round an assignment has taken the shard away, or made it ours again.
                self.refused.push(refused.ticket);
                true
            }
        }
    }
}
