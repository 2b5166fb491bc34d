//! The preflight of a plan: what it would move, how many IDENTIFYs it needs, and why it must be refused.

use std::time::Duration;

use fleet_model::{Generation, ShardSlot, WorkerId, in_ranges};

use super::{
    super::KnownWorker, Fleet, Intent, Now, Phase, Plan, PlanKind, PlanState, PlanStep, PreviousIntent,
    handoff, placement,
};

/// About how long a handoff takes, its copy included.
const HANDOFF: Duration = Duration::from_millis(400);

/// What a plan may use.
#[derive(Clone, Copy, Debug)]
pub struct PlanBudget {
    /// IDENTIFYs that are left of the day, less the reserve.
    pub identifies: u32,
    /// How many IDENTIFYs may be sent at once.
    pub max_concurrency: u32,
    /// Time between two IDENTIFYs of a bucket.
    pub identify_interval: Duration,
}

/// A plan was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// Another plan is running.
    #[error("another plan is under way: {0} (to stop it: `altergolden deploy abort`)")]
    UnderWay(String),
    /// No plan is running.
    #[error("no plan is under way")]
    NoneUnderWay,
    /// Without the store no epoch can be written.
    #[error("the fleet store is away: no shard can move until it is back")]
    StoreAway,
    /// The fleet is still starting.
    #[error("the fleet is still starting: {0}")]
    Starting(&'static str),
    /// The plan names an unknown worker, shard or generation.
    #[error("{0}")]
    Unknown(String),
    /// The plan would change nothing, or does not apply.
    #[error("{0}")]
    Pointless(String),
    /// Some shards would have no worker.
    #[error("there is no room for shards {}: {why}", in_ranges(.shards.iter().copied()))]
    NoRoom {
        /// The shards.
        shards: Vec<ShardSlot>,
        /// Which workers have no room.
        why: String,
    },
    /// It needs more IDENTIFYs than are left.
    #[error(
        "it needs {needed} IDENTIFYs and {left} are left of the day, less the reserve (IDENTIFY_RESERVE)"
    )]
    Identifies {
        /// How many it needs.
        needed: u32,
        /// How many are left.
        left: u32,
    },
}

impl Fleet {
    /// Returns the intent under a plan, and the plan.
    pub(super) fn prepare(
        &self,
        kind: PlanKind,
        means: PlanBudget,
        now: Now,
    ) -> Result<(Intent, Plan), PlanRefused> {
        if let Some(plan) = self.intent.under_way() {
            return Err(PlanRefused::UnderWay(plan.kind.to_string()));
        }
        if !self.store.is_up() {
            return Err(PlanRefused::StoreAway);
        }
        if self.total.settled().is_none() || self.is_settling(now) {
            return Err(PlanRefused::Starting("not all shards have an owner"));
        }
        if now.mono < self.term.grace_until {
            return Err(PlanRefused::Starting("this coordinator has only just taken the term"));
        }
        let mut intent = self.intent.clone();
        let mut leaving = None;
        match &kind {
            PlanKind::Drain(worker) => {
                self.check_worker(worker)?;
                leaving = Some(worker);
            }
            PlanKind::Move { shard, to } => {
                self.check_move(*shard, to)?;
                intent.pins.insert(*shard, to.clone());
            }
            PlanKind::Rebalance => intent.pins.clear(),
            PlanKind::Promote(generation) => {
                self.check_promotion(generation)?;
                intent.generation = Some(generation.clone());
                intent.pins.clear();
            }
        }
        let problem = self.placement_problem(&intent, leaving, now);
        let target = placement::solve(&problem);
        let unplaced: Vec<ShardSlot> = problem
            .shards
            .keys()
            .filter(|shard| !target.contains_key(*shard))
            .map(|shard| shard.slot())
            .collect();
        if !unplaced.is_empty() && kind != PlanKind::Rebalance {
            let why = match &kind {
                PlanKind::Promote(generation) => format!("on the workers of generation {generation}"),
                _ => "on the other workers".to_owned(),
            };
            return Err(PlanRefused::NoRoom { shards: unplaced, why });
        }
        let plan = self.plan_of(kind, &target, means, now);
        if plan.identifies > means.identifies {
            return Err(PlanRefused::Identifies { needed: plan.identifies, left: means.identifies });
        }
        Ok((intent, plan))
    }

