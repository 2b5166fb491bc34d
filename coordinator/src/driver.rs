//! The task that owns the fleet and the identify queue while this coordinator acts.
//!
//! Everything that happens comes to it as a [`DriverCommand`] or as an outcome of something that it started; it turns that into an
//! input of the pure machines and carries out what they want. Store and REST calls run beside it and come back as
//! outcomes, so nothing slow is ever waited for here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use altergolden_proto::v1;
use fleet_model::{Incarnation, Problem, ProblemCode, Term, WorkerId};
use fleet_store::{BudgetRecord, FleetStore, FleetStoreIdentity};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    discord::{Discord, GatewayInfo},
    handle::{Admission, DriverCommand, HandleError},
    metrics::CoordinatorMetrics,
    snapshot::{IdentifyView, Publisher, Role, Snapshot},
};
use fleet::{
    Effect, Fleet, Now, PlanBudget, RegistrationRefused, WantedTotal,
    identify::{IdentifyBudget, IdentifyQueue, unknown_permits_end},
    shard_total::{self, Advice},
};
use fleet_model::ShardCount;

mod exits;
mod held_term;
mod identifies;
mod intents;
pub(crate) mod invalid;
mod notes;
mod outcomes;
mod refusals;
mod streams;
mod term_status;
#[cfg(test)]
mod tests;

use exits::ExitReports;
pub(crate) use held_term::HeldTerm;
use identifies::{BudgetRequests, IdentifyStream};
use intents::IntentWriting;
use invalid::InvalidRecords;
pub(crate) use outcomes::DriverOutcome;
use refusals::RefusalLog;
use streams::WorkerStream;

/// How often time passes for the machines.
const TICK: Duration = Duration::from_millis(100);

/// How often the store is asked whether it is there.
const PROBE: Duration = Duration::from_secs(1);

/// How often the store's records are looked through for invalid ones.
const CHECK: Duration = Duration::from_secs(3);

/// How often the fleet is published although nothing has happened.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// How long a coordinator that stops goes on with shards that are between two workers: less than its streams are kept open.
const IN_TRANSIT: Duration = Duration::from_millis(1_500);

/// Outcomes that wait for the driver.
const OUTCOMES: usize = 256;

/// What outlives a term.
pub(crate) struct Shell {
    pub(crate) store: Arc<dyn FleetStore>,
    pub(crate) discord: Arc<Discord>,
    pub(crate) publisher: Publisher,
    pub(crate) metrics: CoordinatorMetrics,
    pub(crate) holder: Incarnation,
    pub(crate) lease_ttl: Duration,
    pub(crate) reserve: fleet_model::Percent,
    pub(crate) identify_interval: Duration,
    pub(crate) shard_count: ShardCount,
    pub(crate) shard_buffer: fleet_model::Percent,
    /// The next stream's id: over all terms, so that a late word of an old stream is nobody else's.
    pub(crate) next_stream: AtomicU64,
    pub(crate) clock: Clock,
}

impl Shell {
    pub(crate) fn new_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// The wanted shard total, from the settings or Discord's advice.
    pub(crate) fn wanted_total(&self, advice: Advice) -> WantedTotal {
        WantedTotal {
            total: shard_total::wanted(self.shard_count, self.shard_buffer, advice),
            explicit: matches!(self.shard_count, ShardCount::Fixed(_)),
        }
    }

    /// This moment on both clocks.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.clock.now(), unix_ms: unix.as_millis() as u64 }
    }
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermEnd {
    /// The process stops.
    Stopping,
    /// Another coordinator has a higher term.
    Lost(Term),
}

