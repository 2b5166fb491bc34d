//! Changes JSON values by path. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change. A path is a JSON pointer (RFC 6901) with two additions: `*` means each item of a list, a final `-` appends to a
/// list. Paths that do not exist are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Replaces or adds a value.
    Set {
        /// Path; empty for the whole body.
        path: String,
        /// New value.
        value: Value,
    },
    /// Like `set`, with raw text that need not be JSON, such as a string with half a surrogate pair.
    SetText {
        /// Path.
        path: String,
        /// New text.
        text: String,
    },
    /// Removes a field or an item.
    Remove {
        /// Path.
        path: String,
    },
}

/// Applies edits to a body. Text that is not JSON is returned unchanged.
pub(crate) fn apply(edits: &[Edit], body: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    let mut texts = Vec::new();
    for edit in edits {
        match edit {
            Edit::Set { path, value: new } => set(&mut value, &steps(path), new),
            Edit::SetText { path, text } => {
                let mark = format!("discord-sim text {}", texts.len());
                set(&mut value, &steps(path), &Value::from(mark.as_str()));
                texts.push((mark, text));
            }
            Edit::Remove { path } => remove(&mut value, &steps(path)),
        }
    }
    let mut whole = value.to_string();
    for (mark, text) in texts {
        whole = whole.replace(&format!("\"{mark}\""), text);
    }
    whole.into_bytes()
}

fn steps(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

fn set(value: &mut Value, steps: &[String], new: &Value) {
    let Some((step, rest)) = steps.split_first() else {
        *value = new.clone();
        return;
    };
    match value {
        Value::Array(items) if step == "-" && rest.is_empty() => items.push(new.clone()),
        Value::Array(items) if step == "*" => items.iter_mut().for_each(|item| set(item, rest, new)),
        Value::Object(fields) if rest.is_empty() => {
            fields.insert(step.clone(), new.clone());
        }
        _ => {
            if let Some(inner) = inner(value, step) {
                set(inner, rest, new);
            }
        }
    }
}

fn remove(value: &mut Value, steps: &[String]) {
    let Some((step, rest)) = steps.split_first() else { return };
    match value {
        Value::Array(items) if step == "*" && rest.is_empty() => items.clear(),
        Value::Array(items) if step == "*" => items.iter_mut().for_each(|item| remove(item, rest)),
        Value::Array(items) if rest.is_empty() => {
            if let Some(at) = step.parse().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        Value::Object(fields) if rest.is_empty() => {
            fields.remove(step);
        }
        _ => {
            if let Some(inner) = inner(value, step) {
                remove(inner, rest);
            }
        }
    }
}

fn inner<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get_mut(step),
        _ => None,
    }
}
