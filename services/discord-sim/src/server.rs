//! The HTTP server: gateway at `/`, REST under `/api`, control API under `/sim`.

use crate::{
    control::{self, Control},
    gateway,
    protocol::RESUME_PATH,
    rest,
    shared::Shared,
};
use axum::{Router, http::StatusCode, routing::get};

/// Builds the router of all routes.
pub(crate) fn router(shared: Shared, control: Control) -> Router {
    let gateway = Router::new()
        .route("/", get(gateway::upgrade))
        // twilight requests `//?v=10` if its base URL ends with a slash.
        .route("//", get(gateway::upgrade))
        .route(RESUME_PATH, get(gateway::upgrade_to_resume))
        .route(&format!("{RESUME_PATH}/"), get(gateway::upgrade_to_resume))
        .with_state(shared);
    Router::new()
        .merge(gateway)
        .merge(rest::routes(control.rest()))
        // For probes, as in the other programs.
        .route("/live", get(async || StatusCode::OK))
        .nest("/sim", control::routes(control))
        .fallback(rest::not_found)
}
