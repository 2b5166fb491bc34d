//! Messages to one shard and to the manager, and questions that each shard answers for itself.
//!
//! What goes to a shard goes straight to the worker that runs it. One that says that it no longer does has done nothing, so the next
//! routing table is asked, once. After any other failure a message is never tried again: it may have arrived.

use std::{collections::BTreeMap, sync::Arc};

use event_bus::Recipient;
use fleet_model::{ErrorClass, Routes, ShardSlot, WorkerId};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::{Bridge, REROUTE};
use crate::{
    answer::{BridgeError, MessageReceipt, ReplyFailure, ReplyFailureKind as Kind, ShardReplies},
    content, fan_out,
    local::{Delivered, ShardAnswer, ShardMessage, ShardRequest},
    metrics::AskOutcome,
    replies::{LARGEST_ANSWER, Merge, Replied, check_room},
};

mod shares;

use shares::{WorkerShare, known, shares, sorted_out, wanted};

/// A question as it goes out.
struct Outgoing {
    request: Arc<ShardRequest>,
    max_bytes: usize,
}

impl Bridge {
    /// A message to one shard. Data is up to 256 KiB as JSON text.
    ///
    /// # Errors
    /// `NotFound`: the bot has no such shard. `Unavailable`: no worker runs it, or that one can't be reached. `TooBusy`: it has
    /// too much to do. `TooLate`: no word of it by `until`. `InvalidInput`: type or data is not as it may be. The words say
    /// so where it may have arrived all the same.
    pub async fn send_to_shard(
        &self,
        shard_id: u32,
        kind: &str,
        data: Value,
        until: Instant,
    ) -> Result<MessageReceipt, BridgeError> {
        self.send_text_to_shard(shard_id, kind, content::checked(kind, &data)?, until).await
    }

    /// As [`Bridge::send_to_shard`], with the data as JSON text.
    pub(crate) async fn send_text_to_shard(
        &self,
        shard_id: u32,
        kind: &str,
        json: String,
        until: Instant,
    ) -> Result<MessageReceipt, BridgeError> {
        content::check(kind, &json)?;
        let data = content::exact_value(&json)?;
        self.first_table(until).await;
        let mut routes = self.routes.clone();
        let now = self.newest(&mut routes);
        let shard = known(shard_id, now.shard_total)?;
        let sender = self.sender.to_string();
        let message = Arc::new(ShardMessage { shard, kind: kind.to_owned(), data, json, sender });
        let (mut worker, mut delivered) = self.deliver(&now, &message, until).await?;
        if delivered == Delivered::NotMine {
            let next = self.next_routes(&mut routes, until).await;
            (worker, delivered) = self.deliver(&next, &message, until).await?;
        }
        let (delivered, reason) = match delivered {
            Delivered::Yes => (true, String::new()),
            Delivered::NoListener => (false, format!("no listener on worker {worker}")),
            Delivered::NotMine => {
                return Err(BridgeError::unavailable(format!(
                    "shard {shard} is on its way to another worker"
                )));
            }
            Delivered::NoLease => {
                let why =
                    format!("worker {worker} does not know whether it may act: it has no word on its lease");
                return Err(BridgeError::unavailable(why));
            }
            Delivered::Busy => {
                let why = format!("worker {worker} has too much to do");
                return Err(BridgeError::new(ErrorClass::TooBusy, why));
            }
            Delivered::TooLate => {
                let why =
                    format!("the bot code of worker {worker} had no time for the message: it did not arrive");
                return Err(BridgeError::too_late(why));
            }
        };
        Ok(MessageReceipt { delivered, worker, reason })
    }

    /// A message to the shard manager: every subscriber to such messages gets it, in any process. Returns its id. `shard_id`: the shard for which the
    /// sender speaks, if it does for one.
    ///
    /// # Errors
    /// `Unavailable`: the event bus is away. `NotFound`: the bot has no such shard. `InvalidInput`: type or data is not as it may be.
    pub async fn send_to_manager(
        &self,
        shard_id: Option<u32>,
        kind: &str,
        data: &Value,
        until: Instant,
    ) -> Result<String, BridgeError> {
        self.send_text_to_manager(shard_id, kind, content::checked(kind, data)?, until).await
    }

