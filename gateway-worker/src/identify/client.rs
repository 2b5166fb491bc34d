//! The task that talks to the coordinator's identify queue. Requests outlive its streams: each is sent again on the next one.

use std::time::Duration;

use fleet_model::{IdentifyAnswer, IdentifyMessage, Incarnation, ShardStatus, WorkerId};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Message,
    requests::{PermitAsk, PermitRequests},
};
use crate::{
    clock::BootTime,
    coordinator::{CoordinatorConnection, PermitAnswers},
};

/// How often abandoned requests are looked for, and the wait before a broken stream is opened again.
const ROUND: Duration = Duration::from_millis(500);

/// Where requests go: known once the worker has registered.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) connection: CoordinatorConnection,
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
            Some(Registered { connection, worker, incarnation }) => {
                connection.permits(&worker, &incarnation).await
            }
            None => None,
        };
        let Some((up, answers)) = stream else {
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
        let mut stream = Stream { up, answers, waiting: &mut waiting, refused: Vec::new() };
        tokio::select! {
            () = stop.cancelled() => return,
            () = stream.serve(&mut messages) => tokio::time::sleep(ROUND).await,
            // Another incarnation, or another connection.
            _ = registered.changed() => {}
        }
    }
}

struct Stream<'a> {
    up: mpsc::Sender<IdentifyMessage>,
    answers: PermitAnswers,
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
                let (shard, traceparent) = (shard.slot(), traceparent.unwrap_or_default());
                if !self.send(IdentifyMessage::Request { ticket, shard, epoch, traceparent }).await {
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
                answer = self.answers.next() => {
                    let Some(answer) = answer else { return };
                    if !self.take(answer).await {
                        return;
                    }
                }
                _ = round.tick() => {
                    for ticket in std::mem::take(&mut self.refused) {
                        self.waiting.ask_one_again(ticket);
                    }
                    self.waiting.ask_overdue_again(BootTime::now());
                    for ticket in self.waiting.abandoned() {
                        if !self.send(IdentifyMessage::Cancel { ticket }).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Returns false when the stream has ended.
    async fn send(&self, message: IdentifyMessage) -> bool {
        self.up.send(message).await.is_ok()
    }

    /// Reports that a shard used a permit or gave it back.
    async fn answer(&mut self, ticket: u64, unused: Option<super::PermitRequest>) -> bool {
        let answer = match &unused {
            None => IdentifyMessage::Used { ticket },
            Some(_) => IdentifyMessage::Cancel { ticket },
        };
        !self.waiting.answered(ticket, unused) || self.send(answer).await
    }

    async fn take(&mut self, answer: IdentifyAnswer) -> bool {
        match answer {
            IdentifyAnswer::Granted { ticket, valid_after_request, term } => {
                if let Err(why) = self.waiting.permitted(ticket, valid_after_request, term) {
                    tracing::warn!(ticket, why, "permit given back");
                    return self.send(IdentifyMessage::Cancel { ticket }).await;
                }
            }
            IdentifyAnswer::Waiting { ticket, reason } => {
                if let Some(request) = self.waiting.request(ticket) {
                    request.shard.set_status(ShardStatus::Queued, reason);
                }
            }
            IdentifyAnswer::Refused { ticket, reason } => {
                if let Some(request) = self.waiting.request(ticket) {
                    tracing::info!(shard.id = %request.shard.key(), reason, "permit refused; requesting again");
                }
                // By the next round an assignment has taken the shard away, or made it ours again.
                self.refused.push(ticket);
            }
        }
        true
    }
}
