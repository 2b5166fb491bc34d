//! Starts the parts of dev mode: what they use is said first, then ports are bound, then all run.

use std::sync::Arc;

use coordinator::Coordinator;
use discord_sim::Sim;
use event_bus::MemoryBus;
use fleet_store::FleetMemoryStore;
use gateway_worker::{Relay, RestBudget, Worker};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    DevArgs, Running, Tasks, bot,
    config::{coordinator_config, worker_config, worker_name},
    discord::{Discord, start_sim},
    ignored,
    relay::RelayTarget,
    variable,
};
use crate::exit::{CommandOutcome, print_line};

/// Starts all parts.
///
/// # Errors
/// A wrong setting, a port that is taken, or a Redis that cannot be used.
pub(super) async fn start(args: &DevArgs) -> Result<(Running, Tasks), CommandOutcome> {
    let discord = Discord::choose(args).map_err(CommandOutcome::wrong_setting)?;
    let target = args.relay.target().map_err(CommandOutcome::wrong_setting)?;
    print_line(first_line(args, &discord, &target));
    for line in ignored::lines(args, &discord, &target, variable) {
        print_line(line);
    }
    let relay = args.relay.open(&target).await?;
    let (sim, sim_threads) = if discord.is_simulated() {
        let (sim, threads) = start_sim(args).await?;
        (Some(sim), Some(threads))
    } else {
        (None, None)
    };
    let shared = Shared::new(relay);
    let config = coordinator_config(args, discord.token(), sim.as_ref())?;
    let coordinator =
        Coordinator::bind(config, shared.coordinator()).await.map_err(CommandOutcome::wrong_setting)?;
    let workers = bind_workers(args, &discord, &coordinator, sim.as_ref(), &shared).await?;
    let running = Running {
        coordinator: coordinator.address(),
        coordinator_health: coordinator.health_address(),
        worker_healths: workers.iter().map(Worker::health_address).collect(),
        rest: workers[0].rest_address(),
        gateway: workers[0].gateway_address(),
        relay: target,
        sim,
        _sim_threads: sim_threads,
    };
    Ok((running, spawn(coordinator, workers)))
}

/// Says which Discord is used and where events go.
fn first_line(args: &DevArgs, discord: &Discord, relay: &RelayTarget) -> String {
    format!("{}; relay of events: {relay}", discord.describe(args))
}

/// What all parts share.
struct Shared {
    store: Arc<FleetMemoryStore>,
    checkpoints: Arc<checkpoint::CheckpointMemoryStore>,
    bus: Arc<MemoryBus>,
    rest: RestBudget,
    relay: Option<Relay>,
}

impl Shared {
    fn new(relay: Option<Relay>) -> Self {
        Self {
            store: Arc::new(FleetMemoryStore::new()),
            checkpoints: Arc::new(checkpoint::CheckpointMemoryStore::new()),
            bus: Arc::new(MemoryBus::new()),
            rest: RestBudget::memory(),
            relay,
        }
    }

    fn coordinator(&self) -> coordinator::CoordinatorParts {
        coordinator::CoordinatorParts {
            store: self.store.clone(),
            set_aside: self.checkpoints.clone(),
            bus: self.bus.clone(),
            relay: self.relay.as_ref().map(|relay| relay.store.clone()),
        }
    }

    fn worker(&self, index: u16) -> gateway_worker::WorkerParts {
        gateway_worker::WorkerParts {
            store: self.store.clone(),
            checkpoints: self.checkpoints.clone(),
            set_aside: self.checkpoints.clone(),
            bus: self.bus.clone(),
            handler: Arc::new(bot::DevBot { worker: worker_name(index) }),
            relay: self.relay.clone(),
            rest: self.rest.clone(),
        }
    }
}

async fn bind_workers(
    args: &DevArgs,
    discord: &Discord,
    coordinator: &Coordinator,
    sim: Option<&Sim>,
    shared: &Shared,
) -> Result<Vec<Worker>, CommandOutcome> {
    let mut workers = Vec::new();
    for index in 0..args.workers {
        let config = worker_config(args, index, discord.token(), coordinator.address(), sim)?;
        let worker =
            Worker::bind(config, shared.worker(index)).await.map_err(CommandOutcome::wrong_setting)?;
        workers.push(worker);
    }
    Ok(workers)
}

fn spawn(coordinator: Coordinator, workers: Vec<Worker>) -> Tasks {
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
    tasks
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
