//! The first answer to an interaction.
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#create-interaction-response).

use super::{
    answer::{self, Callback},
    table::{AcceptedCallback, AnswerError, Interaction, Kind},
};
use crate::{
    hub::Hub,
    report::ViolationKind,
    rest::{
        Rest,
        error::RestError,
        guard::Arrived,
        input::RequestBody,
        lookup::{parse_id, snowflake},
        messages::{self, InteractionOrigin, MessageChange, draft::Draft, store::MessageStore},
        query::QueryFields,
    },
    world::Snowflake,
};
use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::json;
use std::time::Duration;

pub(super) fn routes() -> Router<Rest> {
    Router::new().route("/interactions/{interaction}/{token}/callback", post(callback))
}

/// Records a rejected answer as a violation and returns its error.
fn refused(hub: &Hub, id: Snowflake, error: AnswerError) -> RestError {
    let note = |kind, detail| hub.violation(kind, 0, None, detail);
    match error {
        AnswerError::Late(by) => {
            let detail = format!("interaction {id} answered {} ms after its deadline", by.as_millis());
            note(ViolationKind::InteractionLate, detail);
            RestError::UNKNOWN_INTERACTION
        }
        AnswerError::AlreadyAnswered => {
            let detail = format!("interaction {id} already answered");
            note(ViolationKind::InteractionAnsweredTwice, detail);
            RestError::ALREADY_ACKNOWLEDGED
        }
        AnswerError::Unknown | AnswerError::Unanswered => RestError::UNKNOWN_INTERACTION,
    }
}

async fn callback(
    State(rest): State<Rest>,
    Path((id, token)): Path<(String, String)>,
    query: QueryFields,
    Extension(Arrived(now)): Extension<Arrived>,
    input: RequestBody,
) -> Result<Response, RestError> {
    let hub = &rest.hub;
    let id = parse_id("interaction_id", &id)?;
    // Validated before the answer takes effect: a rejected call must leave the interaction unanswered.
    let with_response = query.boolean("with_response")?;
    let refuse = |error| refused(hub, id, error);
    let kind = rest.state().interactions.answerable(id, &token, now).map(|found| found.kind);
    let (number, callback) = answer::read(kind.map_err(refuse)?, &input)?;
    let (interaction, change) =
        take(&rest, id, &token, number, &callback, now).map_err(|failure| match failure {
            CallbackError::Rejected(error) => refuse(error),
            CallbackError::Invalid(error) => error,
        })?;
    let message = change.map(|change| change.dispatch(hub));
    if !with_response {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut reported = json!({ "id": id, "type": interaction.kind.number() });
    let mut resource = json!({ "type": number });
    if let Some(message) = message {
        reported["response_message_id"] = message["id"].clone();
        reported["response_message_loading"] = (number == 5).into();
        reported["response_message_ephemeral"] = interaction.ephemeral.into();
        if matches!(number, 4 | 7) {
            resource["message"] = message;
        }
    }
    if number == 12 {
        let instance = format!("i-{id}-sim");
        reported["activity_instance_id"] = instance.as_str().into();
        resource["activity_instance"] = json!({ "id": instance });
    }
    Ok(Json(json!({ "interaction": reported, "resource": resource })).into_response())
}

/// Why a callback is rejected.
enum CallbackError {
    Rejected(AnswerError),
    /// The body is invalid; the interaction can still be answered.
    Invalid(RestError),
}

/// Marks an interaction as answered and writes or edits its message, both in one step or neither. Returns the updated interaction.
fn take(
    rest: &Rest,
    id: Snowflake,
    token: &str,
    number: u8,
    callback: &Callback,
    now: Duration,
) -> Result<(Interaction, Option<MessageChange>), CallbackError> {
    let mut state = rest.state();
    let state = &mut *state;
    let interaction = state.interactions.answerable(id, token, now).map_err(CallbackError::Rejected)?;
    let edited = match (interaction.kind, callback) {
        (Kind::Component { message }, Callback::Update(draft)) => {
            let edited = messages::change(&mut state.messages, &rest.hub.world, message, draft);
            Some(edited.map_err(CallbackError::Invalid)?)
        }
        _ => None,
    };
    interaction.answer = Some(AcceptedCallback { kind: number, at: now });
    interaction.ephemeral = match callback {
        Callback::Message(draft) => draft.flags.unwrap_or(0) & messages::draft::EPHEMERAL != 0,
        Callback::Deferred { ephemeral } => *ephemeral,
        _ => false,
    };
    interaction.loading = matches!(callback, Callback::Deferred { .. });
    let change = match callback {
        Callback::Message(draft) => Some(write(&mut state.messages, &rest.hub, interaction, draft)),
        Callback::Deferred { .. } => {
            Some(write(&mut state.messages, &rest.hub, interaction, &Draft::default()))
        }
        Callback::DeferredUpdate | Callback::Update(_) => {
            if let Kind::Component { message } = interaction.kind {
                interaction.original = Some(message);
            }
            edited
        }
        Callback::Other => None,
    };
    Ok((interaction.clone(), change))
}

/// Writes the message of an answer.
fn write(store: &mut MessageStore, hub: &Hub, interaction: &mut Interaction, draft: &Draft) -> MessageChange {
    let kind = if let Kind::Command { message_type } = interaction.kind { message_type } else { 19 };
    let origin = InteractionOrigin {
        interaction: interaction.id,
        kind,
        metadata: interaction.metadata.clone(),
        ephemeral: interaction.ephemeral,
        loading: interaction.loading,
    };
    let change = messages::write(store, hub, &interaction.place, draft, Some(&origin));
    interaction.original = snowflake(&change.body["id"]);
    change
}
