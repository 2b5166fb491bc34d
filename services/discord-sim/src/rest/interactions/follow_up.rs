//! What follows the first answer: editing and deleting it, and more messages.
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#followup-messages).

use super::table::{Interaction, Refusal};
use crate::{
    hub::Hub,
    report::ViolationKind,
    rest::{
        input::Input,
        lookup::{parse_id, snowflake},
        messages::{
            self, Origin,
            draft::{Draft, EPHEMERAL, Purpose},
        },
        problem::Problem,
    },
    server::Shared,
    world::Snowflake,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/webhooks/{application}/{token}", post(create))
        .route("/webhooks/{application}/{token}/messages/{message}", get(read).patch(edit).delete(delete))
}

/// The interaction with this token.
///
/// # Errors
///
/// 50027 when the token is too old; 10015 when there is no such token, or no answer yet that could be followed.
fn find(hub: &Hub, application: &str, token: &str) -> Result<Interaction, Problem> {
    if parse_id("webhook_id", application)? != hub.world.bot_id() {
        return Err(Problem::UNKNOWN_WEBHOOK);
    }
    let found = hub.desk().interactions.followable(token, hub.now()).map(|found| found.clone());
    found.map_err(|refusal| match refusal {
        Refusal::Late(by) => {
            let detail = format!("an interaction's token was used {} ms after its end", by.as_millis());
            hub.violation(ViolationKind::InteractionLate, 0, None, detail);
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
    hub: &Hub,
    interaction: &Interaction,
    id: Snowflake,
    draft: &Draft,
) -> Result<Value, Problem> {
    let change = {
        let mut desk = hub.desk();
        let change = messages::change(&mut desk.messages, &hub.world, id, draft)?;
        if interaction.original == Some(id)
            && let Ok(kept) = desk.interactions.followable(&interaction.token, hub.now())
        {
            kept.loading = false;
        }
        change
    };
    Ok(change.tell(hub))
}

async fn create(
    State(shared): State<Shared>,
    Path((application, token)): Path<(String, String)>,
    input: Input,
) -> Result<Json<Value>, Problem> {
    let hub = &shared.hub;
    let interaction = find(hub, &application, &token)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Reply, "")?;
    if interaction.loading
        && let Some(original) = interaction.original
    {
        return edit_message(hub, &interaction, original, &draft).map(Json);
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
        let mut desk = hub.desk();
        let change = messages::write(&mut desk.messages, hub, &interaction.place, &draft, Some(&origin));
        if let Ok(kept) = desk.interactions.followable(&token, hub.now()) {
            kept.follow_ups.extend(snowflake(&change.body["id"]));
        }
        change
    };
    Ok(Json(change.tell(hub)))
}

type Names = (String, String, String);

async fn read(
    State(shared): State<Shared>,
    Path((application, token, message)): Path<Names>,
) -> Result<Json<Value>, Problem> {
    let hub = &shared.hub;
    let id = named(&find(hub, &application, &token)?, &message)?;
    let body = hub.desk().messages.get(id).map(|kept| kept.body.clone());
    body.map(Json).ok_or(Problem::UNKNOWN_MESSAGE)
}

async fn edit(
    State(shared): State<Shared>,
    Path((application, token, message)): Path<Names>,
    input: Input,
) -> Result<Json<Value>, Problem> {
    let hub = &shared.hub;
    let interaction = find(hub, &application, &token)?;
    let id = named(&interaction, &message)?;
    let draft = Draft::read(&input.json, &input.files, Purpose::Edit, "")?;
    edit_message(hub, &interaction, id, &draft).map(Json)
}

async fn delete(
    State(shared): State<Shared>,
    Path((application, token, message)): Path<Names>,
) -> Result<StatusCode, Problem> {
    let hub = &shared.hub;
    let id = named(&find(hub, &application, &token)?, &message)?;
    messages::delete(hub, id).map(|()| StatusCode::NO_CONTENT)
}
