//! Validates the fields of a request's body and collects the errors.
//! [Source](https://docs.discord.com/developers/reference#error-messages).

use super::error::RestError;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// The errors of one body, nested as in Discord's `errors`.
#[derive(Debug, Default)]
pub(crate) struct Form {
    errors: Map<String, Value>,
}

impl Form {
    /// Adds an error of a field. Dots separate the steps of its path; an empty path is the body.
    pub(crate) fn add_error(&mut self, path: &str, code: &str, message: impl Into<String>) {
        let mut place = &mut self.errors;
        for step in path.split('.').filter(|step| !step.is_empty()) {
            let next = place.entry(step).or_insert_with(|| json!({}));
            let Value::Object(next) = next else { return };
            place = next;
        }
        let all = place.entry("_errors").or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.push(json!({ "code": code, "message": message.into() }));
        }
    }

    /// Adds the error of a missing field.
    pub(crate) fn missing(&mut self, path: &str) {
        self.add_error(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// Adds the error of a value that is not one of `choices`.
    pub(crate) fn invalid_choice(&mut self, path: &str, choices: &str) {
        self.add_error(path, "BASE_TYPE_CHOICES", format!("Value must be one of {{{choices}}}."));
    }

    /// Validates a text field; lengths are in characters.
    pub(crate) fn text<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        length: RangeInclusive<usize>,
    ) -> Option<&'a str> {
        let Some(text) = value.as_str() else {
            if !value.is_null() {
                self.add_error(path, "STRING_TYPE_CONVERT", "Could not interpret value as string.");
            }
            return None;
        };
        let count = text.chars().count();
        if length.contains(&count) {
            return Some(text);
        }
        let (least, most) = (length.start(), length.end());
        if *least == 0 {
            self.add_error(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
        } else {
            let message = format!("Must be between {least} and {most} in length.");
            self.add_error(path, "BASE_TYPE_BAD_LENGTH", message);
        }
        None
    }

    /// Validates a required text field.
    pub(crate) fn required_text<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        length: RangeInclusive<usize>,
    ) -> Option<&'a str> {
        if value.is_null() {
            self.missing(path);
        }
        self.text(value, path, length)
    }

    /// Validates a list and returns its items; none if the field is missing or invalid.
    pub(crate) fn list<'a>(&mut self, value: &'a Value, path: &str, most: usize) -> &'a [Value] {
        match value {
            Value::Null => &[],
            Value::Array(items) if items.len() > most => {
                self.add_error(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
                &[]
            }
            Value::Array(items) => items,
            _ => {
                self.add_error(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
                &[]
            }
        }
    }

    /// Adds an error unless the value is an object. Returns whether it is one.
    pub(crate) fn require_object(&mut self, value: &Value, path: &str) -> bool {
        if !value.is_object() {
            self.add_error(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType");
        }
        value.is_object()
    }

    /// Validates a whole number.
    pub(crate) fn number(&mut self, value: &Value, path: &str) -> Option<u64> {
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        if number.is_none() && !value.is_null() {
            self.add_error(path, "NUMBER_TYPE_COERCE", format!("Value {value} is not int."));
        }
        number
    }

    /// Returns the collected errors, if any.
    pub(crate) fn finish(self) -> Result<(), RestError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(RestError { errors: Some(Value::Object(self.errors)), ..RestError::INVALID_FORM })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_nested_like_the_fields() {
        let mut form = Form::default();
        form.required_text(&Value::Null, "embeds.0.title", 0..=5);
        form.text(&json!("abcdef"), "content", 0..=5);
        form.text(&json!("é".repeat(5)), "fine", 0..=5);
        form.text(&json!(5), "name", 1..=5);
        let error = form.finish().unwrap_err();
        assert_eq!(
            error.errors.unwrap(),
            json!({
                "embeds": {"0": {"title": {"_errors": [
                    {"code": "BASE_TYPE_REQUIRED", "message": "This field is required"}]}}},
                "content": {"_errors": [
                    {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 5 or fewer in length."}]},
                "name": {"_errors": [
                    {"code": "STRING_TYPE_CONVERT", "message": "Could not interpret value as string."}]},
            })
        );
        assert!(Form::default().finish().is_ok());
    }
}
