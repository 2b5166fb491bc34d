//! The `coordinator` binary: reads the settings, connects to Redis, serves until it is told to stop.

use std::{process::ExitCode, sync::Arc};

use coordinator::{Args, Coordinator, Parts, StartError};
use event_bus::RedisBus;
use fleet_store::RedisStore;
use settings::Exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match settings::parse::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    #[cfg(feature = "failpoints")]
    die_at_failpoint();
    // Nothing else can have installed one: this is the first thing that happens.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let telemetry = match telemetry::init("coordinator", telemetry::SERVICE_FILTER) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let code = run(args).await;
    telemetry.shutdown().await;
    code
}

async fn run(args: Args) -> ExitCode {
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
        Ok(relay) => relay,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let link = redis_link::RedisLink::new(url, redis_link::LinkOptions::default());
    let parts = Parts {
        store: Arc::new(RedisStore::new(link.clone(), store_args.redis_prefix.clone())),
        set_aside: Arc::new(checkpoint::CheckpointRedisStore::new(
            link.clone(),
            store_args.redis_prefix.clone(),
        )),
        bus: Arc::new(RedisBus::start(link.clone(), store_args.redis_prefix)),
        relay: relay.map(|relay| Arc::new(relay) as _),
    };
    let coordinator = match Coordinator::bind(config, parts).await {
        Ok(coordinator) => coordinator,
        Err(error) => return fail(Exit::Settings, &error),
    };
    let stop = settings::stop_on_signal();
    let warn = async {
        for warning in link.warnings().await {
            tracing::warn!("{warning}");
        }
    };
    match tokio::join!(coordinator.run(stop), warn).0 {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::Discord(_)) => fail(Exit::Token, &error),
        Err(error) => fail(Exit::Settings, &error),
    }
}

/// For tests: `COORDINATOR_DIE_AT=NAME:TIMES` kills the process the `TIMES`th time that it reaches that failpoint.
#[cfg(feature = "failpoints")]
fn die_at_failpoint() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let Ok(setting) = std::env::var("COORDINATOR_DIE_AT") else { return };
    let (name, times) = setting.rsplit_once(':').expect("COORDINATOR_DIE_AT takes NAME:TIMES");
    let times: u64 = times.parse().expect("COORDINATOR_DIE_AT takes NAME:TIMES");
    let (point, passed) = (name.to_owned(), AtomicU64::new(0));
    let die = move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == times {
            tracing::error!(point, "process dies at a failpoint");
            std::process::abort();
        }
    };
    fail::cfg_callback(name, die).expect("a failpoint takes a callback");
}

/// One clear line, and the exit code that goes with it.
#[allow(
    clippy::print_stderr,
    reason = "the last word of a process that can't start is for whoever started it"
)]
fn fail(exit: Exit, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("coordinator: {error}");
    ExitCode::from(exit as u8)
}
