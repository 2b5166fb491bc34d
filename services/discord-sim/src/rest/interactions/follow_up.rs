//! Follow-ups: edits and deletes the first answer and writes more messages.
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages).

use super::table::{AnswerError, Interaction};
use crate::{
    report::ViolationKind,
    rest::{
        Rest,
        error::RestError,
        input::RequestBody,
        lookup::{parse_id, snowflake},
        messages::{
            self, InteractionOrigin,
            draft::{Draft, EPHEMERAL, Purpose},
        },
    },
    world::Snowflake,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/webhooks/{application}/{token}", post(create))
        .route("/webhooks/{application}/{token}/messages/{message}", get(read).patch(edit).delete(delete))
}

/// Finds the interaction with this token.
///
/// # Errors
///
/// 50027 if the token has expired; 10015 if it is unknown or the interaction is not answered yet.
fn find(rest: &Rest, application: &str, token: &str) -> Result<Interaction, RestError> {
    if parse_id("webhook_id", application)? != rest.hub.world.bot_id() {
        return Err(RestError::UNKNOWN_WEBHOOK);
    }
    let found = rest.state().interactions.followable(token, rest.hub.now()).map(|found| found.clone());
    found.map_err(|error| match error {
        AnswerError::Late(by) => {
            let detail = format!("interaction token used {} ms after it expired", by.as_millis());
            rest.hub.violation(ViolationKind::InteractionLate, 0, None, detail);
            RestError::INVALID_WEBHOOK_TOKEN
        }
        _ => RestError::UNKNOWN_WEBHOOK,
    })
}

/// Resolves the message in a path, which must belong to this interaction.
fn named(interaction: &Interaction, message: &str) -> Result<Snowflake, RestError> {
    if message == "@original" {
        return interaction.original.ok_or(RestError::UNKNOWN_MESSAGE);
    }
    let id = parse_id("message_id", message)?;
    let own = interaction.original == Some(id) || interaction.follow_ups.contains(&id);
    if own { Ok(id) } else { Err(RestError::UNKNOWN_MESSAGE) }
}

/// Edits a message, or fills it if it is the placeholder.
fn edit_message(
    rest: &Rest,
    interaction: &Interaction,
    id: Snowflake,
    draft: &Draft,
) -> Result<Value, RestError> {
    let change = {
        let mut state = rest.state();
        let change = messages::change(&mut state.messages, &rest.hub.world, id, draft)?;
        if interaction.original == Some(id)
            && let Ok(kept) = state.interactions.followable(&interaction.token, rest.hub.now())
        {
            kept.loading = false;
        }
        change
    };
    Ok(change.dispatch(&rest.hub))
}

async fn create(
    State(rest): State<Rest>,
    Path((application, token)): Path<(String, String)>,
    input: RequestBody,
) -> Result<Json<Value>, RestError> {
    let interaction = find(&rest, &application, &token)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Reply, "")?;
    if interaction.loading
        && let Some(original) = interaction.original
    {
        return edit_message(&rest, &interaction, original, &draft).map(Json);
    }
    let reference = interaction.original.map(|original| json!({ "type": 0, "message_id": original }));
    let origin = InteractionOrigin {
        interaction: interaction.id,
        kind: 19,
        metadata: interaction.metadata.clone(),
        ephemeral: draft.flags.unwrap_or(0) & EPHEMERAL != 0,
        loading: false,
    };
    let draft = Draft { reference, ..draft };
    let change = {
        let mut state = rest.state();
        let change =
            messages::write(&mut state.messages, &rest.hub, &interaction.place, &draft, Some(&origin));
        if let Ok(kept) = state.interactions.followable(&token, rest.hub.now()) {
            kept.follow_ups.extend(snowflake(&change.body["id"]));
        }
        change
    };
    Ok(Json(change.dispatch(&rest.hub)))
}

type MessagePath = (String, String, String);

async fn read(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<MessagePath>,
) -> Result<Json<Value>, RestError> {
    let id = named(&find(&rest, &application, &token)?, &message)?;
    let body = rest.state().messages.get(id).map(|kept| kept.body.clone());
    body.map(Json).ok_or(RestError::UNKNOWN_MESSAGE)
}

async fn edit(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<MessagePath>,
    input: RequestBody,
) -> Result<Json<Value>, RestError> {
    let interaction = find(&rest, &application, &token)?;
    let id = named(&interaction, &message)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Edit, "")?;
    edit_message(&rest, &interaction, id, &draft).map(Json)
}

async fn delete(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<MessagePath>,
) -> Result<StatusCode, RestError> {
    let id = named(&find(&rest, &application, &token)?, &message)?;
    messages::delete(&rest, id).map(|()| StatusCode::NO_CONTENT)
}
