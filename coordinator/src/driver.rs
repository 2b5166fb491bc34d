//! The task that owns the fleet and the identify queue while this coordinator acts.
//!
//! All input arrives as a [`DriverCommand`] or as the outcome of a call that the driver started. The driver passes it to the
//! pure machines and carries out their effects. Calls to the store and to Discord run beside it and come back as outcomes, so
//! the driver never waits for anything slow.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleet_model::{Directive, Incarnation, ShardCount, Term};
use fleet_store::{BudgetRecord, FleetStore, FleetStoreIdentity};
use process::{credentials::Credentials, supervised::report_serving};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock,
    discord::{Discord, GatewayInfo},
    handle::DriverCommand,
    history::History,
    metrics::CoordinatorMetrics,
    snapshot::Publisher,
};
use fleet::{
    Effect, Fleet, Now, WantedTotal,
    history::ProblemChanges,
    identify::{IdentifyBudget, IdentifyQueue},
    shard_total::{self, Advice},
};

mod commands;
mod copy_tickets;
mod exits;
mod held_term;
mod identifies;
mod intents;
pub(crate) mod invalid;
mod notes;
mod outcomes;
mod publishing;
mod refusals;
mod streams;
mod term_status;
#[cfg(test)]
mod tests;
mod traces;

use copy_tickets::CopyTickets;
use exits::ExitReports;
pub(crate) use held_term::HeldTerm;
use identifies::Permits;
use intents::IntentWriting;
use invalid::InvalidRecords;
pub(crate) use outcomes::DriverOutcome;
use publishing::IdentifyProgress;
use refusals::RefusalLog;
use streams::WorkerStreams;
use traces::MoveTraces;

/// Interval of the machines' ticks.
const TICK: Duration = Duration::from_millis(100);

/// Interval of the store's probes.
const PROBE: Duration = Duration::from_secs(1);

/// Interval of the search for invalid records in the store.
const CHECK: Duration = Duration::from_secs(3);

/// How often the fleet is published even if nothing has happened.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// The least time between two publications, in times of what one takes: a large fleet changes more often than it can be copied.
const PUBLISHING_SHARE: u32 = 10;

/// How long a stopping coordinator finishes handoffs of shards that no worker runs: less than its streams stay open.
const IN_TRANSIT: Duration = Duration::from_millis(1_500);

/// Outcomes that wait for the driver.
const OUTCOMES: usize = 256;

/// The part of the driver that outlives a term.
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
    /// The next stream's id, over all terms: a late message of an old stream never belongs to a new one.
    pub(crate) next_stream: AtomicU64,
    pub(crate) clock: Clock,
    pub(crate) history: History,
    /// Done once the supervisor knows that this coordinator serves.
    pub(crate) reported: Once,
    /// Address of the health endpoints.
    pub(crate) health: Option<SocketAddr>,
    pub(crate) credentials: Credentials,
}

impl Shell {
    /// Tells the supervisor, if there is one, that this coordinator serves.
    pub(crate) fn report_serving(&self) {
        self.reported.call_once(|| report_serving(self.health));
    }

    pub(crate) fn new_stream(&self) -> u64 {
        self.next_stream.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the wanted shard total, from the settings or Discord's advice.
    pub(crate) fn wanted_total(&self, advice: Advice) -> WantedTotal {
        WantedTotal {
            total: shard_total::wanted(self.shard_count, self.shard_buffer, advice),
            explicit: matches!(self.shard_count, ShardCount::Fixed(_)),
        }
    }

    /// Returns this moment on both clocks.
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
    /// The store has records of a higher term that no coordinator holds: writes that Redis lost, or another program's.
    Outranked,
}

/// See the module's documentation.
pub(crate) struct Driver<'a> {
    shell: &'a Shell,
    term: ActingTerm,
    fleet: Fleet,
    permits: Permits,
    workers: WorkerStreams,
    exits: ExitReports,
    store: KnownStore,
    intents: IntentWriting,
    refusals: RefusalLog,
    traces: MoveTraces,
    tickets: CopyTickets,
    calls: Calls,
    publishing: Publishing,
}

/// What a driver begins with.
pub(crate) struct DriverParts {
    pub(crate) held_term: HeldTerm,
    pub(crate) fleet: Fleet,
    pub(crate) identify: IdentifyQueue,
    pub(crate) gateway_url: String,
    pub(crate) had_predecessor: bool,
    pub(crate) store_identity: FleetStoreIdentity,
}

/// The term, and what is known for all of it.
struct ActingTerm {
    held: HeldTerm,
    number: Term,
    /// Whether the term is confirmed: see [`term_status`].
    may_act: bool,
    /// Another coordinator acted before this one, so permits of both count.
    had_predecessor: bool,
    gateway_url: String,
}

/// What the driver knows of the store.
struct KnownStore {
    /// Identity of the store that holds the owners. A store with another identity has lost the owners.
    identity: FleetStoreIdentity,
    /// The store was asked for its identity and has not answered yet.
    asked: bool,
    invalid: InvalidRecords,
    /// The last check found invalid records, or no shard total.
    records_missing: bool,
    /// Whether it was written down last that this store is trusted.
    saved_trust: Option<bool>,
}

