//! The supervisor's task: owns the slots and the processes in them, and carries out what the slots decide.
//!
//! One loop takes everything that happens: ends of processes, reports that they serve, what the coordinator says of the fleet, signals,
//! requests to replace, the end of Redis, and time. Nothing in it waits for a process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use backoff::Policy;
use process::{credentials::Credentials, server::raised_descriptor_limit};
use shard_bridge::FleetGlance;
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use tokio_util::sync::CancellationToken;

use crate::{
    child::{Child, Outputs, Serving},
    control::{self, Client, ReplaceRequest},
    fleet_watch,
    handover::Handover,
    kept_signals,
    layout::Size,
    notify::Notifier,
    output::{Lines, Output, OwnLines},
    ports::{self, HeldPort},
    program::{HANDOVER, Kind, Programs, running_program},
    slot::{Slot, SlotPolicy},
    state_folder::StateFolder,
};

mod adopting;
mod effects;
mod intro;
mod looking;
mod own_ports;
mod redis;
mod replacing;
mod signals;
mod stopping;

use effects::ChildKey;
use own_ports::{held_ports, wanted_ports};
use redis::OwnRedis;
use replacing::{Checking, Roll};
use signals::Signals;
use stopping::Stage;

pub use replacing::CHECK_FLAG;

/// How long the loop sleeps at most: lost signals and the state of the fleet are looked at that often.
const TICK: Duration = Duration::from_secs(1);

/// How long the last lines may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// How much longer than its drain a worker may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The most restarts of a slot in ten minutes.
const BUDGET: usize = 12;
const BUDGET_WINDOW: Duration = Duration::from_mins(10);

/// The longest wait before a restart, and how long a run must last until failures before it are forgotten.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
const STEADY: Duration = Duration::from_mins(1);

/// What is to run, and how.
#[derive(Clone, Debug)]
pub struct SupervisorConfig {
    /// The state folder.
    pub state: PathBuf,
    /// The file of this program: what a replacement on SIGHUP executes.
    pub program: PathBuf,
    /// The arguments of this process, without its name.
    pub args: Vec<OsString>,
    /// Variables that a settings file has set, which the next image reads again.
    pub file_variables: Vec<String>,
    /// The bot's own worker.
    pub worker_program: Option<PathBuf>,
    /// Settings that flags have set, for the environment of all programs.
    pub variables: Vec<(String, String)>,
    /// Address of the coordinator's gRPC server; port 0 takes a free one.
    pub coordinator: SocketAddr,
    /// What the supervisor proves to the coordinator. Programs read theirs themselves.
    pub credentials: Credentials,
    /// Address that health ports are bound to.
    pub health_host: IpAddr,
    /// Health port of the coordinator.
    pub manager_health_port: u16,
    /// Health port of worker 0.
    pub health_port: u16,
    /// Address that workers' gRPC servers are bound to.
    pub worker_host: IpAddr,
    /// Address of the REST proxy, if its port is fixed. All workers listen on it.
    pub rest: Option<SocketAddr>,
    /// How many workers run.
    pub size: Size,
    /// The first wait before a restart.
    pub respawn_delay: Duration,
    /// How long a program may take until it serves.
    pub spawn_within: Duration,
    /// How long a worker may take to hand off its shards.
    pub drain_within: Duration,
    /// Resident memory above which a worker is replaced, in bytes.
    pub max_memory: Option<u64>,
    /// Address of the simulated Discord to start; port 0 takes a free one.
    pub simulator: Option<SocketAddr>,
    /// Start a Redis in the state folder.
    pub own_redis: bool,
    /// How lines are shown.
    pub lines: Lines,
}

/// How the supervisor ended.
#[derive(Debug)]
pub enum SupervisorEnd {
    /// It was told to stop, and everything has stopped.
    Stopped,
    /// It was told to stop twice: everything was killed.
    Killed,
    /// A setting is wrong.
    WrongSetting(String),
    /// Discord refused the token.
    TokenRefused(String),
    /// It can't run.
    Failed(String),
}

/// Whether this process is a later image of a supervisor that runs.
pub fn is_replacement() -> bool {
    std::env::var_os(HANDOVER).is_some()
}

/// Runs a fleet until the process is told to stop.
pub async fn run(config: SupervisorConfig) -> SupervisorEnd {
    let (mut own_lines, err) = match OwnLines::redirect(config.lines) {
        Ok(redirected) => redirected,
        Err(error) => return SupervisorEnd::Failed(format!("cannot redirect standard error: {error}")),
    };
    let end = async {
        let out = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned();
        let out = out.and_then(|out| Output::start("stdout", out, config.lines));
        let out = out.map_err(|error| SupervisorEnd::Failed(format!("cannot write output: {error}")))?;
        let outputs = Outputs { out, err: err.clone() };
        let mut supervisor = Supervisor::start(config, outputs, &mut own_lines).await?;
        Err(supervisor.run().await)
    };
    let end: Result<std::convert::Infallible, SupervisorEnd> = end.await;
    own_lines.suspend(FLUSH);
    let Err(end) = end;
    end
}

