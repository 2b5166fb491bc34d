//! Validates callback bodies.
//!
//! Pure. [Source](https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object).

use super::table::Kind;
use crate::rest::{
    error::RestError,
    form::Form,
    input::RequestBody,
    messages::draft::{Draft, EPHEMERAL, Purpose},
};
use serde_json::Value;

/// A validated callback.
#[derive(Debug)]
pub(super) enum Callback {
    /// Type 4: a message.
    Message(Draft),
    /// Type 5: a placeholder.
    Deferred { ephemeral: bool },
    /// Type 6: no visible change; the component's message becomes the original.
    DeferredUpdate,
    /// Type 7: an edit of the component's message.
    Update(Draft),
    /// Types 8, 9, 10 and 12, which write no message.
    Other,
}

/// Validates a callback. Returns its type and content.
///
/// # Errors
///
/// The callback is malformed or not valid for this kind of interaction.
pub(super) fn read(kind: Kind, input: &RequestBody) -> Result<(u8, Callback), RestError> {
    let mut form = Form::default();
    let body = &input.json;
    let number = body["type"].as_u64().and_then(|number| u8::try_from(number).ok());
    let allowed = kind.answers();
    let Some(number) = number.filter(|number| allowed.contains(number)) else {
        if body["type"].is_null() {
            form.missing("type");
        } else {
            let choices: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            form.invalid_choice("type", &choices.join(", "));
        }
        return form.finish().and(Err(RestError::INVALID_FORM));
    };
    let data = &body["data"];
    let callback = match number {
        4 if data.is_null() => return Err(RestError::EMPTY_MESSAGE),
        4 => Callback::Message(Draft::read(data, &input.files, Purpose::Reply, "data")?),
        5 => Callback::Deferred { ephemeral: data["flags"].as_u64().unwrap_or(0) & EPHEMERAL != 0 },
        6 => Callback::DeferredUpdate,
        7 if data.is_null() => Callback::Update(Draft::default()),
        7 => Callback::Update(Draft::read(data, &input.files, Purpose::Edit, "data")?),
        8 => {
            choices(&mut form, &data["choices"]);
            Callback::Other
        }
        9 => {
            modal(&mut form, data);
            Callback::Other
        }
        _ => Callback::Other,
    };
    form.finish()?;
    Ok((number, callback))
}

fn choices(form: &mut Form, choices: &Value) {
    if choices.is_null() {
        form.missing("data.choices");
    }
    for (number, choice) in form.list(choices, "data.choices", 25).iter().enumerate() {
        form.required_text(&choice["name"], &format!("data.choices.{number}.name"), 1..=100);
        if choice["value"].is_null() {
            form.missing(&format!("data.choices.{number}.value"));
        }
    }
}

fn modal(form: &mut Form, data: &Value) {
    form.required_text(&data["custom_id"], "data.custom_id", 1..=100);
    form.required_text(&data["title"], "data.title", 1..=45);
    if form.list(&data["components"], "data.components", 5).is_empty() {
        form.add_error("data.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Snowflake;
    use serde_json::json;

    const COMMAND: Kind = Kind::Command { message_type: 20 };
    const COMPONENT: Kind = Kind::Component { message: Snowflake(1) };

    fn read_json(kind: Kind, json: Value) -> Result<(u8, Callback), RestError> {
        read(kind, &RequestBody { json, files: Vec::new() })
    }

    #[test]
    fn each_kind_of_interaction_accepts_its_callback_types() {
        let message = json!({"type": 4, "data": {"content": "x"}});
        let good = [
            (COMMAND, message.clone()),
            (COMMAND, json!({"type": 5})),
            (COMMAND, json!({"type": 9, "data": {"custom_id": "m", "title": "M", "components": [{}]}})),
            (COMPONENT, json!({"type": 6})),
            (COMPONENT, json!({"type": 7, "data": {"content": "x"}})),
            (Kind::Autocomplete, json!({"type": 8, "data": {"choices": [{"name": "a", "value": "b"}]}})),
            (Kind::Modal, message.clone()),
        ];
        for (kind, body) in good {
            assert!(read_json(kind, body.clone()).is_ok(), "{body}");
        }
        let bad = [
            (COMMAND, json!({}), "/type"),
            (COMMAND, json!({"type": 1}), "/type"),
            (COMMAND, json!({"type": 6}), "/type"),
            (COMMAND, json!({"type": 7, "data": {"content": "x"}}), "/type"),
            (Kind::Autocomplete, message, "/type"),
            (Kind::Autocomplete, json!({"type": 8, "data": {}}), "/data/choices"),
            (COMMAND, json!({"type": 9, "data": {"custom_id": "m"}}), "/data/title"),
            (COMMAND, json!({"type": 4, "data": {"content": "x".repeat(2_001)}}), "/data/content"),
        ];
        for (kind, body, pointer) in bad {
            let error = read_json(kind, body.clone()).unwrap_err();
            assert_eq!(error.code, 50035, "{body}");
            assert!(error.errors.unwrap().pointer(pointer).is_some(), "{body}");
        }
        let empty = read_json(COMMAND, json!({"type": 4, "data": {}})).unwrap_err();
        assert_eq!(empty, RestError::EMPTY_MESSAGE);
    }
}
