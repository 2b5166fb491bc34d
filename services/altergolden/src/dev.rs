//! Dev mode: a simulated Discord, a coordinator and workers in one process, connected in memory.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser as _;
use coordinator::Coordinator;
use discord_sim::{Sim, SimConfig};
use event_bus::MemoryBus;
use fleet_store::FleetMemoryStore;
use gateway_worker::{Relay, RestBudget, Worker};
use process::{
    OwnThreads,
    settings::{self, Secret},
};
use relay::{Caps, MemoryRelay};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::exit::{CommandOutcome, print_line};

mod bot;
mod guide;
mod progress;

/// For each time this many guilds the heartbeat interval grows by one second, because acknowledgements wait behind guilds.
const GUILDS_A_SECOND: u32 = 2_000;
/// The most seconds by which the interval grows, to about Discord's own interval.
const MOST_SECONDS: u32 = 40;
/// The most shards of the simulated bot that may identify at once: as for Discord's large bots.
const SIM_CONCURRENCY: u16 = 16;
/// Intents and cache of simulated shards: enough to look users up.
const SIM_INTENTS: &str = "GUILDS,GUILD_MEMBERS,GUILD_PRESENCES,GUILD_MESSAGES,GUILD_VOICE_STATES";
const SIM_CACHE: &str = "guilds,channels,roles,members,users,voice_states,own_user";

/// Settings of dev mode.
#[derive(Debug, clap::Args)]
#[command(after_help = "With DISCORD_TOKEN set, the shards are the real bot's and nothing is simulated.")]
pub(crate) struct DevArgs {
    /// Guilds of the simulated bot
    #[arg(long, default_value_t = 100, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=250_000))]
    guilds: u32,

    /// Shards; by default 4, or with a token what Discord recommends
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1024))]
    shards: Option<u32>,

    /// Gateway workers
    #[arg(long, default_value_t = 2, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,

    /// Messages per second from simulated members
    #[arg(long, default_value_t = 20, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    events_per_second: u32,

    /// Address of the gRPC server of the coordinator
    #[arg(long, env = "COORDINATOR_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    coordinator_listen: SocketAddr,

    /// Health port of the coordinator; 0 takes a free one
    #[arg(long, env = "MANAGER_HEALTH_PORT", value_name = "PORT", default_value_t = 3001)]
    manager_health_port: u16,

    /// Health port of the first worker; worker i > 0 gets this + i + 1; 0 takes free ones
    #[arg(long, env = "HEALTH_PORT", value_name = "PORT", default_value_t = 3000)]
    health_port: u16,

    /// Address of the REST proxy of the first worker; port 0 takes a free one, as other workers do
    #[arg(long, env = "REST_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    rest_listen: SocketAddr,
}

/// Number and bytes of events that `ShardBridge/Events` can replay.
const RELAYED: u64 = 20_000;
const RELAYED_BYTES: u64 = 32 * 1024 * 1024;

/// Addresses of the running parts, for the guide.
struct Running {
    coordinator: SocketAddr,
    coordinator_health: SocketAddr,
    worker_healths: Vec<SocketAddr>,
    worker_rests: Vec<SocketAddr>,
    sim: Option<Sim>,
    /// The simulated Discord makes guilds as fast as shards take them. On the same threads this would delay the renewal of leases.
    _sim_threads: Option<OwnThreads>,
}

/// The tasks of the parts, and the tokens that stop them.
struct Tasks {
    /// Each returns the name of its worker after a graceful exit.
    workers: JoinSet<Result<String, CommandOutcome>>,
    workers_stop: CancellationToken,
    coordinator: JoinSet<Result<(), CommandOutcome>>,
    coordinator_stop: CancellationToken,
}

/// Runs until Ctrl-C.
pub(crate) async fn run(args: DevArgs) -> CommandOutcome {
    let started = Instant::now();
    let stop = process::stop_on_signal();
    let (running, mut tasks) = match start(&args).await {
        Ok(started) => started,
        Err(outcome) => return outcome,
    };
    let end = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = wait_for_end(&mut tasks) => Err(ended),
        failed = show(&running, started) => Err(CommandOutcome::failed(failed)),
    };
    finish(running, tasks).await;
    match end {
        Ok(()) => CommandOutcome::success(),
        Err(outcome) => outcome,
    }
}

/// Shows the start of the shards, then commands to try. Returns only on an error.
async fn show(running: &Running, started: Instant) -> String {
    match progress::until_ready(running.coordinator, started).await {
        Ok(shards) => {
            guide::print(running, &shards);
            std::future::pending().await
        }
        Err(why) => why,
    }
}