/// A slot and its place in the fleet.
struct Place {
    kind: Kind,
    slot: Slot,
}

/// A process that runs.
struct RunningChild {
    child: Child,
    name: String,
    /// It reported that it serves.
    reported: bool,
    /// The incarnation that its name had in the fleet when it started.
    stale: Option<String>,
    /// Its own incarnation, once it was seen in the fleet. Kept when the connection has broken, as it does when the process dies.
    incarnation: Option<String>,
    /// An earlier image has started it.
    inherited: bool,
}

/// See the module's documentation.
struct Supervisor<'a> {
    config: SupervisorConfig,
    outputs: Outputs,
    own_lines: &'a mut OwnLines,
    folder: StateFolder,
    /// Held as long as the supervisor runs.
    _ports: Vec<HeldPort>,
    programs: Programs,
    places: Vec<Place>,
    children: BTreeMap<ChildKey, RunningChild>,
    serving: mpsc::Sender<Serving<ChildKey>>,
    is_serving: mpsc::Receiver<Serving<ChildKey>>,
    fleet: watch::Receiver<Option<FleetGlance>>,
    requests: mpsc::Receiver<ReplaceRequest>,
    redis: Option<OwnRedis>,
    signals: Signals,
    notifier: Notifier,
    roll: Option<Roll>,
    checking: Option<Checking>,
    client: Option<Client>,
    stage: Stage,
    end: Option<SupervisorEnd>,
    started_at: Instant,
    is_ready: bool,
    /// A fleet has started with these settings.
    trusts_settings: bool,
    measured_at: Instant,
    watchdog_at: Instant,
}

