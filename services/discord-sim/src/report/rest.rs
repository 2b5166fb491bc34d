//! Reports about REST.

use crate::Snowflake;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// The state of an interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InteractionState {
    /// Not answered yet.
    Pending,
    /// Answered.
    Answered,
    /// Answered with a placeholder that is not filled yet.
    Deferred,
    /// Not answered in time.
    Expired,
}

/// An interaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InteractionReport {
    /// Id of the interaction.
    pub id: Snowflake,
    /// 2 for a command, 3 for a component, 4 for autocomplete, 5 for a modal.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Time of its dispatch.
    pub created_at_ms: u64,
    /// The command's name, or the `custom_id`.
    pub name: String,
    /// The user.
    pub user_id: Snowflake,
    /// The guild; `None` in a direct channel.
    pub guild_id: Option<Snowflake>,
    /// The channel.
    pub channel_id: Snowflake,
    /// State of the interaction.
    pub state: InteractionState,
    /// Callback type of the first answer.
    pub callback: Option<u8>,
    /// Time until the first answer.
    pub answered_after_ms: Option<u64>,
    /// Current text of the original message.
    pub content: Option<String>,
    /// Whether only the user sees the original message.
    pub ephemeral: bool,
    /// Follow-up messages.
    pub follow_ups: Vec<Snowflake>,
}

/// A message of the bot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageReport {
    /// Id of the message.
    pub id: Snowflake,
    /// Time when it was written.
    pub at_ms: u64,
    /// The channel.
    pub channel_id: Snowflake,
    /// The guild; `None` in a direct channel.
    pub guild_id: Option<Snowflake>,
    /// The interaction that it answers or follows.
    pub interaction_id: Option<Snowflake>,
    /// Current text.
    pub content: String,
    /// Number of embeds.
    pub embeds: usize,
    /// Number of attachments.
    pub attachments: usize,
    /// Whether only one user sees it.
    pub ephemeral: bool,
    /// Whether it was edited.
    pub edited: bool,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A command of the bot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandReport {
    /// Id of the command.
    pub id: Snowflake,
    /// The guild of a guild command; `None` for a global one.
    pub guild_id: Option<Snowflake>,
    /// 1 for a slash command, 2 for users, 3 for messages, 4 for the entry point.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Name of the command.
    pub name: String,
    /// The whole command object.
    pub command: Value,
}

/// Number of calls of a route with one status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// GET, POST, PUT, PATCH, DELETE, or `other`.
    pub method: String,
    /// Pattern of the route without the version; empty for unknown routes.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
    /// Number of calls.
    pub count: u64,
}

/// An address with invalid requests or a ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerReport {
    /// The address.
    pub address: IpAddr,
    /// Answers with 401, 403 and 429 in the window.
    pub invalid_requests: u32,
    /// End of the ban, if it is banned.
    pub banned_until_ms: Option<u64>,
}

/// The REST calls so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestsReport {
    /// Counts by route, method and status.
    pub counts: Vec<RequestCount>,
    /// Addresses with invalid requests or a ban.
    pub callers: Vec<CallerReport>,
}
