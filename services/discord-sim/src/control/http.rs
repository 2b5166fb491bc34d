//! [`Control`] over HTTP.

use super::Control;
use crate::{
    AskedRecord, CommandReport, Fault, FaultOutcome, FaultRecord, GuildReport, IdentifyRecord,
    InteractionReport, LedgerReport, Listed, MessageReport, OddityReport, PresetReport, RequestsReport,
    Schedule, SequenceReport, SessionsReport, StatsReport, Switches, UserReport, Violation,
};
use axum::{
    Json, Router,
    extract::{Query, State, rejection::JsonRejection},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
struct PageQuery {
    limit: Option<usize>,
    shard_total: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct LedgerQuery {
    shard: Option<u32>,
    session: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SequenceQuery {
    shard: u32,
    from: Option<u64>,
    to: Option<u64>,
}

/// The routes under `/sim`.
pub(crate) fn routes(control: Control) -> Router {
    Router::new()
        .route("/ledger", get(ledger))
        .route("/violations", get(violations).delete(forget_violations))
        .route("/identifies", get(identifies))
        .route("/asked", get(asked))
        .route("/sessions", get(sessions))
        .route("/guilds", get(guilds))
        .route("/users", get(users))
        .route("/stats", get(stats))
        .route("/interactions", get(interactions))
        .route("/messages", get(messages))
        .route("/commands", get(commands))
        .route("/requests", get(requests))
        .route("/switches", get(switches).patch(switch))
        .route("/sequences", get(sequences))
        .route("/schedule", get(schedule).put(set_schedule).delete(end_schedule))
        .route("/presets", get(presets))
        .route("/oddities", get(oddities))
        .route("/faults", get(faults).post(inject))
        .with_state(control)
}

async fn ledger(State(control): State<Control>, Query(query): Query<LedgerQuery>) -> Json<LedgerReport> {
    let mut report = control.ledger();
    report.sessions.retain(|session| {
        query.shard.is_none_or(|number| session.shard.number == number)
            && query.session.as_ref().is_none_or(|id| *id == session.session_id)
    });
    Json(report)
}

async fn violations(State(control): State<Control>) -> Json<Listed<Violation>> {
    Json(control.violations())
}

async fn forget_violations(State(control): State<Control>) -> StatusCode {
    control.forget_violations();
    StatusCode::NO_CONTENT
}

async fn identifies(State(control): State<Control>) -> Json<Listed<IdentifyRecord>> {
    Json(control.identifies())
}

async fn asked(State(control): State<Control>) -> Json<Listed<AskedRecord>> {
    Json(control.asked())
}

async fn sessions(State(control): State<Control>) -> Json<SessionsReport> {
    Json(control.sessions())
}

async fn guilds(State(control): State<Control>, Query(query): Query<PageQuery>) -> Json<Vec<GuildReport>> {
    Json(control.guilds(query.limit.unwrap_or(100), query.shard_total.unwrap_or(1)))
}

async fn users(State(control): State<Control>, Query(query): Query<PageQuery>) -> Json<Vec<UserReport>> {
    Json(control.users(query.limit.unwrap_or(20)))
}

async fn stats(State(control): State<Control>, Query(query): Query<PageQuery>) -> Json<StatsReport> {
    Json(control.stats(query.shard_total.unwrap_or(1)))
}

async fn interactions(State(control): State<Control>) -> Json<Vec<InteractionReport>> {
    Json(control.interactions())
}

async fn messages(State(control): State<Control>) -> Json<Vec<MessageReport>> {
    Json(control.messages())
}

async fn commands(State(control): State<Control>) -> Json<Vec<CommandReport>> {
    Json(control.commands())
}

async fn requests(State(control): State<Control>) -> Json<RequestsReport> {
    Json(control.requests())
}

async fn faults(State(control): State<Control>) -> Json<Listed<FaultRecord>> {
    Json(control.faults())
}

async fn presets() -> Json<Vec<PresetReport>> {
    Json(Control::presets())
}

async fn oddities(State(control): State<Control>) -> Json<Vec<OddityReport>> {
    Json(control.oddities())
}

async fn sequences(
    State(control): State<Control>,
    Query(query): Query<SequenceQuery>,
) -> Json<Vec<SequenceReport>> {
    Json(control.sequences(query.shard, query.from.unwrap_or(1), query.to.unwrap_or(u64::MAX)))
}

async fn schedule(State(control): State<Control>) -> Json<Option<Schedule>> {
    Json(control.schedule())
}

async fn set_schedule(
    State(control): State<Control>,
    schedule: Result<Json<Schedule>, JsonRejection>,
) -> Result<StatusCode, BadRequest> {
    let Json(schedule) = schedule.map_err(|rejection| bad_request(rejection.body_text()))?;
    control.set_schedule(Some(schedule)).map_err(|error| bad_request(error.to_owned()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn end_schedule(State(control): State<Control>) -> Result<StatusCode, BadRequest> {
    control.set_schedule(None).map_err(|error| bad_request(error.to_owned()))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn switches(State(control): State<Control>) -> Json<Switches> {
    Json(control.switches())
}

/// Changes the switches named in the body.
async fn switch(
    State(control): State<Control>,
    change: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Result<Json<Switches>, BadRequest> {
    let Json(change) = change.map_err(|rejection| bad_request(rejection.body_text()))?;
    let changed = control.hub.switch(|now| -> anyhow::Result<Switches> {
        let mut whole = json!(now);
        for (name, value) in change {
            whole[name] = value;
        }
        Ok(serde_json::from_value(whole)?)
    });
    changed.map(Json).map_err(|error| bad_request(error.to_string()))
}

type BadRequest = (StatusCode, Json<Value>);

fn bad_request(error: String) -> BadRequest {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error })))
}

async fn inject(
    State(control): State<Control>,
    fault: Result<Json<Fault>, JsonRejection>,
) -> Result<Json<FaultOutcome>, BadRequest> {
    let Json(fault) = fault.map_err(|rejection| bad_request(rejection.body_text()))?;
    control.inject(fault).map(Json).map_err(|error| bad_request(error.to_string()))
}
