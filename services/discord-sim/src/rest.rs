//! REST v10: what a bot asks for when it starts.
//!
//! Served under `/api/v10`, and under `/api` for callers that leave the version out.

use crate::server::Shared;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

/// The routes, relative to their version.
pub(crate) fn routes(shared: &Shared) -> Router<Shared> {
    let with_token = Router::new()
        .route("/gateway/bot", get(gateway_bot))
        .route("/users/@me", get(current_user))
        .route("/applications/@me", get(application))
        .route("/oauth2/applications/@me", get(application))
        .route_layer(middleware::from_fn_with_state(shared.clone(), require_token));
    Router::new()
        .route("/gateway", get(gateway))
        .merge(with_token)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(shared.clone(), require_up))
}

fn error(status: StatusCode) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let message = format!("{}: {reason}", status.as_u16());
    (status, Json(json!({ "message": message, "code": 0 }))).into_response()
}

/// The answer for a path that is not there.
pub(crate) async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND)
}

async fn method_not_allowed() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED)
}

async fn require_up(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    if shared.hub.rest_is_down() {
        return error(StatusCode::SERVICE_UNAVAILABLE);
    }
    next.run(request).await
}

async fn require_token(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bot "));
    if token.is_some_and(|token| shared.hub.token_is_good(token)) {
        next.run(request).await
    } else {
        error(StatusCode::UNAUTHORIZED)
    }
}

async fn gateway(State(shared): State<Shared>) -> Json<Value> {
    Json(json!({ "url": shared.hub.origin.gateway_url }))
}

async fn gateway_bot(State(shared): State<Shared>) -> Json<Value> {
    let hub = &shared.hub;
    let (remaining, reset_after) = hub.identify_budget();
    Json(json!({
        "url": hub.origin.gateway_url,
        "shards": hub.config.recommended_shards(),
        "session_start_limit": {
            "total": hub.config.daily_identifies,
            "remaining": remaining,
            "reset_after": reset_after.as_millis() as u64,
            "max_concurrency": hub.config.max_concurrency,
        },
    }))
}

async fn current_user(State(shared): State<Shared>) -> Json<Value> {
    let mut user = json!(shared.hub.world.bot());
    user["mfa_enabled"] = true.into();
    user["verified"] = true.into();
    user["locale"] = "en-US".into();
    user["flags"] = 0.into();
    user["email"] = Value::Null;
    user["banner"] = Value::Null;
    user["accent_color"] = Value::Null;
    Json(user)
}

async fn application(State(shared): State<Shared>) -> Json<Value> {
    let hub = &shared.hub;
    let bot = hub.world.bot();
    Json(json!({
        "id": bot.id,
        "name": "discord-sim",
        "icon": null,
        "description": "An application of the simulator",
        "summary": "",
        "bot": bot,
        "bot_public": true,
        "bot_require_code_grant": false,
        "rpc_origins": [],
        "team": null,
        "verify_key": "0000000000000000000000000000000000000000000000000000000000000000",
        "flags": hub.origin.application_flags,
        "approximate_guild_count": hub.stats(1).total.guilds,
        "approximate_user_install_count": 0,
        "redirect_uris": [],
        "interactions_endpoint_url": null,
        "hook": true,
        "integration_public": true,
        "integration_require_code_grant": false,
        "tags": [],
    }))
}
