//! The one HTTP server: gateway at `/`, REST under `/api`, control under `/sim`.

use crate::{control, gateway, hub::Hub, rest};
use axum::{Router, http::StatusCode, routing::get};
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What every route can reach.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    /// Cancelled when the simulator shuts down.
    pub(crate) stop: CancellationToken,
    /// Owns the gateway connections and background tasks.
    pub(crate) tasks: TaskTracker,
}

/// All routes.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(gateway::upgrade))
        // twilight asks for `//?v=10` when its base URL ends with a slash.
        .route("//", get(gateway::upgrade))
        .merge(rest::routes(&shared))
        .route(gateway::RESUME_PATH, get(gateway::upgrade_to_resume))
        .route(&format!("{}/", gateway::RESUME_PATH), get(gateway::upgrade_to_resume))
        // As the other programs have it, for probes.
        .route("/live", get(async || StatusCode::OK))
        .nest("/sim", control::routes())
        .fallback(rest::not_found)
        .with_state(shared)
}
