//! The fleet that faults happen to: our programs as real processes, Redis, discord-sim, and a proxy on each link between them.
//!
//! Owns the processes and their lives: each start of a program has a log and, for a worker, a ledger of its own in one folder.
//! What is done to it is decided elsewhere.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use discord_sim::{Control, Sim, SimConfig};
use fleet_fixture::{Coordinator, Deployment, Process, Proxy, Signal, humantime};
use relay::RelayError;
use tokio::time::timeout;

use crate::{
    line::{Book, BookError},
    relayed,
    schedule::{Link, Shape},
};

mod plans;

/// How long a program may take to end when it is told to.
const STOP: Duration = Duration::from_secs(40);

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards.
    pub shards: u32,
    /// Workers.
    pub workers: usize,
    /// Messages a second over all guilds.
    pub events_per_second: f64,
    /// Guilds.
    pub guilds: u32,
    /// The lease's time to live.
    pub lease_ttl: Duration,
    /// Discord's heartbeat interval.
    pub heartbeat_interval: Duration,
    /// More settings of the workers: `CHECKPOINT`, `LEDGER_HANDLE_MS`, `FAILPOINTS` and so on.
    pub worker_env: Vec<(String, String)>,
    /// Workers by number that die, on their first run, at the given arrival at a failpoint: `NAME:TIMES`.
    pub die_at: Vec<(usize, String)>,
    /// The same for the workers that a deployment starts.
    pub successors_die_at: Vec<(usize, String)>,
    /// Failpoints for coordinators, by the number of their start, as `NAME:TIMES`.
    pub coordinators_die_at: Vec<(u32, String)>,
    /// Workers relay what they receive.
    pub relays: bool,
    /// The folder of `altergolden credentials init` for all processes.
    pub credentials: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            shards: 12,
            workers: 3,
            events_per_second: 500.0,
            guilds: 96,
            lease_ttl: fleet_fixture::LEASE_TTL,
            heartbeat_interval: Duration::from_secs(5),
            // A worker that is told to stop with its whole fleet waits that long for a coordinator that is gone.
            worker_env: vec![("DRAIN_TIMEOUT".to_owned(), "3s".to_owned())],
            die_at: Vec::new(),
            successors_die_at: Vec::new(),
            coordinators_die_at: Vec::new(),
            relays: false,
            credentials: None,
        }
    }
}

impl Setup {
    /// The same with one more setting of the workers.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.worker_env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with workers that relay what they receive.
    #[must_use]
    pub fn relaying(mut self) -> Self {
        self.relays = true;
        self.with("RELAY", "redis")
    }

    /// The simulated Discord of such a fleet, which gateway connections reach by this address.
    fn sim(&self, advertise: Option<String>) -> SimConfig {
        SimConfig {
            guilds: self.guilds,
            shards: Some(self.shards),
            max_concurrency: self.shards as u16,
            identify_interval: fleet_fixture::DEMANDED_INTERVAL,
            heartbeat_interval: self.heartbeat_interval,
            daily_identifies: 100_000,
            advertise,
            ..SimConfig::default()
        }
    }

    /// The shape of plans for such a fleet: its workers, shards and guilds.
    ///
    /// # Panics
    /// No port is free.
    pub async fn shape(&self) -> Shape {
        let sim = Sim::start(self.sim(None)).await.expect("the simulator starts on a free port");
        let guilds = sim.control().guilds(self.guilds as usize, self.shards);
        let guilds = guilds.iter().map(|guild| guild.id.0).collect();
        Shape { workers: self.workers, shards: self.shards, guilds, ..Shape::default() }
    }
}

/// A worker's place: its name stays, its process comes and goes.
struct Seat {
    base: String,
    generation: u32,
    lives: u32,
    process: Option<Process>,
    /// Of the next generation, while a deployment is under way.
    successor: Option<Process>,
    to_coordinator: Proxy,
    to_redis: Proxy,
}

impl Seat {
    /// The worker's name: each generation has its own.
    fn name(&self) -> String {
        name_in(&self.base, self.generation)
    }
}

