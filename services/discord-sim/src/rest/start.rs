//! Routes used at a bot's start: gateway, current user, application.

use crate::rest::Rest;
use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

pub(super) fn routes() -> Router<Rest> {
    Router::new()
        .route("/gateway", get(gateway))
        .route("/gateway/bot", get(gateway_bot))
        .route("/users/@me", get(current_user))
        .route("/applications/@me", get(application))
        .route("/oauth2/applications/@me", get(application))
}

async fn gateway(State(rest): State<Rest>) -> Json<Value> {
    Json(json!({ "url": rest.hub.server.gateway_url }))
}

async fn gateway_bot(State(rest): State<Rest>) -> Json<Value> {
    let hub = &rest.hub;
    let limit = hub.session_limit();
    Json(json!({
        "url": hub.server.gateway_url,
        "shards": limit.shards,
        "session_start_limit": {
            "total": hub.config.daily_identifies,
            "remaining": limit.remaining,
            "reset_after": limit.reset_after.as_millis() as u64,
            "max_concurrency": limit.max_concurrency,
        },
    }))
}

pub(super) async fn current_user(State(rest): State<Rest>) -> Json<Value> {
    let mut user = json!(rest.hub.world.bot());
    user["mfa_enabled"] = true.into();
    user["verified"] = true.into();
    user["locale"] = "en-US".into();
    user["flags"] = 0.into();
    user["email"] = Value::Null;
    user["banner"] = Value::Null;
    user["accent_color"] = Value::Null;
    Json(user)
}

async fn application(State(rest): State<Rest>) -> Json<Value> {
    let hub = &rest.hub;
    let bot = hub.world.bot();
    Json(json!({
        "id": bot.id,
        "name": "discord-sim",
        "icon": null,
        "description": "An application of the simulator",
        "summary": "",
        "bot": bot,
        // hikari requires an owner, so this user exists in every world.
        "owner": hub.world.user(0),
        "bot_public": true,
        "bot_require_code_grant": false,
        "rpc_origins": [],
        "team": null,
        "verify_key": "0000000000000000000000000000000000000000000000000000000000000000",
        "flags": hub.server.application_flags,
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
