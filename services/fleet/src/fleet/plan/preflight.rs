//! The look ahead: what a plan would move, what it would cost, and why it can't be.

use std::time::Duration;

use fleet_model::{Generation, ShardNumber, WorkerId};

use super::{
    Fleet, Intent, Now, Phase, Plan, PlanKind, PlanState, PlanStep, PreviousIntent, handoff, placement,
};

/// About how long a handoff takes, its copy included.
const HANDOFF: Duration = Duration::from_millis(400);

/// What a plan may use.
#[derive(Clone, Copy, Debug)]
pub struct PlanBudget {
    /// IDENTIFYs that are left of the day, less those that are kept back.
    pub identifies: u32,
    /// How many IDENTIFYs may go at once.
    pub max_concurrency: u32,
    /// Time between two IDENTIFYs of a bucket.
    pub identify_interval: Duration,
}

/// A plan can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefused {
    /// Another is under way.
    #[error("another plan is under way: {0} (`altergolden deploy abort` gives it up)")]
    UnderWay(String),
    /// None is under way.
    #[error("no plan is under way")]
    NoneUnderWay,
    /// No epoch can be written.
    #[error("the fleet store is away: no shard changes hands until it is back")]
    StoreAway,
    /// The fleet is not there yet.
    #[error("the fleet is still starting: {0}")]
    Starting(&'static str),
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// It would change nothing, or makes no sense.
    #[error("{0}")]
    Pointless(String),
    /// Not all shards would have a place.
    #[error("there is no room for shards {}: {why}", join(.shards))]
    NoRoom {
        /// The shards.
        shards: Vec<ShardNumber>,
        /// Where there is none.
        why: String,
    },
    /// It would take more IDENTIFYs than are left.
    #[error(
        "it costs {needed} IDENTIFYs and {left} are left of the day, less the reserve (IDENTIFY_RESERVE)"
    )]
    Identifies {
        /// How many it costs.
        needed: u32,
        /// How many are left.
        left: u32,
    },
}

fn join(shards: &[ShardNumber]) -> String {
    shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Fleet {
    /// What is wanted under a plan, and the plan.
    pub(super) fn prepare(
        &self,
        kind: PlanKind,
        means: PlanBudget,
        now: Now,
    ) -> Result<(Intent, Plan), PlanRefused> {
        if let Some(plan) = self.intent.under_way() {
            return Err(PlanRefused::UnderWay(plan.kind.to_string()));
        }
        if !self.store_is_up() {
            return Err(PlanRefused::StoreAway);
        }
        if self.total.settled().is_none() || self.is_settling(now) {
            return Err(PlanRefused::Starting("not all shards have an owner"));
        }
        if now.mono < self.grace_until {
            return Err(PlanRefused::Starting("this coordinator has just begun to act"));
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
        let unplaced: Vec<ShardNumber> =
            problem.shards.keys().copied().filter(|shard| !target.contains_key(shard)).collect();
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
        let steps = (0..).map(ShardNumber).zip(&self.slots).filter_map(|(shard, slot)| {
            let owner = slot.owner.as_ref().filter(|owner| owner.phase != Phase::Writing)?;
            let to = target.get(&shard).filter(|to| **to != owner.worker)?;
            let identifies = handoff::needs_identify(self.workers.get(&owner.worker)?, self.workers.get(to)?);
            Some((shard, PlanStep { from: owner.worker.clone(), to: to.clone(), identifies }))
        });
        let steps: std::collections::BTreeMap<_, _> = steps.collect();
        let identifies = steps.values().filter(|step| step.identifies).count();
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
            return Err(PlanRefused::Pointless(format!("worker {worker} is on its way out already")));
        }
        if !known.connected {
            return Err(PlanRefused::Pointless(format!("worker {worker} is cut off")));
        }
        Ok(())
    }

    fn check_move(&self, shard: ShardNumber, to: &WorkerId) -> Result<(), PlanRefused> {
        self.check_worker(to)?;
        let slot = self.slots.get(shard.0 as usize);
        let slot = slot.ok_or_else(|| {
            PlanRefused::Unknown(format!("there is no shard {shard}: the bot has {}", self.slots.len()))
        })?;
        let owner = slot.owner.as_ref().ok_or_else(|| {
            PlanRefused::Pointless(format!("shard {shard} has no owner: it is assigned as soon as it can be"))
        })?;
        if owner.worker == *to {
            return Err(PlanRefused::Pointless(format!("worker {to} has shard {shard} already")));
        }
        let Some(worker) = self.workers.get(to) else { return Ok(()) };
        if !self.intent.is_active(worker) {
            return Err(PlanRefused::Pointless(format!("worker {to} is not of the active generation")));
        }
        match worker.capacity {
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
        let there = |worker: &super::super::KnownWorker| {
            worker.connected && !worker.draining && worker.generation.as_ref() == Some(generation)
        };
        if self.workers.values().any(there) {
            Ok(())
        } else {
            Err(PlanRefused::Unknown(format!("no worker of generation {generation} is there")))
        }
    }
}
