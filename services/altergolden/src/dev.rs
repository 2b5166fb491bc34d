//! Dev mode: a Discord, a coordinator and workers in one process, connected in memory, for bots of any language beside it.
//!
//! Discord is simulated unless a token is set. The fleet's state ends with the process; only relayed events may go to Redis.

use std::{net::SocketAddr, time::Instant};

use discord_sim::Sim;
use fleet_model::ShardCount;
use process::OwnThreads;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::exit::{CommandOutcome, print_line};

mod bot;
mod config;
mod discord;
mod guide;
mod ignored;
mod progress;
mod relay;
mod start;

/// The most shards of dev mode.
const MOST_SHARDS: u32 = 1_024;

/// Settings of dev mode.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With DISCORD_TOKEN set, the shards are the real bot's and nothing is simulated, unless --simulate is given. The \
                  settings of coordinator and gateway-worker work too, as environment variables."
)]
pub(crate) struct DevArgs {
    /// Simulate Discord even if a token is set
    #[arg(long)]
    simulate: bool,

    /// Guilds of the simulated bot
    #[arg(long, default_value_t = 100, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=250_000))]
    guilds: u32,

    /// Shards; by default 4, or with a token what Discord recommends
    #[arg(long, env = "SHARD_COUNT", value_name = "NUMBER|auto", allow_negative_numbers = true, value_parser = shard_count)]
    shards: Option<ShardCount>,

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
    #[arg(long, env = "REST_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3080")]
    rest_listen: SocketAddr,

    /// Address of the gateway for unmodified Discord libraries; port 0 takes a free one. It needs the relay
    #[arg(long, env = "GATEWAY_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3081")]
    gateway_listen: SocketAddr,

    /// Address of the simulated Discord and its control API; port 0 takes a free one
    #[arg(long, env = "SIM_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:3900")]
    sim_listen: SocketAddr,

    #[command(flatten)]
    relay: relay::DevRelayArgs,
}

/// Parses a number of shards that dev mode can run.
fn shard_count(text: &str) -> Result<ShardCount, String> {
    match text.parse() {
        Ok(ShardCount::Auto) => Ok(ShardCount::Auto),
        Ok(ShardCount::Fixed(count @ 1..=MOST_SHARDS)) => Ok(ShardCount::Fixed(count)),
        _ => Err(format!("it takes `auto` or a number from 1 to {MOST_SHARDS}")),
    }
}

/// Returns the value of a variable of the environment; an empty one counts as not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl DevArgs {
    /// The wanted number of shards; `None` leaves it to Discord.
    fn fixed_shards(&self) -> Option<u32> {
        match self.shards {
            Some(ShardCount::Fixed(count)) => Some(count),
            Some(ShardCount::Auto) | None => None,
        }
    }
}

/// Addresses of the running parts, for the guide.
struct Running {
    coordinator: SocketAddr,
    coordinator_health: SocketAddr,
    worker_healths: Vec<SocketAddr>,
    /// The REST proxy of the first worker.
    rest: SocketAddr,
    /// The gateway for bots, if the relay has all events.
    gateway: Option<SocketAddr>,
    relay: relay::RelayTarget,
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
    let begun = tokio::select! {
        begun = start::start(&args) => begun,
        () = stop.cancelled() => return CommandOutcome::success(),
    };
    let (running, mut tasks) = match begun {
        Ok(begun) => begun,
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
