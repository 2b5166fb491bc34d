//! Commands that ask a running fleet.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use altergolden_proto::v1;
use clap::{Args, Subcommand};
use outside_text::printable;
use process::{
    credentials::{Credentials, CredentialsArgs, FleetName, Role},
    settings::SettingsError,
};
use shard_bridge::{BridgeClient, ClientError, Data};

use crate::{
    exit::{CommandOutcome, print_json, print_text},
    health, json,
    screen::{SafeText, Screen},
    table,
};

mod get;
mod history;
mod messages;
mod moment;
mod set_aside;
mod tap;
mod why;

use get::GetCommand;
use history::HistoryArgs;
use messages::MessageCommand;
use set_aside::SetAsideCommand;
use tap::TapArgs;
use why::WhyArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum AskCommand {
    /// Show totals of the whole bot, and each shard
    ///
    /// Exit code 4 when a shard is missing or not ready.
    Status {
        /// Show the fleet on a live screen instead; ? lists its keys
        #[arg(long)]
        watch: bool,
    },
    /// List every shard with its worker and state
    Shards {
        /// Only shards of this worker
        #[arg(long, value_name = "NAME", default_value = "")]
        worker: String,
    },
    /// List every worker
    Workers,
    /// Find a guild and its shard
    ///
    /// Exit code 1 when the bot is not in it, 4 when its shard does not answer.
    FindGuild {
        /// The guild's id
        #[arg(value_parser = discord_id, allow_negative_numbers = true)]
        guild_id: u64,
    },
    /// Explain why a guild is silent: its shard, worker and state, and what happened to them
    ///
    /// Exit code 0 when its shard works, 1 when the bot is not in it, 4 when its shard does not work or does not answer.
    Why(WhyArgs),
    /// Watch Discord's events live, filtered by name, guild or shard
    ///
    /// Tokens are never shown, and what users wrote only with --content. A tap shows at most 1,000 events a second over all workers.
    Tap(TapArgs),
    /// Show what happened: deaths, moves, deploys, gaps, problems
    ///
    /// The last 10,000 entries are kept. Times are the clock of the coordinator that wrote them. Exit code 4 when entries are
    /// missing because the store does not answer.
    History(HistoryArgs),
    /// Find a user and the shards that know it
    ///
    /// Exit code 1 when no shard knows the user, 4 when a shard does not answer.
    FindUser {
        /// The user's id
        #[arg(value_parser = discord_id, allow_negative_numbers = true)]
        user_id: u64,
        /// Ask every shard; by default the first shard that knows the user ends the search
        #[arg(long)]
        all: bool,
    },
    /// Print a cached guild, channel, member or role list as JSON
    #[command(subcommand)]
    Get(GetCommand),
    /// Send a message to every worker
    ///
    /// Exit code 4 when some have not acknowledged it.
    Broadcast {
        /// What kind of message it is
        r#type: String,
        /// Its data, as JSON
        #[arg(default_value = "null", value_parser = json_data)]
        data: Data,
    },
    /// Inspect events that were set aside because they killed workers
    #[command(subcommand, name = "set-aside", alias = OLD_SET_ASIDE)]
    SetAside(SetAsideCommand),
    #[command(flatten)]
    Message(MessageCommand),
}

impl AskCommand {
    /// Whether it takes over the terminal.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Status { watch: true })
    }
}

/// The old name of `set-aside`.
pub(crate) const OLD_SET_ASIDE: &str = "setaside";

/// Names of the flags in [`ServerArgs`].
pub(crate) const GLOBAL_FLAGS: [&str; 5] = ["url", "deadline", "json", "credentials", "fleet"];

/// The process to ask, and how; these flags go before or after the subcommand.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options, for commands that ask a fleet")]
pub(crate) struct ServerArgs {
    /// gRPC address of the coordinator; workers answer lookups and messages too
    #[arg(
        long,
        global = true,
        env = "COORDINATOR_URL",
        value_name = "URL",
        default_value = "127.0.0.1:50051"
    )]
    url: String,
    /// Certificate, key and CA of an operator (PEM), or the folder of `credentials init`; without them the fleet must have none either
    #[arg(long, global = true, env = "CREDENTIALS", value_name = "PATH")]
    credentials: Option<PathBuf>,
    /// Name of the fleet in certificates
    #[arg(long, global = true, env = "FLEET", hide_short_help = true, value_name = "NAME")]
    fleet: Option<FleetName>,
    /// Maximum time for an answer
    #[arg(long, global = true, value_name = "DURATION", default_value = "2s", value_parser = process::settings::duration)]
    deadline: Duration,
    /// JSON for programs instead of tables for people
    #[arg(long, global = true)]
    json: bool,
}

