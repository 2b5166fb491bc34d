//! Plans: requests of operators, one at a time. A drain, a move, a rebalance and a promotion are all a change of the
//! [`Intent`], with a preflight, a rule when to stop, and a way back.
//!
//! A plan moves no shard itself. It changes the intent; the shards follow, a few at a time, as always
//! ([`handoff`](super::handoff)), and the plan watches them. So it continues under the next coordinator. If a worker dies on the
//! way, placement finds another target, or the plan is rolled back by restoring the intent.

use std::{collections::BTreeMap, fmt, time::Duration};

use fleet_model::{Generation, Incarnation, ShardSlot, ShardStatus, WorkerId};
use serde::{Deserialize, Serialize};

use super::{Fleet, Intent, Note, Now, Phase, handoff};
use crate::placement::{self, Placement};

mod preflight;

pub use preflight::{PlanBudget, PlanRefused};

/// A shard that is not ready on its new owner after this long stops the plan. Waiting for a permit does not count.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    /// A worker hands off all its shards and exits.
    Drain(WorkerId),
    /// One shard moves to one worker, and stays there.
    Move {
        /// The shard.
        shard: ShardSlot,
        /// The worker.
        to: WorkerId,
    },
    /// Shards are spread evenly, including those that were moved by hand.
    Rebalance,
    /// A generation becomes the active one.
    Promote(Generation),
}

impl fmt::Display for PlanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain(worker) => write!(f, "drain worker {worker}"),
            Self::Move { shard, to } => write!(f, "move shard {shard} to worker {to}"),
            Self::Rebalance => f.write_str("rebalance"),
            Self::Promote(generation) => write!(f, "promote generation {generation}"),
        }
    }
}

/// The state of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Not started: a dry run.
    Proposed,
    /// Shards are moving.
    Running,
    /// Moved shards are moving back.
    RollingBack,
    /// All shards are where the plan wants them.
    Done,
    /// It was stopped; all shards are where they were before.
    RolledBack,
    /// It was stopped; moved shards stay.
    Aborted,
}

impl PlanState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Proposed, Self::Running, Self::RollingBack, Self::Done, Self::RolledBack, Self::Aborted];

    /// Returns whether the plan is not over.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::RollingBack)
    }

    /// Its name for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Running => "running",
            Self::RollingBack => "rolling_back",
            Self::Done => "done",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }
}

/// A plan, as it is written to the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) id: u64,
    pub(super) kind: PlanKind,
    pub(super) state: PlanState,
    /// Why, for people.
    pub(super) reason: String,
    pub(super) steps: BTreeMap<ShardSlot, PlanStep>,
    /// Workers that must drain, with their incarnations: the next coordinator tells them again.
    #[serde(default)]
    pub(super) outgoing: BTreeMap<WorkerId, Incarnation>,
    /// The intent to restore on the way back.
    pub(super) before: PreviousIntent,
    /// How many IDENTIFYs it needs.
    pub(super) identifies: u32,
    pub(super) estimated_ms: u64,
    pub(super) began_unix_ms: u64,
    pub(super) ended_unix_ms: Option<u64>,
}

impl Plan {
    /// Returns why its workers must drain.
    pub(super) fn drain_reason(&self) -> String {
        match &self.kind {
            PlanKind::Promote(generation) => format!("generation {generation} has taken over"),
            kind => kind.to_string(),
        }
    }
}

/// One shard of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct PlanStep {
    pub(super) from: WorkerId,
    pub(super) to: WorkerId,
    pub(super) identifies: bool,
}

/// The intent before a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct PreviousIntent {
    pub(super) generation: Option<Generation>,
    pub(super) pins: BTreeMap<ShardSlot, WorkerId>,
}

/// A plan for readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanView {
    /// Grows with each plan.
    pub id: u64,
    /// What it does, for people.
    pub description: String,
    /// Its state.
    pub state: PlanState,
    /// It waits for the store.
    pub paused: bool,
    /// Why it is in this state, for people.
    pub reason: String,
    /// The shards that move.
    pub steps: Vec<PlanStepView>,
    /// How many IDENTIFYs it needs.
    pub identifies: u32,
    /// Its estimated duration.
    pub estimated: Duration,
    /// Its duration so far.
    pub elapsed: Duration,
    /// How many shards move at once.
    pub at_once: usize,
}

/// One shard of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStepView {
    /// The shard.
    pub shard: ShardSlot,
    /// The previous owner.
    pub from: WorkerId,
    /// The target.
    pub to: WorkerId,
    /// The target must IDENTIFY.
    pub identifies: bool,
    /// It runs there, and is ready.
    pub done: bool,
}

