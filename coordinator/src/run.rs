//! A whole coordinator as one call: reads the settings, connects to Redis, serves until it is told to stop.

use std::{process::ExitCode, sync::Arc};

use event_bus::RedisBus;
use fleet_store::FleetRedisStore;
use futures_util::future::BoxFuture;
use process::{
    ExitError,
    settings::{self, Exit},
};

use crate::{
    config::CoordinatorArgs,
    service::{Coordinator, CoordinatorError, CoordinatorParts},
};

/// Runs a coordinator until it is told to stop: the `main` of its program. Reads flags and environment. To be called inside a tokio
/// runtime of several threads; the exit code is the process's.
///
/// The future is boxed so that it is compiled in this crate, not in each program that polls it.
pub fn run() -> BoxFuture<'static, ExitCode> {
    Box::pin(process::run_service("coordinator", |_| None, serve))
}

async fn serve(args: CoordinatorArgs) -> Result<(), ExitError> {
    #[cfg(feature = "failpoints")]
    die_at_failpoint();
    let (store_args, relay_args) = (args.store.clone(), args.relay.clone());
    let config = args.into_config(settings::discord_token()?)?;
    let url = store_args.url()?;
    let relay = relay_args.streams(&url)?;
    let link = redis_link::RedisLink::new(url, redis_link::LinkOptions::default());
    let parts = CoordinatorParts {
        store: Arc::new(FleetRedisStore::new(link.clone(), store_args.redis_prefix.clone())),
        set_aside: Arc::new(checkpoint::CheckpointRedisStore::new(
            link.clone(),
            store_args.redis_prefix.clone(),
        )),
        bus: Arc::new(RedisBus::start(link.clone(), store_args.redis_prefix)),
        relay: relay.map(|relay| Arc::new(relay) as _),
    };
    let coordinator = Coordinator::bind(config, parts).await?;
    let stop = process::stop_on_signal();
    let warn = async {
        for warning in link.warnings().await {
            tracing::warn!("{warning}");
        }
    };
    match tokio::join!(coordinator.run(stop), warn).0 {
        Err(error @ CoordinatorError::Discord(_)) => Err(ExitError::new(Exit::Token, error)),
        ended => Ok(ended?),
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
