//! Presets of gateway connections.

use super::preset;
use crate::client::{Client, USUAL, first_guild, quick, start};
use discord_sim::{Fault, Sim};
use serde_json::json;

/// A client's action.
#[derive(Clone, Copy, Debug)]
enum ClientAction {
    /// Connects.
    Connects,
    /// Connects to `resume_gateway_url`.
    ConnectsToResume,
    /// Identifies and sends a heartbeat.
    Identifies,
    /// Resumes an earlier session.
    Resumes,
    /// Is connected and sends a heartbeat after a message arrived.
    IsConnected,
}

use ClientAction::{Connects, ConnectsToResume, Identifies, IsConnected, Resumes};

const HELLO: &str = r#"op 10 {"heartbeat_interval":41250}"#;

/// The preset, the client's action, and what it sees first.
const ROWS: &[(&str, ClientAction, &[&str])] = &[
    ("resumed_then_close", Resumes, &["RESUMED", "closed 1011"]),
    ("resumed_then_reconnect", Resumes, &["RESUMED", "op 7"]),
    ("resumed_then_reset", Resumes, &["RESUMED", "reset"]),
    ("ready_then_close", Identifies, &["READY", "closed 1011"]),
    ("ready_then_close", Resumes, &["op 9 false"]),
    ("resume_invalid_for_now", Resumes, &["op 9 true", "silence"]),
    ("identify_invalid", Identifies, &["op 9 false", "op 11", "silence"]),
    ("resume_reset", Resumes, &["reset"]),
    ("resume_closed_without_code", Resumes, &["closed without code"]),
    ("hello_then_close", Connects, &[HELLO, "closed 1011"]),
    ("reconnect_before_hello", Connects, &["op 7", "silence"]),
    ("slow_ready", Identifies, &["op 11", "silence"]),
    ("slow_replay", Resumes, &["silence"]),
    ("acks_without_events", IsConnected, &["op 11", "silence"]),
    ("resume_url_silent", ConnectsToResume, &["silence"]),
    ("resume_url_silent", Connects, &[HELLO]),
    ("resume_url_unavailable", ConnectsToResume, &["HTTP 503"]),
    ("resume_url_unavailable", Connects, &[HELLO]),
    ("handshake_520", Connects, &["HTTP 520"]),
    ("handshake_429", ConnectsToResume, &["HTTP 429"]),
    ("handshake_silent", Connects, &["silence"]),
    ("hello_interval_zero", Connects, &[r#"op 10 {"heartbeat_interval":0}"#]),
    ("hello_interval_negative", Connects, &[r#"op 10 {"heartbeat_interval":-1}"#]),
    ("hello_interval_huge", Connects, &[r#"op 10 {"heartbeat_interval":18446744073709551615}"#]),
    ("hello_interval_text", Connects, &[r#"op 10 {"heartbeat_interval":"45000"}"#]),
    ("hello_interval_tiny", Connects, &[r#"op 10 {"heartbeat_interval":1}"#]),
    ("hello_without_interval", Connects, &["op 10 {}"]),
    ("heartbeat_requests", IsConnected, &["op 1", "op 1", "op 1"]),
    ("garbage_texts", IsConnected, &["text", "text", "text"]),
    // Nested too deep for the client's parser.
    ("deep_payload", IsConnected, &["text"]),
    ("unknown_opcode", IsConnected, &["op 4294967295"]),
    ("frame_oversized", Connects, &["too long"]),
    ("frame_fragments", Connects, &[HELLO, "too long"]),
    ("frame_reserved_opcode", Connects, &[HELLO, "protocol error"]),
    ("frame_masked", Connects, &[HELLO, "protocol error"]),
    ("frame_not_utf8", Connects, &[HELLO, "not UTF-8"]),
    ("frame_pings", IsConnected, &["ping", "ping", "ping"]),
    ("bytes_not_websocket", Connects, &["protocol error"]),
    ("inflating_payload", Connects, &[HELLO, "too long"]),
];

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(name, ..)| *name)
}

async fn connected(sim: &Sim, path: &str, expected: &str) -> Result<Client, String> {
    Client::try_dial(&format!("{}{path}?v=10&encoding=json", sim.gateway_url()), expected).await
}

/// Returns what a client receives, one item for each expected one.
async fn seen(name: &str, does: ClientAction, expected: &[&str]) -> Vec<String> {
    let sim = start(quick()).await;
    let mut session = None;
    if matches!(does, Resumes | IsConnected) {
        session = Some(Client::open_all(&sim, (0, 1), USUAL).await);
    }
    preset(&sim, name);
    let dialled = match does {
        Connects | Identifies => connected(&sim, "/", expected[0]).await,
        ConnectsToResume => connected(&sim, "/resume", expected[0]).await,
        Resumes => {
            let (client, opened, _) = session.take().unwrap();
            client.close(4000).await;
            let mut client = connected(&sim, "/resume", HELLO).await.unwrap();
            assert_eq!(client.see_expected(HELLO).await, HELLO);
            client.resume(&opened.session_id, 9).await;
            Ok(client)
        }
        IsConnected => Ok(session.take().unwrap().0),
    };
    let mut client = match dialled {
        Ok(client) => client,
        Err(refused) => return vec![refused],
    };
    if let Identifies = does {
        assert_eq!(client.see_expected(HELLO).await, HELLO);
        client.identify((0, 1), USUAL).await;
    }
    if let IsConnected = does {
        let guild_id = first_guild(&sim.control());
        sim.control().inject(Fault::Message { guild_id, content: None }).unwrap();
    }
    if matches!(does, Identifies | IsConnected) {
        client.send(json!({"op": 1, "d": null})).await;
    }
    let mut seen = Vec::new();
    for wanted in expected {
        seen.push(client.see_expected(wanted).await);
    }
    sim.shutdown().await;
    seen
}

#[tokio::test]
async fn connection_presets_have_their_effects() {
    for (name, does, expected) in ROWS {
        assert_eq!(seen(name, *does, expected).await, *expected, "{name}, a client that {does:?}");
    }
}
