//! A whole worker as one call: what a bot's `main` is.

use std::{process::ExitCode, sync::Arc};

use event_bus::RedisBus;
use fleet_store::RedisStore;
use futures_util::future::BoxFuture;
use settings::Exit;

use crate::{Args, EventHandler, Parts, Relay, Worker, WorkerError};

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
    let args = match settings::parse::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    // If the program has installed one already, that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let telemetry = match telemetry::init("gateway-worker", telemetry::SERVICE_FILTER) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let code = run_with(args, Arc::new(handler)).await;
    telemetry.shutdown().await;
    code
}

/// Boxed so that it is compiled here, not in each bot.
fn run_with(args: Args, handler: Arc<dyn EventHandler>) -> BoxFuture<'static, ExitCode> {
    Box::pin(start(args, handler))
}

async fn start(args: Args, handler: Arc<dyn EventHandler>) -> ExitCode {
    let (store_args, relay_args) = (args.store.clone(), args.relay.clone());
    let config = match settings::discord_token().and_then(|token| args.into_config(token)) {
        Ok(config) => config,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let url = match store_args.url() {
        Ok(url) => url,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let relay = match relay_args.streams(&url) {
        Ok(redis) => redis.map(|redis| Relay::redis(redis, relay_args.relay_events)),
        Err(error) => return fail(Exit::Settings, &error),
    };
    let rest =
        crate::RestBudget::Redis { url: Box::new(url.clone()), prefix: store_args.redis_prefix.clone() };
    let link = redis_link::RedisLink::new(url, redis_link::LinkOptions::default());
    let checkpoints =
        Arc::new(checkpoint::CheckpointRedisStore::new(link.clone(), store_args.redis_prefix.clone()));
    let parts = Parts {
        store: Arc::new(RedisStore::new(link.clone(), store_args.redis_prefix.clone())),
        set_aside: checkpoints.clone(),
        checkpoints,
        bus: Arc::new(RedisBus::start(link, store_args.redis_prefix)),
        rest,
        handler,
        relay,
    };
    let worker = match Worker::bind(config, parts).await {
        Ok(worker) => worker,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let stop = settings::stop_on_signal();
    match worker.run(stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ WorkerError::Token(_)) => fail(Exit::Token, &error),
        Err(error) => fail(Exit::Settings, &error),
    }
}

/// One clear line, and the exit code that goes with it.
#[allow(
    clippy::print_stderr,
    reason = "a process that cannot start says why on its terminal"
)]
fn fail(exit: Exit, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("gateway-worker: {error}");
    ExitCode::from(exit as u8)
}
