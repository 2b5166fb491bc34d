//! Counts calls by route and status.

use crate::report::RequestCount;
use axum::http::Method;
use std::collections::BTreeMap;

/// Call counts by route, method and status. Bounded by the number of routes, methods and statuses.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    counts: BTreeMap<(String, &'static str, u16), u64>,
}

impl Requests {
    /// Counts a call. An empty pattern is an unknown route.
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