    /// As [`Bridge::send_to_manager`], with the data as JSON text.
    pub(crate) async fn send_text_to_manager(
        &self,
        shard_id: Option<u32>,
        kind: &str,
        body: String,
        until: Instant,
    ) -> Result<String, BridgeError> {
        content::check(kind, &body)?;
        self.first_table(until).await;
        let total = self.routes().shard_total;
        let from = match shard_id {
            // Before the total is known there is nothing to compare it with.
            Some(shard_id) if total > 0 => Some(known(shard_id, total)?),
            other => other.map(ShardSlot),
        };
        let published = self.publish(kind.to_owned(), body, Recipient::Manager { from }, until).await?;
        Ok(published.id.0)
    }

    /// Asks the given shards, or all. Returns each shard's reply or why it has none. Replies beyond 32 MiB in total are dropped as too large.
    ///
    /// # Errors
    /// `NotFound`: the bot has no such shard. `Unavailable`: no shard runs yet. `InvalidInput`: type or data is not as it may be, or
    /// the answer has no room for that number of shards.
    pub async fn request(
        &self,
        shard_ids: &[u32],
        kind: &str,
        data: Value,
        until: Instant,
    ) -> Result<ShardReplies, BridgeError> {
        let json = content::checked(kind, &data)?;
        self.request_within(shard_ids, kind, json, LARGEST_ANSWER, until).await
    }

    pub(crate) async fn request_within(
        &self,
        shard_ids: &[u32],
        kind: &str,
        json: String,
        max_bytes: usize,
        until: Instant,
    ) -> Result<ShardReplies, BridgeError> {
        content::check(kind, &json)?;
        let data = content::exact_value(&json)?;
        self.first_table(until).await;
        let mut routes = self.routes.clone();
        let now = self.newest(&mut routes);
        let wanted = wanted(shard_ids, now.shard_total)?;
        check_room(wanted.len(), max_bytes)?;
        let (kind, sender) = (kind.to_owned(), self.sender.to_string());
        let request = Arc::new(ShardRequest { kind, data, json, sender, deadline: until });
        let outgoing = Outgoing { request, max_bytes };

        let mut replied = self.ask_shards(&now, &wanted, &outgoing).await;
        let disowned: Vec<ShardSlot> =
            wanted.iter().copied().filter(|shard| !replied.contains_key(shard)).collect();
        if !disowned.is_empty() {
            let next = self.next_routes(&mut routes, until).await;
            replied.extend(self.ask_shards(&next, &disowned, &outgoing).await);
        }
        let moving = |shard| Replied {
            shard,
            worker: None,
            outcome: Err(ReplyFailure::new(Kind::Unassigned, "it is on its way to another worker")),
        };
        let replied: Vec<Replied> =
            wanted.iter().map(|shard| replied.remove(shard).unwrap_or_else(|| moving(*shard))).collect();
        let mut merge = Merge::of(&replied, max_bytes);
        for reply in replied {
            merge.add(reply);
            // Some take milliseconds, and the lease is on these threads too.
            tokio::task::yield_now().await;
        }
        Ok(merge.finish())
    }

    /// The routing table, such that a later one counts as changed.
    fn newest(&self, routes: &mut watch::Receiver<Arc<Routes>>) -> Arc<Routes> {
        let newest = routes.borrow_and_update().clone();
        self.fan_out.peers.forget_all_but(&newest);
        newest
    }

    /// The next routing table, if it comes soon; else the same, as the worker may only just have started the shard.
    async fn next_routes(&self, routes: &mut watch::Receiver<Arc<Routes>>, until: Instant) -> Arc<Routes> {
        let patience = until.min(Instant::now() + REROUTE);
        let _ = tokio::time::timeout_at(patience, routes.changed()).await;
        self.routes()
    }

    async fn deliver(
        &self,
        routes: &Routes,
        message: &Arc<ShardMessage>,
        until: Instant,
    ) -> Result<(WorkerId, Delivered), BridgeError> {
        let shard = message.shard;
        let owner = routes.owner(shard);
        let owner = owner.ok_or_else(|| BridgeError::unavailable(format!("no worker runs shard {shard}")))?;
        let worker = owner.worker.clone();
        let span = tracing::info_span!("send_to_worker", worker.id = %worker, otel.kind = "client");
        if let Some(own) = self.fan_out.local.as_deref().filter(|own| own.worker() == worker) {
            let delivered = own.deliver(message.clone(), until).instrument(span).await;
            return Ok((worker, delivered));
        }
        let left = until.saturating_duration_since(Instant::now());
        let client = self.fan_out.peers.client(owner.url).map_err(BridgeError::from_peer)?;
        let sending = client.deliver(message, left).instrument(span);
        let answer = match tokio::time::timeout_at(until, sending).await {
            Ok(answer) => answer.map_err(|status| undelivered(&worker, &status)),
            Err(_) => Err(no_word(&worker)),
        };
        self.fan_out.metrics.count_asked(match &answer {
            Ok(_) => AskOutcome::Answered,
            Err(error) if error.class() == ErrorClass::TooLate => AskOutcome::TooLate,
            Err(_) => AskOutcome::Failed,
        });
        match answer? {
            Some(delivered) => Ok((worker, delivered)),
            None => Err(BridgeError::unavailable(format!(
                "worker {worker} gave an outcome that this version does not know: the message may have arrived"
            ))),
        }
    }

