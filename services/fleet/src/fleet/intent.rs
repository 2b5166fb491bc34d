//! What operators want: the active generation, pinned shards, a plan. It is written to the store, so that it outlives
//! coordinators.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Generation, Incarnation, Problem, ProblemCode, ShardSlot, WorkerId};
use serde::{Deserialize, Serialize};

use super::{Effect, Fleet, KnownWorker, Note, Now, plan::Plan};

/// How many idle workers of a generation are named.
const NAMED: usize = 3;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// The active generation: the first worker's, until another one is promoted.
    pub(super) generation: Option<Generation>,
    /// Shards that were moved by hand, each with the worker where it stays.
    pub(super) pins: BTreeMap<ShardSlot, WorkerId>,
    /// The running plan, or the last one.
    pub(super) plan: Option<Plan>,
}

impl Intent {
    /// Returns whether a worker's generation is the active one, or unknown.
    pub(super) fn is_active(&self, worker: &KnownWorker) -> bool {
        match (&self.generation, &worker.profile.generation) {
            (Some(active), Some(generation)) => active == generation,
            _ => true,
        }
    }

    /// Returns why an incarnation must drain, if the last plan says so.
    pub(super) fn drain_reason(&self, worker: &WorkerId, incarnation: &Incarnation) -> Option<String> {
        let plan = self.plan.as_ref()?;
        (plan.outgoing.get(worker) == Some(incarnation)).then(|| plan.drain_reason())
    }

    /// Returns the active generation.
    pub(super) fn active(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// Returns the running plan.
    pub(super) fn under_way(&self) -> Option<&Plan> {
        self.plan.as_ref().filter(|plan| plan.state.is_under_way())
    }
}

impl Fleet {
    /// Returns why a worker was told to drain, if it was.
    pub fn drain_reason(&self, worker: &WorkerId) -> Option<&str> {
        self.workers.get(worker)?.drain_reason.as_deref()
    }

    /// Tells a worker to hand off its shards and exit. Returns its name and incarnation.
    pub(super) fn order_drain(&mut self, worker: &WorkerId, why: String) -> Option<(WorkerId, Incarnation)> {
        let known = self.workers.get_mut(worker)?;
        let begins = !std::mem::replace(&mut known.draining, true);
        known.drain_reason = Some(why);
        let outgoing = (worker.clone(), known.incarnation.clone());
        if begins {
            let (worker, incarnation) = outgoing.clone();
            self.effects.push(Effect::Note(Note::Draining { worker, incarnation }));
        }
        self.effects.push(Effect::Drain(worker.clone()));
        Some(outgoing)
    }

    /// Writes the intent to the store, as it has changed.
    pub(super) fn write_intent(&mut self) {
        self.effects.push(Effect::WriteIntent(self.intent.clone()));
    }

    /// Makes the generation of the first worker the active one.
    pub(super) fn set_first_generation(&mut self, generation: &Generation) {
        if self.intent.generation.is_none() {
            self.intent.generation = Some(generation.clone());
            self.write_intent();
        }
    }

    /// Returns the problems with inactive generations whose workers own no shards.
    pub(super) fn idle_generations(&self) -> Vec<Problem> {
        let Some(active) = self.intent.active() else { return Vec::new() };
        let mut idle: BTreeMap<&Generation, Vec<&str>> = BTreeMap::new();
        for (name, worker) in &self.workers {
            let waits = worker.liveness.connected && !worker.draining && !self.intent.is_active(worker);
            if let Some(generation) =
                worker.profile.generation.as_ref().filter(|_| waits && worker.assignment.shards.is_empty())
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

    /// Makes another generation active when the active one has no workers left. If workers died recently, they may be back
    /// soon, so this waits for them.
    pub(super) fn adopt_generation(&mut self, now: Now) {
        let present = |worker: &&KnownWorker| worker.liveness.connected && !worker.draining;
        let active_is_gone =
            !self.workers.values().any(|worker| self.intent.is_active(worker) && !worker.draining);
        let others =
            self.workers.values().filter(present).filter_map(|worker| worker.profile.generation.as_ref());
        let mut counts: BTreeMap<&Generation, usize> = BTreeMap::new();
        others.for_each(|generation| *counts.entry(generation).or_default() += 1);
        let next =
            counts.into_iter().max_by_key(|(_, workers)| *workers).map(|(generation, _)| generation.clone());
        let Some(next) = next.filter(|_| active_is_gone) else {
            self.term.active_gone_since = None;
            return;
        };
        let since = *self.term.active_gone_since.get_or_insert(now.mono);
        let patience = if self.deaths.breaker.is_calm() { Duration::ZERO } else { self.rules.lease_ttl * 2 };
        if !self.term.is_starting(now) && now.mono.saturating_sub(since) >= patience {
            self.term.active_gone_since = None;
            self.note(Note::Adopted(next.clone()));
            self.intent.generation = Some(next);
            self.write_intent();
        }
    }
}
