//! Which shards are asked of which worker, and which reply is whose. Pure.

use std::collections::BTreeMap;

use fleet_model::{Routes, ShardKey, ShardSlot, WorkerId};

use crate::{
    answer::{BridgeError, ReplyFailure, ReplyFailureKind as Kind},
    content::MOST_SHARDS,
    local::{AnswerOutcome, ShardAnswer},
    replies::Replied,
};

/// The shards of one worker, and where it answers.
pub(super) struct WorkerShare {
    pub(super) worker: WorkerId,
    pub(super) url: String,
    pub(super) shards: Vec<ShardSlot>,
}

/// A shard that the bot has.
pub(super) fn known(shard_id: u32, total: u32) -> Result<ShardSlot, BridgeError> {
    if total == 0 {
        return Err(BridgeError::unavailable("no shard runs yet"));
    }
    if shard_id >= total {
        return Err(BridgeError::not_found(format!(
            "there is no shard {shard_id}: the bot has {total}, from 0"
        )));
    }
    Ok(ShardSlot(shard_id))
}

/// The shards that are asked, by number, each once.
pub(super) fn wanted(shard_ids: &[u32], total: u32) -> Result<Vec<ShardSlot>, BridgeError> {
    let count = if shard_ids.is_empty() { total as usize } else { shard_ids.len() };
    if count > MOST_SHARDS {
        return Err(BridgeError::invalid(format!("{count} shards are over the limit of {MOST_SHARDS}")));
    }
    if shard_ids.is_empty() && total > 0 {
        return Ok(ShardKey::all(total).map(ShardKey::slot).collect());
    }
    known(shard_ids.iter().copied().max().unwrap_or(0), total)?;
    let mut shards: Vec<ShardSlot> = shard_ids.iter().copied().map(ShardSlot).collect();
    shards.sort_unstable();
    shards.dedup();
    Ok(shards)
}

/// These shards by the worker that runs them, and those that none runs.
pub(super) fn shares(routes: &Routes, shards: &[ShardSlot]) -> (Vec<WorkerShare>, Vec<ShardSlot>) {
    let mut shares: BTreeMap<&WorkerId, WorkerShare> = BTreeMap::new();
    let mut unassigned = Vec::new();
    for shard in shards {
        match routes.owner(*shard) {
            Some(owner) => {
                let share = shares.entry(owner.worker).or_insert_with(|| WorkerShare {
                    worker: owner.worker.clone(),
                    url: owner.url.to_owned(),
                    shards: Vec::new(),
                });
                share.shards.push(*shard);
            }
            None => unassigned.push(*shard),
        }
    }
    (shares.into_values().collect(), unassigned)
}

/// One worker's answer, by shard: what was asked of it and nothing else. Disowned shards are left out.
pub(super) fn sorted_out(
    share: &WorkerShare,
    answer: Result<Vec<ShardAnswer>, ReplyFailure>,
) -> Vec<Replied> {
    let replied = |shard, outcome| Replied { shard, worker: Some(share.worker.clone()), outcome };
    let answers = match answer {
        Ok(answers) => answers,
        Err(failure) => {
            return share.shards.iter().map(|shard| replied(*shard, Err(failure.clone()))).collect();
        }
    };
    let mut by_shard: BTreeMap<ShardSlot, AnswerOutcome> =
        answers.into_iter().map(|answer| (answer.shard, answer.outcome)).collect();
    let outcome = |shard: &ShardSlot| match by_shard.remove(shard) {
        Some(AnswerOutcome::Json(json)) => Some(replied(*shard, Ok(json))),
        Some(AnswerOutcome::Failed(failure)) => {
            // Its reason may be of any length.
            Some(replied(*shard, Err(ReplyFailure::new(failure.kind, failure.reason))))
        }
        Some(AnswerOutcome::NotMine) => None,
        None => {
            let why = format!("worker {} left it out of its answer", share.worker);
            Some(replied(*shard, Err(ReplyFailure::new(Kind::Unreachable, why))))
        }
    };
    share.shards.iter().filter_map(outcome).collect()
}
