//! Replaced and changed REST answers.

use super::edit::{self, Edit};
use crate::{fault_error::FaultError, world::time};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The largest body that can be edited.
const LARGEST: usize = 32 * 1024 * 1024;

/// Replaces REST answers (with a `status`) or changes them (without).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestAnswer {
    /// Name for `clear_oddities`.
    pub name: Option<String>,
    /// Only calls with this method.
    pub method: Option<String>,
    /// Only this route, as a pattern such as `/channels/{channel}/messages`; by default every call.
    pub route: Option<String>,
    /// Number of calls; by default all.
    pub times: Option<u32>,
    /// Delay before the answer.
    pub after_ms: u64,
    /// Answers with this status; the call has no effect.
    pub status: Option<u16>,
    /// Resets the connection instead of answering.
    pub reset: bool,
    /// Headers. A replaced answer has no others except `server` and what HTTP needs; in particular no `via`.
    pub headers: BTreeMap<String, String>,
    /// `Retry-After` as an HTTP date this many seconds ahead.
    pub retry_after_date: Option<u64>,
    /// The body of a replaced answer.
    pub body: String,
    /// Edits to the JSON of an answer that is not replaced.
    pub edits: Vec<Edit>,
}

/// What to do with a call.
pub(crate) enum Replacement {
    /// Answer with this.
    Answer(Response),
    /// Reset the connection.
    Reset,
    /// Handle it as usual, then change the answer.
    None,
}

impl RestAnswer {
    pub(super) fn validate(&self) -> Result<(), FaultError> {
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err(FaultError::BadOddity("status must be from 200 to 599"));
        }
        if self.parsed_headers().is_none() {
            return Err(FaultError::BadOddity("a header has a name or value that HTTP does not allow"));
        }
        Ok(())
    }

    pub(super) fn is_for(&self, method: &str, route: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(method))
            && self.route.as_ref().is_none_or(|own| own == route)
    }

    fn parsed_headers(&self) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let pairs = self.headers.iter();
        pairs
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value).ok()?))
            })
            .collect()
    }

    fn add_headers(&self, response: &mut Response) {
        for (name, value) in self.parsed_headers().into_iter().flatten() {
            response.headers_mut().insert(name, value);
        }
        if let Some(seconds) = self.retry_after_date
            && let Ok(date) = HeaderValue::from_str(&time::http_date(Duration::from_secs(seconds)))
        {
            response.headers_mut().insert(header::RETRY_AFTER, date);
        }
    }

    /// Returns what to do with a call.
    pub(crate) fn replacement(&self) -> Replacement {
        if self.reset {
            return Replacement::Reset;
        }
        let Some(status) = self.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
            return Replacement::None;
        };
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = status;
        self.add_headers(&mut response);
        Replacement::Answer(response)
    }

    /// Applies the changes to an answer.
    pub(crate) async fn change(&self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        // The simulator's bodies are smaller; a failure leaves an empty answer.
        let body = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
        parts.headers.remove(header::CONTENT_LENGTH);
        let mut changed = Response::from_parts(parts, Body::from(edit::apply(&self.edits, &body)));
        self.add_headers(&mut changed);
        changed
    }
}