    /// What became of it for each shard, without those that are disowned.
    async fn ask_shards(
        &self,
        routes: &Routes,
        shards: &[ShardSlot],
        outgoing: &Outgoing,
    ) -> BTreeMap<ShardSlot, Replied> {
        let (shares, unassigned) = shares(routes, shards);
        let unassigned = unassigned.into_iter().map(|shard| {
            let outcome = Err(ReplyFailure::new(Kind::Unassigned, "no worker runs it"));
            (shard, Replied { shard, worker: None, outcome })
        });
        let mut replied: BTreeMap<_, _> = unassigned.collect();
        let asking = shares.into_iter().map(|share| async move {
            let answer = self.ask_share(&share, outgoing).await;
            sorted_out(&share, answer)
        });
        replied.extend(join_all(asking).await.into_iter().flatten().map(|reply| (reply.shard, reply)));
        replied
    }

    async fn ask_share(
        &self,
        share: &WorkerShare,
        outgoing: &Outgoing,
    ) -> Result<Vec<ShardAnswer>, ReplyFailure> {
        let Outgoing { request, max_bytes } = outgoing;
        let span = fan_out::asking(&share.worker);
        if let Some(own) = self.fan_out.local.as_deref().filter(|own| own.worker() == share.worker) {
            return Ok(own.ask(share.shards.clone(), request.clone(), *max_bytes).instrument(span).await);
        }
        let unreachable = |status: &Status| {
            let (kind, why) = match status.code() {
                _ if is_late(status) => (Kind::TooLate, "did not answer by the deadline".to_owned()),
                Code::Unimplemented => {
                    (Kind::Unreachable, "is of a version that does not take questions to shards".to_owned())
                }
                Code::Cancelled => (Kind::Unreachable, "broke off".to_owned()),
                _ => (Kind::Unreachable, fan_out::reason(status)),
            };
            ReplyFailure::new(kind, format!("worker {} {why}", share.worker))
        };
        let left = request.deadline.saturating_duration_since(Instant::now());
        let client = self.fan_out.peers.client(&share.url).map_err(|status| unreachable(&status))?;
        let asking = client.ask(&share.shards, request, *max_bytes, left).instrument(span);
        match tokio::time::timeout_at(request.deadline, asking).await {
            Ok(Ok(answers)) => {
                self.fan_out.metrics.count_asked(AskOutcome::Answered);
                Ok(answers)
            }
            Ok(Err(status)) => {
                self.fan_out.metrics.count_asked(AskOutcome::Failed);
                Err(unreachable(&status))
            }
            Err(_) => {
                self.fan_out.metrics.count_asked(AskOutcome::TooLate);
                let why = format!("worker {} did not answer by the deadline", share.worker);
                Err(ReplyFailure::new(Kind::TooLate, why))
            }
        }
    }
}

/// The call's own deadline has passed. tonic says that as a cancellation, which a connection that breaks is as well.
fn is_late(status: &Status) -> bool {
    match status.code() {
        Code::DeadlineExceeded => true,
        Code::Cancelled => status.message() == tonic::TimeoutExpired(()).to_string(),
        _ => false,
    }
}

fn no_word(worker: &WorkerId) -> BridgeError {
    let why = format!("worker {worker} did not answer by the deadline: the message may have arrived");
    BridgeError::too_late(why)
}

/// Why there is no answer to a message, and whether it may have arrived.
fn undelivered(worker: &WorkerId, status: &Status) -> BridgeError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return BridgeError::unavailable(format!(
                "worker {worker} cannot be reached: the message did not arrive"
            ));
        }
        cause = error.source();
    }
    match status.code() {
        Code::Unimplemented => {
            BridgeError::unavailable(format!("worker {worker} is of a version that takes no messages"))
        }
        _ if is_late(status) => no_word(worker),
        code => BridgeError::unavailable(format!(
            "worker {worker} answered {code:?}: {}: the message may have arrived",
            status.message()
        )),
    }
}

#[cfg(test)]
mod tests;
