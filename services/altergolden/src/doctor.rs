//! `altergolden doctor`: checks what a fleet needs, before the first start and at night.
//!
//! Each check asks one thing at a time, within a deadline, and becomes one line; all that are independent run at the same time. What
//! is asked is apart from how it is judged: [`discord`], [`redis`], [`fleet`], [`ports`], [`credentials`] and [`host`] ask; the judges are pure. The
//! doctor changes nothing, and sends no IDENTIFY.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fleet_model::{Percent, ShardCount};
use gateway_worker::config::IntentList;
use process::{
    credentials::{ClientFacingArgs, Role},
    settings::{self, ApiOrigin, DiscordArgs, Secret, SettingsError, StoreArgs},
};
use tokio::time::timeout;

use self::{
    capacity::ShardSettings,
    discord::DiscordFacts,
    ports::{NamedPort, Service},
    probe::ProbeArgs,
    report::{Finding, Report},
};
use crate::{ask::ServerArgs, exit::CommandOutcome};

mod application;
mod capacity;
mod clock;
mod credentials;
mod discord;
mod fleet;
mod host;
mod ports;
mod probe;
mod redis;
mod report;

/// Time limit of everything that is asked of Discord.
const DISCORD_WITHIN: Duration = Duration::from_secs(12);

/// Settings of the fleet that the doctor checks: the same flags and variables as coordinator and worker have.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The bot's token has no flag: set DISCORD_TOKEN (or BOT_TOKEN), or DISCORD_TOKEN_FILE.\n\
                  Exit codes: 0 everything is ok, or has only warnings; 1 a check failed; 4 a check could not run; 2 wrong setting."
)]
pub(crate) struct DoctorArgs {
    /// Number of shards, or `auto` for what Discord recommends plus SHARD_BUFFER
    #[arg(long, env = "SHARD_COUNT", value_name = "NUMBER|auto", default_value = "auto")]
    shard_count: ShardCount,

    /// Percentage that `auto` adds to what Discord recommends
    #[arg(long, env = "SHARD_BUFFER", value_name = "PERCENT", default_value = "20")]
    shard_buffer: Percent,

    /// Percentage of the daily IDENTIFYs that is kept in reserve
    #[arg(long, env = "IDENTIFY_RESERVE", value_name = "PERCENT", default_value = "10")]
    identify_reserve: Percent,

    /// Gateway intents, by name or as a number
    #[arg(
        long,
        env = "INTENTS",
        value_name = "LIST",
        default_value = "GUILDS,GUILD_MESSAGES,GUILD_VOICE_STATES"
    )]
    intents: IntentList,

    /// Address of the coordinator's gRPC server
    #[arg(long, env = "COORDINATOR_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    coordinator_listen: SocketAddr,

    /// Health port of the coordinator
    #[arg(long, env = "MANAGER_HEALTH_PORT", value_name = "PORT", default_value_t = 3001)]
    manager_health_port: u16,

    /// Health port of the worker
    #[arg(long, env = "HEALTH_PORT", value_name = "PORT", default_value_t = 3000)]
    health_port: u16,

    /// Address that the health ports are bound to
    #[arg(long, env = "HEALTH_LISTEN_HOST", value_name = "IP", default_value = "127.0.0.1")]
    health_listen_host: IpAddr,

    /// Address of the worker's gRPC server; port 0 takes a free one
    #[arg(long, env = "WORKER_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    worker_listen: SocketAddr,

    /// Address of the worker's REST proxy; port 0 takes a free one
    #[arg(long, env = "REST_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    rest_listen: SocketAddr,

    #[command(flatten)]
    discord: DiscordArgs,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten)]
    client_facing: ClientFacingArgs,

    #[command(flatten)]
    probe: ProbeArgs,
}

impl DoctorArgs {
    fn ports(&self) -> Vec<NamedPort> {
        let health = |port| SocketAddr::new(self.health_listen_host, port);
        let named = |setting, address, service| NamedPort { setting, address, service };
        vec![
            named("COORDINATOR_LISTEN", self.coordinator_listen, Service::Grpc(Role::Coordinator)),
            named("MANAGER_HEALTH_PORT", health(self.manager_health_port), Service::Health),
            named("HEALTH_PORT", health(self.health_port), Service::Health),
            named("WORKER_LISTEN", self.worker_listen, Service::Grpc(Role::Worker)),
            named("REST_LISTEN", self.rest_listen, Service::RestProxy),
        ]
    }

