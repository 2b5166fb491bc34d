//! The first answer to an interaction.
//! [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#create-interaction-response).

use super::{
    answer::{self, Wish},
    table::{Answer, Interaction, Kind, Refusal},
};
use crate::{
    hub::Hub,
    report::ViolationKind,
    rest::{
        Rest,
        asked::Asked,
        guard::Arrived,
        input::Input,
        lookup::{parse_id, snowflake},
        messages::{self, Change, Origin, draft::Draft, store::Store},
        problem::Problem,
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

/// What a refused answer gets, and notes it when a client broke a rule.
fn refused(hub: &Hub, id: Snowflake, refusal: Refusal) -> Problem {
    let note = |kind, detail| hub.violation(kind, 0, None, detail);
    match refusal {
        Refusal::Late(by) => {
            let detail = format!("the answer to interaction {id} came {} ms too late", by.as_millis());
            note(ViolationKind::InteractionLate, detail);
            Problem::UNKNOWN_INTERACTION
        }
        Refusal::Twice => {
            let detail = format!("interaction {id} was answered already");
            note(ViolationKind::InteractionAnsweredTwice, detail);
            Problem::ALREADY_ACKNOWLEDGED
        }
        Refusal::Unknown | Refusal::Unanswered => Problem::UNKNOWN_INTERACTION,
    }
}

async fn callback(
    State(rest): State<Rest>,
    Path((id, token)): Path<(String, String)>,
    asked: Asked,
    Extension(Arrived(now)): Extension<Arrived>,
    input: Input,
) -> Result<Response, Problem> {
    let hub = &rest.hub;
    let id = parse_id("interaction_id", &id)?;
    // Checked before the answer takes effect: a rejected call must leave the interaction unanswered.
    let with_response = asked.boolean("with_response")?;
    let refuse = |refusal| refused(hub, id, refusal);
    let kind = rest.state().interactions.answerable(id, &token, now).map(|found| found.kind);
    let (number, wish) = answer::read(kind.map_err(refuse)?, &input)?;
    let (interaction, change) =
        take(&rest, id, &token, number, &wish, now).map_err(|failure| match failure {
            Failure::Refused(refusal) => refuse(refusal),
            Failure::Bad(problem) => problem,
        })?;
    let message = change.map(|change| change.tell(hub));
    if !with_response {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut told = json!({ "id": id, "type": interaction.kind.number() });
    let mut resource = json!({ "type": number });
    if let Some(message) = message {
        told["response_message_id"] = message["id"].clone();
        told["response_message_loading"] = (number == 5).into();
        told["response_message_ephemeral"] = interaction.ephemeral.into();
        if matches!(number, 4 | 7) {
            resource["message"] = message;
        }
    }
    if number == 12 {
        let instance = format!("i-{id}-sim");
        told["activity_instance_id"] = instance.as_str().into();
        resource["activity_instance"] = json!({ "id": instance });
    }
    Ok(Json(json!({ "interaction": told, "resource": resource })).into_response())
}

/// Why an interaction is not answered.
enum Failure {
    Refused(Refusal),
    /// It can still be answered.
    Bad(Problem),
}

/// Marks an interaction as answered and writes or edits the message that the answer asks for, in one step, or does neither;
/// returns the interaction as it is then.
fn take(
    rest: &Rest,
    id: Snowflake,
    token: &str,
    number: u8,
    wish: &Wish,
    now: Duration,
) -> Result<(Interaction, Option<Change>), Failure> {
    let mut state = rest.state();
    let state = &mut *state;
    let interaction = state.interactions.answerable(id, token, now).map_err(Failure::Refused)?;
    let edited = match (interaction.kind, wish) {
        (Kind::Component { message }, Wish::Update(draft)) => {
            let edited = messages::change(&mut state.messages, &rest.hub.world, message, draft);
            Some(edited.map_err(Failure::Bad)?)
        }
        _ => None,
    };
    interaction.answer = Some(Answer { kind: number, at: now });
    interaction.ephemeral = match wish {
        Wish::Message(draft) => draft.flags.unwrap_or(0) & messages::draft::EPHEMERAL != 0,
        Wish::Deferred { ephemeral } => *ephemeral,
        _ => false,
    };
    interaction.loading = matches!(wish, Wish::Deferred { .. });
    let change = match wish {
        Wish::Message(draft) => Some(write(&mut state.messages, &rest.hub, interaction, draft)),
        Wish::Deferred { .. } => Some(write(&mut state.messages, &rest.hub, interaction, &Draft::default())),
        Wish::DeferredUpdate | Wish::Update(_) => {
            if let Kind::Component { message } = interaction.kind {
                interaction.original = Some(message);
            }
            edited
        }
        Wish::Other => None,
    };
    Ok((interaction.clone(), change))
}

/// Writes the message that an answer asks for.
fn write(store: &mut Store, hub: &Hub, interaction: &mut Interaction, draft: &Draft) -> Change {
    let kind = if let Kind::Command { message_type } = interaction.kind { message_type } else { 19 };
    let origin = Origin {
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
