//! What the simulator tells about REST.

use crate::Snowflake;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// How far an interaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InteractionState {
    /// It has no answer yet.
    Pending,
    /// It has its answer.
    Answered,
    /// Its answer is a placeholder still.
    Deferred,
    /// It got no answer in time.
    Expired,
}

/// One interaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InteractionReport {
    /// Its id.
    pub id: Snowflake,
    /// 2 for a command, 3 for a component, 4 for autocomplete, 5 for a modal.
    #[serde(rename = "type")]
    pub kind: u8,
    /// When it was dispatched.
    pub created_at_ms: u64,
    /// The command's name, or the `custom_id`.
    pub name: String,
    /// Who did it.
    pub user_id: Snowflake,
    /// Where; none in a direct channel.
    pub guild_id: Option<Snowflake>,
    /// Where.
    pub channel_id: Snowflake,
    /// How far it has come.
    pub state: InteractionState,
    /// The type of its first answer.
    pub callback: Option<u8>,
    /// How long that took.
    pub answered_after_ms: Option<u64>,
    /// What the original message says now.
    pub content: Option<String>,
    /// Whether only the user sees the original message.
    pub ephemeral: bool,
    /// The messages that followed.
    pub follow_ups: Vec<Snowflake>,
}

/// One message of the bot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessageReport {
    /// Its id.
    pub id: Snowflake,
    /// When it was written.
    pub at_ms: u64,
    /// Where.
    pub channel_id: Snowflake,
    /// Where; none in a direct channel.
    pub guild_id: Option<Snowflake>,
    /// The interaction that it answers or follows.
    pub interaction_id: Option<Snowflake>,
    /// What it says now.
    pub content: String,
    /// How many embeds it has.
    pub embeds: usize,
    /// How many attachments it has.
    pub attachments: usize,
    /// Whether only one user sees it.
    pub ephemeral: bool,
    /// Whether it was edited.
    pub edited: bool,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One command of the bot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandReport {
    /// Its id.
    pub id: Snowflake,
    /// The one guild that has it; none when all have.
    pub guild_id: Option<Snowflake>,
    /// 1 for a slash command, 2 for users, 3 for messages, 4 for the entry point.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its name.
    pub name: String,
    /// The whole command object.
    pub command: Value,
}

/// How often a route was answered so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCount {
    /// GET, POST, PUT, PATCH, DELETE, or `other`.
    pub method: String,
    /// The route's pattern without the version; empty when there is no such route.
    pub route: String,
    /// The HTTP status.
    pub status: u16,
    /// How often.
    pub count: u64,
}

/// An address that calls were refused to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerReport {
    /// Which.
    pub address: IpAddr,
    /// Answers with 401, 403 and 429 in the window.
    pub invalid_requests: u32,
    /// Until when it is banned.
    pub banned_until_ms: Option<u64>,
}

/// The REST calls so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestsReport {
    /// By route, method and status.
    pub counts: Vec<RequestCount>,
    /// Addresses with invalid requests, or banned.
    pub callers: Vec<CallerReport>,
}