fn name_in(base: &str, generation: u32) -> String {
    if generation == 0 { base.to_owned() } else { format!("{base}.g{generation}") }
}

/// A fleet that runs.
pub struct Fleet {
    setup: Setup,
    folder: PathBuf,
    deployment: Deployment,
    coordinator: Option<Coordinator>,
    coordinator_address: SocketAddr,
    coordinator_lives: u32,
    coordinator_to_redis: Proxy,
    second: Option<Coordinator>,
    seats: Vec<Seat>,
    to_discord: Proxy,
}

impl Fleet {
    /// Starts all of it, and waits until every shard is ready. Logs and ledgers go into the folder.
    ///
    /// # Panics
    /// A program is not built, or the fleet does not get ready.
    pub async fn start(setup: Setup, folder: &Path) -> Self {
        let to_discord = Proxy::unaimed().await;
        let sim = setup.sim(Some(to_discord.address().to_string()));
        let deployment = Deployment::start(sim).await;
        to_discord.aim(deployment.sim.addr());
        let redis = SocketAddr::from(([127, 0, 0, 1], deployment.redis.port()));
        let mut seats = Vec::new();
        for number in 0..setup.workers {
            seats.push(Seat {
                base: format!("w{number}"),
                generation: 0,
                lives: 0,
                process: None,
                successor: None,
                to_coordinator: Proxy::unaimed().await,
                to_redis: Proxy::to(redis).await,
            });
        }
        let mut fleet = Self {
            setup,
            folder: folder.to_owned(),
            deployment,
            coordinator: None,
            coordinator_address: SocketAddr::from(([127, 0, 0, 1], 0)),
            coordinator_lives: 0,
            coordinator_to_redis: Proxy::to(redis).await,
            second: None,
            seats,
            to_discord,
        };
        fleet.start_coordinator().await;
        for number in 0..fleet.seats.len() {
            fleet.start_worker(number);
        }
        fleet.balanced().await;
        fleet
    }

    /// The simulator.
    pub fn control(&self) -> Control {
        self.deployment.sim.control()
    }

    /// Redis.
    pub fn deployment(&mut self) -> &mut Deployment {
        &mut self.deployment
    }

    /// The coordinator that acts.
    ///
    /// # Panics
    /// While it is killed.
    pub fn coordinator(&self) -> &Coordinator {
        self.coordinator.as_ref().expect("a coordinator that was killed is started again")
    }