impl Fleet {
    /// Starts a plan.
    ///
    /// # Errors
    /// [`PlanRefused`]: nothing has changed.
    pub fn start_plan(
        &mut self,
        kind: PlanKind,
        means: PlanBudget,
        now: Now,
    ) -> Result<PlanView, PlanRefused> {
        let (intent, mut plan) = self.prepare(kind, means, now)?;
        plan.state = PlanState::Running;
        if let PlanKind::Drain(worker) = &plan.kind {
            plan.outgoing.extend(self.order_drain(worker, plan.kind.to_string()));
        }
        self.intent = Intent { plan: Some(plan.clone()), ..intent };
        self.write_intent();
        self.note_plan(&plan);
        self.advance(now);
        Ok(self.view_plan(self.intent.plan.as_ref().unwrap_or(&plan), now))
    }

    /// Returns what a plan would do.
    ///
    /// # Errors
    /// [`PlanRefused`], as when it were started.
    pub fn propose_plan(&self, kind: PlanKind, means: PlanBudget, now: Now) -> Result<PlanView, PlanRefused> {
        let (_, plan) = self.prepare(kind, means, now)?;
        Ok(self.view_plan(&plan, now))
    }

    /// Stops the running plan.
    ///
    /// # Errors
    /// [`PlanRefused::NoneUnderWay`].
    pub fn abort_plan(&mut self, now: Now) -> Result<PlanView, PlanRefused> {
        let plan = self.intent.under_way().ok_or(PlanRefused::NoneUnderWay)?;
        match (&plan.kind, plan.state) {
            (PlanKind::Drain(_), _) => {
                self.end_plan("an operator stopped watching it; the worker still drains and exits", now);
            }
            (_, PlanState::RollingBack) => self.end_plan("an operator stopped the way back", now),
            _ => self.roll_back("an operator stopped it", now),
        }
        self.advance(now);
        let plan = self.intent.plan.as_ref().ok_or(PlanRefused::NoneUnderWay)?;
        Ok(self.view_plan(plan, now))
    }

    /// Returns the running plan, or the last one.
    pub fn plan(&self, now: Now) -> Option<PlanView> {
        self.intent.plan.as_ref().map(|plan| self.view_plan(plan, now))
    }

    /// Checks the progress of the running plan.
    pub(super) fn follow_plan(&mut self, now: Now) {
        let Some(plan) = self.intent.under_way().cloned() else { return };
        // A coordinator that has just begun has not heard from all workers yet.
        if self.total.settled().is_none() || self.is_settling(now) || self.term.is_starting(now) {
            return;
        }
        let problem = self.placement_problem(&self.intent, None, now);
        let target = placement::solve(&problem);
        // The shards of a worker that is cut off do not count as unplaced: they may run, and the worker may be back soon.
        let waits =
            self.workers.values().any(|worker| !worker.liveness.connected && self.intent.is_active(worker));
        let unplaced = !waits && problem.shards.keys().any(|shard| !target.contains_key(shard));
        let trouble =
            if plan.state == PlanState::Running { self.stop_reason(&plan, unplaced, now) } else { None };
        if let Some(why) = &trouble {
            self.roll_back(why, now);
            if !matches!(plan.kind, PlanKind::Drain(_)) {
                return;
            }
        }
        let gone = !plan.outgoing.iter().any(|(worker, incarnation)| self.knows(worker, incarnation));
        // A promotion in a fleet that ran nothing has no steps: its shards start first.
        let starts = plan.before.generation.is_none()
            && matches!(plan.kind, PlanKind::Promote(_))
            && plan.state == PlanState::Running;
        let started = || problem.shards.keys().all(|shard| self.is_placed(shard.slot(), &target));
        let there = plan.steps.keys().all(|shard| self.is_placed(*shard, &target)) && (!starts || started());
        // A drain is over when its worker has left, even if one of its shards has a problem elsewhere.
        let over = there || trouble.is_some() && matches!(plan.kind, PlanKind::Drain(_));
        if gone && over {
            self.finish_plan(now);
        }
    }

    /// Returns whether a shard is ready on its target.
    fn is_placed(&self, shard: ShardSlot, target: &Placement) -> bool {
        // The total has changed since: the shard no longer exists.
        let Some(slot) = self.slots.get(shard.0 as usize) else { return true };
        let ready = slot.report.as_ref().is_some_and(|seen| seen.report.status == ShardStatus::Ready);
        let owner = slot.owner.as_ref().filter(|owner| owner.phase == Phase::Running);
        ready
            && slot.handoff.is_none()
            && owner.is_some_and(|owner| target.get(&shard) == Some(&owner.worker))
    }

