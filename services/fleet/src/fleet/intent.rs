//! What operators want: the active generation, pinned shards, a plan. It is written to the store, so that it outlives
//! coordinators.

use std::{collections::BTreeMap, time::Duration};

use fleet_model::{Generation, Incarnation, Problem, ProblemCode, ShardSlot, WorkerId, listed};
use serde::{Deserialize, Serialize};

use super::{Effect, Fleet, KnownWorker, Note, Now, plan::Plan};

/// What is there of a generation.
#[derive(Clone, Copy, Default)]
struct PresentGeneration {
    workers: usize,
    shards: usize,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// The generation that gets the shards. The operator promotes it or names it in the settings; otherwise it is the only generation that the
    /// fleet began with. No shard is placed while this is `None`.
    pub(super) generation: Option<Generation>,
    /// Shards that were moved by hand, each with the worker where it stays.
    pub(super) pins: BTreeMap<ShardSlot, WorkerId>,
    /// The running plan, or the last one.
    pub(super) plan: Option<Plan>,
}

impl Intent {
    /// Returns whether a worker's generation is the active one, or unknown.
    pub(super) fn is_active(&self, worker: &KnownWorker) -> bool {
        worker
            .profile
            .generation
            .as_ref()
            .is_none_or(|generation| self.generation.as_ref() == Some(generation))
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

    /// Chooses the active generation of a fleet that has none, once its workers have had time to register: the one that runs the most
    /// shards; if no shard runs, the one that the operator named, or else the only one that is there. If several begin together, the
    /// operator promotes one.
    pub(super) fn choose_generation(&mut self, now: Now) {
        if !self.may_choose_generation(now) {
            return;
        }
        let present = self.present_generations();
        let named = self.named_generation.as_ref().filter(|named| present.contains_key(*named)).cloned();
        let chosen = if present.values().any(|present| present.shards > 0) {
            let most = present.into_iter().max_by_key(|(_, present)| present.shards);
            most.map(|(generation, _)| generation)
        } else if named.is_some() {
            named
        } else if present.len() == 1 && !self.awaits_named_generation(now) {
            present.into_keys().next()
        } else {
            None
        };
        if let Some(generation) = chosen {
            self.intent.generation = Some(generation);
            self.term.active_gone_since = None;
            self.write_intent();
        }
    }

    fn may_choose_generation(&self, now: Now) -> bool {
        self.intent.generation.is_none() && !self.is_settling(now) && !self.term.is_starting(now)
    }

    /// Returns whether workers of the generation that the operator named may still come. Not for ever: others could run the shards.
    fn awaits_named_generation(&mut self, now: Now) -> bool {
        let since = *self.term.active_gone_since.get_or_insert(now.mono);
        self.named_generation.is_some() && now.mono.saturating_sub(since) < self.rules.lease_ttl * 2
    }

    /// Returns the generations of the workers that may get shards.
    fn present_generations(&self) -> BTreeMap<Generation, PresentGeneration> {
        let mut present: BTreeMap<Generation, PresentGeneration> = BTreeMap::new();
        for worker in self.workers.values().filter(|worker| worker.is_available()) {
            let generation = worker.profile.generation.clone().unwrap_or_default();
            let present = present.entry(generation).or_default();
            present.workers += 1;
            present.shards += worker.owned.len();
        }
        present
    }

    /// Returns the problem that no generation is active.
    pub(super) fn unchosen_generation(&self, now: Now) -> Option<Problem> {
        if !self.may_choose_generation(now) {
            return None;
        }
        let present = self.present_generations();
        let choose = "no shard is placed. Choose one: altergolden deploy promote NAME";
        let why = match &self.named_generation {
            // The next decision chooses it.
            Some(named) if present.contains_key(named) => return None,
            Some(named) if !present.is_empty() => format!(
                "no worker of generation {named} (ACTIVE_GENERATION) is connected, only of {}: {choose}",
                listed(present.keys())
            ),
            None if present.len() > 1 => format!(
                "workers of several generations ({}) started together and none is active: {choose}",
                listed(present.keys())
            ),
            _ => return None,
        };
        Some(Problem::new(ProblemCode::GenerationUnchosen, why))
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
            let why = format!(
                "{} workers of generation {generation} get no shards ({}): generation {active} is active; to use them, run: \
                 altergolden deploy promote {generation}",
                workers.len(),
                listed(&workers)
            );
            Problem::new(ProblemCode::GenerationIdle, why)
        };
        idle.into_iter().map(advice).collect()
    }

    /// Makes another generation active when the active one has no workers left. If workers died recently, or the fleet has never run, workers of
    /// the active one may come soon, so this waits for them.
    pub(super) fn adopt_generation(&mut self, now: Now) {
        if self.intent.generation.is_none() {
            return;
        }
        let active_is_gone =
            !self.workers.values().any(|worker| self.intent.is_active(worker) && !worker.draining);
        let present = self.present_generations();
        let next = present.into_iter().max_by_key(|(_, present)| present.workers);
        let next = next.map(|(generation, _)| generation);
        let Some(next) = next.filter(|_| active_is_gone) else {
            self.term.active_gone_since = None;
            return;
        };
        let since = *self.term.active_gone_since.get_or_insert(now.mono);
        let has_run = self.total.ran || self.total.last_ran.at_unix_ms.is_some() || !self.runs_nothing();
        let comes_soon = !has_run || !self.deaths.breaker.is_calm();
        let patience = if comes_soon { self.rules.lease_ttl * 2 } else { Duration::ZERO };
        if !self.term.is_starting(now) && now.mono.saturating_sub(since) >= patience {
            self.term.active_gone_since = None;
            self.note(Note::Adopted(next.clone()));
            self.intent.generation = Some(next);
            self.write_intent();
        }
    }
}
