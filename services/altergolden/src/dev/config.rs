//! Settings of dev mode's coordinator and workers: those in the environment, with what dev mode sets.

use std::net::SocketAddr;

use clap::Parser as _;
use discord_sim::Sim;
use process::{credentials::CredentialsArgs, settings::Secret};
use relay::EventNames;

use super::{DevArgs, relay::RelayPlace};
use crate::exit::CommandOutcome;

/// Intents of simulated shards unless the environment has others: all that Discord has, so that any bot can connect.
const SIM_INTENTS: &str = "53608447";
/// Their cache: enough for most bots, and to look users up.
const SIM_CACHE: &str = "guilds,channels,roles,members,users,voice_states,own_user";

/// Adds a flag unless its variable is set.
fn by_default(flags: &mut Vec<String>, variable: &str, flag: &str) {
    if super::variable(variable).is_none() {
        flags.push(flag.to_owned());
    }
}

pub(super) fn coordinator_config(
    args: &DevArgs,
    token: Secret,
    sim: Option<&Sim>,
) -> Result<coordinator::CoordinatorConfig, CommandOutcome> {
    let shards = match (args.fixed_shards(), sim) {
        (Some(shards), _) => shards.to_string(),
        (None, Some(_)) => 4.max(args.guilds.div_ceil(1_000)).to_string(),
        (None, None) => "auto".to_owned(),
    };
    let mut flags = vec!["coordinator".to_owned(), "--relay=off".to_owned()];
    by_default(&mut flags, "SETTLE", "--settle=300ms");
    flags.push(format!("--coordinator-listen={}", args.coordinator_listen));
    flags.push(format!("--manager-health-port={}", args.manager_health_port));
    flags.push(format!("--shard-count={shards}"));
    flags.extend(sim.into_iter().flat_map(addresses));
    let mut parsed =
        coordinator::CoordinatorArgs::try_parse_from(flags).map_err(CommandOutcome::wrong_flag)?;
    without_credentials(&mut parsed.access);
    parsed.into_config(Some(token)).map_err(CommandOutcome::wrong_setting)
}

pub(super) fn worker_config(
    args: &DevArgs,
    index: u16,
    token: Secret,
    coordinator: SocketAddr,
    sim: Option<&Sim>,
) -> Result<gateway_worker::WorkerConfig, CommandOutcome> {
    let health_port = match (args.health_port, index) {
        (0, _) => 0,
        (first, 0) => first,
        (first, index) => first.checked_add(index + 1).ok_or_else(|| {
            CommandOutcome::wrong_setting("--health-port: too high: each worker needs a port above it")
        })?,
    };
    let mut flags = vec!["gateway-worker".to_owned(), "--relay=off".to_owned()];
    flags.push(format!("--worker-name={}", worker_name(index)));
    flags.push(format!("--coordinator-url=http://{coordinator}"));
    flags.push("--worker-listen=127.0.0.1:0".to_owned());
    flags.push(format!("--health-port={health_port}"));
    // Bots lose neither REST nor their gateway when one of the workers is drained.
    let is_shared = |address: SocketAddr| index == 0 || address.port() != 0;
    let any_port = SocketAddr::new(args.rest_listen.ip(), 0);
    let rest_listen = if is_shared(args.rest_listen) { args.rest_listen } else { any_port };
    flags.push(format!("--rest-listen={rest_listen}"));
    if let Some(sim) = sim {
        flags.extend(addresses(sim));
        by_default(&mut flags, "INTENTS", &format!("--intents={SIM_INTENTS}"));
        by_default(&mut flags, "CACHE", &format!("--cache={SIM_CACHE}"));
        // A bot's token means nothing to the simulated Discord: each will do.
        by_default(&mut flags, "REST_ALLOW_ANY_TOKEN", "--rest-allow-any-token=true");
    }
    let mut parsed = gateway_worker::WorkerArgs::try_parse_from(flags).map_err(CommandOutcome::wrong_flag)?;
    parsed.worker_advertise = None;
    let has_all_events =
        !matches!(args.relay.relay, Some(RelayPlace::Off)) && args.relay.relay_events == EventNames::All;
    let serves_bots = has_all_events && is_shared(args.gateway_listen);
    parsed.bot_gateway.gateway_listen = serves_bots.then_some(args.gateway_listen);
    parsed.bot_gateway.gateway_advertise = None;
    without_credentials(&mut parsed.access);
    let mut config = parsed.into_config(Some(token)).map_err(CommandOutcome::wrong_setting)?;
    config.rest.shares_port = rest_listen.port() != 0;
    if has_all_events {
        // Guilds for the gateway's clients come from all workers.
        config.cache.resources = config.cache.resources.for_clients(config.cache.intents);
    }
    if let (Some(gateway), Some(_)) = (&mut config.bot_gateway, sim) {
        gateway.allows_any_token = true;
    }
    Ok(config)
}

/// All parts of dev mode are in one process.
fn without_credentials(access: &mut CredentialsArgs) {
    *access = CredentialsArgs { insecure_network: access.insecure_network, ..CredentialsArgs::default() };
}

/// The addresses of the simulated Discord, in place of those in the environment.
fn addresses(sim: &Sim) -> [String; 2] {
    [
        format!("--discord-api-url={}", sim.http_origin()),
        format!("--discord-gateway-url={}", sim.gateway_url()),
    ]
}

pub(super) fn worker_name(index: impl std::fmt::Display) -> String {
    format!("worker-{index}")
}
