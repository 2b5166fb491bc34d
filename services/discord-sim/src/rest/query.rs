//! Query parameters of a call.

use super::{error::RestError, form::Form, lookup::parse_id};
use crate::world::Snowflake;
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use std::collections::HashMap;

/// The fields of a query; of repeated fields, the last one.
#[derive(Debug)]
pub(crate) struct QueryFields(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for QueryFields {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, RestError> {
        Query::try_from_uri(&parts.uri).map(|Query(fields)| Self(fields)).map_err(|_| RestError::INVALID_FORM)
    }
}

impl QueryFields {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Parses a boolean: `true` and `false` in any case, `1` and `0`; `false` by default.
    ///
    /// # Errors
    ///
    /// Any other value.
    pub(crate) fn boolean(&self, field: &str) -> Result<bool, RestError> {
        match self.text(field) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => {
                let mut form = Form::default();
                form.add_error(field, "BOOLEAN_TYPE_CONVERT", "Must be either true or false.");
                form.finish().map(|()| false)
            }
        }
    }

    /// Parses a whole number.
    ///
    /// # Errors
    ///
    /// Any other value.
    pub(crate) fn number(&self, field: &str) -> Result<Option<u64>, RestError> {
        let mut form = Form::default();
        let number = self.text(field).and_then(|text| form.number(&text.into(), field));
        form.finish().map(|()| number)
    }

    /// Parses an id.
    ///
    /// # Errors
    ///
    /// Any other value.
    pub(crate) fn id(&self, field: &str) -> Result<Option<Snowflake>, RestError> {
        self.text(field).map(|text| parse_id(field, text)).transpose()
    }
}
