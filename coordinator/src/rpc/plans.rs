//! Plans to and from the wire.

use altergolden_proto::{
    convert::Malformed,
    v1::{self, start_plan_request::Plan},
};
use fleet_model::ShardSlot;
use tonic::Status;

use fleet::{PlanKind, PlanState, PlanView};

/// Returns the requested plan.
///
/// # Errors
/// INVALID_ARGUMENT: no plan, or an invalid name.
pub(super) fn kind(request: v1::StartPlanRequest) -> Result<PlanKind, Status> {
    let plan = request.plan.ok_or(Malformed::Missing("plan"))?;
    Ok(match plan {
        Plan::Drain(drain) => PlanKind::Drain(drain.worker_id.parse().map_err(Malformed::from)?),
        Plan::Move(moving) => PlanKind::Move {
            shard: ShardSlot(moving.shard_id),
            to: moving.worker_id.parse().map_err(Malformed::from)?,
        },
        Plan::Rebalance(_) => PlanKind::Rebalance,
        Plan::Promote(promote) => PlanKind::Promote(promote.generation.parse().map_err(Malformed::from)?),
    })
}

/// A plan for the wire.
pub(super) fn message(plan: &PlanView) -> v1::Plan {
    let state = match plan.state {
        _ if plan.paused => v1::PlanState::Paused,
        PlanState::Proposed => v1::PlanState::Proposed,
        PlanState::Running => v1::PlanState::Running,
        PlanState::RollingBack => v1::PlanState::RollingBack,
        PlanState::Done => v1::PlanState::Done,
        PlanState::RolledBack => v1::PlanState::RolledBack,
        PlanState::Aborted => v1::PlanState::Aborted,
    };
    v1::Plan {
        id: plan.id,
        description: plan.description.clone(),
        state: state.into(),
        reason: plan.reason.clone(),
        steps: plan
            .steps
            .iter()
            .map(|step| v1::PlanStep {
                shard_id: step.shard.0,
                from: step.from.to_string(),
                to: step.to.to_string(),
                identifies: step.identifies,
                done: step.done,
            })
            .collect(),
        steps_done: plan.steps.iter().filter(|step| step.done).count() as u32,
        identifies: plan.identifies,
        estimated_ms: plan.estimated.as_millis() as u64,
        elapsed_ms: plan.elapsed.as_millis() as u64,
        at_once: plan.at_once as u32,
    }
}
