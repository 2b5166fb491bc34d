//! Discord, as dev mode uses it: the simulated one, or the real one with the bot's token.

use std::{fmt, time::Duration};

use discord_sim::{Sim, SimConfig, StartError};
use process::{
    OwnThreads,
    settings::{self, Secret, SettingsError},
};

use super::{DevArgs, variable};
use crate::exit::CommandOutcome;

/// For each time this many guilds the heartbeat interval grows by one second, because acknowledgements wait behind guilds.
const GUILDS_A_SECOND: u32 = 2_000;
/// The most seconds by which the interval grows, to about Discord's own interval.
const MOST_SECONDS: u32 = 40;
/// The most shards of the simulated bot that may identify at once: as for Discord's large bots.
const SIM_CONCURRENCY: u16 = 16;
/// Any token will do for the simulated Discord.
const SIM_TOKEN: &str = "any";

/// Which Discord.
pub(super) enum Discord {
    /// The simulated one.
    Simulated,
    /// The real one, or the stand-in that `DISCORD_API_URL` names.
    Real {
        /// The bot's token.
        token: Secret,
        /// The variable that the token comes from.
        source: &'static str,
    },
}

impl Discord {
    /// Chooses: a token means the real one, unless `--simulate` is given.
    ///
    /// # Errors
    /// The token cannot be read.
    pub(super) fn choose(args: &DevArgs) -> Result<Self, SettingsError> {
        if args.simulate {
            return Ok(Self::Simulated);
        }
        let source = settings::discord_token_source();
        Ok(match (settings::discord_token()?, source) {
            (Some(token), Some(source)) => Self::Real { token, source },
            _ => Self::Simulated,
        })
    }

    pub(super) fn is_simulated(&self) -> bool {
        matches!(self, Self::Simulated)
    }

    /// The token of coordinator and workers.
    pub(super) fn token(&self) -> Secret {
        match self {
            Self::Simulated => Secret::new(SIM_TOKEN),
            Self::Real { token, .. } => token.clone(),
        }
    }

    /// Describes it for the first line.
    pub(super) fn describe(&self, args: &DevArgs) -> impl fmt::Display {
        let Self::Real { source, .. } = self else {
            return format!("Discord: simulated, {} guilds", args.guilds);
        };
        match variable("DISCORD_API_URL") {
            Some(url) => {
                format!("Discord: not simulated here, {url} (DISCORD_API_URL) with the token in {source}")
            }
            None => {
                format!("Discord: the real one, with the token in {source} (--simulate: a simulated one)")
            }
        }
    }
}

/// Starts the simulated Discord on threads of its own.
///
/// # Errors
/// Its port is taken, or there are no threads.
pub(super) async fn start_sim(args: &DevArgs) -> Result<(Sim, OwnThreads), CommandOutcome> {
    let config = SimConfig {
        listen: args.sim_listen,
        guilds: args.guilds,
        shards: args.fixed_shards(),
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
    let sim = started.map_err(|error| match error {
        StartError::Listen { addr, source } => {
            CommandOutcome::wrong_setting(format!("cannot bind {addr} (--sim-listen): {source}"))
        }
        error @ StartError::Config(_) => CommandOutcome::wrong_setting(error),
    })?;
    Ok((sim, threads))
}