    fn plan_of(&self, kind: PlanKind, target: &placement::Placement, means: PlanBudget, now: Now) -> Plan {
        let steps = self.slots.iter().filter_map(|slot| {
            let owner = slot.owner.as_ref().filter(|owner| owner.phase != Phase::Writing)?;
            let to = target.get(&slot.key).filter(|to| **to != owner.worker)?;
            let identifies = handoff::needs_identify(self.workers.get(&owner.worker)?, self.workers.get(to)?);
            Some((slot.key.slot(), PlanStep { from: owner.worker.clone(), to: to.clone(), identifies }))
        });
        let steps: std::collections::BTreeMap<_, _> = steps.collect();
        // Without an active generation nothing runs: a promotion starts every shard.
        let begins = matches!(kind, PlanKind::Promote(_)) && self.intent.active().is_none();
        let started = if begins { self.slots.iter().filter(|slot| slot.owner.is_none()).count() } else { 0 };
        let identifies = steps.values().filter(|step| step.identifies).count() + started;
        let batches = steps.len().div_ceil(self.rules.moves_at_once.max(1));
        let rounds = identifies.div_ceil(means.max_concurrency.max(1) as usize);
        let estimated = HANDOFF * batches as u32 + means.identify_interval * rounds as u32;
        let last = self.intent.plan.as_ref().map_or(0, |plan| plan.id);
        Plan {
            id: now.unix_ms.max(last + 1),
            kind,
            state: PlanState::Proposed,
            reason: String::new(),
            steps,
            outgoing: std::collections::BTreeMap::new(),
            before: PreviousIntent {
                generation: self.intent.generation.clone(),
                pins: self.intent.pins.clone(),
            },
            identifies: identifies as u32,
            estimated_ms: estimated.as_millis() as u64,
            began_unix_ms: now.unix_ms,
            ended_unix_ms: None,
        }
    }

    fn check_worker(&self, worker: &WorkerId) -> Result<(), PlanRefused> {
        let known = self.workers.get(worker);
        let known = known.ok_or_else(|| PlanRefused::Unknown(format!("no worker is called {worker}")))?;
        if known.draining {
            return Err(PlanRefused::Pointless(format!("worker {worker} is draining already")));
        }
        if !known.liveness.connected {
            return Err(PlanRefused::Pointless(format!("worker {worker} is cut off")));
        }
        Ok(())
    }

    fn check_move(&self, shard: ShardSlot, to: &WorkerId) -> Result<(), PlanRefused> {
        self.check_worker(to)?;
        let slot = self.slots.get(shard.0 as usize);
        let slot = slot.ok_or_else(|| {
            PlanRefused::Unknown(format!("there is no shard {shard}: the bot has {}", self.slots.len()))
        })?;
        let owner = slot.owner.as_ref().ok_or_else(|| {
            PlanRefused::Pointless(format!("shard {shard} has no owner: it is assigned as soon as possible"))
        })?;
        if owner.worker == *to {
            return Err(PlanRefused::Pointless(format!("worker {to} has shard {shard} already")));
        }
        let Some(worker) = self.workers.get(to) else { return Ok(()) };
        if !self.intent.is_active(worker) {
            return Err(PlanRefused::Pointless(format!("worker {to} is not of the active generation")));
        }
        match worker.profile.capacity {
            Some(capacity) if self.count_shards(to) >= capacity => Err(PlanRefused::NoRoom {
                shards: vec![shard],
                why: format!("worker {to} takes {capacity} (SHARDS_PER_CLUSTER)"),
            }),
            _ => Ok(()),
        }
    }

    fn check_promotion(&self, generation: &Generation) -> Result<(), PlanRefused> {
        if self.intent.generation.as_ref() == Some(generation) {
            return Err(PlanRefused::Pointless(format!("generation {generation} is the active one already")));
        }
        let takes_over = |worker: &KnownWorker| {
            let is_of_it = worker.profile.generation.as_ref() == Some(generation);
            worker.liveness.connected && !worker.draining && is_of_it
        };
        if self.workers.values().any(takes_over) {
            Ok(())
        } else {
            Err(PlanRefused::Unknown(format!("generation {generation} has no connected worker")))
        }
    }
}
