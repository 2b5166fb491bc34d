//! Validates message bodies.
//!
//! Pure. [Source](https://docs.discord.com/developers/resources/message#create-message).

use crate::rest::{error::RestError, form::Form, input::Upload};
use serde_json::{Map, Value};

/// Links show no embeds.
pub(crate) const SUPPRESS_EMBEDS: u64 = 1 << 2;
/// Only the interaction's user sees the message.
pub(crate) const EPHEMERAL: u64 = 1 << 6;
/// The message is a placeholder ("is thinking").
pub(crate) const LOADING: u64 = 1 << 7;
const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;
const IS_VOICE_MESSAGE: u64 = 1 << 13;
/// Components only, without content and embeds.
const IS_COMPONENTS_V2: u64 = 1 << 15;

const MOST_EMBEDS: usize = 10;
const EMBED_CHARACTERS: usize = 6_000;

/// The purpose of a body, which decides valid flags and whether it may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new message in a channel.
    Create,
    /// An answer to an interaction or a follow-up.
    Reply,
    /// An edit of a message: missing fields stay unchanged.
    Edit,
}

impl Purpose {
    const fn flags(self) -> u64 {
        match self {
            Self::Create => SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | IS_VOICE_MESSAGE | IS_COMPONENTS_V2,
            Self::Reply => {
                SUPPRESS_EMBEDS | EPHEMERAL | SUPPRESS_NOTIFICATIONS | IS_VOICE_MESSAGE | IS_COMPONENTS_V2
            }
            Self::Edit => SUPPRESS_EMBEDS | IS_COMPONENTS_V2,
        }
    }
}

/// Fields copied into the message; embeds get a type.
const KEPT: [&str; 4] = ["content", "embeds", "components", "poll"];

/// A validated body.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Given fields among content, embeds, components and poll.
    pub(crate) fields: Map<String, Value>,
    pub(crate) flags: Option<u64>,
    pub(crate) tts: bool,
    pub(crate) nonce: Option<Value>,
    pub(crate) enforce_nonce: bool,
    pub(crate) reference: Option<Value>,
    pub(crate) stickers: Vec<Value>,
    /// Kept and new attachments; `None` if the body has no such field.
    pub(crate) attachments: Option<Vec<Value>>,
    pub(crate) files: Vec<Upload>,
    pub(crate) allowed_mentions: Value,
}

impl Draft {
    /// Validates a body; `path` is its place in the request, such as `data` in a callback.
    ///
    /// # Errors
    ///
    /// A field is invalid, or the message would be empty.
    pub(crate) fn read(
        body: &Value,
        files: &[Upload],
        purpose: Purpose,
        path: &str,
    ) -> Result<Self, RestError> {
        let mut form = Form::default();
        if !form.require_object(body, path) {
            form.finish()?;
            return Err(RestError::INVALID_FORM);
        }
        let at = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        form.text(&body["content"], &at("content"), 0..=2_000);
        check_embeds(&mut form, &body["embeds"], &at("embeds"));
        let flags = form.number(&body["flags"], &at("flags"));
        let refused = flags.unwrap_or(0) & !purpose.flags();
        if refused != 0 {
            form.add_error(
                &at("flags"),
                "MESSAGE_FLAGS_INVALID",
                format!("Flags {refused} can't be set here."),
            );
        }
        let v2 = flags.unwrap_or(0) & IS_COMPONENTS_V2 != 0;
        check_components(&mut form, &body["components"], &at("components"), v2);
        if v2 {
            for field in ["content", "embeds", "poll", "sticker_ids"] {
                if has_value(&body[field]) {
                    let code = "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2";
                    form.add_error(&at(field), code, "This field cannot be used with IS_COMPONENTS_V2.");
                }
            }
        }
        if !body["nonce"].is_u64() && !body["nonce"].is_i64() {
            form.text(&body["nonce"], &at("nonce"), 0..=25);
        }
        check_poll(&mut form, &body["poll"], &at("poll"));
        check_mentions(&mut form, &body["allowed_mentions"], &at("allowed_mentions"));
        let stickers = form.list(&body["sticker_ids"], &at("sticker_ids"), 3).to_vec();
        let attachments = form.list(&body["attachments"], &at("attachments"), 10).to_vec();
        form.finish()?;
        let reference = Some(&body["message_reference"]).filter(|reference| reference.is_object()).cloned();
        let draft = Self {
            fields: KEPT
                .iter()
                .filter_map(|field| body.get(*field).map(|value| ((*field).to_owned(), value.clone())))
                .collect(),
            flags,
            tts: body["tts"].as_bool().unwrap_or(false),
            nonce: Some(&body["nonce"]).filter(|nonce| !nonce.is_null()).cloned(),
            enforce_nonce: body["enforce_nonce"].as_bool().unwrap_or(false),
            reference,
            stickers,
            attachments: body["attachments"].is_array().then_some(attachments),
            files: files.to_vec(),
            allowed_mentions: body["allowed_mentions"].clone(),
        };
        if purpose != Purpose::Edit && draft.is_empty() {
            return Err(RestError::EMPTY_MESSAGE);
        }
        Ok(draft)
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.stickers.is_empty()
            && !self.fields.values().any(has_value)
            && self.reference.as_ref().is_none_or(|reference| reference["type"] != 1)
    }
}