    fn shards(&self) -> ShardSettings {
        ShardSettings { count: self.shard_count, buffer: self.shard_buffer, reserve: self.identify_reserve }
    }

    fn is_stand_in(&self) -> bool {
        self.discord.discord_api_url.as_ref().is_some_and(ApiOrigin::is_loopback)
    }
}

/// Runs all checks and prints their lines, or probes the real Discord.
pub(crate) async fn run(args: DoctorArgs, server: &ServerArgs) -> CommandOutcome {
    if args.probe.probe {
        return probe::run(&args, server).await;
    }
    let report = examine(&args, server).await;
    server.show(|screen| report.for_people(screen), || report.for_programs());
    report.outcome()
}

async fn examine(args: &DoctorArgs, server: &ServerArgs) -> Report {
    // A problem with them has a line of its own.
    let credentials = server.open_credentials().unwrap_or_default();
    let token = settings::discord_token().and_then(settings::required_token);
    let (discord, redis, fleet, ports) = tokio::join!(
        ask_discord(&token, args),
        redis::ask(&args.store),
        fleet::ask(server),
        ports::look(args.ports(), &credentials),
    );
    let gateway = discord.gateway.as_ref();
    let guilds = application::approximate_guilds(&discord);
    let shards = capacity::known_total(args.shards(), gateway, &fleet);
    let mut findings = vec![match &token {
        Ok(token) => application::token(token.expose(), &discord.user, args.is_stand_in()),
        Err(error) => Finding::fail("token", error.to_string(), "set DISCORD_TOKEN or DISCORD_TOKEN_FILE"),
    }];
    findings.push(application::intents(args.intents.0, &discord));
    findings.push(capacity::shard_count(args.shards(), gateway, guilds, &fleet));
    findings.push(capacity::fullest_shard(&fleet));
    findings.push(capacity::identify_budget(args.shards(), gateway, &fleet));
    findings.extend(redis::judge(&redis));
    findings.push(clock::against_discord(&discord.user));
    findings.extend(ports);
    findings.extend(credentials::judge(server, &args.client_facing, &args.ports()));
    findings.push(host::open_files(shards));
    findings.push(host::huge_pages());
    findings.push(fleet::versions(&fleet));
    findings.extend(fleet::state(&fleet, redis.leases()));
    Report(findings)
}

async fn ask_discord(token: &Result<Secret, SettingsError>, args: &DoctorArgs) -> DiscordFacts {
    let none = |why: String| DiscordFacts { user: Err(why), application: None, gateway: None };
    match token {
        Ok(token) => timeout(DISCORD_WITHIN, discord::ask(token, &args.discord)).await.unwrap_or_else(|_| {
            none(format!("Discord gave no answer within {} s", DISCORD_WITHIN.as_secs()))
        }),
        Err(_) => none("needs a token".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Args as _, Command, CommandFactory as _};

    use super::*;

    #[test]
    fn settings_match_the_programs() {
        let own = DoctorArgs::augment_args(Command::new("doctor"));
        let programs = [coordinator::CoordinatorArgs::command(), gateway_worker::WorkerArgs::command()];
        let key = |arg: &Arg| (arg.get_long().map(str::to_owned), arg.get_env().map(ToOwned::to_owned));
        let of_the_probe = ["probe", "yes", "report", "wait", "listen", "with_ids"];
        for arg in own.get_arguments().filter(|arg| !of_the_probe.contains(&arg.get_id().as_str())) {
            let same = programs.iter().flat_map(Command::get_arguments).find(|other| key(other) == key(arg));
            let same = same.unwrap_or_else(|| panic!("no program has {:?}", arg.get_id()));
            assert_eq!(same.get_default_values(), arg.get_default_values(), "{:?}", arg.get_id());
        }
    }
}