/// The prefix of keys, which names the fleet as for its programs.
fn redis_prefix() -> String {
    std::env::var("REDIS_PREFIX").unwrap_or_else(|_| "altergolden".to_owned())
}

fn discord_id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a Discord id, a number such as 613425648685547541".to_owned()),
        Ok(id) => Ok(id),
    }
}

/// Parses the number of a shard.
pub(crate) fn shard_number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected the number of a shard, such as 0".to_owned())
}

fn json_data(text: &str) -> Result<Data, String> {
    Data::from_text(text).map_err(|error| format!("{error}; expected JSON such as '{{\"key\":\"value\"}}'"))
}

impl ServerArgs {
    /// Whether the answer is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Maximum time for an answer.
    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) async fn connect(&self) -> Result<BridgeClient, ClientError> {
        let (url, credentials) = (self.full_url(), self.open_credentials()?);
        let connect = |server| BridgeClient::connect_with(&url, self.deadline, &credentials, server);
        match connect(Role::Coordinator).await {
            // A worker answers some of the questions too, and its certificate names its own role.
            Err(error @ ClientError::Unreachable { .. }) if self.credentials.is_some() => {
                connect(Role::Worker).await.map_err(|_| error)
            }
            connected => connected,
        }
    }

    /// The operator's credentials.
    pub(crate) fn open_credentials(&self) -> Result<Credentials, ClientError> {
        self.access().load(&redis_prefix(), Role::Operator).map_err(ClientError::Credentials)
    }

    /// The file or folder with credentials, and the fleet that they are of.
    ///
    /// # Errors
    /// The fleet has no name.
    pub(crate) fn credentials_of_fleet(&self) -> Result<Option<(&Path, FleetName)>, SettingsError> {
        let Some(path) = &self.credentials else { return Ok(None) };
        Ok(Some((path, self.access().fleet(&redis_prefix())?)))
    }

    fn access(&self) -> CredentialsArgs {
        CredentialsArgs {
            credentials: self.credentials.clone(),
            fleet: self.fleet.clone(),
            ..CredentialsArgs::default()
        }
    }

    /// Prints the answer as a table or as JSON.
    pub(crate) fn show<P: Into<SafeText>, T: fmt::Display>(
        &self,
        for_people: impl FnOnce(Screen) -> P,
        for_programs: impl FnOnce() -> T,
    ) {
        if self.json {
            print_json(for_programs());
        } else {
            print_text(&for_people(Screen::stdout()).into());
        }
    }

    /// Returns the outcome of a failed call, with a hint when the address is wrong.
    pub(crate) async fn failure(&self, error: ClientError) -> CommandOutcome {
        let url = self.full_url();
        let is_broken = matches!(error, ClientError::Refused(_)) && !error.is_from_server();
        // A port that speaks no gRPC breaks the connection or answers 404, and one without TLS refuses the handshake.
        let may_be_health_port = match &error {
            ClientError::Refused(status) => is_broken || status.code() == tonic::Code::Unimplemented,
            ClientError::Unreachable { .. } => self.credentials.is_some(),
            ClientError::Address { .. } | ClientError::Credentials(_) => false,
        };
        if may_be_health_port && health::is_health_port(&url).await {
            return CommandOutcome::wrong_setting(format!(
                "--url (COORDINATOR_URL): {url} is a health port; use the coordinator's gRPC port (--coordinator-listen, by \
                 default http://127.0.0.1:50051)"
            ));
        }
        if is_broken {
            return CommandOutcome::unreachable(format!(
                "{url}: {error}; check that this is the coordinator's gRPC port (--coordinator-listen, by default \
                 http://127.0.0.1:50051)"
            ));
        }
        error.into()
    }

    /// The address with its scheme.
    pub(crate) fn full_url(&self) -> String {
        let scheme = if self.credentials.is_some() { "https" } else { "http" };
        if self.url.contains("://") { self.url.clone() } else { format!("{scheme}://{}", self.url) }
    }
}

/// Asks, prints the answer, and returns its exit code.
pub(crate) async fn run(command: AskCommand, server: &ServerArgs) -> CommandOutcome {
    match answer(command, server).await {
        Ok(outcome) => outcome,
        Err(error) => server.failure(error).await,
    }
}

