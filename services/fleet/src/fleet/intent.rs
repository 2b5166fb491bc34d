//! What operators want, beyond what follows from who is there. It is written down, so it outlives coordinators.

use std::collections::BTreeMap;

use fleet_model::{Generation, Incarnation, Problem, ProblemCode, ShardNumber, WorkerId};
use serde::{Deserialize, Serialize};

use super::{Effect, Fleet, KnownWorker, Note, Now, plan::Plan};

/// How many idle workers of a deployment are named.
const NAMED: usize = 3;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// The deployment on whose workers shards are placed: that of the first worker, until another is promoted.
    pub(super) generation: Option<Generation>,
    /// Shards that were moved by hand stay there.
    pub(super) pins: BTreeMap<ShardNumber, WorkerId>,
    /// The plan that is under way, or was last.
    pub(super) plan: Option<Plan>,
}

impl Intent {
    /// It may be given shards, as far as deployments go.
    pub(super) fn is_active(&self, worker: &KnownWorker) -> bool {
        match (&self.generation, &worker.generation) {
            (Some(active), Some(generation)) => active == generation,
            _ => true,
        }
    }

    /// Why this life of a worker is to go, if the last plan says so.
    pub(super) fn drain_reason(&self, worker: &WorkerId, incarnation: &Incarnation) -> Option<String> {
        let plan = self.plan.as_ref()?;
        (plan.outgoing.get(worker) == Some(incarnation)).then(|| plan.drain_reason())
    }

    /// The deployment on whose workers shards are placed.
    pub(super) fn active(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// The plan that is under way.
    pub(super) fn under_way(&self) -> Option<&Plan> {
        self.plan.as_ref().filter(|plan| plan.state.is_under_way())
    }
}

impl Fleet {
    /// Why a worker was told to give its shards away and exit, if it was.
    pub fn drain_reason(&self, worker: &WorkerId) -> Option<&str> {
        self.workers.get(worker)?.drain_reason.as_deref()
    }

    /// A worker is to give its shards away and exit. Its name and life.
    pub(super) fn order_drain(&mut self, worker: &WorkerId, why: String) -> Option<(WorkerId, Incarnation)> {
        let known = self.workers.get_mut(worker)?;
        known.draining = true;
        known.drain_reason = Some(why);
        let outgoing = (worker.clone(), known.incarnation.clone());
        self.effects.push(Effect::Drain(worker.clone()));
        Some(outgoing)
    }

    /// What operators want has changed.
    pub(super) fn write_intent(&mut self) {
        self.effects.push(Effect::WriteIntent(self.intent.clone()));
    }

    /// The first worker decides which deployment is active.
    pub(super) fn set_first_generation(&mut self, generation: &Generation) {
        if self.intent.generation.is_none() {
            self.intent.generation = Some(generation.clone());
            self.write_intent();
        }
    }

    /// Inactive deployments whose workers hold no shards, each with what an operator can do.
    pub(super) fn idle_generations(&self) -> Vec<Problem> {
        let Some(active) = self.intent.active() else { return Vec::new() };
        let mut idle: BTreeMap<&Generation, Vec<&str>> = BTreeMap::new();
        for (name, worker) in &self.workers {
            let waits = worker.connected && !worker.draining && !self.intent.is_active(worker);
            if let Some(generation) =
                worker.generation.as_ref().filter(|_| waits && worker.assignment.shards.is_empty())
            {
                idle.entry(generation).or_default().push(name.as_str());
            }
        }
        let advice = |(generation, workers): (&Generation, Vec<&str>)| {
            let more = if workers.len() > NAMED { " and others" } else { "" };
            let named = workers.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            let why = format!(
                "{} workers of generation {generation} get no shards ({named}{more}): generation {active} is active; to \
                 use them, run: altergolden deploy promote {generation}",
                workers.len()
            );
            Problem::new(ProblemCode::GenerationIdle, why)
        };
        idle.into_iter().map(advice).collect()
    }

    /// A deployment of which nobody is left is none: the one that is there becomes the active one. When its workers have died
    /// they may be back soon, so they are waited for.
    pub(super) fn adopt_generation(&mut self, now: Now) {
        let present = |worker: &&KnownWorker| worker.connected && !worker.draining;
        let active_is_gone =
            !self.workers.values().any(|worker| self.intent.is_active(worker) && !worker.draining);
        let others = self.workers.values().filter(present).filter_map(|worker| worker.generation.as_ref());
        let mut counts: BTreeMap<&Generation, usize> = BTreeMap::new();
        others.for_each(|generation| *counts.entry(generation).or_default() += 1);
        let next =
            counts.into_iter().max_by_key(|(_, workers)| *workers).map(|(generation, _)| generation.clone());
        let Some(next) = next.filter(|_| active_is_gone) else {
            self.active_gone_since = None;
            return;
        };
        let since = *self.active_gone_since.get_or_insert(now.mono);
        let patience =
            if self.breaker.is_calm() { std::time::Duration::ZERO } else { self.rules.lease_ttl * 2 };
        let ready = now.mono >= self.grace_until.max(self.unregistered_until);
        if ready && now.mono.saturating_sub(since) >= patience {
            self.active_gone_since = None;
            self.note(Note::Adopted(next.clone()));
            self.intent.generation = Some(next);
            self.write_intent();
        }
    }
}
