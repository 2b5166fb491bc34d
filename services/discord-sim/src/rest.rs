//! REST v10.
//!
//! Served under `/api/v10`, and under `/api/v6` to `/api/v9` and `/api` as v10 is too: Discord still answers these
//! versions, and the differences are not simulated. Versions that Discord has discontinued answer 400.
//! [Source](https://docs.discord.com/developers/reference#api-versioning).
//!
//! A call passes the [guard], which refuses it or lets it through to its handler; handlers are thin, what they decide with
//! (the limits, the commands, the interactions, the checks of bodies) is pure. [`RestState`] holds their data.

mod asked;
mod commands;
mod form;
mod guard;
mod guilds;
mod input;
mod interactions;
mod limits;
mod lookup;
mod messages;
mod problem;
mod requests;
mod route;
mod start;
mod state;

use crate::hub::Hub;
use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    middleware,
};
use problem::Problem;
use state::RestState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The versions that are answered.
const VERSIONS: std::ops::RangeInclusive<u8> = 6..=10;

/// The REST API of one simulator; clones share its state.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    pub(crate) hub: Arc<Hub>,
    state: Arc<Mutex<RestState>>,
}

impl Rest {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let state = Arc::new(Mutex::new(RestState::new(&hub.config)));
        Self { hub, state }
    }

    /// The state; the hub's own lock must not be asked for while this one is held.
    pub(crate) fn state(&self) -> MutexGuard<'_, RestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes under `/api`.
pub(crate) fn routes(rest: Rest) -> Router {
    let calls = Router::new()
        .merge(start::routes())
        .merge(commands::routes())
        .merge(interactions::routes())
        .merge(messages::routes())
        .merge(guilds::routes())
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(input::LARGEST))
        .layer(middleware::from_fn_with_state(rest.clone(), guard::guard));
    let all = Router::new().nest("/api", calls.clone());
    VERSIONS.fold(all, |all, version| all.nest(&format!("/api/v{version}"), calls.clone())).with_state(rest)
}

/// The answer for a path that is not there.
pub(crate) async fn not_found(OriginalUri(uri): OriginalUri) -> Problem {
    let version = uri.path().strip_prefix("/api/v").and_then(|rest| rest.split('/').next());
    match version.and_then(|version| version.parse::<u8>().ok()) {
        Some(version) if !VERSIONS.contains(&version) => Problem::INVALID_VERSION,
        _ => Problem::NOT_FOUND,
    }
}

async fn method_not_allowed() -> Problem {
    Problem::METHOD_NOT_ALLOWED
}
