//! What clients send to Discord through the fleet: presence, voice state, requests for members.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fleet_model::ShardSlot;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Value, json};
use shard_bridge::GatewayCommand;
use tokio::time::Instant;

use crate::{Shared, session::ClientShard};

/// Commands of one client that are under way.
const UNDER_WAY: usize = 128;
/// How long a command may wait for its turn on the shard's connection.
const WITHIN: Duration = Duration::from_mins(1);
/// Requests for members of one client whose answers are still expected.
const REQUESTS: usize = 1_024;

/// The commands of one client.
pub(crate) struct Commands {
    shared: Arc<Shared>,
    shard: ClientShard,
    requests: Requests,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Commands {
    pub(crate) fn new(shared: Arc<Shared>, requests: Requests) -> Self {
        let shard = ClientShard { number: 0, total: 1 };
        Self { shared, shard, requests, under_way: FuturesUnordered::new() }
    }

    /// The client's shard is known.
    pub(crate) fn of_shard(&mut self, shard: ClientShard) {
        self.shard = shard;
    }

    /// Carries commands out; never ends while there are none.
    pub(crate) async fn work(&mut self) {
        if self.under_way.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// The presence that an IDENTIFY has. The default one is not sent: every library has it, and Discord takes few.
    pub(crate) fn presence_of_identify(&mut self, presence: &Value) {
        let is_default = presence.get("activities").and_then(Value::as_array).is_none_or(Vec::is_empty)
            && presence.get("status").is_none_or(|status| status == "online");
        if !is_default {
            self.take(3, presence.clone());
        }
    }

    /// Takes a command with opcode 3, 4 or 8.
    pub(crate) fn take(&mut self, op: u8, mut data: Value) {
        if self.under_way.len() >= UNDER_WAY {
            tracing::warn!(op, "client of the gateway has too many commands under way; one is left out");
            return;
        }
        if op == 8 {
            let asked = data.get("nonce").and_then(Value::as_str).map(str::to_owned);
            data["nonce"] = self.requests.add(asked).into();
        }
        let command = match GatewayCommand::parse(json!({"op": op, "d": data})) {
            Ok(command) => command,
            Err(error) => {
                tracing::info!(op, %error, "client of the gateway sent an invalid command");
                return;
            }
        };
        let (shared, shard) = (self.shared.clone(), self.shard);
        let until = Instant::now() + WITHIN;
        self.under_way.push(
            async move {
                let sent = match op {
                    3 => send_presence(&shared, shard, &command, until).await,
                    _ => shared.bridge.send_to_guild(&command, until).await.map(drop).map_err(|error| error.to_string()),
                };
                if let Err(error) = sent {
                    tracing::info!(op, error, "command of a client of the gateway was not sent");
                }
            }
            .boxed(),
        );
    }
}

/// Sends a presence on the fleet's shards that have guilds of the client's, unless it is the last one there.
async fn send_presence(
    shared: &Shared,
    client: ClientShard,
    command: &GatewayCommand,
    until: Instant,
) -> Result<(), String> {
    let total = shared.bridge.fleet_shards();
    let shards: Vec<ShardSlot> = {
        let mut last = shared.presences.lock().unwrap_or_else(PoisonError::into_inner);
        let overlapping = (0..total).filter(|shard| client.overlaps(*shard, total)).map(ShardSlot);
        let new = overlapping.filter(|shard| last.get(shard).is_none_or(|last| last != command.text()));
        let new: Vec<ShardSlot> = new.collect();
        for shard in &new {
            last.insert(*shard, command.text().to_owned());
        }
        new
    };
    if shards.is_empty() {
        return Ok(());
    }
    let receipt = shared.bridge.update_presence(&shards, command, until).await.map_err(|error| error.to_string())?;
    match receipt.failures.first() {
        None => Ok(()),
        Some((shard, why)) => {
            let mut last = shared.presences.lock().unwrap_or_else(PoisonError::into_inner);
            for (shard, _) in &receipt.failures {
                last.remove(shard);
            }
            Err(format!("{} shards, among them {shard}: {why}", receipt.failures.len()))
        }
    }
}

/// The requests for members of one client: our nonces, and the client's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Expected>>);

#[derive(Debug, Default)]
struct Expected {
    by_nonce: HashMap<String, Option<String>>,
    in_order: VecDeque<String>,
}

impl Requests {
    /// Notes a request and returns the nonce that is sent.
    fn add(&self, asked: Option<String>) -> String {
        // Discord takes 32 bytes.
        let nonce = format!("ag{:016x}", rand::random::<u64>());
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.in_order.len() >= REQUESTS
            && let Some(oldest) = expected.in_order.pop_front()
        {
            expected.by_nonce.remove(&oldest);
        }
        expected.in_order.push_back(nonce.clone());
        expected.by_nonce.insert(nonce.clone(), asked);
        nonce
    }

    /// The chunk as the client is to get it; `None` if it answers somebody else.
    pub(crate) fn answer(&self, chunk: &Value) -> Option<Value> {
        let nonce = chunk.get("nonce")?.as_str()?;
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = expected.by_nonce.get(nonce)?.clone();
        let number = |field| chunk.get(field).and_then(Value::as_u64);
        if number("chunk_index").map(|index| index + 1) >= number("chunk_count") {
            expected.by_nonce.remove(nonce);
            expected.in_order.retain(|known| known != nonce);
        }
        drop(expected);
        let mut chunk = chunk.clone();
        match asked {
            Some(asked) => chunk["nonce"] = asked.into(),
            None => {
                chunk.as_object_mut()?.remove("nonce");
            }
        }
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_back_under_the_clients_nonce() {
        let requests = Requests::default();
        let (named, unnamed) = (requests.add(Some("mine".to_owned())), requests.add(None));
        assert!(named.len() <= 32);
        let chunk = |nonce: &str, index: u32| json!({"guild_id": "1", "nonce": nonce, "chunk_index": index, "chunk_count": 2});
        assert_eq!(requests.answer(&chunk("other", 0)), None);
        for index in [0, 1] {
            assert_eq!(requests.answer(&chunk(&named, index)).unwrap()["nonce"], "mine");
        }
        assert_eq!(requests.answer(&chunk(&named, 0)), None, "the last chunk came");
        assert!(requests.answer(&chunk(&unnamed, 0)).unwrap().get("nonce").is_none());
        for _ in 0..REQUESTS {
            requests.add(None);
        }
        assert_eq!(requests.answer(&chunk(&unnamed, 1)), None, "bounded");
    }
}