    /// Waits until every shard is ready, on all workers.
    ///
    /// # Panics
    /// After [`fleet_fixture::PATIENCE`].
    pub async fn balanced(&self) {
        let names: Vec<String> = self.seats.iter().map(Seat::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.coordinator().until_balanced_on(&names).await;
    }

    /// Starts the coordinator, on the port that it had before.
    pub async fn start_coordinator(&mut self) {
        let mut command = self.coordinator_command(&self.coordinator_to_redis);
        command.env("COORDINATOR_LISTEN", self.coordinator_address.to_string());
        let dies = self.setup.coordinators_die_at.iter().filter(|(life, _)| *life == self.coordinator_lives);
        command.envs(dies.map(|(_, point)| ("COORDINATOR_DIE_AT", point)));
        let name = format!("coordinator-{}", self.coordinator_lives);
        self.coordinator_lives += 1;
        let coordinator = Coordinator::listening(self.process(&name, &mut command)).await;
        self.coordinator_address = coordinator.socket();
        for seat in &self.seats {
            seat.to_coordinator.aim(self.coordinator_address);
        }
        self.coordinator = Some(coordinator);
    }

    fn coordinator_command(&self, to_redis: &Proxy) -> Command {
        let mut command = self.deployment.coordinator_command(self.setup.shards);
        command
            .env("LEASE_TTL", humantime(self.setup.lease_ttl))
            .env("REDIS_URL", format!("redis://{}", to_redis.address()));
        if self.setup.relays {
            command.env("RELAY", "redis");
        }
        command.envs(self.setup.credentials.iter().map(|folder| ("CREDENTIALS", folder)));
        command
    }

    /// Sends SIGKILL; when the coordinator must die at a failpoint, waits for that instead: its connections close a moment
    /// before the process can be seen to have ended.
    ///
    /// # Errors
    /// The coordinator did not reach its failpoint in time. It is killed.
    pub async fn kill_coordinator(&mut self) -> Result<(), String> {
        let Some(mut coordinator) = self.coordinator.take() else { return Ok(()) };
        let life = self.coordinator_lives - 1;
        if let Some((_, point)) = self.setup.coordinators_die_at.iter().find(|(dies, _)| *dies == life) {
            let ended = timeout(STOP, coordinator.process.ended()).await;
            if ended.is_err() {
                coordinator.process.kill().await;
                return Err(format!("coordinator {life} has not reached {point}"));
            }
        } else {
            coordinator.process.kill().await;
        }
        Ok(())
    }

    /// Starts another coordinator beside the first.
    pub async fn start_second(&mut self) {
        let mut command = self.coordinator_command(&self.coordinator_to_redis);
        let name = format!("second-coordinator-{}", self.coordinator_lives);
        self.coordinator_lives += 1;
        self.second = Some(Coordinator::listening(self.process(&name, &mut command)).await);
    }

    /// Ends the second coordinator.
    ///
    /// # Errors
    /// It did not end well.
    pub async fn stop_second(&mut self) -> Result<(), String> {
        match self.second.take() {
            Some(second) => stop(second.process, "the second coordinator").await,
            None => Ok(()),
        }
    }

    /// Starts a worker.
    pub fn start_worker(&mut self, number: usize) {
        let generation = self.seats[number].generation;
        let process = self.worker_process(number, generation);
        self.seats[number].process = Some(process);
    }

    /// Another life of a worker, in a generation.
    fn worker_process(&mut self, number: usize, generation: u32) -> Process {
        let seat = &self.seats[number];
        let name = name_in(&seat.base, generation);
        let life = format!("{name}-{}", seat.lives);
        let coordinator = seat.to_coordinator.address().to_string();
        let mut command = self.deployment.bot_command("ledger-bot", &name, &coordinator);
        command
            .env("GENERATION", format!("g{generation}"))
            .env("REDIS_URL", format!("redis://{}", seat.to_redis.address()))
            // Faults can cut the proxy before the simulator, so the gateway is not at the API's address.
            .env("DISCORD_GATEWAY_URL", self.deployment.sim.gateway_url())
            .env("LEDGER_FILE", self.folder.join(format!("{life}.ledger")))
            .envs(self.setup.credentials.iter().map(|folder| ("CREDENTIALS", folder)))
            .envs(self.setup.worker_env.iter().map(|(name, value)| (name, value)));
        let successor = generation > seat.generation;
        let die_at = if successor { &self.setup.successors_die_at } else { &self.setup.die_at };
        let dies = die_at.iter().filter(|(dies, _)| *dies == number && (seat.lives == 0 || successor));
        command.envs(dies.map(|(_, point)| ("LEDGER_DIE_AT", point)));
        let process = self.process(&life, &mut command);
        self.seats[number].lives += 1;
        process
    }

    /// SIGKILL.
    pub async fn kill_worker(&mut self, number: usize) {
        if let Some(mut process) = self.seats[number].process.take() {
            process.kill().await;
        }
    }

    /// Sends a worker a signal.
    pub fn signal_worker(&self, number: usize, signal: Signal) {
        if let Some(process) = &self.seats[number].process {
            process.signal(signal);
        }
    }

    /// SIGTERM to all, and waits for their ends: how a whole fleet is stopped.
    ///
    /// # Errors
    /// One did not end well.
    pub async fn stop_all(&mut self) -> Result<(), String> {
        let mut processes: Vec<(String, Process)> =
            self.seats.iter_mut().filter_map(|seat| Some((seat.name(), seat.process.take()?))).collect();
        processes.extend(self.coordinator.take().map(|one| ("the coordinator".to_owned(), one.process)));
        processes.extend(self.second.take().map(|one| ("the second coordinator".to_owned(), one.process)));
        for (_, process) in &processes {
            process.signal(Signal::TERM);
        }
        for (name, process) in processes {
            ended(process, &name).await?;
        }
        Ok(())
    }

    /// What each process that runs has said so far.
    pub fn outputs(&self) -> Vec<String> {
        let workers = self.seats.iter().filter_map(|seat| seat.process.as_ref());
        let coordinators = self.coordinator.iter().map(|coordinator| &coordinator.process);
        workers.chain(coordinators).map(Process::output).collect()
    }

    /// Starts what does not run.
    pub async fn start_all(&mut self) {
        if self.coordinator.is_none() {
            self.start_coordinator().await;
        }
        for number in 0..self.seats.len() {
            if self.seats[number].process.is_none() {
                self.start_worker(number);
            }
        }
    }

    /// Starts workers again that have ended by themselves; how many.
    pub fn restart_dead(&mut self) -> usize {
        let ended = |seat: &mut Seat| seat.process.as_mut().and_then(Process::status).is_some();
        let dead: Vec<usize> =
            (0..self.seats.len()).filter(|&number| ended(&mut self.seats[number])).collect();
        for &number in &dead {
            self.start_worker(number);
        }
        dead.len()
    }

    /// Processes that exited unexpectedly, with how.
    pub fn deserters(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        for seat in &mut self.seats {
            if let Some(status) = seat.process.as_mut().and_then(Process::status) {
                gone.push(format!("worker {} ended by itself: {status}", seat.name()));
            }
        }
        for coordinator in self.coordinator.iter_mut().chain(&mut self.second) {
            if let Some(status) = coordinator.process.status() {
                gone.push(format!("a coordinator ended by itself: {status}"));
            }
        }
        gone
    }

    /// The proxy of a link.
    pub fn link(&self, link: Link) -> &Proxy {
        match link {
            Link::WorkerCoordinator(worker) => &self.seats[worker].to_coordinator,
            Link::WorkerRedis(worker) => &self.seats[worker].to_redis,
            Link::CoordinatorRedis => &self.coordinator_to_redis,
            Link::Discord => &self.to_discord,
        }
    }

    /// Every link to Redis.
    pub fn redis_links(&self) -> Vec<Link> {
        (0..self.seats.len()).map(Link::WorkerRedis).chain([Link::CoordinatorRedis]).collect()
    }

    /// What every worker's every life has written down so far.
    ///
    /// # Errors
    /// A ledger can't be read.
    pub fn books(&self) -> Result<Vec<Book>, BookError> {
        let mut books = Vec::new();
        for seat in &self.seats {
            let names = (0..=seat.generation + 1).map(|generation| name_in(&seat.base, generation));
            let lives =
                names.flat_map(|name| (0..seat.lives).map(move |life| format!("{name}-{life}.ledger")));
            for path in lives.map(|name| self.folder.join(name)) {
                // A process that was killed first thing has none.
                if path.exists() {
                    books.push(Book::read(&path)?);
                }
            }
        }
        Ok(books)
    }

    /// What is in the relay's streams, if workers relay.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn relayed(&self) -> Result<Option<Book>, RelayError> {
        if self.setup.relays { relayed::book(&self.deployment.redis.url()).await.map(Some) } else { Ok(None) }
    }

    fn process(&self, name: &str, command: &mut Command) -> Process {
        Process::start_logged(name, command, &self.folder.join(format!("{name}.log")))
    }
}

async fn stop(process: Process, name: &str) -> Result<(), String> {
    process.signal(Signal::TERM);
    ended(process, name).await
}

/// Waits for the end of a process that was told to stop; it must be a good one.
async fn ended(mut process: Process, name: &str) -> Result<(), String> {
    match timeout(STOP, process.ended()).await {
        Ok(status) if status.code() == Some(0) => Ok(()),
        Ok(status) => Err(format!("{name} was told to stop and ended with {status}")),
        Err(_) => Err(format!("{name} did not stop within {STOP:?}")),
    }
}