/// Returns whether a field has content; empty texts and lists have none.
pub(crate) fn has_value(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// [Source](https://docs.discord.com/developers/resources/message#embed-object-embed-limits).
fn check_embeds(form: &mut Form, embeds: &Value, path: &str) {
    let mut total = 0;
    for (number, embed) in form.list(embeds, path, MOST_EMBEDS).iter().enumerate() {
        let at = format!("{path}.{number}");
        if !form.require_object(embed, &at) {
            continue;
        }
        let mut count = |form: &mut Form, value: &Value, field: &str, most: usize| {
            let text = form.text(value, &format!("{at}.{field}"), 0..=most);
            total += text.map_or(0, |text| text.chars().count());
        };
        count(form, &embed["title"], "title", 256);
        count(form, &embed["description"], "description", 4_096);
        count(form, &embed["footer"]["text"], "footer.text", 2_048);
        count(form, &embed["author"]["name"], "author.name", 256);
        for (number, field) in form.list(&embed["fields"], &format!("{at}.fields"), 25).iter().enumerate() {
            for (key, most) in [("name", 256), ("value", 1_024)] {
                if field[key].as_str().is_none_or(str::is_empty) {
                    form.missing(&format!("{at}.fields.{number}.{key}"));
                }
                count(form, &field[key], &format!("fields.{number}.{key}"), most);
            }
        }
    }
    if total > EMBED_CHARACTERS {
        let message = format!("Embed size exceeds maximum size of {EMBED_CHARACTERS}");
        form.add_error(path, "MAX_EMBED_SIZE_EXCEEDED", message);
    }
}

/// [Source](https://docs.discord.com/developers/components/reference).
fn check_components(form: &mut Form, components: &Value, path: &str, v2: bool) {
    for (number, component) in form.list(components, path, if v2 { 40 } else { 5 }).iter().enumerate() {
        let at = format!("{path}.{number}");
        if !form.require_object(component, &at) {
            continue;
        }
        match component["type"].as_u64() {
            None => form.missing(&format!("{at}.type")),
            Some(1) => {
                let buttons = form.list(&component["components"], &format!("{at}.components"), 5);
                if buttons.is_empty() {
                    let message = "Must be between 1 and 5 in length.";
                    form.add_error(&format!("{at}.components"), "BASE_TYPE_BAD_LENGTH", message);
                }
                for (number, button) in buttons.iter().enumerate() {
                    form.text(&button["custom_id"], &format!("{at}.components.{number}.custom_id"), 1..=100);
                }
            }
            Some(_) if v2 => {}
            Some(_) => form.invalid_choice(&format!("{at}.type"), "1"),
        }
    }
}

/// [Source](https://docs.discord.com/developers/resources/poll#poll-create-request-object).
fn check_poll(form: &mut Form, poll: &Value, path: &str) {
    if poll.is_null() || !form.require_object(poll, path) {
        return;
    }
    form.required_text(&poll["question"]["text"], &format!("{path}.question.text"), 1..=300);
    let answers = form.list(&poll["answers"], &format!("{path}.answers"), 10);
    if answers.is_empty() {
        form.missing(&format!("{path}.answers"));
    }
}

/// [Source](https://docs.discord.com/developers/resources/message#allowed-mentions-object).
fn check_mentions(form: &mut Form, mentions: &Value, path: &str) {
    for (number, kind) in form.list(&mentions["parse"], &format!("{path}.parse"), 3).iter().enumerate() {
        if !matches!(kind.as_str(), Some("roles" | "users" | "everyone")) {
            form.invalid_choice(&format!("{path}.parse.{number}"), "'roles', 'users', 'everyone'");
        }
    }
    for kind in ["users", "roles"] {
        form.list(&mentions[kind], &format!("{path}.{kind}"), 100);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(body: &Value, purpose: Purpose) -> RestError {
        Draft::read(body, &[], purpose, "").unwrap_err()
    }

    #[test]
    fn empty_messages_are_rejected() {
        for body in [json!({}), json!({"content": " "}), json!({"embeds": []}), json!({"tts": true})] {
            assert_eq!(wrong(&body, Purpose::Create), RestError::EMPTY_MESSAGE, "{body}");
        }
        for body in [
            json!({"content": "x"}),
            json!({"embeds": [{"title": "x"}]}),
            json!({"sticker_ids": ["1"]}),
            json!({"components": [{"type": 1, "components": [{"type": 2, "custom_id": "a"}]}]}),
            json!({"flags": 1 << 15, "components": [{"type": 10, "content": "x"}]}),
            json!({"poll": {"question": {"text": "?"}, "answers": [{}]}}),
        ] {
            assert!(Draft::read(&body, &[], Purpose::Create, "").is_ok(), "{body}");
        }
        assert!(Draft::read(&json!({}), &[], Purpose::Edit, "").is_ok());
    }

    #[test]
    fn exceeded_limits_name_the_field() {
        let long = |count: usize| "x".repeat(count);
        let six = json!([{"description": long(4_000)}, {"description": long(2_001)}]);
        for (body, pointer) in [
            (json!({"content": long(2_001)}), "/content/_errors/0/code"),
            (json!({"embeds": vec![json!({}); 11]}), "/embeds/_errors/0/code"),
            (json!({"embeds": [{"title": long(257)}]}), "/embeds/0/title/_errors/0/code"),
            (json!({"embeds": [{"fields": [{"name": "x"}]}]}), "/embeds/0/fields/0/value/_errors/0/code"),
            (json!({"embeds": six}), "/embeds/_errors/0/code"),
            (json!({"content": "x", "nonce": long(26)}), "/nonce/_errors/0/code"),
            (json!({"content": "x", "flags": EPHEMERAL}), "/flags/_errors/0/code"),
            (json!({"content": "x", "flags": 1 << 15}), "/content/_errors/0/code"),
            (json!({"content": 5}), "/content/_errors/0/code"),
            (json!({"components": [{"type": 2}]}), "/components/0/type/_errors/0/code"),
            (json!({"content": "x", "allowed_mentions": {"parse": ["x"]}}), "/allowed_mentions/parse/0"),
        ] {
            let error = wrong(&body, Purpose::Create);
            assert_eq!(error.code, 50035);
            let errors = error.errors.unwrap();
            assert!(errors.pointer(pointer).is_some(), "{body}: {errors}");
        }
        let reply = json!({"content": "x", "flags": EPHEMERAL});
        assert!(Draft::read(&reply, &[], Purpose::Reply, "data").is_ok());
    }
}
