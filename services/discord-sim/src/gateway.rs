//! The gateway: one task per WebSocket connection, from HELLO to its close.
//!
//! Frames are parsed by [`protocol`](crate::protocol), decisions are the [hub](crate::hub)'s, events come from the
//! [session](crate::session) and go out through [`wire`].

mod compression;
mod connection;
mod ending;
mod envelope;
mod wire;

use crate::{
    net::Tap,
    odd::{Action, Address, Moment, Replacement, RestAnswer},
    shared::Shared,
};
use axum::{
    extract::{ConnectInfo, Query, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use compression::Codec;
use connection::{Asked, Connection};
use serde::Deserialize;
use std::{sync::atomic::Ordering, time::Duration};

/// Clients may send 4,096 bytes; up to here a longer frame is read so that it can be answered with 4002.
const FRAME_READ: usize = 64 * 1024;

/// The query of a gateway URL.
#[derive(Debug, Deserialize)]
pub(crate) struct GatewayQuery {
    v: Option<String>,
    encoding: Option<String>,
    compress: Option<String>,
}

impl GatewayQuery {
    /// What is wrong with it: Discord answers with close code 4012.
    fn fault(&self) -> Option<String> {
        match (self.v.as_deref(), self.encoding.as_deref()) {
            (Some("10"), Some("json") | None) => None,
            (version, encoding) => Some(format!("v={version:?} encoding={encoding:?}")),
        }
    }
}

/// As [`upgrade`], at `resume_gateway_url`, which may be dead.
pub(crate) async fn upgrade_to_resume(
    shared: State<Shared>,
    tap: ConnectInfo<Tap>,
    query: Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if shared.hub.switches().resume_url_dead {
        shared.hub.dials.fetch_add(1, Ordering::Relaxed);
        tap.cut();
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    open(shared, tap, query, upgrade, Address::Resume).await
}

/// As [`open`], at the URL of `/gateway/bot`.
pub(crate) async fn upgrade(
    shared: State<Shared>,
    tap: ConnectInfo<Tap>,
    query: Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(shared, tap, query, upgrade, Address::Gateway).await
}

/// Upgrades to WebSocket and runs the connection until it or the simulator ends.
async fn open(
    State(shared): State<Shared>,
    ConnectInfo(tap): ConnectInfo<Tap>,
    Query(query): Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
    address: Address,
) -> Response {
    shared.hub.dials.fetch_add(1, Ordering::Relaxed);
    if let Some(script) = shared.hub.odd.script(Moment::Connect, address, None)
        && let Some(response) = refuse(&shared, &tap, script.actions).await
    {
        return response;
    }
    // Taken before axum spawns the task, so that a shutdown waits for it.
    let owned = shared.tasks.token();
    upgrade.max_message_size(FRAME_READ).max_frame_size(FRAME_READ).on_upgrade(move |socket| async move {
        let _owned = owned;
        let Some((id, orders)) = shared.hub.open() else {
            tap.cut();
            return;
        };
        let fault = query.fault();
        let codec = match query.compress.as_deref() {
            Some("zstd-stream") => Codec::zstd(),
            Some("zlib-stream") => Codec::zlib(),
            _ => Codec::Plain { compress: false },
        };
        let asked = Asked { codec, address };
        Connection::new(id, shared.hub, shared.stop, orders, tap, socket, asked).run(fault).await;
    })
}

/// Runs a script in place of the WebSocket; returns `None` if the WebSocket opens after all.
async fn refuse(shared: &Shared, tap: &Tap, actions: Vec<Action>) -> Option<Response> {
    for action in actions {
        match action {
            Action::Wait { ms } => {
                let waited = tokio::time::sleep(Duration::from_millis(ms));
                shared.stop.run_until_cancelled(waited).await?;
            }
            Action::Refuse { status, headers, body } => {
                let answer = RestAnswer { status: Some(status), headers, body, ..RestAnswer::default() };
                let Replacement::Answer(response) = answer.replacement() else { return None };
                return Some(response);
            }
            Action::Silence => {
                shared.stop.cancelled().await;
                tap.cut();
                return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
            // No other actions are valid at this moment.
            _ => {
                tap.cut();
                return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
        }
    }
    None
}
