//! Which key signs the heads of checkpoints, and whether unsigned heads are refused.
//!
//! A shard's next owner must hold the key of the previous owner, so the newest key that every worker holds signs. Once every
//! worker has had a key and every shard has started under one, so that no unsigned head is needed any more, unsigned heads are
//! refused for good: otherwise a program that writes to the store could simply leave the signature out. `altergolden repair` ends
//! that for a fleet that gives up its credentials. A program that writes to the store could reset it there; so workers that were told
//! once say so when they register, and one of them is enough to refuse unsigned heads again.
//!
//! The keys of recovered workers that have not registered here are unknown. Until they register or are lost, the decision of the
//! previous coordinator stays if the others can follow it.

use std::time::Duration;

use fleet_model::{HeadKeyId, HeadSigning, Problem, ProblemCode, WorkerId, listed};

use super::{Effect, Fleet, KnownWorker, Now, Phase};

/// How heads are signed.
#[derive(Clone, Debug)]
pub(super) struct HeadSigningState {
    /// What workers are told.
    pub(super) now: HeadSigning,
    /// Since when no unsigned head is needed.
    complete_since: Option<Duration>,
}

impl HeadSigningState {
    pub(super) fn new(now: HeadSigning) -> Self {
        Self { now, complete_since: None }
    }
}

impl Fleet {
    /// Decides which key signs, and whether unsigned heads are refused.
    pub(super) fn decide_head_signing(&mut self, now: Now) {
        let before = self.heads.now;
        self.heads.now.required |= self.was_required_before();
        self.heads.now.by = self.signing_key();
        if self.needs_unsigned_heads() {
            self.heads.complete_since = None;
        } else {
            let since = *self.heads.complete_since.get_or_insert(now.mono);
            // Meanwhile each owner signs a head.
            self.heads.now.required |= now.mono.saturating_sub(since) >= self.rules.lease_ttl;
        }
        if self.heads.now != before {
            self.effects.push(Effect::WriteHeadSigning(self.heads.now));
        }
    }

    /// Returns whether a worker reports that an earlier coordinator required signatures. Such a worker may lie, so it counts only if it
    /// holds a key that all workers with keys hold.
    fn was_required_before(&self) -> bool {
        let heard =
            || self.workers.values().filter(|worker| worker.liveness.heard).map(|worker| &worker.profile);
        let is_held_by_all = |key: &HeadKeyId| {
            heard().all(|worker| worker.head_keys.is_empty() || worker.head_keys.contains(key))
        };
        let mut told = heard().filter(|worker| worker.refuses_unsigned_heads);
        told.any(|worker| worker.head_keys.iter().any(is_held_by_all))
    }

    /// Writes the decision to a store that may have lost it.
    pub(super) fn write_head_signing(&mut self) {
        if self.heads.now != HeadSigning::default() {
            self.effects.push(Effect::WriteHeadSigning(self.heads.now));
        }
    }

    /// Returns the newest key that every worker holds. Where signatures are required, workers without keys do not count: they
    /// check none.
    fn signing_key(&self) -> Option<HeadKeyId> {
        let HeadSigning { by: before, required } = self.heads.now;
        let heard = self.workers.values().filter(|worker| worker.liveness.heard);
        let holders: Vec<&[HeadKeyId]> = heard
            .map(|worker| worker.profile.head_keys.as_slice())
            .filter(|keys| !required || !keys.is_empty())
            .collect();
        let Some(first) = holders.first() else { return before };
        let held_by_all = |id: &HeadKeyId| holders.iter().all(|keys| keys.contains(id));
        if self.has_unheard_workers() {
            let kept = before.filter(held_by_all);
            if kept.is_some() || !required {
                return kept;
            }
        }
        // The position in the worst place: while a new key is being added, workers have it in front or not at all.
        let age = |id: &&HeadKeyId| holders.iter().map(|keys| keys.iter().position(|key| key == *id)).max();
        first.iter().filter(|id| held_by_all(id)).min_by_key(age).copied()
    }

    fn has_unheard_workers(&self) -> bool {
        self.workers.values().any(|worker| !worker.liveness.heard)
    }

    /// Returns whether a worker writes unsigned heads, or a shard may have to be resumed from one.
    fn needs_unsigned_heads(&self) -> bool {
        let holds = |worker: &KnownWorker| worker.liveness.heard && !worker.profile.head_keys.is_empty();
        let all_hold = !self.workers.is_empty() && self.workers.values().all(holds);
        let started = self.slots.iter().all(|slot| {
            slot.owner.as_ref().is_some_and(|owner| owner.phase == Phase::Running && owner.start_ended)
        });
        self.heads.now.by.is_none() || !all_hold || self.slots.is_empty() || !started
    }

    /// Problems with the signatures of heads.
    pub(super) fn head_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let HeadSigning { by, required } = self.heads.now;
        let holds = |worker: &KnownWorker| by.is_some_and(|by| worker.profile.head_keys.contains(&by));
        let without = self.workers.iter().filter(|(_, worker)| worker.liveness.heard && !holds(worker));
        let without: Vec<&WorkerId> = without.map(|(name, _)| name).collect();
        if required && !without.is_empty() {
            let why = format!(
                "workers without the head key that signs checkpoints: {}; a shard that fails over to or from them needs an IDENTIFY. \
                 Give all workers the same credentials; to give up credentials, run `altergolden repair --accept-unsigned`",
                listed(without)
            );
            problems.push(Problem::new(ProblemCode::CheckpointKeysDiffer, why));
        }
        for (name, worker) in &self.workers {
            let refused = worker.figures.map_or(0, |figures| figures.refused_heads);
            if refused > 0 {
                let why = format!(
                    "worker {name} refused {refused} checkpoints for their signature in the last hour: another program writes to \
                     this Redis, or workers have other credentials; its log names the shards"
                );
                problems.push(Problem::new(ProblemCode::CheckpointsRefused, why));
            }
        }
        problems
    }
}
