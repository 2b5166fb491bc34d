//! Counts of calls by route and answer.

use crate::report::RequestCount;
use axum::http::Method;
use std::collections::BTreeMap;

/// How often which route was answered with what. Bounded: routes, methods and statuses are few.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    counts: BTreeMap<(String, &'static str, u16), u64>,
}

impl Requests {
    /// Counts one call; a route without a pattern does not exist.
    pub(crate) fn count(&mut self, method: &Method, pattern: &str, status: u16) {
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE"]
            .into_iter()
            .find(|known| *known == method.as_str())
            .unwrap_or("other");
        *self.counts.entry((pattern.to_owned(), method, status)).or_default() += 1;
    }

    pub(crate) fn reports(&self) -> Vec<RequestCount> {
        let one = |((route, method, status), count): (&(String, &'static str, u16), &u64)| RequestCount {
            method: (*method).to_owned(),
            route: route.clone(),
            status: *status,
            count: *count,
        };
        self.counts.iter().map(one).collect()
    }
}