/// Waits for a part that fails, or for the exit of the last worker. A drained worker exits gracefully.
async fn wait_for_end(tasks: &mut Tasks) -> CommandOutcome {
    loop {
        let ended = tokio::select! {
            Some(ended) = tasks.workers.join_next() => ended,
            Some(ended) = tasks.coordinator.join_next() => ended.map(|ended| ended.map(|()| "the coordinator".to_owned())),
        };
        match ended {
            Ok(Ok(name)) if tasks.workers.is_empty() || tasks.coordinator.is_empty() => {
                return CommandOutcome::failed(format!(
                    "{name} has exited, and the others cannot run without it"
                ));
            }
            Ok(Ok(name)) => print_line(format!("{name} has exited")),
            Ok(Err(outcome)) => return outcome,
            Err(error) => return CommandOutcome::failed(format!("a task of dev mode panicked: {error}")),
        }
    }
}

async fn start(args: &DevArgs) -> Result<(Running, Tasks), CommandOutcome> {
    let token = settings::discord_token().map_err(CommandOutcome::wrong_setting)?;
    let (sim, sim_threads) = match &token {
        Some(_) => (None, None),
        None => start_sim(args).await.map(|(sim, threads)| (Some(sim), Some(threads)))?,
    };
    print_line(match &token {
        Some(_) => {
            "a token is set: connecting to Discord as that bot (unset DISCORD_TOKEN to simulate Discord)"
                .to_owned()
        }
        None => format!("no token is set: simulating Discord with {} guilds", args.guilds),
    });
    let token = token.unwrap_or_else(|| Secret::new("dev"));
    let api = sim.as_ref().map(Sim::http_origin);
    let store: Arc<FleetMemoryStore> = Arc::new(FleetMemoryStore::new());
    let checkpoints = Arc::new(checkpoint::CheckpointMemoryStore::new());
    let bus: Arc<MemoryBus> = Arc::new(MemoryBus::new());
    let rest = RestBudget::memory();

    let config = coordinator_config(args, token.clone(), api.as_deref())?;
    let relay = MemoryRelay::new(Caps { length: RELAYED, bytes: RELAYED_BYTES, ..Caps::default() });
    let parts = coordinator::CoordinatorParts {
        store: store.clone(),
        set_aside: checkpoints.clone(),
        bus: bus.clone(),
        relay: Some(Arc::new(relay.clone())),
    };
    let coordinator = Coordinator::bind(config, parts).await.map_err(CommandOutcome::wrong_setting)?;
    let mut running = Running {
        coordinator: coordinator.address(),
        coordinator_health: coordinator.health_address(),
        worker_healths: Vec::new(),
        worker_rests: Vec::new(),
        sim,
        _sim_threads: sim_threads,
    };
    let mut workers = Vec::new();
    for index in 0..args.workers {
        let config = worker_config(args, index, token.clone(), running.coordinator, api.as_deref())?;
        let parts = gateway_worker::WorkerParts {
            store: store.clone(),
            checkpoints: checkpoints.clone(),
            set_aside: checkpoints.clone(),
            bus: bus.clone(),
            handler: Arc::new(bot::DevBot { worker: worker_name(index) }),
            relay: Some(Relay::memory(relay.clone())),
            rest: rest.clone(),
        };
        let worker = Worker::bind(config, parts).await.map_err(CommandOutcome::wrong_setting)?;
        running.worker_healths.push(worker.health_address());
        running.worker_rests.push(worker.rest_address());
        workers.push(worker);
    }

    let mut tasks = Tasks {
        workers: JoinSet::new(),
        workers_stop: CancellationToken::new(),
        coordinator: JoinSet::new(),
        coordinator_stop: CancellationToken::new(),
    };
    let stop = tasks.coordinator_stop.clone();
    tasks.coordinator.spawn(async move { coordinator.run(stop).await.map_err(coordinator_failed) });
    for (index, worker) in workers.into_iter().enumerate() {
        let stop = tasks.workers_stop.clone();
        tasks.workers.spawn(async move {
            worker.run(stop).await.map_err(worker_failed)?;
            Ok(worker_name(index))
        });
    }
    Ok((running, tasks))
}

fn worker_name(index: impl std::fmt::Display) -> String {
    format!("worker-{index}")
}

