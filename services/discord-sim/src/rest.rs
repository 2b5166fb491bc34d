//! REST v10.
//!
//! `/api/v10`, `/api/v6` to `/api/v9` and `/api` all answer as version 10: Discord still answers these versions, and their
//! differences are not simulated. Discontinued versions answer 400.
//! [Source](https://docs.discord.com/developers/reference#api-versioning).
//!
//! The [guard] rejects a call or passes it to its handler. Handlers are thin: limits, commands, interactions and body checks are pure
//! modules. [`RestState`] holds their data.

mod commands;
mod error;
mod form;
mod guard;
mod guilds;
mod input;
mod interactions;
mod limits;
mod lookup;
mod messages;
mod query;
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
use error::RestError;
use state::RestState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The supported versions.
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

    /// Locks the state. The hub's lock must not be taken while this one is held.
    pub(crate) fn state(&self) -> MutexGuard<'_, RestState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Builds the routes under `/api`.
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

/// Answers an unknown path.
pub(crate) async fn not_found(OriginalUri(uri): OriginalUri) -> RestError {
    let version = uri.path().strip_prefix("/api/v").and_then(|rest| rest.split('/').next());
    match version.and_then(|version| version.parse::<u8>().ok()) {
        Some(version) if !VERSIONS.contains(&version) => RestError::INVALID_VERSION,
        _ => RestError::NOT_FOUND,
    }
}

async fn method_not_allowed() -> RestError {
    RestError::METHOD_NOT_ALLOWED
}
