//! Fuzz targets of the simulator: its control API and settings.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use clap::CommandFactory as _;
use fuzz::Target;
use tower::ServiceExt as _;

use crate::{SimArgs, SimConfig, control::Control, control::routes, hub::Hub};

/// Inputs that one simulator gets: what an input has changed, the next ones meet.
const INPUTS: u32 = 500;

const REQUESTS: [&str; 17] = [
    "GET /ledger?shard=0&session=a\n",
    "GET /sequences?shard=0&from=1&to=18446744073709551615\n",
    "GET /guilds?limit=100&shard_total=1\n",
    "GET /stats?shard_total=2\n",
    "GET /users?limit=20\n",
    "GET /presets\n",
    "DELETE /violations\n",
    "PATCH /switches\n{\"reconnect_grace\":{\"secs\":1,\"nanos\":0}}",
    "PUT /schedule\n{\"every_ms\":1000,\"kinds\":[\"reconnect\"]}",
    "POST /faults\n{\"kind\":\"reconnect\",\"shards\":[0,4294967295]}",
    "POST /faults\n{\"kind\":\"close\",\"shards\":null,\"code\":4000,\"reason\":\"x\"}",
    "POST /faults\n{\"kind\":\"event\",\"name\":\"GUILD_BAN_ADD\",\"guild_id\":\"1\",\"d\":{}}",
    "POST /faults\n{\"kind\":\"rate_limit\",\"count\":1,\"scope\":\"global\",\"retry_after\":1e300}",
    "POST /faults\n{\"kind\":\"event_rate\",\"per_second\":-0.5}",
    "POST /faults\n{\"kind\":\"session_limit\",\"max_concurrency\":0,\"shards\":0}",
    "POST /faults\n{\"kind\":\"guild_join\",\"guild_id\":null}",
    "POST /faults\n{\"kind\":\"preset\",\"name\":\"identify_storm\",\"times\":4294967295}",
];

#[test]
fn control_api() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start = || {
        let config = SimConfig { guilds: 3, largest_guild: Some(20), ..SimConfig::default() };
        routes(Control::new(Arc::new(Hub::new(config, "ws://127.0.0.1:1".to_owned()))))
    };
    let (mut router, mut served) = (runtime.block_on(async { start() }), 0);
    let words =
        ["null", "-1", "1e400", "\"kind\":", "guild_leave", "voice", "patch", "script", "rest_answer"];
    Target::new("control API", REQUESTS).words(words).memory(32 << 20, 400).run_text(|text| {
        let (first, body) = text.split_once('\n').unwrap_or((text, ""));
        let (method, uri) = first.split_once(' ').unwrap_or((first, "/"));
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        let Ok(request) = request.body(Body::from(body.to_owned())) else { return };
        runtime.block_on(async {
            if served == INPUTS {
                (router, served) = (start(), 0);
            }
            served += 1;
            let answer = router.clone().oneshot(request).await.unwrap();
            assert!(!answer.status().is_server_error(), "{}", answer.status());
            axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap();
        });
    });
}

#[test]
fn settings() {
    fuzz::settings("settings of discord-sim", SimArgs::command());
}