/// Reports a wrong value of a variable that a part of dev mode reads, such as `INTENTS`.
fn wrong_flag(error: clap::Error) -> CommandOutcome {
    CommandOutcome::wrong_setting(settings::one_line(&error.to_string()))
}

fn coordinator_failed(error: coordinator::CoordinatorError) -> CommandOutcome {
    match error {
        coordinator::CoordinatorError::Discord(_) => CommandOutcome::refused_token(error),
        _ => CommandOutcome::wrong_setting(error),
    }
}

fn worker_failed(error: gateway_worker::WorkerError) -> CommandOutcome {
    match error {
        gateway_worker::WorkerError::Token(_) => CommandOutcome::refused_token(error),
        _ => CommandOutcome::wrong_setting(error),
    }
}

async fn start_sim(args: &DevArgs) -> Result<(Sim, OwnThreads), CommandOutcome> {
    let config = SimConfig {
        guilds: args.guilds,
        shards: args.shards,
        max_concurrency: SIM_CONCURRENCY,
        // A second with few guilds, so that latencies show at once.
        heartbeat_interval: Duration::from_secs(
            1 + u64::from((args.guilds / GUILDS_A_SECOND).min(MOST_SECONDS)),
        ),
        events_per_second: args.events_per_second.into(),
        ..SimConfig::default()
    };
    let failed = |error| CommandOutcome::failed(format!("cannot start the simulated Discord: {error}"));
    let threads = OwnThreads::start("discord-sim").map_err(failed)?;
    let started = threads.handle().spawn(Sim::start(config)).await.map_err(|error| failed(error.into()))?;
    Ok((started.map_err(CommandOutcome::wrong_setting)?, threads))
}

fn coordinator_config(
    args: &DevArgs,
    token: Secret,
    api: Option<&str>,
) -> Result<coordinator::CoordinatorConfig, CommandOutcome> {
    let shards = match (args.shards, api) {
        (Some(shards), _) => Some(shards),
        (None, Some(_)) => Some(4.max(args.guilds.div_ceil(1_000))),
        (None, None) => None,
    };
    let mut flags = vec!["coordinator".to_owned(), "--settle=300ms".to_owned()];
    flags.push(format!("--coordinator-listen={}", args.coordinator_listen));
    flags.push(format!("--manager-health-port={}", args.manager_health_port));
    flags.extend(shards.map(|shards| format!("--shard-count={shards}")));
    flags.extend(api.map(|api| format!("--discord-api-url={api}")));
    let parsed = coordinator::CoordinatorArgs::try_parse_from(flags).map_err(wrong_flag)?;
    parsed.into_config(Some(token)).map_err(CommandOutcome::wrong_setting)
}

fn worker_config(
    args: &DevArgs,
    index: u16,
    token: Secret,
    coordinator: SocketAddr,
    api: Option<&str>,
) -> Result<gateway_worker::WorkerConfig, CommandOutcome> {
    let health_port = match (args.health_port, index) {
        (0, _) => 0,
        (first, 0) => first,
        (first, index) => first.checked_add(index + 1).ok_or_else(|| {
            CommandOutcome::wrong_setting("--health-port: too high: each worker needs a port above it")
        })?,
    };
    let mut flags = vec!["gateway-worker".to_owned()];
    flags.push(format!("--worker-name={}", worker_name(index)));
    flags.push(format!("--coordinator-url=http://{coordinator}"));
    flags.push("--worker-listen=127.0.0.1:0".to_owned());
    flags.push(format!("--health-port={health_port}"));
    let rest_listen = if index == 0 { args.rest_listen } else { SocketAddr::new(args.rest_listen.ip(), 0) };
    flags.push(format!("--rest-listen={rest_listen}"));
    if let Some(api) = api {
        flags.push(format!("--discord-api-url={api}"));
        flags.push(format!("--intents={SIM_INTENTS}"));
        flags.push(format!("--cache={SIM_CACHE}"));
    }
    let parsed = gateway_worker::WorkerArgs::try_parse_from(flags).map_err(wrong_flag)?;
    parsed.into_config(Some(token)).map_err(CommandOutcome::wrong_setting)
}

/// Stops each part before the parts that it needs: workers, coordinator, Discord.
async fn finish(running: Running, mut tasks: Tasks) {
    tasks.workers_stop.cancel();
    while tasks.workers.join_next().await.is_some() {}
    tasks.coordinator_stop.cancel();
    while tasks.coordinator.join_next().await.is_some() {}
    if let Some(sim) = running.sim {
        sim.shutdown().await;
    }
}
