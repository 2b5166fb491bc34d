//! Validates commands.
//!
//! Pure. [Source](https://docs.discord.com/developers/interactions/application-commands#application-command-object).

use crate::rest::form::Form;
use serde_json::Value;

/// The type of slash commands.
pub(crate) const CHAT_INPUT: u64 = 1;
/// Limit of characters of names, descriptions and values in one command, counting the longest translations.
const MOST_CHARACTERS: usize = 8_000;
const SUB_COMMAND: u64 = 1;
const SUB_COMMAND_GROUP: u64 = 2;

/// Validates a command; `path` is its place in the body.
pub(super) fn command(form: &mut Form, command: &Value, path: &str) {
    if !form.require_object(command, path) {
        return;
    }
    let at = |field: &str| join(path, field);
    let kind = kind(command);
    match kind {
        1..=4 => {}
        _ => form.invalid_choice(&at("type"), "1, 2, 3, 4"),
    }
    let slash = kind == CHAT_INPUT;
    name(form, &command["name"], &at("name"), slash);
    translations(form, &command["name_localizations"], &at("name_localizations"), 32);
    if slash {
        form.required_text(&command["description"], &at("description"), 1..=100);
        translations(form, &command["description_localizations"], &at("description_localizations"), 100);
        options(form, &command["options"], &at("options"), 0);
    } else {
        for field in ["description", "options"] {
            if super::super::messages::draft::has_value(&command[field]) {
                let message = "Context menu commands cannot have this field";
                form.add_error(&at(field), "APPLICATION_COMMAND_INVALID_FIELD", message);
            }
        }
    }
    let characters = size(command);
    if characters > MOST_CHARACTERS {
        let message = format!("Command exceeds maximum size ({MOST_CHARACTERS})");
        form.add_error(path, "APPLICATION_COMMAND_TOO_LARGE", message);
    }
}

