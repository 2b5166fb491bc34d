//! Questions about all shards: each shard must be in some worker's answer, also while it moves.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fleet_model::{Routes, ShardKey, WorkerId};
use tokio::time::Instant;
use tonic::Status;

use super::{Bridge, REROUTE};
use crate::{
    fan_out::{Answers, Recipients},
    local::LocalShards,
    worker_client::WorkerClient,
};

/// Why a shard is not covered by the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CoverageGap {
    /// No answer has it.
    Missing,
    /// Its worker is starting it. If it moves, the worker before may have left it out because it was ready a moment later.
    Starting,
}

/// The shards that the answers do not cover.
pub(super) type UncoveredShards = BTreeMap<ShardKey, CoverageGap>;

impl Bridge {
    /// Asks every worker that runs shards; returns the routing table that counts, with the answers.
    ///
    /// The two owners of a shard that moves are asked at different moments of the move, so the shard can be missing from both
    /// answers. The owners of shards that are not covered are asked once more, by the newest table.
    pub(super) async fn ask_all<T, Local, Remote, Asking>(
        &self,
        until: Instant,
        local: Local,
        remote: Remote,
        enough: impl Fn(&BTreeMap<WorkerId, T>) -> bool,
        lacking: impl Fn(u32, &BTreeMap<WorkerId, T>) -> UncoveredShards,
    ) -> (Arc<Routes>, Answers<T>)
    where
        Local: Fn(&dyn LocalShards) -> T,
        Remote: Fn(WorkerClient, Duration) -> Asking,
        Asking: Future<Output = Result<T, Status>> + Send + 'static,
        T: Send + 'static,
    {
        self.first_table(until).await;
        let mut changed = self.routes.clone();
        changed.mark_unchanged();
        let mut routes = self.routes();
        let mut asked = self.fan_out.ask(&recipients(&routes), until, &local, &remote, &enough).await;
        if enough(&asked.answers) {
            return (routes, asked);
        }
        let lacking = lacking(routes.shard_total, &asked.answers);
        // A worker that answered without a shard that the table gives it has handed the shard over.
        let has_moved = |(shard, lack): (&ShardKey, &CoverageGap)| {
            let owner = routes.owner(*shard);
            *lack == CoverageGap::Missing
                && owner.is_some_and(|owner| asked.answers.contains_key(owner.worker))
        };
        if lacking.iter().any(has_moved) {
            let patience = until.min(Instant::now() + REROUTE);
            // An unchanged table is asked again too: the worker may only just have started the shard.
            let _ = tokio::time::timeout_at(patience, changed.changed()).await;
        }
        routes = self.routes();
        let mut again = Recipients::new();
        for owner in lacking.keys().filter_map(|shard| routes.owner(*shard)) {
            // A worker that failed to answer is not asked a second time.
            if !asked.failures.contains_key(owner.worker) {
                again.insert(owner.worker.clone(), owner.url.to_owned());
            }
        }
        if !again.is_empty() {
            let Answers { answers, failures } =
                self.fan_out.ask(&again, until, &local, &remote, &enough).await;
            asked.failures.extend(failures);
            asked.answers.extend(answers);
        }
        (routes, asked)
    }
}

/// The workers that run shards.
fn recipients(routes: &Routes) -> Recipients {
    let busy = routes.workers().iter().filter(|(_, route)| !route.shards.is_empty());
    busy.map(|(worker, route)| (worker.clone(), route.url.clone())).collect()
}

#[cfg(test)]
mod tests;