impl<'a> Supervisor<'a> {
    async fn start(
        mut config: SupervisorConfig,
        outputs: Outputs,
        own_lines: &'a mut OwnLines,
    ) -> Result<Self, SupervisorEnd> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| SupervisorEnd::Failed(format!("{what}: {error}"));
        let mut signals = Signals::listen().map_err(|error| failed("cannot listen for signals", &error))?;
        let is_stopped = kept_signals::take_stop();
        // Six descriptors for each child, and the usual limit is 1,024.
        raised_descriptor_limit();
        let inherited = if is_replacement() {
            let taken = Handover::take().map_err(|error| failed("cannot take over", &error))?;
            Some(taken)
        } else {
            None
        };
        let (folder, inherited) = match inherited {
            Some((mut handover, mut descriptors)) if !descriptors.is_empty() => {
                let lock = descriptors.remove(0);
                config.coordinator = handover.coordinator.take().unwrap_or(config.coordinator);
                config.simulator = config.simulator.and(handover.simulator.take()).or(config.simulator);
                (StateFolder::inherit(&config.state, lock), Some((handover, descriptors)))
            }
            _ => (
                StateFolder::open(&config.state)
                    .map_err(|error| SupervisorEnd::WrongSetting(error.to_string()))?,
                None,
            ),
        };
        let stop_within = config.drain_within + STOP_GRACE;
        if inherited.is_none() {
            tokio::select! {
                () = folder.end_leftovers(stop_within) => {}
                () = signals.stop() => return Err(SupervisorEnd::Stopped),
            }
            ports::check(&wanted_ports(&config)).map_err(SupervisorEnd::WrongSetting)?;
            let free =
                |address| ports::with_free_port(address).map_err(|error| failed("no free port", &error));
            config.coordinator = free(config.coordinator)?;
            config.simulator = config.simulator.map(free).transpose()?;
        }
        let ports = ports::hold(&held_ports(&config));
        let redis = match (config.own_redis, &inherited) {
            (true, Some(_)) => Some(
                OwnRedis::take_over(folder.path())
                    .await
                    .map_err(|error| SupervisorEnd::WrongSetting(error.to_string()))?,
            ),
            (true, None) => Some(tokio::select! {
                started = OwnRedis::start(folder.path()) => started.map_err(|error| SupervisorEnd::WrongSetting(error.to_string()))?,
                () = signals.stop() => return Err(SupervisorEnd::Stopped),
            }),
            (false, _) => None,
        };
        let programs = Programs {
            own: running_program(&config.program),
            worker: config.worker_program.clone(),
            variables: config.variables.clone(),
            coordinator: config.coordinator,
            manager_health_port: config.manager_health_port,
            health_port: config.health_port,
            worker_host: config.worker_host,
            redis: redis.as_ref().map(|redis| redis.url.clone()),
            simulator: config.simulator,
            credentials: config.credentials.clone(),
        };
        let (to_loop, requests) = mpsc::channel(1);
        if let Err(error) = control::listen(folder.path(), to_loop) {
            tracing::warn!(%error, "cannot listen in the state folder; `altergolden up --replace` will not find this supervisor");
        }
        let (published, fleet) = watch::channel(None);
        // Until this process ends.
        tokio::spawn(programs.credentials.clone().watch(CancellationToken::new()));
        tokio::spawn(fleet_watch::follow(
            programs.coordinator_url(),
            programs.credentials.clone(),
            published,
        ));
        let (serving, is_serving) = mpsc::channel(64);
        let now = Instant::now();
        let mut supervisor = Self {
            outputs,
            own_lines,
            folder,
            _ports: ports,
            programs,
            places: Vec::new(),
            children: BTreeMap::new(),
            serving,
            is_serving,
            fleet,
            requests,
            redis,
            signals,
            notifier: Notifier::from_env(),
            roll: None,
            checking: None,
            client: None,
            stage: Stage::Running,
            end: None,
            started_at: now,
            is_ready: false,
            trusts_settings: false,
            measured_at: now,
            watchdog_at: now,
            config,
        };
        supervisor.make_places();
        match inherited {
            Some((handover, descriptors)) => supervisor.adopt(handover, descriptors),
            None => supervisor.start_all(),
        }
        if is_stopped {
            supervisor.stop(SupervisorEnd::Stopped);
        }
        Ok(supervisor)
    }

    /// The slots of the fleet, in the order in which they start.
    fn make_places(&mut self) {
        let mut kinds = Vec::new();
        kinds.extend(self.config.simulator.map(|_| Kind::Simulator));
        kinds.push(Kind::Coordinator);
        kinds.extend((0..self.config.size.workers).map(Kind::Worker));
        for kind in kinds {
            self.add_place(kind);
        }
    }

    fn add_place(&mut self, kind: Kind) -> usize {
        let worker = matches!(kind, Kind::Worker(_));
        let policy = SlotPolicy {
            restarts: Policy {
                first: self.config.respawn_delay,
                longest: LONGEST_WAIT.max(self.config.respawn_delay),
                steady: STEADY,
                free: 0,
            },
            budget: BUDGET,
            window: BUDGET_WINDOW,
            spawn_within: self.config.spawn_within,
            stop_within: if worker { self.config.drain_within + STOP_GRACE } else { STOP_GRACE },
            max_memory: self.config.max_memory.filter(|_| worker),
        };
        let mut slot = Slot::new(policy);
        if self.trusts_settings {
            slot.trust_settings();
        }
        self.places.push(Place { kind, slot });
        self.places.len() - 1
    }

    fn start_all(&mut self) {
        let now = Instant::now();
        for at in 0..self.places.len() {
            let effects = self.places[at].slot.start(now);
            self.apply(at, effects);
        }
        self.introduce();
    }

    /// Runs until everything has stopped.
    async fn run(&mut self) -> SupervisorEnd {
        loop {
            let wake = self.next_deadline();
            tokio::select! {
                _ = self.signals.child.recv() => {}
                Some(serving) = self.is_serving.recv() => self.take_report(serving),
                Ok(()) = self.fleet.changed() => self.take_glance(),
                _ = self.signals.terminate.recv() => self.stop_or_kill(),
                _ = self.signals.interrupt.recv() => self.stop_or_kill(),
                _ = self.signals.hangup.recv() => self.hang_up(),
                Some(request) = self.requests.recv() => self.begin_replace(request.program, Some(request.client)),
                checked = replacing::checked(&mut self.checking) => self.take_over(checked),
                () = redis::changed(&mut self.redis) => self.take_redis_news(),
                () = sleep_until(wake.into()) => {}
            }
            self.turn();
            if self.stage == Stage::Over {
                self.stop_redis().await;
                return self.end.take().unwrap_or(SupervisorEnd::Stopped);
            }
        }
    }

    /// SIGHUP: the terminal was closed, or without one a service manager wants a replacement.
    fn hang_up(&mut self) {
        if matches!(self.config.lines, Lines::Prefixed { .. }) {
            self.stop(SupervisorEnd::Stopped);
        } else {
            self.begin_replace(self.config.program.clone(), None);
        }
    }

    /// What is done after each event.
    fn turn(&mut self) {
        self.reap();
        let now = Instant::now();
        for at in 0..self.places.len() {
            let effects = self.places[at].slot.tick(now);
            self.apply(at, effects);
        }
        self.grant_time(now);
        self.note_answers(now);
        self.measure(now);
        self.advance_roll(now);
        self.advance_stop();
        self.note_ready(now);
        if let Some(every) = self.notifier.watchdog_interval()
            && now >= self.watchdog_at
        {
            self.notifier.watchdog();
            self.watchdog_at = now + every;
        }
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let slots = self.places.iter().filter_map(|place| place.slot.next_deadline());
        let watchdog = self.notifier.watchdog_interval().map(|_| self.watchdog_at);
        slots.chain(watchdog).min().unwrap_or(now + TICK).clamp(now, now + TICK)
    }
}
