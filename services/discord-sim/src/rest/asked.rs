//! What a call's query asks for.

use super::{form::Form, lookup::parse_id, problem::Problem};
use crate::world::Snowflake;
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use std::collections::HashMap;

/// The fields of a query; of those that come twice, the last.
#[derive(Debug)]
pub(crate) struct Asked(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri).map(|Query(fields)| Self(fields)).map_err(|_| Problem::INVALID_FORM)
    }
}

impl Asked {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// A boolean: `true` and `false` in any case, `1` and `0`; `false` by default.
    ///
    /// # Errors
    ///
    /// Anything else.
    pub(crate) fn boolean(&self, field: &str) -> Result<bool, Problem> {
        match self.text(field) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => {
                let mut form = Form::default();
                form.wrong(field, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.");
                form.finish().map(|()| false)
            }
        }
    }

    /// # Errors
    ///
    /// When it is there and is no whole number.
    pub(crate) fn number(&self, field: &str) -> Result<Option<u64>, Problem> {
        let mut form = Form::default();
        let number = self.text(field).and_then(|text| form.number(&text.into(), field));
        form.finish().map(|()| number)
    }

    /// # Errors
    ///
    /// When it is there and is no id.
    pub(crate) fn id(&self, field: &str) -> Result<Option<Snowflake>, Problem> {
        self.text(field).map(|text| parse_id(field, text)).transpose()
    }
}