async fn answer(command: AskCommand, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    match command {
        AskCommand::Status { .. } => {
            let mut client = server.connect().await?;
            let stats = client.aggregate_stats(Duration::ZERO).await?;
            let problems = client.problems().await?;
            // Only a coordinator knows them.
            let runs_nothing = stats.shards.is_empty() && stats.missing_shards.is_empty();
            let workers =
                if runs_nothing { client.workers().await.ok().map(|workers| workers.len()) } else { None };
            let for_people = |screen| {
                let answer =
                    if runs_nothing { table::no_shards(workers) } else { table::stats(&stats, screen) };
                table::problems(&problems, set_aside::unix_ms()) + answer
            };
            server.show(for_people, || json::stats(&stats, &problems));
            Ok(if stats.complete { CommandOutcome::success() } else { CommandOutcome::incomplete() })
        }
        AskCommand::Shards { worker } => {
            let shards = server.connect().await?.shards(&worker).await?;
            server.show(|screen| table::shards(&shards, screen), || json::shards(&shards));
            Ok(CommandOutcome::success())
        }
        AskCommand::Workers => {
            let workers = server.connect().await?.workers().await?;
            server.show(|screen| table::workers(&workers, screen), || json::workers(&workers));
            Ok(CommandOutcome::success())
        }
        AskCommand::FindGuild { guild_id } => {
            let guild = server.connect().await?.find_guild(guild_id).await?;
            server.show(|_| guild_text(&guild), || json::guild(&guild));
            Ok(found(guild.found, guild.complete))
        }
        AskCommand::FindUser { user_id, all } => {
            let user = server.connect().await?.find_user(user_id, all).await?;
            server.show(|_| user_text(&user), || json::user(&user));
            Ok(found(user.found, user.complete))
        }
        AskCommand::Broadcast { r#type, data } => {
            let sent = server.connect().await?.broadcast(&r#type, data).await?;
            server.show(|_| broadcast_text(&sent), || json::broadcast(&sent));
            Ok(if sent.missing_workers.is_empty() {
                CommandOutcome::success()
            } else {
                CommandOutcome::incomplete()
            })
        }
        AskCommand::Why(args) => why::answer(args, server).await,
        AskCommand::Tap(args) => tap::answer(args, server).await,
        AskCommand::History(args) => history::answer(args, server).await,
        AskCommand::Get(command) => get::answer(command, server).await,
        AskCommand::SetAside(command) => set_aside::answer(command, server).await,
        AskCommand::Message(command) => messages::answer(command, server).await,
    }
}

fn found(found: bool, complete: bool) -> CommandOutcome {
    match (found, complete) {
        (true, true) => CommandOutcome::success(),
        (false, true) => CommandOutcome::negative(),
        (_, false) => CommandOutcome::incomplete(),
    }
}

fn guild_text(guild: &v1::FindGuildResponse) -> String {
    let location = format!("shard {} on {}", guild.shard_id, printable(&guild.worker_id));
    if !guild.found {
        return if guild.complete {
            format!("guild {}: the bot is not in it (it would be on {location})", guild.guild_id)
        } else {
            format!("guild {}: unknown: {}", guild.guild_id, printable(&guild.reason))
        };
    }
    let name = printable(guild.name.as_deref().unwrap_or("(name not cached)"));
    let members = guild.member_count.map_or_else(String::new, |count| format!(", {count} members"));
    let complete =
        if guild.complete { String::new() } else { format!(" (not complete: {})", printable(&guild.reason)) };
    let outage = if guild.unavailable { ", unavailable: Discord reports an outage" } else { "" };
    format!("{name}{members}, {location}{outage}{complete}")
}

fn user_text(user: &v1::FindUserResponse) -> String {
    let doubt =
        if user.complete { String::new() } else { format!(" (not complete: {})", printable(&user.reason)) };
    if !user.found {
        return format!("user {}: no shard knows it{doubt}", user.user_id);
    }
    let shards: Vec<String> = user.shard_ids.iter().map(u32::to_string).collect();
    format!("{}, on shard {}{doubt}", printable(&user.username), shards.join(", "))
}

fn broadcast_text(sent: &v1::BroadcastResponse) -> String {
    let missing = if sent.missing_workers.is_empty() {
        String::new()
    } else {
        format!("; not by {}", sent.missing_workers.join(", "))
    };
    format!(
        "{}: acknowledged by {} of {} workers{missing}",
        sent.message_id, sent.workers_acknowledged, sent.workers_expected
    )
}
