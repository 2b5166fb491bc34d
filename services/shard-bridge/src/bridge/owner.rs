//! What one shard's owner is asked: without the network when that is the process at hand, and after the shard when it moves.

use std::time::Duration;

use fleet_model::{ErrorClass, ShardKey, ShardSlot, shard_of_guild};
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::{Bridge, REROUTE};
use crate::{
    answer::BridgeError, local::LocalShards, metrics::AskOutcome, peers::PeerLane,
    worker_client::WorkerClient,
};

/// Something that only the owner of a shard can answer. `None`: it says that the shard is not its own.
pub(super) trait OwnerQuestion: Sync {
    /// What comes back.
    type Answer: Send;

    /// Whether an owner that can't tell is asked once more a little later, as one that has just begun often can then.
    const ASKED_AGAIN: bool;

    /// On which connection it is asked.
    fn lane(&self) -> PeerLane;

    /// Asks the process at hand.
    fn local<'a>(
        &'a self,
        local: &'a dyn LocalShards,
        until: Instant,
    ) -> BoxFuture<'a, Result<Option<Self::Answer>, BridgeError>>;

    /// Asks another worker, which has so long to answer.
    fn remote(
        &self,
        client: WorkerClient,
        left: Duration,
    ) -> BoxFuture<'_, Result<Option<Self::Answer>, Status>>;
}

impl Bridge {
    /// How many shards the bot has.
    ///
    /// # Errors
    /// `Unavailable` when that is not settled yet.
    pub(super) fn shard_total(&self) -> Result<u32, BridgeError> {
        match self.routes.borrow().shard_total {
            0 => Err(BridgeError::unavailable("no shard runs yet")),
            total => Ok(total),
        }
    }

    /// Returns the shard of a guild.
    ///
    /// # Errors
    /// As [`Bridge::shard_total`].
    pub(super) fn shard_of(&self, guild: u64) -> Result<ShardKey, BridgeError> {
        let shard = shard_of_guild(guild, self.routes.borrow().shard_total);
        shard.ok_or_else(|| BridgeError::unavailable("no shard runs yet"))
    }

    /// Asks the worker that runs a shard. Without one, or when that worker says that it does not run it, asks the next routing table, until
    /// `patience`.
    ///
    /// # Errors
    /// The owner's own; `NotFound` when the bot has no such shard; `Unavailable` when no worker could be asked.
    pub(super) async fn ask_owner_of<Q: OwnerQuestion>(
        &self,
        shard: ShardSlot,
        question: &Q,
        patience: Instant,
        until: Instant,
    ) -> Result<Q::Answer, BridgeError> {
        let mut changed = self.routes.clone();
        loop {
            changed.mark_unchanged();
            let routes = self.routes();
            let total = self.shard_total()?;
            if shard.0 >= total {
                return Err(BridgeError::not_found(format!(
                    "the bot has {total} shards, and no shard {shard}"
                )));
            }
            let why = match routes.owner(shard) {
                None => format!("no worker runs shard {shard}"),
                Some(owner) => {
                    let span = tracing::info_span!("ask_owner", worker.id = %owner.worker, shard.id = %shard);
                    let asking = self.ask_one(owner.worker, owner.url, question, until).instrument(span);
                    match asking.await {
                        Ok(Some(answer)) => return Ok(answer),
                        Ok(None) => format!("shard {shard} is on the move"),
                        Err(error) if Q::ASKED_AGAIN && error.class() == ErrorClass::Unavailable => {
                            error.to_string()
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            let now = Instant::now();
            if now >= patience {
                return Err(BridgeError::unavailable(why));
            }
            // An unchanged table is asked again all the same: the worker may only just have started the shard.
            let next = tokio::time::timeout_at(patience.min(now + REROUTE), changed.changed()).await;
            if let Ok(Err(_)) = next {
                return Err(BridgeError::unavailable(format!("{why}, and this process stops")));
            }
        }
    }

    async fn ask_one<Q: OwnerQuestion>(
        &self,
        worker: &fleet_model::WorkerId,
        url: &str,
        question: &Q,
        until: Instant,
    ) -> Result<Option<Q::Answer>, BridgeError> {
        if let Some(local) = self.fan_out.local.as_deref().filter(|local| local.worker() == *worker) {
            return question.local(local, until).await;
        }
        let client = self.fan_out.peers.client_in(url, question.lane()).map_err(BridgeError::from_peer)?;
        let left = until.saturating_duration_since(Instant::now());
        let answer = tokio::time::timeout_at(until, question.remote(client, left)).await;
        let (asked, answer) = match answer {
            Ok(Ok(answer)) => (AskOutcome::Answered, Ok(answer)),
            Ok(Err(status)) if is_its_own(&status) => {
                (AskOutcome::Answered, Err(BridgeError::from_peer(status)))
            }
            Ok(Err(status)) => {
                let why = match status.code() {
                    Code::DeadlineExceeded | Code::Cancelled => "did not answer by the deadline".to_owned(),
                    Code::Unimplemented => "is of a version that cannot do this".to_owned(),
                    Code::Unavailable => "cannot be reached".to_owned(),
                    code => format!("answered {code:?}: {}", status.message()),
                };
                (AskOutcome::Failed, Err(BridgeError::unavailable(format!("worker {worker} {why}"))))
            }
            Err(_) => {
                let why = format!("worker {worker} did not answer by the deadline");
                (AskOutcome::TooLate, Err(BridgeError::unavailable(why)))
            }
        };
        self.fan_out.metrics.count_asked(asked);
        answer
    }
}

/// The worker's own word, not a failure on the way to it.
fn is_its_own(status: &Status) -> bool {
    // One that was made out of a broken connection has it as its source.
    std::error::Error::source(status).is_none()
        && matches!(
            status.code(),
            Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::NotFound
                | Code::Unavailable
        )
}
