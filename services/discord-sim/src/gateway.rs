//! The gateway: one task per WebSocket connection, from HELLO to the close.
//!
//! [`protocol`](crate::protocol) parses frames, the [hub](crate::hub) decides, the [session](crate::session) supplies events, and
//! [`wire`] sends them.

mod compression;
mod connection;
mod ending;
mod envelope;
mod wire;

use crate::{
    net::RawSocket,
    odd::{Action, Address, Moment, Replacement, RestAnswer},
    shared::Shared,
};
use axum::{
    extract::{ConnectInfo, Query, State, WebSocketUpgrade},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use compression::Codec;
use connection::{Connection, ConnectionParams};
use serde::Deserialize;
use std::{sync::atomic::Ordering, time::Duration};

/// Bytes read of one frame. Clients may send 4,096; reading longer frames allows answering them with 4002.
const FRAME_READ: usize = 64 * 1024;

/// The query of a gateway URL.
#[derive(Debug, Deserialize)]
pub(crate) struct GatewayQuery {
    v: Option<String>,
    encoding: Option<String>,
    compress: Option<String>,
}

impl GatewayQuery {
    /// Returns what is invalid in the query. Discord answers with close code 4012.
    fn fault(&self) -> Option<String> {
        match (self.v.as_deref(), self.encoding.as_deref()) {
            (Some("10"), Some("json") | None) => None,
            (version, encoding) => Some(format!("v={version:?} encoding={encoding:?}")),
        }
    }
}

/// Like [`upgrade`], at `resume_gateway_url`, which a switch can make unreachable.
pub(crate) async fn upgrade_to_resume(
    shared: State<Shared>,
    raw: ConnectInfo<RawSocket>,
    query: Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if shared.hub.switches().resume_url_dead {
        shared.hub.dials.fetch_add(1, Ordering::Relaxed);
        raw.reset();
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    open(shared, raw, query, upgrade, Address::Resume).await
}

/// Like [`open`], at the URL of `/gateway/bot`.
pub(crate) async fn upgrade(
    shared: State<Shared>,
    raw: ConnectInfo<RawSocket>,
    query: Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
) -> Response {
    open(shared, raw, query, upgrade, Address::Gateway).await
}

/// Upgrades to WebSocket and runs the connection until it or the simulator ends.
async fn open(
    State(shared): State<Shared>,
    ConnectInfo(raw): ConnectInfo<RawSocket>,
    Query(query): Query<GatewayQuery>,
    upgrade: WebSocketUpgrade,
    address: Address,
) -> Response {
    shared.hub.dials.fetch_add(1, Ordering::Relaxed);
    if let Some(script) = shared.hub.odd.script(Moment::Connect, address, None)
        && let Some(response) = refuse(&shared, &raw, script.actions).await
    {
        return response;
    }
    // Taken before axum spawns the task, so that a shutdown waits for it.
    let owned = shared.tasks.token();
    upgrade.max_message_size(FRAME_READ).max_frame_size(FRAME_READ).on_upgrade(move |socket| async move {
        let _owned = owned;
        let Some((id, commands)) = shared.hub.open() else {
            raw.reset();
            return;
        };
        let fault = query.fault();
        let codec = match query.compress.as_deref() {
            Some("zstd-stream") => Codec::zstd(),
            Some("zlib-stream") => Codec::zlib(),
            _ => Codec::Plain { compress: false },
        };
        let params = ConnectionParams { codec, address };
        Connection::new(id, shared.hub, shared.stop, commands, raw, socket, params).run(fault).await;
    })
}

/// Runs a script instead of opening the WebSocket. Returns `None` if the script does not prevent the WebSocket.
async fn refuse(shared: &Shared, raw: &RawSocket, actions: Vec<Action>) -> Option<Response> {
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
                raw.reset();
                return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
            // No other actions are valid at this moment.
            _ => {
                raw.reset();
                return Some(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
        }
    }
    None
}
