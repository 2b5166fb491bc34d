//! REST v10.
//!
//! Served under `/api/v10`, and under `/api/v6` to `/api/v9` and `/api` as v10 is too: Discord still answers these
//! versions, and the differences are not simulated. Versions that Discord has discontinued answer 400.
//! [Source](https://docs.discord.com/developers/reference#api-versioning).
//!
//! A call passes the [guard], which refuses it or lets it through to its handler; handlers are thin, what they decide with
//! (the limits, the commands, the interactions, the checks of bodies) is pure. The [`Desk`] keeps their state.

mod asked;
mod commands;
mod desk;
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

pub(crate) use desk::Desk;

use crate::server::Shared;
use axum::{
    Router,
    extract::{DefaultBodyLimit, OriginalUri},
    middleware,
};
use problem::Problem;

/// The versions that are answered.
const VERSIONS: std::ops::RangeInclusive<u8> = 6..=10;

/// All routes under `/api`.
pub(crate) fn routes(shared: &Shared) -> Router<Shared> {
    let calls = Router::new()
        .merge(start::routes())
        .merge(commands::routes())
        .merge(interactions::routes())
        .merge(messages::routes())
        .merge(guilds::routes())
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(input::LARGEST))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::guard));
    VERSIONS.fold(Router::new().nest("/api", calls.clone()), |all, version| {
        all.nest(&format!("/api/v{version}"), calls.clone())
    })
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
