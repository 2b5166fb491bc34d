//! Questions to a running fleet.

use std::{fmt, time::Duration};

use altergolden_proto::v1;
use clap::{Args, Subcommand};
use outside_text::printable;
use shard_bridge::{BridgeClient, ClientError, Data};

use crate::{
    exit::{Outcome, say, say_json},
    json, table,
};

mod get;
mod messages;
mod set_aside;

use get::GetCommand;
use messages::MessageCommand;
use set_aside::SetAsideCommand;

#[derive(Debug, Subcommand)]
pub(crate) enum AskCommand {
    /// Totals over the whole bot, and each shard: exit 4 when a shard is missing or not ready
    Status(Server),
    /// Every shard: who runs it and how it is
    Shards {
        /// Only those of this worker
        #[arg(long, value_name = "NAME", default_value = "")]
        worker: String,
        #[command(flatten)]
        server: Server,
    },
    /// Every worker
    Workers(Server),
    /// One guild: exit 1 when the bot is not in it, 4 when nobody can tell
    FindGuild {
        /// The guild's id
        #[arg(value_parser = discord_id)]
        guild_id: u64,
        #[command(flatten)]
        server: Server,
    },
    /// One user: exit 1 when no shard knows it, 4 when nobody can tell
    FindUser {
        /// The user's id
        #[arg(value_parser = discord_id)]
        user_id: u64,
        /// Ask every shard; else the first that knows the user ends the search
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        server: Server,
    },
    /// One object out of the caches, as Discord's own JSON
    #[command(subcommand)]
    Get(GetCommand),
    /// One message to every worker: exit 4 when some have not acknowledged it
    Broadcast {
        /// What kind of message it is
        r#type: String,
        /// Its data, as JSON
        #[arg(default_value = "null", value_parser = json_data)]
        data: Data,
        #[command(flatten)]
        server: Server,
    },
    /// Events that were set aside because their handlers killed workers
    #[command(subcommand, name = "setaside")]
    SetAside(SetAsideCommand),
    #[command(flatten)]
    Message(MessageCommand),
}

/// Whom to ask, and how.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The coordinator; for lookups and messages any worker answers too
    #[arg(long, env = "COORDINATOR_URL", value_name = "URL", default_value = "http://127.0.0.1:50051")]
    url: String,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = settings::duration)]
    deadline: Duration,
    /// JSON for programs instead of tables for people
    #[arg(long)]
    json: bool,
}

fn discord_id(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it takes a Discord id: a number like 613425648685547541".to_owned()),
        Ok(id) => Ok(id),
    }
}

fn json_data(text: &str) -> Result<Data, String> {
    Data::from_text(text).map_err(|error| format!("{error}; expected JSON such as '{{\"key\":\"value\"}}'"))
}

impl Server {
    /// The answer is for programs.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) async fn connect(&self) -> Result<BridgeClient, ClientError> {
        let url = if self.url.contains("://") { self.url.clone() } else { format!("http://{}", self.url) };
        BridgeClient::connect(&url, self.deadline).await
    }

    pub(crate) fn show<T: fmt::Display>(
        &self,
        for_people: impl FnOnce() -> String,
        for_programs: impl FnOnce() -> T,
    ) {
        if self.json {
            say_json(for_programs());
        } else {
            say(for_people());
        }
    }
}

/// Asks, shows the answer, and says it in the exit code.
pub(crate) async fn run(command: AskCommand) -> Outcome {
    answer(command).await.unwrap_or_else(Outcome::from)
}

async fn answer(command: AskCommand) -> Result<Outcome, ClientError> {
    match command {
        AskCommand::Status(server) => {
            let mut client = server.connect().await?;
            let stats = client.aggregate_stats(Duration::ZERO).await?;
            let problems = client.problems().await?;
            let for_people =
                || format!("{}{}", table::problems(&problems, set_aside::unix_ms()), table::stats(&stats));
            server.show(for_people, || json::stats(&stats, &problems));
            Ok(if stats.complete { Outcome::yes() } else { Outcome::incomplete() })
        }
        AskCommand::Shards { worker, server } => {
            let shards = server.connect().await?.shards(&worker).await?;
            server.show(|| table::shards(&shards), || json::shards(&shards));
            Ok(Outcome::yes())
        }
        AskCommand::Workers(server) => {
            let workers = server.connect().await?.workers().await?;
            server.show(|| table::workers(&workers), || json::workers(&workers));
            Ok(Outcome::yes())
        }
        AskCommand::FindGuild { guild_id, server } => {
            let guild = server.connect().await?.find_guild(guild_id).await?;
            server.show(|| guild_in_words(&guild), || json::guild(&guild));
            Ok(found(guild.found, guild.complete))
        }
        AskCommand::FindUser { user_id, all, server } => {
            let user = server.connect().await?.find_user(user_id, all).await?;
            server.show(|| user_in_words(&user), || json::user(&user));
            Ok(found(user.found, user.complete))
        }
        AskCommand::Broadcast { r#type, data, server } => {
            let sent = server.connect().await?.broadcast(&r#type, data).await?;
            server.show(|| broadcast_in_words(&sent), || json::broadcast(&sent));
            Ok(if sent.missing_workers.is_empty() { Outcome::yes() } else { Outcome::incomplete() })
        }
        AskCommand::Get(command) => get::answer(command).await,
        AskCommand::SetAside(command) => set_aside::answer(command).await,
        AskCommand::Message(command) => messages::answer(command).await,
    }
}

fn found(found: bool, complete: bool) -> Outcome {
    match (found, complete) {
        (true, true) => Outcome::yes(),
        (false, true) => Outcome::no(),
        (_, false) => Outcome::incomplete(),
    }
}

fn guild_in_words(guild: &v1::FindGuildResponse) -> String {
    let place = format!("shard {} on {}", guild.shard_id, printable(&guild.worker_id));
    if !guild.found {
        return if guild.complete {
            format!("guild {}: the bot is not in it (it would be on {place})", guild.guild_id)
        } else {
            format!("guild {}: unknown: {}", guild.guild_id, printable(&guild.reason))
        };
    }
    let name = printable(guild.name.as_deref().unwrap_or("(name not cached)"));
    let members = guild.member_count.map_or_else(String::new, |count| format!(", {count} members"));
    let complete =
        if guild.complete { String::new() } else { format!(" (not complete: {})", printable(&guild.reason)) };
    let outage = if guild.unavailable { ", in an outage" } else { "" };
    format!("{name}{members}, {place}{outage}{complete}")
}

fn user_in_words(user: &v1::FindUserResponse) -> String {
    let doubt =
        if user.complete { String::new() } else { format!(" (not complete: {})", printable(&user.reason)) };
    if !user.found {
        return format!("user {}: no shard knows it{doubt}", user.user_id);
    }
    let shards: Vec<String> = user.shard_ids.iter().map(u32::to_string).collect();
    format!("{}, on shard {}{doubt}", printable(&user.username), shards.join(", "))
}

fn broadcast_in_words(sent: &v1::BroadcastResponse) -> String {
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
