//! Objects out of the caches, as Discord's own JSON.

use clap::Subcommand;
use outside_text::printable;
use serde_json::Value;
use shard_bridge::{ClientError, FoundObject, ObjectKind};

use super::{Server, discord_id};
use crate::exit::{Outcome, say_json};

#[derive(Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// A guild: exit 1 when the bot is not in it, 3 when nobody can tell
    Guild {
        #[command(flatten)]
        what: What,
    },
    /// A channel or thread
    Channel {
        #[command(flatten)]
        what: What,
        /// The channel's id
        #[arg(value_parser = discord_id)]
        channel_id: u64,
    },
    /// A member
    Member {
        #[command(flatten)]
        what: What,
        /// The user's id
        #[arg(value_parser = discord_id)]
        user_id: u64,
    },
    /// All roles, by position
    Roles {
        #[command(flatten)]
        what: What,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct What {
    /// The guild's id
    #[arg(value_parser = discord_id)]
    guild_id: u64,
    /// Only these fields, by Discord's names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn answer(command: GetCommand) -> Result<Outcome, ClientError> {
    let (what, kind) = match command {
        GetCommand::Guild { what } => (what, ObjectKind::Guild),
        GetCommand::Channel { what, channel_id } => (what, ObjectKind::Channel(channel_id)),
        GetCommand::Member { what, user_id } => (what, ObjectKind::Member(user_id)),
        GetCommand::Roles { what } => (what, ObjectKind::Roles),
    };
    let What { guild_id, fields, server } = what;
    let FoundObject { json, doubt } = server.connect().await?.object(guild_id, kind, fields).await?;
    // For people it is laid out.
    match serde_json::from_str::<Value>(&json) {
        Ok(object) if !server.is_json() => say_json(format_args!("{object:#}")),
        _ => say_json(json),
    }
    if doubt.is_empty() {
        return Ok(Outcome::yes());
    }
    eprintln!("not complete: {}", printable(&doubt));
    Ok(Outcome::incomplete())
}
