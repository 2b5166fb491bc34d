//! Deletes messages in bulk.
//! [Source](https://docs.discord.com/developers/resources/message#bulk-delete-messages).
//!
//! Messages of people are not stored: any id that is not one of the bot's messages counts as a person's and is reported as
//! deleted. The bot's messages are deleted.

use crate::{
    event::PrebuiltEvent,
    rest::{
        Rest,
        error::RestError,
        form::Form,
        input::RequestBody,
        lookup::{ChannelRef, snowflake},
    },
    world::{Snowflake, time},
};
use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

/// The MANAGE_MESSAGES permission.
const MANAGE_MESSAGES: u64 = 1 << 13;
const COUNT: std::ops::RangeInclusive<usize> = 2..=100;
/// Older messages can't be deleted in bulk.
const OLDEST: Duration = Duration::from_hours(14 * 24);

/// `POST /channels/{channel}/messages/bulk-delete`.
pub(super) async fn delete(
    State(rest): State<Rest>,
    Path(channel): Path<String>,
    input: RequestBody,
) -> Result<StatusCode, RestError> {
    let hub = &rest.hub;
    let place = rest.text_place(&channel)?;
    let ChannelRef::Guild { guild, .. } = place else { return Err(RestError::NOT_IN_DIRECT_CHANNELS) };
    if !hub.world.bot_may(guild, MANAGE_MESSAGES) {
        return Err(RestError::MISSING_PERMISSIONS);
    }
    let ids = read(&input)?;
    let oldest_ms = time::now_ms().saturating_sub(OLDEST.as_millis() as u64);
    if ids.iter().any(|id| id.timestamp_ms() < oldest_ms) {
        return Err(RestError::TOO_OLD_TO_DELETE);
    }
    let channel = place.channel_id();
    let deleted: Vec<Snowflake> = {
        let mut state = rest.state();
        let deleted: Vec<Snowflake> =
            ids.into_iter().filter(|id| state.messages.delete_in(channel, *id)).collect();
        for id in &deleted {
            state.interactions.forget(*id);
        }
        deleted
    };
    if !deleted.is_empty() {
        let body = json!({ "ids": deleted, "channel_id": channel, "guild_id": hub.world.head(guild).id });
        hub.dispatch(PrebuiltEvent::new("MESSAGE_DELETE_BULK", Some(guild), &body, hub.world.bot_id()));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Reads 2 to 100 distinct ids.
fn read(input: &RequestBody) -> Result<BTreeSet<Snowflake>, RestError> {
    let mut form = Form::default();
    let given = &input.json["messages"];
    if given.is_null() {
        form.missing("messages");
    }
    let listed = form.list(given, "messages", usize::MAX);
    let mut ids = BTreeSet::new();
    for (number, value) in listed.iter().enumerate() {
        match snowflake(value) {
            None => {
                form.add_error(
                    &format!("messages.{number}"),
                    "NUMBER_TYPE_COERCE",
                    "Value is not snowflake.",
                );
            }
            Some(id) => {
                if !ids.insert(id) {
                    form.add_error(
                        "messages",
                        "SET_TYPE_ALREADY_CONTAINS_VALUE",
                        "The set already contains this value",
                    );
                }
            }
        }
    }
    form.finish()?;
    if COUNT.contains(&ids.len()) { Ok(ids) } else { Err(RestError::TOO_FEW_OR_MANY_TO_DELETE) }
}