/// Returns a command's type; without one it is a slash command.
pub(super) fn kind(command: &Value) -> u64 {
    if command["type"].is_null() { CHAT_INPUT } else { command["type"].as_u64().unwrap_or(0) }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// Returns whether a name is valid: letters and digits of all scripts, `-`, `_` and `'`, in lower case.
/// [Source](https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-naming).
fn is_slash_name(name: &str) -> bool {
    // Combining marks of these scripts are allowed too.
    let thai_or_devanagari =
        |letter| matches!(letter, '\u{900}'..='\u{97f}' | '\u{a8e0}'..='\u{a8ff}' | '\u{e01}'..='\u{e5b}');
    (1..=32).contains(&name.chars().count())
        && name.chars().all(|letter| {
            letter.is_alphanumeric() || matches!(letter, '-' | '_' | '\'') || thai_or_devanagari(letter)
        })
        && name.to_lowercase() == name
}

fn name(form: &mut Form, name: &Value, path: &str, slash: bool) {
    let Some(text) = form.required_text(name, path, 1..=32) else { return };
    if slash && !is_slash_name(text) {
        form.add_error(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid");
    }
}

fn translations(form: &mut Form, all: &Value, path: &str, most: usize) {
    for (locale, text) in all.as_object().into_iter().flatten() {
        form.text(text, &format!("{path}.{locale}"), 1..=most);
    }
}

fn options(form: &mut Form, all: &Value, path: &str, depth: usize) {
    let all = form.list(all, path, 25);
    let (mut names, mut optional_before) = (Vec::new(), false);
    for (number, option) in all.iter().enumerate() {
        let at = format!("{path}.{number}");
        if !form.require_object(option, &at) {
            continue;
        }
        let kind = option["type"].as_u64();
        match kind {
            None => form.missing(&format!("{at}.type")),
            Some(1..=11) => {}
            Some(_) => form.invalid_choice(&format!("{at}.type"), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"),
        }
        name(form, &option["name"], &format!("{at}.name"), true);
        form.required_text(&option["description"], &format!("{at}.description"), 1..=100);
        let option_name = option["name"].as_str().unwrap_or_default();
        if names.contains(&option_name) {
            let message = "Option name already exists";
            form.add_error(&format!("{at}.name"), "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", message);
        }
        names.push(option_name);
        let required = option["required"] == true;
        if required && optional_before {
            let message = "Required options must be placed before non-required options";
            form.add_error(&at, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", message);
        }
        let nested = matches!(kind, Some(SUB_COMMAND | SUB_COMMAND_GROUP));
        optional_before |= !required && !nested;
        // Groups are valid at the top level, sub-commands there or in a group.
        if kind == Some(SUB_COMMAND_GROUP) && depth > 0 || kind == Some(SUB_COMMAND) && depth > 1 {
            let message = "Sub-command option type is not allowed here";
            form.add_error(&format!("{at}.type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", message);
        } else if nested {
            let depth = if kind == Some(SUB_COMMAND) { 2 } else { 1 };
            options(form, &option["options"], &format!("{at}.options"), depth);
        }
        for (number, choice) in form.list(&option["choices"], &format!("{at}.choices"), 25).iter().enumerate()
        {
            let at = format!("{at}.choices.{number}");
            form.required_text(&choice["name"], &format!("{at}.name"), 1..=100);
            if choice["value"].is_null() {
                form.missing(&format!("{at}.value"));
            }
        }
        if option["autocomplete"] == true && option["choices"].as_array().is_some_and(|all| !all.is_empty()) {
            let message = "Options with autocomplete can't have choices";
            form.add_error(&at, "APPLICATION_COMMAND_AUTOCOMPLETE_WITH_CHOICES", message);
        }
    }
}

/// Counts the characters of a command's size.
fn size(part: &Value) -> usize {
    let longest = |field: &str| {
        let translated = part[format!("{field}_localizations")].as_object();
        let translated = translated.into_iter().flatten().filter_map(|(_, text)| text.as_str());
        translated.chain(part[field].as_str()).map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let value = part["value"].as_str().map_or(0, |text| text.chars().count());
    let nested = ["options", "choices"].iter().filter_map(|field| part[*field].as_array()).flatten();
    longest("name") + longest("description") + value + nested.map(size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(body: &Value) -> Option<Value> {
        let mut form = Form::default();
        command(&mut form, body, "");
        form.finish().err().and_then(|error| error.errors)
    }

    #[test]
    fn slash_command_names_are_validated() {
        for good in ["ping", "a-b_c'd", "größe", "猫", "สวัสดี", "नमस्ते", "x1"] {
            assert!(is_slash_name(good), "{good}");
        }
        let long = "x".repeat(33);
        for bad in ["", "Ping", "two words", "a/b", "é!", long.as_str()] {
            assert!(!is_slash_name(bad), "{bad}");
        }
        assert_eq!(errors(&json!({"type": 2, "name": "Look Up"})), None, "menus may have spaces");
    }

    #[test]
    fn each_mistake_names_its_field() {
        let good = json!({"name": "ping", "description": "Pong"});
        assert_eq!(errors(&good), None);
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body
        };
        let option = |name: &str, required: bool| {
            json!({"type": 3, "name": name, "description": "x",
            "required": required})
        };
        let deep = json!([{"type": 1, "name": "a", "description": "x",
            "options": [{"type": 1, "name": "b", "description": "x"}]}]);
        for (body, pointer) in [
            (with("description", Value::Null), "/description/_errors/0/code"),
            (with("description", "x".repeat(101).into()), "/description/_errors/0/code"),
            (with("name", "Ping".into()), "/name/_errors/0/code"),
            (with("type", 9.into()), "/type/_errors/0/code"),
            (with("options", json!([{"name": "a", "description": "x"}])), "/options/0/type/_errors/0/code"),
            (with("options", json!([option("a", false), option("b", true)])), "/options/1/_errors/0/code"),
            (with("options", json!([option("a", false), option("a", false)])), "/options/1/name/_errors/0"),
            (with("options", json!(vec![option("a", false); 26])), "/options/_errors/0/code"),
            (with("options", deep), "/options/0/options/0/type/_errors/0/code"),
            (json!({"type": 2, "name": "x", "description": "y"}), "/description/_errors/0/code"),
        ] {
            let errors = errors(&body).unwrap_or_else(|| panic!("{body} is wrong"));
            assert!(errors.pointer(pointer).is_some(), "{body}: {errors}");
        }
    }

    #[test]
    fn command_has_at_most_8000_characters() {
        let choices: Vec<_> = (0..25)
            .map(|number| json!({"name": format!("{number:0>50}"), "value": "x".repeat(50)}))
            .collect();
        let option = |number: usize| json!({"type": 3, "name": format!("o{number}"), "description": "x", "choices": choices});
        let with = |options: usize| {
            json!({"name": "ping", "description": "Pong",
                "options": (0..options).map(option).collect::<Vec<_>>()})
        };
        assert_eq!(errors(&with(3)), None);
        let errors = errors(&with(4)).unwrap();
        assert_eq!(errors["_errors"][0]["code"], "APPLICATION_COMMAND_TOO_LARGE");
    }
}
