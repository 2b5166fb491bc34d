//! Checking the fields of a request's body, and what is told about those that are wrong.
//! [Source](https://docs.discord.com/developers/reference#error-messages).

use super::problem::Problem;
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;

/// The wrong fields of one body, in the nesting of Discord's `errors`.
#[derive(Debug, Default)]
pub(crate) struct Form {
    errors: Map<String, Value>,
}

impl Form {
    /// Notes what is wrong with a field; its path's steps are separated by dots, and an empty path is the body.
    pub(crate) fn wrong(&mut self, path: &str, code: &str, message: impl Into<String>) {
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

    /// A required field that is not there.
    pub(crate) fn missing(&mut self, path: &str) {
        self.wrong(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    /// A value that is none of those that are possible.
    pub(crate) fn no_choice(&mut self, path: &str, choices: &str) {
        self.wrong(path, "BASE_TYPE_CHOICES", format!("Value must be one of {{{choices}}}."));
    }

    /// The text of a field, checked; lengths are in characters.
    pub(crate) fn text<'a>(
        &mut self,
        value: &'a Value,
        path: &str,
        length: RangeInclusive<usize>,
    ) -> Option<&'a str> {
        let Some(text) = value.as_str() else {
            if !value.is_null() {
                self.wrong(path, "STRING_TYPE_CONVERT", "Could not interpret value as string.");
            }
            return None;
        };
        let count = text.chars().count();
        if length.contains(&count) {
            return Some(text);
        }
        let (least, most) = (length.start(), length.end());
        if *least == 0 {
            self.wrong(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
        } else {
            let message = format!("Must be between {least} and {most} in length.");
            self.wrong(path, "BASE_TYPE_BAD_LENGTH", message);
        }
        None
    }

    /// As [`text`](Self::text), and it must be there.
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

    /// The items of a list; none when there is no list.
    pub(crate) fn list<'a>(&mut self, value: &'a Value, path: &str, most: usize) -> &'a [Value] {
        match value {
            Value::Null => &[],
            Value::Array(items) if items.len() > most => {
                self.wrong(path, "BASE_TYPE_MAX_LENGTH", format!("Must be {most} or fewer in length."));
                &[]
            }
            Value::Array(items) => items,
            _ => {
                self.wrong(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType");
                &[]
            }
        }
    }

    /// Whether the value is an object.
    pub(crate) fn is_object(&mut self, value: &Value, path: &str) -> bool {
        if !value.is_object() {
            self.wrong(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType");
        }
        value.is_object()
    }

    /// A whole number, where there is one.
    pub(crate) fn number(&mut self, value: &Value, path: &str) -> Option<u64> {
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        if number.is_none() && !value.is_null() {
            self.wrong(path, "NUMBER_TYPE_COERCE", format!("Value {value} is not int."));
        }
        number
    }

    /// Nothing is wrong, or all that is.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(Problem { errors: Some(Value::Object(self.errors)), ..Problem::INVALID_FORM })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_nest_as_the_fields_do() {
        let mut form = Form::default();
        form.required_text(&Value::Null, "embeds.0.title", 0..=5);
        form.text(&json!("abcdef"), "content", 0..=5);
        form.text(&json!("é".repeat(5)), "fine", 0..=5);
        form.text(&json!(5), "name", 1..=5);
        let problem = form.finish().unwrap_err();
        assert_eq!(
            problem.errors.unwrap(),
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