/// See the module's documentation.
pub(crate) struct Driver<'a> {
    shell: &'a Shell,
    held_term: HeldTerm,
    term: Term,
    /// Whether the term is confirmed: see [`term_status`].
    may_act: bool,
    fleet: Fleet,
    identify: IdentifyQueue,
    workers: BTreeMap<WorkerId, WorkerStream>,
    identify_streams: HashMap<u64, IdentifyStream>,
    exits: ExitReports,
    gateway_url: String,
    had_predecessor: bool,
    next_publish: Instant,
    started: TaskTracker,
    outcomes: mpsc::Sender<DriverOutcome>,
    /// The store that is known; another has lost what runs.
    store_identity: FleetStoreIdentity,
    store_asked: bool,
    intents: IntentWriting,
    refusals: RefusalLog,
    invalid_records: InvalidRecords,
    asking: BudgetRequests,
    dirty: bool,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        shell: &'a Shell,
        held_term: HeldTerm,
        fleet: Fleet,
        identify: IdentifyQueue,
        gateway_url: String,
        had_predecessor: bool,
        store_identity: FleetStoreIdentity,
    ) -> (Self, mpsc::Receiver<DriverOutcome>) {
        let (outcomes, receiver) = mpsc::channel(OUTCOMES);
        let driver = Self {
            shell,
            term: held_term.term(),
            held_term,
            may_act: true,
            fleet,
            identify,
            workers: BTreeMap::new(),
            identify_streams: HashMap::new(),
            exits: ExitReports::default(),
            gateway_url,
            had_predecessor,
            next_publish: Instant::now(),
            started: TaskTracker::new(),
            outcomes,
            store_identity,
            store_asked: false,
            intents: IntentWriting::default(),
            refusals: RefusalLog::default(),
            invalid_records: InvalidRecords::default(),
            asking: BudgetRequests::default(),
            dirty: true,
        };
        (driver, receiver)
    }

    /// Acts until the process stops or the term is lost.
    pub(crate) async fn act(
        mut self,
        mut outcomes: mpsc::Receiver<DriverOutcome>,
        commands: &mut mpsc::Receiver<DriverCommand>,
        stop: &CancellationToken,
    ) -> TermEnd {
        let every = |period| {
            let mut interval = tokio::time::interval(period);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let mut tick = every(TICK);
        let mut probe = every(PROBE);
        let mut check = every(CHECK);
        let mut stops_by = None;
        let end = loop {
            // Timers go first: commands may never stop.
            tokio::select! {
                biased;
                () = stop.cancelled(), if stops_by.is_none() => {
                    self.fleet.stop_moving();
                    stops_by = Some(Instant::now() + IN_TRANSIT);
                }
                to = self.held_term.lost() => break TermEnd::Lost(to),
                _ = tick.tick() => {
                    self.refresh_term_state();
                    self.tick();
                    // After a tick, as much time as it took is left for commands.
                    tick.reset();
                }
                _ = probe.tick() => self.probe_store(),
                _ = check.tick() => self.check_store(),
                Some(outcome) = outcomes.recv() => {
                    self.refresh_term_state();
                    self.on_outcome(outcome);
                }
                command = commands.recv() => match command {
                    Some(command) => {
                        self.refresh_term_state();
                        self.handle_command(command);
                    }
                    None => break TermEnd::Stopping,
                },
            }
            self.carry_out();
            if stops_by.is_some_and(|by| !self.fleet.has_shards_in_transit() || Instant::now() >= by) {
                break TermEnd::Stopping;
            }
        };
        self.started.close();
        end
    }

    fn tick(&mut self) {
        let now = self.shell.now();
        self.fleet.tick(now);
        self.grant_permits(now.mono);
        self.refresh_budget(now.mono);
        // Some problems come and go with time alone.
        if Instant::now() >= self.next_publish {
            self.dirty = true;
            self.next_publish = Instant::now() + PUBLISH_EVERY;
        }
    }

    /// Carries out what the fleet wants, and publishes what changed.
    fn carry_out(&mut self) {
        // Of several assignments to one worker only the last one counts.
        let mut assignments = BTreeMap::new();
        for effect in self.fleet.take_effects() {
            self.dirty = true;
            match effect {
                Effect::Write(owners) => self.write_owners(owners),
                Effect::WriteTotal(total) => self.write_total(total),
                Effect::Send(worker, assignment) => {
                    assignments.insert(worker, assignment);
                }
                Effect::WriteIntent(intent) => self.write_intent(&intent),
                Effect::Drain(worker) => self.drain(&worker),
                Effect::WriteLastRan(at) => self.write_last_ran(at),
                Effect::Revoke { worker, incarnation, cause } => self.revoke(worker, incarnation, cause),
                Effect::FindLeases => self.find_leases(),
                Effect::Probe { worker, incarnation, address, broke_at } => {
                    self.probe_worker(worker, incarnation, address, broke_at);
                }
                Effect::Forget(worker, incarnation) => self.forget(worker, incarnation),
                Effect::Note(note) => self.note(&note),
            }
        }
        for (worker, assignment) in assignments {
            let assignment = v1::Assignment::from(&assignment);
            self.send(&worker, v1::directive::Directive::Assignment(assignment));
        }
        self.answer_written();
        if self.dirty {
            self.publish();
        }
    }

    fn publish(&mut self) {
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
            let table = v1::RoutingTable::from(&*routes);
            let workers: Vec<WorkerId> = self.workers.keys().cloned().collect();
            for worker in workers {
                self.send(&worker, v1::directive::Directive::RoutingTable(table.clone()));
            }
        }
    }

    fn handle_command(&mut self, command: DriverCommand) {
        let now = self.shell.now();
        match command {
            DriverCommand::MayJoin { registration, reply } => {
                let answer = self
                    .fleet
                    .may_join(&registration.worker, &registration.incarnation)
                    .and_then(|()| self.fleet.check_claims(&registration, now))
                    .map_err(|refused| self.refuse(refused));
                let _ = reply.send(self.require_confirmed_term().and(answer).map(|()| self.term));
            }
            DriverCommand::Join { reply, .. } if !self.may_act => drop(reply.send(Err(self.in_doubt()))),
            DriverCommand::Join { registration, reply } => {
                let worker = registration.worker.clone();
                if !registration.running.is_empty() && !self.had_predecessor {
                    // A fleet that nobody wrote down: its permits are unknown.
                    self.had_predecessor = true;
                    self.identify.hold_until(now.mono + unknown_permits_end(self.shell.identify_interval));
                }
                let joined = self.fleet.join(*registration, now).map(|assignment| Admission {
                    term: self.term,
                    assignment,
                    lease_ttl: self.shell.lease_ttl,
                    gateway_url: self.gateway_url.clone(),
                });
                if joined.is_ok() {
                    // The new life's directives go over its new stream.
                    self.workers.remove(&worker);
                }
                let _ = reply.send(joined.map_err(|refused| self.refuse(refused)));
            }
            DriverCommand::OpenHeartbeat { worker, incarnation, peer, reply } => {
                let _ = reply
                    .send(self.open_heartbeat(worker, incarnation, peer).ok_or(HandleError::UnknownWorker));
            }
            DriverCommand::Report(waiting) => {
                let stream = waiting.stream();
                if let Some((sequence, report)) = waiting.take() {
                    self.take_report(stream, sequence, *report, now);
                }
            }
            DriverCommand::HeartbeatEnded { stream } => self.heartbeat_ended(stream, now),
            DriverCommand::Exited { worker, incarnation, reason, reply } => {
                self.exit_reported(worker, incarnation.as_ref(), &reason, reply, now);
            }
            DriverCommand::OpenIdentify { worker, incarnation, reply } => {
                let _ =
                    reply.send(self.open_identify(worker, &incarnation).ok_or(HandleError::UnknownWorker));
            }
            DriverCommand::RequestPermit { stream, ticket, shard, epoch, traceparent } => {
                self.request_permit(stream, ticket, shard, epoch, &traceparent, now.mono);
            }
            DriverCommand::Used { stream, ticket } => self.identify_used(stream, ticket, now.mono),
            DriverCommand::Cancel { stream, ticket } => self.identify_cancelled(stream, ticket, now.mono),
            DriverCommand::IdentifyEnded { stream } => self.identify_ended(stream, now.mono),
            DriverCommand::StartPlan { kind, dry_run, reply } => {
                let means = self.plan_budget();
                if dry_run {
                    drop(reply.send(self.fleet.propose_plan(kind, means, now).map_err(HandleError::Plan)));
                } else {
                    let plan = self.fleet.start_plan(kind, means, now);
                    self.answer_plan(reply, plan);
                }
            }
            DriverCommand::AbortPlan { reply } => {
                let plan = self.fleet.abort_plan(now);
                self.answer_plan(reply, plan);
            }
        }
    }

    /// What a plan may use.
    fn plan_budget(&self) -> PlanBudget {
        let budget = self.identify.budget();
        let left = if self.identify.halted().is_some() { 0 } else { budget.remaining };
        PlanBudget {
            identifies: left.saturating_sub(budget.reserve),
            max_concurrency: self.identify.max_concurrency(),
            identify_interval: self.shell.identify_interval,
        }
    }

    fn refuse(&mut self, refused: RegistrationRefused) -> HandleError {
        self.note_refusal(&refused);
        HandleError::Refused { refused, lease_ttl: self.shell.lease_ttl }
    }
}

