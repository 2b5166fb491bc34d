//! Publishes snapshots of the fleet, with the problems that only the driver knows.

use std::time::Duration;

use fleet::identify::IdentifyBudget;
use fleet_model::{Directive, Problem, ProblemCode, WorkerId};
use tokio::time::Instant;

use super::Driver;
use crate::snapshot::{IdentifyView, Role, Snapshot};

impl Driver<'_> {
    pub(super) fn publish(&mut self) {
        self.dirty = false;
        let now = self.shell.now();
        let mut fleet = self.fleet.view(now);
        let budget = *self.identify.budget();
        let identify = IdentifyView {
            total: budget.total,
            remaining: budget.remaining,
            reserve: budget.reserve,
            resets_in: budget.resets_at.saturating_sub(now.mono),
            waiting: self.identify.waiting() as u32,
            max_concurrency: self.identify.max_concurrency(),
        };
        if !self.may_act || self.held_term.doubt().0 >= self.shell.lease_ttl {
            fleet.problems.push(self.unconfirmed_term_problem());
        }
        if let Some(why) = self.identify.halted() {
            let why = format!("no shard may identify: {why}");
            fleet.problems.push(Problem::new(ProblemCode::IdentifyHalted, why));
        } else if budget.is_short() && identify.waiting > 0 {
            let why = short_budget(&budget, now.mono);
            fleet.problems.push(Problem::new(ProblemCode::IdentifyBudgetShort, why));
        }
        fleet.problems.extend(self.shell.discord.problem());
        fleet.problems.extend(self.invalid_records.problems(now.mono));
        if process::server::descriptors_exhausted() {
            let why = "no file descriptors left: raise the limit of open files (ulimit -n, LimitNOFILE)";
            fleet.problems.push(Problem::new(ProblemCode::DescriptorsExhausted, why));
        }
        let held_back = match self.identify.halted() {
            Some(_) => Some("Discord refuses the token"),
            None => budget.is_short().then_some("the identify budget is short"),
        };
        describe_queue(&mut fleet.problems, &identify, self.shell.identify_interval, held_back);
        self.shell.metrics.set_identify(&identify);
        let snapshot =
            Snapshot { role: Role::Acting, fleet, identify, taken: Instant::now(), clock: now.mono };
        if let Some(routes) = self.shell.publisher.publish(snapshot) {
            let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
            for worker in workers {
                self.send(&worker, Directive::RoutingTable(routes.clone()));
            }
        }
    }
}

/// Adds to queued shards' problems when the last of them has its turn, or why no permit is granted now. An empty queue
/// means that their requests have not arrived.
pub(super) fn describe_queue(
    problems: &mut [Problem],
    identify: &IdentifyView,
    interval: Duration,
    held_back: Option<&str>,
) {
    let queued = problems.iter_mut().filter(|problem| problem.code == ProblemCode::ShardQueued);
    let turns = identify.waiting.div_ceil(identify.max_concurrency.max(1));
    let end = match held_back {
        Some(why) => format!("no permit is granted while {why}"),
        None => format!("the last turn is in about {} s", interval.saturating_mul(turns).as_secs()),
    };
    let message = format!("waiting in the identify queue, {} requests long: {end}", identify.waiting);
    for problem in queued {
        if identify.waiting == 0 {
            problem.code = ProblemCode::ShardNotReady;
            "queued: its request to IDENTIFY has not arrived".clone_into(&mut problem.message);
        } else {
            problem.message.clone_from(&message);
        }
    }
}

pub(super) fn short_budget(budget: &IdentifyBudget, now: Duration) -> String {
    let hours = budget.resets_at.saturating_sub(now).as_secs_f64() / 3600.0;
    format!(
        "the identify budget is short: {} of {} left, {} are kept back (IDENTIFY_RESERVE); it resets in {hours:.1} h and is \
         asked for again within 5 minutes",
        budget.remaining, budget.total, budget.reserve
    )
}
