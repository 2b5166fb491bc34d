//! A whole worker as one call: the `main` of a bot.

use std::{process::ExitCode, sync::Arc};

use event_bus::RedisBus;
use fleet_store::FleetRedisStore;
use futures_util::future::BoxFuture;
use process::{
    ExitError,
    settings::{self, Exit},
};

use crate::{EventHandler, Relay, Worker, WorkerArgs, WorkerError, WorkerParts};

/// Runs a gateway worker with this bot code until it is told to stop: reads flags and environment, connects to Redis,
/// registers with the coordinator, runs shards. To be called first thing in `main`, inside a tokio runtime of several
/// threads; the exit code is the process's.
///
/// ```no_run
/// # use std::process::ExitCode;
/// struct Bot;
///
/// #[gateway_worker::async_trait]
/// impl gateway_worker::EventHandler for Bot {
///     async fn handle(&self, context: &gateway_worker::Context, event: &gateway_worker::Event) {
///         println!("{} on shard {}", event.name(), context.shard());
///     }
/// }
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     gateway_worker::run(Bot).await
/// }
/// ```
pub async fn run(handler: impl EventHandler) -> ExitCode {
    run_with(Arc::new(handler)).await
}

/// Boxed so that it is compiled here, not in each bot.
fn run_with(handler: Arc<dyn EventHandler>) -> BoxFuture<'static, ExitCode> {
    let instance = |args: &mut WorkerArgs| {
        args.worker_name = args.worker_name.take().or_else(|| settings::default_worker_name().parse().ok());
        args.worker_name.as_ref().map(ToString::to_string)
    };
    Box::pin(process::run_service("gateway-worker", instance, |args| start(args, handler)))
}

async fn start(args: WorkerArgs, handler: Arc<dyn EventHandler>) -> Result<(), ExitError> {
    let (store_args, relay_args) = (args.store.clone(), args.relay.clone());
    let config = args.into_config(settings::discord_token()?)?;
    let url = store_args.url()?;
    let relay = relay_args.streams(&url)?.map(|redis| Relay::redis(redis, relay_args.relay_events));
    let rest =
        crate::RestBudget::Redis { url: Box::new(url.clone()), prefix: store_args.redis_prefix.clone() };
    let link = redis_link::RedisLink::new(url, redis_link::LinkOptions::default());
    let checkpoints =
        Arc::new(checkpoint::CheckpointRedisStore::new(link.clone(), store_args.redis_prefix.clone()));
    let parts = WorkerParts {
        store: Arc::new(FleetRedisStore::new(link.clone(), store_args.redis_prefix.clone())),
        set_aside: checkpoints.clone(),
        checkpoints,
        bus: Arc::new(RedisBus::start(link, store_args.redis_prefix)),
        rest,
        handler,
        relay,
    };
    let worker = Worker::bind(config, parts).await?;
    match worker.run(process::stop_on_signal()).await {
        Err(error @ WorkerError::Token(_)) => Err(ExitError::new(Exit::Token, error)),
        ended => Ok(ended?),
    }
}
