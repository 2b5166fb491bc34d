//! Parses commands, queries the bridge, and answers within Discord's 3 s.
//!
//! The bridge answers by a deadline, complete or not, so no answer is deferred. A replayed interaction may have been answered before;
//! Discord rejects the second answer. An expired interaction can't be answered.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use gateway_worker::{Context, Event, GuildAnswer, Mark, UserAnswer};
use tokio::time::Instant;
use twilight_http::{api_error::ApiError, error::ErrorType};
use twilight_model::{
    application::interaction::{
        Interaction, InteractionData, InteractionType,
        application_command::{CommandData, CommandOptionValue},
    },
    channel::message::{AllowedMentions, MessageFlags},
    http::interaction::InteractionResponse,
};
use twilight_util::{builder::interaction_response::ChannelMessageBuilder, snowflake::Snowflake as _};

use crate::{answers, commands};

/// Time for the bridge's answer since the event arrived. It leaves time for both ways to Discord.
const BRIDGE_WITHIN: Duration = Duration::from_millis(1_500);

/// Minimum time for the bridge's answer. Events of one guild are handled in order, so an event may have waited for long.
const BRIDGE_AT_LEAST: Duration = Duration::from_millis(100);

/// Discord's code for an interaction that is already answered.
/// [Source](https://discord.com/developers/docs/topics/opcodes-and-status-codes#json-json-error-codes).
const ALREADY_ANSWERED: u64 = 40060;

/// Counts replayed interactions that were too old to answer.
#[derive(Debug, Default)]
pub(crate) struct ExpiredCount(AtomicU64);

/// A parsed command.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Ping,
    Shards,
    Guild(u64),
    User(u64),
}

/// Why a command is invalid, in words for its user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidCommand {
    /// A command of an older or newer version.
    #[error("This bot does not know that command.")]
    Unknown,
    #[error("That is not an id: ids are numbers, such as 241494935408313594.")]
    NotAnId,
}

/// Answers a slash command; ignores other interactions.
pub(crate) async fn handle(context: &Context, event: &Event, expired: &ExpiredCount) {
    let interaction = match event.parse() {
        Ok(Some(twilight_model::gateway::event::Event::InteractionCreate(interaction))) => interaction.0,
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, "malformed interaction"),
    };
    let Some(command) = slash_command(&interaction) else { return };
    let age = age(&interaction, SystemTime::now());
    if event.mark() == Mark::Expired {
        let so_far = expired.0.fetch_add(1, Ordering::Relaxed) + 1;
        let (shard, command) = (context.shard(), &command.name);
        return tracing::warn!(shard.id = %shard, command, ?age, so_far, "interaction too old to answer");
    }
    let (text, ephemeral) = match read(command) {
        Ok(question) => {
            let until = Instant::now() + left(event.received_at(), SystemTime::now());
            (ask(context, &question, until).await, question != Question::Ping)
        }
        Err(error) => (error.to_string(), true),
    };
    answer(context, &interaction, event.mark(), message(text, ephemeral)).await;
}

/// Returns the slash command of an interaction. Autocompletion has the same data and is ignored.
fn slash_command(interaction: &Interaction) -> Option<&CommandData> {
    match (interaction.kind, &interaction.data) {
        (InteractionType::ApplicationCommand, Some(InteractionData::ApplicationCommand(command))) => {
            Some(command)
        }
        _ => None,
    }
}

fn read(command: &CommandData) -> Result<Question, InvalidCommand> {
    match command.name.as_str() {
        commands::PING => Ok(Question::Ping),
        commands::SHARDS => Ok(Question::Shards),
        commands::FIND => read_find(command),
        _ => Err(InvalidCommand::Unknown),
    }
}

fn read_find(command: &CommandData) -> Result<Question, InvalidCommand> {
    let subcommand = command.options.first().ok_or(InvalidCommand::Unknown)?;
    let CommandOptionValue::SubCommand(options) = &subcommand.value else {
        return Err(InvalidCommand::Unknown);
    };
    let id = options.iter().find(|option| option.name == commands::ID).ok_or(InvalidCommand::NotAnId)?;
    let CommandOptionValue::String(id) = &id.value else { return Err(InvalidCommand::NotAnId) };
    let id = id.trim().parse().ok().filter(|id| *id > 0).ok_or(InvalidCommand::NotAnId)?;
    match subcommand.name.as_str() {
        commands::GUILD => Ok(Question::Guild(id)),
        commands::USER => Ok(Question::User(id)),
        _ => Err(InvalidCommand::Unknown),
    }
}

/// Returns the age of an interaction by its id; zero if our clock is behind Discord's.
fn age(interaction: &Interaction, now: SystemTime) -> Duration {
    let created_ms = u64::try_from(interaction.id.timestamp()).unwrap_or(0);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(created_ms))
}

/// Returns the remaining time for the bridge's answer.
fn left(received_at: SystemTime, now: SystemTime) -> Duration {
    let waited = now.duration_since(received_at).unwrap_or_default();
    BRIDGE_WITHIN.saturating_sub(waited).max(BRIDGE_AT_LEAST)
}

/// Queries the bridge, which asks other workers as needed, and formats the answer.
async fn ask(context: &Context, question: &Question, until: Instant) -> String {
    let bridge = context.bridge();
    match question {
        Question::Ping => answers::ping(&bridge.stats(until, Duration::ZERO).await),
        Question::Shards => answers::shards(&bridge.stats(until, Duration::ZERO).await),
        Question::Guild(id) => {
            let found = bridge.guilds(&[*id], until).await.pop();
            answers::guild(&found.unwrap_or(GuildAnswer { guild_id: *id, ..Default::default() }))
        }
        Question::User(id) => {
            let found = bridge.users(&[*id], true, until).await.pop();
            answers::user(&found.unwrap_or(UserAnswer { user_id: *id, ..Default::default() }))
        }
    }
}

/// Builds a message that mentions no user and no role.
fn message(text: String, ephemeral: bool) -> InteractionResponse {
    let flags = if ephemeral { MessageFlags::EPHEMERAL } else { MessageFlags::empty() };
    let message = ChannelMessageBuilder::new().content(text).flags(flags);
    message.allowed_mentions(AllowedMentions::default()).build()
}

async fn answer(context: &Context, interaction: &Interaction, mark: Mark, response: InteractionResponse) {
    let client = context.callbacks().interaction(interaction.application_id);
    let shard = context.shard();
    match client.create_response(interaction.id, &interaction.token, &response).await {
        Ok(_) => tracing::debug!(shard.id = %shard, "interaction answered"),
        Err(error) if mark.is_late() && code(&error) == Some(ALREADY_ANSWERED) => {
            tracing::info!(shard.id = %shard, "replayed interaction already answered");
        }
        Err(error) => tracing::warn!(shard.id = %shard, %error, "cannot answer interaction"),
    }
}

/// Returns Discord's error code.
fn code(error: &twilight_http::Error) -> Option<u64> {
    match error.kind() {
        ErrorType::Response { error: ApiError::General(error), .. } => Some(error.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