/// Adds to queued shards' problems when the last of them has its turn, or why no permit is granted now. An empty queue
/// means that their requests have not arrived.
fn describe_queue(
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

fn short_budget(budget: &IdentifyBudget, now: Duration) -> String {
    let hours = budget.resets_at.saturating_sub(now).as_secs_f64() / 3600.0;
    format!(
        "the identify budget is short: {} of {} left, {} are kept back (IDENTIFY_RESERVE); it resets in {hours:.1} h and is \
         asked for again within 5 minutes",
        budget.remaining, budget.total, budget.reserve
    )
}

/// The budget to start from: the lower of Discord's count and our own, while our own day is not over. Our own is ignored
/// when it ends later than a day can.
pub(crate) fn budget_from(
    info: &GatewayInfo,
    own: Option<BudgetRecord>,
    reserve: fleet_model::Percent,
    now: Now,
) -> IdentifyBudget {
    let days = now.unix_ms + 1..now.unix_ms.saturating_add(2 * 24 * 3600 * 1000);
    let own = own.filter(|own| days.contains(&own.resets_at_unix_ms));
    IdentifyBudget {
        total: info.total,
        remaining: own.map_or(info.remaining, |own| own.remaining.min(info.remaining)),
        reserve: reserve.of(info.total),
        resets_at: now.mono + info.reset_after,
    }
}
