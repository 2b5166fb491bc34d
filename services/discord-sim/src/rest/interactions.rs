//! Interactions with the bot's commands and components, and the bot's answers.
//!
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding).

mod answer;
mod begin;
mod callback;
mod follow_up;
pub(crate) mod table;

use crate::rest::Rest;
use axum::Router;

/// Builds the routes under `/interactions` and `/webhooks`.
pub(crate) fn routes() -> Router<Rest> {
    callback::routes().merge(follow_up::routes())
}
