//! Publishes snapshots of the fleet, with the problems that only the driver knows.

use std::time::Duration;

use fleet::identify::IdentifyBudget;
use fleet_model::{Problem, ProblemCode, ShardStatus};
use tokio::time::Instant;

use super::Driver;
use crate::snapshot::{IdentifyView, Role, Snapshot};

/// Interval of the log lines about the progress of the identify queue.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

impl Driver<'_> {
    pub(super) fn publish(&mut self) {
        self.publishing.dirty = false;
        let now = self.shell.now();
        let mut fleet = self.fleet.view(now);
        let latencies = fleet.shards.iter().filter_map(|shard| shard.report.latency_ms);
        let longest = Duration::try_from_secs_f64(latencies.fold(0.0, f64::max) / 1000.0);
        self.permits.queue.note_latency(longest.unwrap_or_default());
        let budget = *self.permits.queue.budget();
        let mut identify = IdentifyView {
            total: budget.total,
            remaining: budget.remaining,
            reserve: budget.reserve,
            resets_in: budget.resets_at.saturating_sub(now.mono),
            waiting: self.permits.queue.waiting() as u32,
            max_concurrency: self.permits.queue.max_concurrency(),
            last_turn_in: None,
        };
        if !self.term.may_act || self.term.held.doubt().0 >= self.shell.lease_ttl {
            fleet.problems.push(self.unconfirmed_term_problem());
        }
        if let Some(why) = self.permits.queue.halted() {
            let why = format!("no shard may identify: {why}");
            fleet.problems.push(Problem::new(ProblemCode::IdentifyHalted, why));
        } else if budget.is_short() && identify.waiting > 0 {
            let why = short_budget(&budget, now.mono);
            fleet.problems.push(Problem::new(ProblemCode::IdentifyBudgetShort, why));
        }
        fleet.problems.extend(self.shell.discord.problem());
        fleet.problems.extend(self.store.invalid.problems(now.mono));
        if process::server::descriptors_exhausted() {
            let why = "no file descriptors left: raise the limit of open files (ulimit -n, LimitNOFILE)";
            fleet.problems.push(Problem::new(ProblemCode::DescriptorsExhausted, why));
        }
        fleet.problems.extend(self.shell.credentials.problems());
        let held_back = match self.permits.queue.halted() {
            Some(_) => Some("Discord refuses the token"),
            None => budget.is_short().then_some("the identify budget is short"),
        };
        let left = identify.wait_of_last(self.shell.identify_interval);
        identify.last_turn_in = (identify.waiting > 0 && held_back.is_none()).then_some(left);
        if self.publishing.progress.take_due(identify.last_turn_in.is_some(), now.mono) {
            let ready = fleet.shards.iter().filter(|shard| shard.report.status == ShardStatus::Ready).count();
            tracing::info!("{}", progress_line(ready, fleet.shard_total, left));
        }
        describe_queue(&mut fleet.problems, &identify, left, held_back);
        self.shell.metrics.set_identify(&identify);
        let snapshot =
            Snapshot { role: Role::Acting, fleet, identify, taken: Instant::now(), clock: now.mono };
        let before = self.shell.publisher.routes();
        let routes = self.shell.publisher.publish(snapshot);
        if std::mem::take(&mut self.publishing.compares_problems) {
            let problems = self.shell.publisher.problems();
            for entry in self.publishing.problems.observe(&problems, self.term.number, now) {
                self.shell.history.record(entry);
            }
        }
        if let Some(routes) = routes {
            self.send_routes(&before, &routes);
        }
    }
}

/// When the progress of the identify queue is logged.
#[derive(Default)]
pub(super) struct IdentifyProgress {
    next: Option<Duration>,
    /// A line has been due since permits began to be granted one after the other.
    shown: bool,
}

impl IdentifyProgress {
    /// Returns true once in each [`PROGRESS_EVERY`] while permits are granted one after the other.
    pub(super) fn take_due(&mut self, granting: bool, now: Duration) -> bool {
        let due = granting.then(|| self.next.unwrap_or(now + PROGRESS_EVERY));
        let is_due = due.is_some_and(|due| now >= due);
        self.next = if is_due { Some(now + PROGRESS_EVERY) } else { due };
        self.shown = granting && (self.shown || is_due);
        is_due
    }

    /// Returns whether lines about the progress are being logged.
    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }
}

pub(super) fn progress_line(ready: usize, total: u32, left: Duration) -> String {
    let left = match left.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    format!("identifying: {ready} of {total} shards ready, about {left} left")
}

/// Adds to queued shards' problems when the last of them has its turn, or why no permit is granted now. An empty queue
/// means that their requests have not arrived.
pub(super) fn describe_queue(
    problems: &mut [Problem],
    identify: &IdentifyView,
    left: Duration,
    held_back: Option<&str>,
) {
    let queued = problems.iter_mut().filter(|problem| problem.code == ProblemCode::ShardQueued);
    let end = match held_back {
        Some(why) => format!("no permit is granted while {why}"),
        None => format!("the last turn is in about {} s", left.as_secs()),
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
