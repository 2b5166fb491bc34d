//! Objects from the caches, as Discord's own JSON.

use clap::Subcommand;
use outside_text::printable;
use serde_json::Value;
use shard_bridge::{ClientError, FoundObject, ObjectKind};

use super::{ServerArgs, discord_id};
use crate::exit::{CommandOutcome, print_json};

#[derive(Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// A guild
    ///
    /// Exit code 1 when the bot is not in it, 4 when its shard does not answer.
    Guild {
        #[command(flatten)]
        object: ObjectArgs,
    },
    /// A channel or thread
    Channel {
        #[command(flatten)]
        object: ObjectArgs,
        /// The channel's id
        #[arg(value_parser = discord_id, allow_negative_numbers = true)]
        channel_id: u64,
    },
    /// A member
    Member {
        #[command(flatten)]
        object: ObjectArgs,
        /// The user's id
        #[arg(value_parser = discord_id, allow_negative_numbers = true)]
        user_id: u64,
    },
    /// All roles, by position
    Roles {
        #[command(flatten)]
        object: ObjectArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ObjectArgs {
    /// The guild's id
    #[arg(value_parser = discord_id, allow_negative_numbers = true)]
    guild_id: u64,
    /// Only these fields, by Discord's names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    fields: Vec<String>,
}

pub(super) async fn answer(command: GetCommand, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    let (object, kind) = match command {
        GetCommand::Guild { object } => (object, ObjectKind::Guild),
        GetCommand::Channel { object, channel_id } => (object, ObjectKind::Channel(channel_id)),
        GetCommand::Member { object, user_id } => (object, ObjectKind::Member(user_id)),
        GetCommand::Roles { object } => (object, ObjectKind::Roles),
    };
    let ObjectArgs { guild_id, fields } = object;
    let found = server.connect().await?.object(guild_id, kind, fields).await;
    let FoundObject { json, doubt } = match found {
        Ok(found) => found,
        // The coordinator answers, the shard does not: as for `find-guild`.
        Err(ClientError::Refused(status)) if is_missing_answer(&status) => {
            return Ok(CommandOutcome::unknown(status.message()));
        }
        Err(error) => return Err(error),
    };
    // For people it is indented.
    match serde_json::from_str::<Value>(&json) {
        Ok(object) if !server.is_json() => print_json(format_args!("{object:#}")),
        _ => print_json(json),
    }
    if doubt.is_empty() {
        return Ok(CommandOutcome::success());
    }
    eprintln!("not complete: {}", printable(&doubt));
    Ok(CommandOutcome::incomplete())
}

/// Whether the process that was asked got no answer from the shard's worker. An error of the connection has a source.
fn is_missing_answer(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded)
        && std::error::Error::source(status).is_none()
}