/// Calls that run beside the driver, and where their outcomes go.
struct Calls {
    tasks: TaskTracker,
    outcomes: mpsc::Sender<DriverOutcome>,
}

/// When the fleet is published.
struct Publishing {
    /// Something has changed since the last time.
    dirty: bool,
    /// Not before this moment.
    earliest: Instant,
    next: Instant,
    /// The problems of the next snapshot are compared with those before.
    compares_problems: bool,
    problems: ProblemChanges,
    progress: IdentifyProgress,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(shell: &'a Shell, parts: DriverParts) -> (Self, mpsc::Receiver<DriverOutcome>) {
        let DriverParts { held_term, fleet, identify, gateway_url, had_predecessor, store_identity } = parts;
        let (outcomes, receiver) = mpsc::channel(OUTCOMES);
        let number = held_term.term();
        let driver = Self {
            shell,
            term: ActingTerm { held: held_term, number, may_act: true, had_predecessor, gateway_url },
            fleet,
            permits: Permits::new(identify),
            workers: WorkerStreams::default(),
            exits: ExitReports::default(),
            store: KnownStore {
                identity: store_identity,
                asked: false,
                invalid: InvalidRecords::default(),
                records_missing: false,
                saved_trust: None,
            },
            intents: IntentWriting::default(),
            refusals: RefusalLog::default(),
            traces: MoveTraces::default(),
            tickets: CopyTickets::new(rand::random()),
            calls: Calls { tasks: TaskTracker::new(), outcomes },
            publishing: Publishing {
                dirty: true,
                earliest: Instant::now(),
                next: Instant::now(),
                compares_problems: false,
                problems: ProblemChanges::default(),
                progress: IdentifyProgress::default(),
            },
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
            let permit_in = self.next_permit_in();
            // Timers go first: commands may never stop.
            tokio::select! {
                biased;
                () = stop.cancelled(), if stops_by.is_none() => {
                    self.fleet.stop_moving();
                    stops_by = Some(Instant::now() + IN_TRANSIT);
                }
                end = self.term.held.over() => break end,
                _ = tick.tick() => {
                    self.refresh_term_state();
                    self.tick();
                    // After a tick, as much time as it took is left for commands.
                    tick.reset();
                }
                () = tokio::time::sleep(permit_in.unwrap_or_default()), if permit_in.is_some() => {
                    self.grant_permits(self.shell.now().mono);
                }
                _ = probe.tick() => {
                    self.give_up_gone_workers();
                    self.probe_store();
                }
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
        self.calls.tasks.close();
        let now = self.shell.now();
        for entry in self.publishing.problems.end_of_term(self.term.number, now) {
            self.shell.history.record(entry);
        }
        end
    }

    fn tick(&mut self) {
        let now = self.shell.now();
        self.fleet.tick(now);
        self.save_trust(now);
        self.traces.end_old(now.mono);
        self.grant_permits(now.mono);
        self.refresh_budget(now.mono);
        // Some problems come and go with time alone.
        if Instant::now() >= self.publishing.next {
            self.publishing.dirty = true;
            self.publishing.compares_problems = true;
            self.publishing.next = Instant::now() + PUBLISH_EVERY;
        }
    }

    /// Carries out the fleet's effects, and publishes changes.
    fn carry_out(&mut self) {
        // Of several assignments to one worker only the last one counts.
        let mut assignments = BTreeMap::new();
        for effect in self.fleet.take_effects() {
            self.publishing.dirty = true;
            match effect {
                Effect::Write(owners) => self.write_owners(owners),
                Effect::WriteTotal(total) => self.write_total(total),
                Effect::Send(worker, assignment) => {
                    assignments.insert(worker, assignment);
                }
                Effect::WriteIntent(intent) => self.write_intent(&intent),
                Effect::Drain(worker) => self.drain(&worker),
                Effect::WriteLastRan(at) => self.write_last_ran(at),
                Effect::WriteHeadSigning(signing) => self.write_head_signing(signing),
                Effect::Revoke { worker, incarnation, cause } => self.revoke(worker, incarnation, cause),
                Effect::FindLeases => self.find_leases(),
                Effect::Probe { worker, incarnation, address, broke_at } => {
                    self.probe_worker(worker, incarnation, address, broke_at);
                }
                Effect::Forget(worker, incarnation) => self.forget(worker, incarnation),
                Effect::Note(note) => self.note(&note),
            }
        }
        // Once for all of them: a lost worker's shards can be thousands.
        let mut traces = if assignments.is_empty() { BTreeMap::new() } else { self.traces.of_workers() };
        for (worker, mut assignment) in assignments {
            assignment.traces = traces.remove(&worker).unwrap_or_default();
            self.tickets.add_to(&mut assignment, &worker);
            self.send(&worker, Directive::Assignment(Box::new(assignment)));
        }
        self.answer_written();
        let begun = Instant::now();
        if self.publishing.dirty && begun >= self.publishing.earliest {
            self.publish();
            let took = begun.elapsed().min(PUBLISH_EVERY);
            self.publishing.earliest = begun + (took * PUBLISHING_SHARE).min(PUBLISH_EVERY);
        }
    }
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
