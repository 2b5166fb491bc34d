//! Reads what somebody asks out of an event, asks the bridge, and answers in the 3 s that Discord gives.
//!
//! The bridge answers by a deadline, complete or not, so no answer is deferred. What comes replayed was perhaps answered
//! before: then Discord refuses the second answer. What comes too late can't be answered any more.

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

/// How long after the event came the bridge may take: that leaves time for both ways to Discord.
const BRIDGE_WITHIN: Duration = Duration::from_millis(1_500);

/// How long it may take at least. Events of one guild are handled one after the other, so one may have waited for long.
const BRIDGE_AT_LEAST: Duration = Duration::from_millis(100);

/// Discord's code for an interaction that has its answer.
/// [Source](https://discord.com/developers/docs/topics/opcodes-and-status-codes#json-json-error-codes).
const ALREADY_ANSWERED: u64 = 40060;

/// Counts the interactions that came replayed, and too late for an answer.
#[derive(Debug, Default)]
pub(crate) struct TooLate(AtomicU64);

/// What somebody asks.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Ping,
    Shards,
    Guild(u64),
    User(u64),
}

/// Why a command can't be read, for who used it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Misread {
    /// Registered by an older or newer version.
    #[error("This bot does not know that command.")]
    Unknown,
    #[error("That is no id: ids are numbers, such as 241494935408313594.")]
    NotAnId,
}

/// Answers a slash command; ignores other interactions.
pub(crate) async fn handle(context: &Context, event: &Event, too_late: &TooLate) {
    let interaction = match event.parse() {
        Ok(Some(twilight_model::gateway::event::Event::InteractionCreate(interaction))) => interaction.0,
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, "an interaction can't be read"),
    };
    let Some(command) = slash_command(&interaction) else { return };
    let age = age(&interaction, SystemTime::now());
    if event.mark() == Mark::Expired {
        let so_far = too_late.0.fetch_add(1, Ordering::Relaxed) + 1;
        let (shard, command) = (context.shard(), &command.name);
        return tracing::warn!(shard.id = %shard, command, ?age, so_far, "came too late to be answered");
    }
    let (text, only_for_them) = match read(command) {
        Ok(question) => {
            let until = Instant::now() + left(event.received_at(), SystemTime::now());
            (ask(context, &question, until).await, question != Question::Ping)
        }
        Err(misread) => (misread.to_string(), true),
    };
    answer(context, &interaction, event.mark(), message(text, only_for_them)).await;
}

/// The slash command that was used. Autocompletion has the same data and is ignored.
fn slash_command(interaction: &Interaction) -> Option<&CommandData> {
    match (interaction.kind, &interaction.data) {
        (InteractionType::ApplicationCommand, Some(InteractionData::ApplicationCommand(command))) => {
            Some(command)
        }
        _ => None,
    }
}

fn read(command: &CommandData) -> Result<Question, Misread> {
    match command.name.as_str() {
        commands::PING => Ok(Question::Ping),
        commands::SHARDS => Ok(Question::Shards),
        commands::FIND => read_find(command),
        _ => Err(Misread::Unknown),
    }
}

fn read_find(command: &CommandData) -> Result<Question, Misread> {
    let subcommand = command.options.first().ok_or(Misread::Unknown)?;
    let CommandOptionValue::SubCommand(options) = &subcommand.value else { return Err(Misread::Unknown) };
    let id = options.iter().find(|option| option.name == commands::ID).ok_or(Misread::NotAnId)?;
    let CommandOptionValue::String(id) = &id.value else { return Err(Misread::NotAnId) };
    let id = id.trim().parse().ok().filter(|id| *id > 0).ok_or(Misread::NotAnId)?;
    match subcommand.name.as_str() {
        commands::GUILD => Ok(Question::Guild(id)),
        commands::USER => Ok(Question::User(id)),
        _ => Err(Misread::Unknown),
    }
}

/// How long ago it began, by its id; nothing when our clock is behind Discord's.
fn age(interaction: &Interaction, now: SystemTime) -> Duration {
    let began_ms = u64::try_from(interaction.id.timestamp()).unwrap_or(0);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(began_ms))
}

/// How long the bridge may take now.
fn left(received_at: SystemTime, now: SystemTime) -> Duration {
    let waited = now.duration_since(received_at).unwrap_or_default();
    BRIDGE_WITHIN.saturating_sub(waited).max(BRIDGE_AT_LEAST)
}

/// Asks all workers that it takes, this one without the network.
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

/// A message that pings no one, for any text.
fn message(text: String, only_for_them: bool) -> InteractionResponse {
    let flags = if only_for_them { MessageFlags::EPHEMERAL } else { MessageFlags::empty() };
    let message = ChannelMessageBuilder::new().content(text).flags(flags);
    message.allowed_mentions(AllowedMentions::default()).build()
}

async fn answer(context: &Context, interaction: &Interaction, mark: Mark, response: InteractionResponse) {
    let client = context.callbacks().interaction(interaction.application_id);
    let shard = context.shard();
    match client.create_response(interaction.id, &interaction.token, &response).await {
        Ok(_) => tracing::debug!(shard.id = %shard, "answered"),
        Err(error) if mark.is_late() && code(&error) == Some(ALREADY_ANSWERED) => {
            tracing::info!(shard.id = %shard, "a replayed interaction had its answer already");
        }
        Err(error) => tracing::warn!(shard.id = %shard, %error, "an interaction is not answered"),
    }
}

/// Discord's own code for what went wrong.
fn code(error: &twilight_http::Error) -> Option<u64> {
    match error.kind() {
        ErrorType::Response { error: ApiError::General(error), .. } => Some(error.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
