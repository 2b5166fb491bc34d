//! The traces of shards that move: each handoff and each failover is one trace over the coordinator and its workers.
//!
//! Follows the fleet's notes and decides nothing. A trace begins when a shard begins to move, or when its worker was lost; its
//! `traceparent` goes to the workers with their assignments; it ends when the shard is ready. Without a collector nothing is kept.

use std::{
    collections::BTreeMap,
    iter,
    time::{Duration, SystemTime},
};

use fleet::{Note, PlanView};
use fleet_model::{ShardKey, WorkerId};
use process::telemetry::{SpanKind, TimedSpan};

/// A shard that is not ready after this long ends its trace: the handoff was cancelled, or the shard waits for a permit.
const LONGEST: Duration = Duration::from_mins(5);

/// The traces that have not ended, one for each shard of the fleet at most.
#[derive(Debug, Default)]
pub(super) struct MoveTraces(BTreeMap<ShardKey, MoveTrace>);

/// A shard that moves.
#[derive(Debug)]
struct MoveTrace {
    whole: TimedSpan,
    /// The step that is under way, as a part of the whole.
    step: Option<TimedSpan>,
    traceparent: String,
    from: WorkerId,
    to: Option<WorkerId>,
    ends_by: Duration,
}

impl MoveTraces {
    /// Follows what happened. `plan`: the plan under way, if its trace is wanted.
    pub(super) fn note(&mut self, note: &Note, plan: impl FnOnce() -> Option<PlanView>, now: Duration) {
        match note {
            Note::Moving { shard, from, to } => self.begin_handoff(*shard, (from, to), plan, now),
            Note::Releasing { shard, copied, .. } => {
                if let Some(moving) = self.0.get_mut(shard) {
                    moving.whole.set("shard.copied", *copied);
                    moving.step("release");
                }
            }
            Note::Lost { worker, shards, cause, since_broken, .. } => {
                let broke = since_broken.and_then(|since| SystemTime::now().checked_sub(since));
                for (shard, _) in shards {
                    self.begin_failover(*shard, worker, (cause.as_str(), broke), now);
                }
            }
            Note::Assigned { owner, .. } => {
                if let Some(moving) = self.0.get_mut(&owner.shard) {
                    moving.whole.set("to.id", owner.worker.to_string());
                    moving.whole.set("epoch", owner.epoch.0 as i64);
                    moving.to = Some(owner.worker.clone());
                    moving.step("start");
                }
            }
            Note::Started { shard, worker, outcome, .. } => {
                let Some(moving) = self.0.get(shard).filter(|moving| moving.to.as_ref() == Some(worker))
                else {
                    return;
                };
                moving.whole.set("outcome", outcome.kind.to_string());
                moving.whole.set("replayed", outcome.replayed as i64);
                moving.whole.set("gap", outcome.gap.is_some());
                self.0.remove(shard);
            }
            _ => {}
        }
    }

    fn begin_handoff(
        &mut self,
        shard: ShardKey,
        (from, to): (&WorkerId, &WorkerId),
        plan: impl FnOnce() -> Option<PlanView>,
        now: Duration,
    ) {
        self.end(shard, "moved again");
        let Some(whole) = TimedSpan::root("handoff", SpanKind::Internal, SystemTime::now()) else { return };
        whole.set("shard.id", i64::from(shard.slot().0));
        whole.set("from.id", from.to_string());
        whole.set("to.id", to.to_string());
        let plan = plan().filter(|plan| plan.steps.iter().any(|step| step.shard == shard.slot()));
        match plan {
            Some(plan) => {
                whole.set("plan.id", plan.id as i64);
                whole.set("reason", plan.description);
            }
            None => whole.set("reason", "placement"),
        }
        let mut moving = MoveTrace::new(whole, from.clone(), Some(to.clone()), now);
        moving.step("copy");
        self.0.insert(shard, moving);
    }

    /// `broke`: when the worker's stream broke. Without one the failover begins now.
    fn begin_failover(
        &mut self,
        shard: ShardKey,
        worker: &WorkerId,
        (cause, broke): (&'static str, Option<SystemTime>),
        now: Duration,
    ) {
        let interrupted = self.end(shard, "worker lost");
        let seen = SystemTime::now();
        let Some(whole) = TimedSpan::root("failover", SpanKind::Internal, broke.unwrap_or(seen)) else {
            return;
        };
        whole.set("shard.id", i64::from(shard.slot().0));
        whole.set("from.id", worker.to_string());
        whole.set("cause", cause);
        if let Some(interrupted) = interrupted {
            whole.link(&interrupted);
        }
        if let Some(broke) = broke {
            drop(whole.child("detect_death", SpanKind::Internal, broke));
        }
        let mut moving = MoveTrace::new(whole, worker.clone(), None, now);
        moving.step("place");
        self.0.insert(shard, moving);
    }

    /// Ends a trace that did not come to its end, and returns its `traceparent`.
    fn end(&mut self, shard: ShardKey, why: &'static str) -> Option<String> {
        let moving = self.0.remove(&shard)?;
        moving.whole.fail(why);
        Some(moving.traceparent)
    }

    /// Ends the traces that have lasted too long.
    pub(super) fn end_old(&mut self, now: Duration) {
        for (_, moving) in self.0.extract_if(.., |_, moving| now >= moving.ends_by) {
            moving.whole.fail("not ready in time");
        }
    }

    /// Returns the `traceparent`s of the shards that each worker gives away, copies or starts.
    pub(super) fn of_workers(&self) -> BTreeMap<WorkerId, BTreeMap<ShardKey, String>> {
        let mut found: BTreeMap<WorkerId, BTreeMap<ShardKey, String>> = BTreeMap::new();
        for (shard, moving) in &self.0 {
            for worker in iter::once(&moving.from).chain(&moving.to) {
                found.entry(worker.clone()).or_default().insert(*shard, moving.traceparent.clone());
            }
        }
        found
    }
}

impl MoveTrace {
    fn new(whole: TimedSpan, from: WorkerId, to: Option<WorkerId>, now: Duration) -> Self {
        let traceparent = whole.traceparent();
        Self { whole, step: None, traceparent, from, to, ends_by: now + LONGEST }
    }

    /// Ends the step before, and begins the next one.
    fn step(&mut self, name: &'static str) {
        let began = SystemTime::now();
        if let Some(step) = self.step.take() {
            step.end_at(began);
        }
        self.step = self.whole.child(name, SpanKind::Internal, began);
    }
}
