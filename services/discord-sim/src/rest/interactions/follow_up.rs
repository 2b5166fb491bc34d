//! What follows the first answer: editing and deleting it, and more messages.
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages).

use super::table::{Interaction, Refusal};
use crate::{
    report::ViolationKind,
    rest::{
        Rest,
        input::Input,
        lookup::{parse_id, snowflake},
        messages::{
            self, Origin,
            draft::{Draft, EPHEMERAL, Purpose},
        },
        problem::Problem,
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

/// The interaction with this token.
///
/// # Errors
///
/// 50027 when the token is too old; 10015 when there is no such token, or no answer yet that could be followed.
fn find(rest: &Rest, application: &str, token: &str) -> Result<Interaction, Problem> {
    if parse_id("webhook_id", application)? != rest.hub.world.bot_id() {
        return Err(Problem::UNKNOWN_WEBHOOK);
    }
    let found = rest.state().interactions.followable(token, rest.hub.now()).map(|found| found.clone());
    found.map_err(|refusal| match refusal {
        Refusal::Late(by) => {
            let detail = format!("an interaction's token was used {} ms after its end", by.as_millis());
            rest.hub.violation(ViolationKind::InteractionLate, 0, None, detail);
            Problem::INVALID_WEBHOOK_TOKEN
        }
        _ => Problem::UNKNOWN_WEBHOOK,
    })
}

/// The message that a path names; one of this interaction's.
fn named(interaction: &Interaction, message: &str) -> Result<Snowflake, Problem> {
    if message == "@original" {
        return interaction.original.ok_or(Problem::UNKNOWN_MESSAGE);
    }
    let id = parse_id("message_id", message)?;
    let own = interaction.original == Some(id) || interaction.follow_ups.contains(&id);
    if own { Ok(id) } else { Err(Problem::UNKNOWN_MESSAGE) }
}

/// Edits a message; when it is the placeholder, that is filled.
fn edit_message(
    rest: &Rest,
    interaction: &Interaction,
    id: Snowflake,
    draft: &Draft,
) -> Result<Value, Problem> {
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
    Ok(change.tell(&rest.hub))
}

async fn create(
    State(rest): State<Rest>,
    Path((application, token)): Path<(String, String)>,
    input: Input,
) -> Result<Json<Value>, Problem> {
    let interaction = find(&rest, &application, &token)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Reply, "")?;
    if interaction.loading
        && let Some(original) = interaction.original
    {
        return edit_message(&rest, &interaction, original, &draft).map(Json);
    }
    let reference = interaction.original.map(|original| json!({ "type": 0, "message_id": original }));
    let origin = Origin {
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
    Ok(Json(change.tell(&rest.hub)))
}

type Names = (String, String, String);

async fn read(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<Names>,
) -> Result<Json<Value>, Problem> {
    let id = named(&find(&rest, &application, &token)?, &message)?;
    let body = rest.state().messages.get(id).map(|kept| kept.body.clone());
    body.map(Json).ok_or(Problem::UNKNOWN_MESSAGE)
}

async fn edit(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<Names>,
    input: Input,
) -> Result<Json<Value>, Problem> {
    let interaction = find(&rest, &application, &token)?;
    let id = named(&interaction, &message)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Edit, "")?;
    edit_message(&rest, &interaction, id, &draft).map(Json)
}

async fn delete(
    State(rest): State<Rest>,
    Path((application, token, message)): Path<Names>,
) -> Result<StatusCode, Problem> {
    let id = named(&find(&rest, &application, &token)?, &message)?;
    messages::delete(&rest, id).map(|()| StatusCode::NO_CONTENT)
}
