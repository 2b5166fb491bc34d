//! Answers of REST that are not Discord's usual ones.

use super::edit::{self, Edit};
use crate::{faults::FaultError, world::time};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The largest body that edits are applied to.
const LARGEST: usize = 32 * 1024 * 1024;

/// Takes the place of answers of REST (with a `status`), or changes them (without one).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestAnswer {
    /// What it is cleared by.
    pub name: Option<String>,
    /// Only calls with this method.
    pub method: Option<String>,
    /// Only this route, with its pattern's names, such as `/channels/{channel}/messages`; left out, every call.
    pub route: Option<String>,
    /// For how many calls; left out, for all.
    pub times: Option<u32>,
    /// How long the answer takes.
    pub after_ms: u64,
    /// The call has no effect and is answered with this status.
    pub status: Option<u16>,
    /// The connection is reset instead of an answer.
    pub reset: bool,
    /// Headers. A replaced answer has no others but `server` and what HTTP needs: in particular no `via`.
    pub headers: BTreeMap<String, String>,
    /// `Retry-After` as an HTTP date that is so many seconds away.
    pub retry_after_date: Option<u64>,
    /// The body of a replaced answer.
    pub body: String,
    /// Changes of the JSON of an answer that is not replaced.
    pub edits: Vec<Edit>,
}

/// What is to be done with a call.
pub(crate) enum Replacement {
    /// Answer with this.
    Answer(Response),
    /// Reset the connection.
    Reset,
    /// Handle it as usual; the answer is then changed.
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

    /// What is to be done with a call.
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

    /// An answer with the changes.
    pub(crate) async fn change(&self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        // Ours are never that large; a failure leaves an empty answer, which is odd as well.
        let body = axum::body::to_bytes(body, LARGEST).await.unwrap_or_default();
        parts.headers.remove(header::CONTENT_LENGTH);
        let mut changed = Response::from_parts(parts, Body::from(edit::apply(&self.edits, &body)));
        self.add_headers(&mut changed);
        changed
    }
}
