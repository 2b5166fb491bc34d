//! A gateway connection to the simulator, which supplies real payloads for a test's relay.

use std::time::Duration;

use discord_sim::Sim;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const PATIENCE: Duration = Duration::from_secs(20);

/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 1 << 9 | 1 << 15;

/// A session with all guilds. It sends no heartbeats, so the simulator's interval must exceed the test.
pub(crate) struct Gateway {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Gateway {
    /// Identifies as shard 0 of 1 and reads until the last guild. Returns READY too.
    pub(crate) async fn connect(sim: &Sim) -> (Self, Value) {
        let url = format!("{}/?v=10&encoding=json", sim.gateway_url());
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap();
        let mut gateway = Self { socket };
        assert_eq!(gateway.payload().await["op"], 10);
        let identify = json!({ "op": 2, "d": {
            "token": "a-token-of-the-tests", "intents": INTENTS, "shard": [0, 1],
            "properties": { "os": "linux", "browser": "test", "device": "test" },
        }});
        gateway.socket.send(Message::text(identify.to_string())).await.unwrap();
        let ready = gateway.dispatched("READY").await;
        for _ in ready["d"]["guilds"].as_array().unwrap() {
            gateway.dispatched("GUILD_CREATE").await;
        }
        (gateway, ready)
    }

    /// Returns the next dispatch with this name.
    pub(crate) async fn dispatched(&mut self, name: &str) -> Value {
        loop {
            let payload = self.payload().await;
            if payload["t"] == name {
                return payload;
            }
        }
    }

    async fn payload(&mut self) -> Value {
        loop {
            let message =
                timeout(PATIENCE, self.socket.next()).await.expect("a payload in time").unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(text.as_str()).unwrap();
            }
        }
    }
}
