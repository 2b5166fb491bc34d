//! Text for values of an answer, the same in tables and in JSON.

use altergolden_proto::{convert::status_from_wire, v1};
use serde_json::Value;
use shard_bridge::{Data, one_line};

/// A status in lower case; unknown numbers as they are.
pub(crate) fn status(number: i32) -> String {
    status_from_wire(number).map_or_else(|_| number.to_string(), |status| status.to_string())
}

/// The kind of a start, in lower case; unknown numbers as they are.
pub(crate) fn start_kind(number: i32) -> String {
    match v1::StartKind::try_from(number) {
        Ok(v1::StartKind::Identified) => "identified".to_owned(),
        Ok(v1::StartKind::Resumed) => "resumed".to_owned(),
        Ok(v1::StartKind::Reidentified) => "reidentified".to_owned(),
        Ok(v1::StartKind::Unspecified) | Err(_) => number.to_string(),
    }
}

/// The state of a plan, in lower case; unknown numbers as they are.
pub(crate) fn plan_state(number: i32) -> String {
    match v1::PlanState::try_from(number) {
        Ok(state) => state.as_str_name().trim_start_matches("PLAN_STATE_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// A problem's weight in lower case; unknown numbers as they are.
pub(crate) fn problem_weight(number: i32) -> String {
    match v1::ProblemWeight::try_from(number) {
        Ok(weight) => weight.as_str_name().trim_start_matches("PROBLEM_WEIGHT_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// Why there is no reply, in lower case; unknown numbers as they are.
pub(crate) fn failure_kind(number: i32) -> String {
    match v1::ReplyFailureKind::try_from(number) {
        Ok(kind) => kind.as_str_name().trim_start_matches("REPLY_FAILURE_KIND_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// The id of a set-aside event, as the command line takes it.
pub(crate) fn set_aside_id(id: Option<v1::SetAsideId>) -> String {
    let v1::SetAsideId { shard_id, session, sequence } = id.unwrap_or_default();
    format!("{shard_id}/{session}/{sequence}")
}

/// Whom a message is for, in lower case; a number that this version does not know as it is.
pub(crate) fn recipient(number: i32) -> String {
    match v1::MessageRecipient::try_from(number) {
        // An older peer knows broadcasts alone.
        Ok(v1::MessageRecipient::Unspecified) => "all".to_owned(),
        Ok(recipient) => recipient.as_str_name().trim_start_matches("MESSAGE_RECIPIENT_").to_lowercase(),
        Err(_) => number.to_string(),
    }
}

/// Data as one line of JSON text with exact numbers: the text itself, or the value from a peer without text.
pub(crate) fn data_text(json: &str, value: impl FnOnce() -> Value) -> String {
    match Data::from_text(json) {
        Ok(_) => one_line(json),
        Err(_) => value().to_string(),
    }
}