    /// Returns why a plan must stop, if it must.
    fn stop_reason(&self, plan: &Plan, unplaced: bool, now: Now) -> Option<String> {
        for (shard, step) in &plan.steps {
            let Some(slot) = self.slots.get(shard.0 as usize) else { continue };
            let Some(owner) = slot.owner.as_ref().filter(|owner| owner.worker != step.from) else { continue };
            let status = slot.report.as_ref().map(|seen| (seen.report.status, &seen.report.detail));
            match status {
                Some((ShardStatus::Failed, detail)) => {
                    return Some(format!("shard {shard} failed on worker {}: {detail}", owner.worker));
                }
                Some((ShardStatus::Ready | ShardStatus::Queued | ShardStatus::Identifying, _)) => {}
                _ if owner.start_ended => {}
                _ if owner.phase == Phase::Running
                    && now.mono.saturating_sub(owner.since) >= READY_WITHIN =>
                {
                    let (worker, seconds) = (&owner.worker, READY_WITHIN.as_secs());
                    return Some(format!("shard {shard} is not ready on worker {worker} after {seconds} s"));
                }
                _ => {}
            }
        }
        match &plan.kind {
            PlanKind::Promote(generation) if unplaced => {
                let left = self.workers.values().any(|worker| self.takes_shards(worker));
                Some(if left {
                    format!("the workers of generation {generation} no longer have room for all shards")
                } else {
                    format!("no worker of generation {generation} is left")
                })
            }
            PlanKind::Move { to, .. }
                if !self.workers.get(to).is_some_and(|to| !to.draining && self.intent.is_active(to)) =>
            {
                Some(format!("worker {to} no longer takes shards"))
            }
            _ => None,
        }
    }

    /// Rolls back a promotion when a worker of the promoted generation dies.
    pub(super) fn lost_in_plan(&mut self, worker: &WorkerId, generation: Option<&Generation>, now: Now) {
        let Some(plan) = self.intent.under_way().filter(|plan| plan.state == PlanState::Running) else {
            return;
        };
        if let (PlanKind::Promote(promoted), Some(generation)) = (&plan.kind, generation)
            && promoted == generation
        {
            self.roll_back(&format!("worker {worker} of generation {generation} died"), now);
        }
    }

    /// Restores the intent from before the plan. A drain has no way back: placement keeps looking for targets.
    fn roll_back(&mut self, why: &str, now: Now) {
        let Some(plan) = self.intent.plan.as_mut() else { return };
        let over = match plan.kind {
            PlanKind::Drain(_) => {
                why.clone_into(&mut plan.reason);
                return;
            }
            PlanKind::Promote(_) => false,
            PlanKind::Move { .. } | PlanKind::Rebalance => true,
        };
        plan.state = if over { PlanState::Aborted } else { PlanState::RollingBack };
        why.clone_into(&mut plan.reason);
        if over {
            plan.ended_unix_ms = Some(now.unix_ms);
        }
        self.intent.generation = plan.before.generation.clone();
        self.intent.pins = plan.before.pins.clone();
        let plan = plan.clone();
        self.write_intent();
        self.note_plan(&plan);
    }

    /// Ends the plan as aborted. The intent stays.
    fn end_plan(&mut self, why: &str, now: Now) {
        let Some(plan) = self.intent.plan.as_mut() else { return };
        plan.state = PlanState::Aborted;
        why.clone_into(&mut plan.reason);
        plan.ended_unix_ms = Some(now.unix_ms);
        let plan = plan.clone();
        self.write_intent();
        self.note_plan(&plan);
    }

    fn finish_plan(&mut self, now: Now) {
        let Some(plan) = self.intent.plan.as_mut() else { return };
        plan.state =
            if plan.state == PlanState::RollingBack { PlanState::RolledBack } else { PlanState::Done };
        plan.ended_unix_ms = Some(now.unix_ms);
        let mut plan = plan.clone();
        if let (PlanKind::Promote(_), PlanState::Done) = (&plan.kind, plan.state) {
            let old = self.workers.iter().filter(|(_, worker)| !self.intent.is_active(worker));
            let old: Vec<WorkerId> = old.map(|(name, _)| name.clone()).collect();
            for worker in old {
                plan.outgoing.extend(self.order_drain(&worker, plan.drain_reason()));
            }
        }
        self.note_plan(&plan);
        self.intent.plan = Some(plan);
        self.write_intent();
    }

    fn note_plan(&mut self, plan: &Plan) {
        let (description, reason) = (plan.kind.to_string(), plan.reason.clone());
        self.note(Note::Plan { id: plan.id, description, state: plan.state, reason });
    }

    fn view_plan(&self, plan: &Plan, now: Now) -> PlanView {
        let target = plan
            .state
            .is_under_way()
            .then(|| placement::solve(&self.placement_problem(&self.intent, None, now)));
        let over = matches!(plan.state, PlanState::Done | PlanState::RolledBack);
        let steps = plan.steps.iter().map(|(&shard, step)| PlanStepView {
            shard,
            from: step.from.clone(),
            to: step.to.clone(),
            identifies: step.identifies,
            done: over || target.as_ref().is_some_and(|target| self.is_placed(shard, target)),
        });
        let paused = plan.state.is_under_way() && !self.store.is_up();
        let until = plan.ended_unix_ms.unwrap_or(now.unix_ms);
        PlanView {
            id: plan.id,
            description: plan.kind.to_string(),
            state: plan.state,
            paused,
            reason: if paused { "the fleet store is away".to_owned() } else { plan.reason.clone() },
            steps: steps.collect(),
            identifies: plan.identifies,
            estimated: Duration::from_millis(plan.estimated_ms),
            elapsed: Duration::from_millis(until.saturating_sub(plan.began_unix_ms)),
            at_once: self.rules.moves_at_once,
        }
    }
}
