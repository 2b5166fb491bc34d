//! What clients send to Discord through the fleet: presence, voice state, requests for members.

mod members;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use fleet_model::ShardSlot;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{AbortHandle, BoxFuture, abortable},
    stream,
    stream::FuturesUnordered,
};
use serde_json::{Value, json};
use shard_bridge::{CommandKind, GatewayCommand};
use tokio::{sync::mpsc, time::Instant};

use self::members::{CachedAnswers, request_members};
pub(crate) use self::members::{Limited, Requests, WaitingRequests, send_again};
use crate::{
    Shared,
    session::{ClientSession, ClientShard},
};

/// Commands of one client that are under way.
const UNDER_WAY: usize = 128;
/// How long a command may wait for its turn on the shard's connection.
const WITHIN: Duration = Duration::from_mins(1);
/// Guilds whose voice is left at once when a session ends.
const GUILDS_AT_ONCE: usize = 32;
/// The commands of one client.
pub(crate) struct Commands {
    shared: Arc<Shared>,
    shard: ClientShard,
    /// The nonce of the client's session.
    session: u64,
    requests: Requests,
    members: CachedAnswers,
    under_way: FuturesUnordered<BoxFuture<'static, Option<Turn>>>,
    /// The last command about each subject, with its number, while it is under way.
    turns: HashMap<Subject, (u64, AbortHandle, String)>,
    /// Of the last turn.
    number: u64,
}

/// Opcode 3, or 4 with a guild: only the last command about it counts.
type Subject = (u8, Option<u64>);
/// A command that a later one about the same replaces, and its number.
type Turn = (Subject, u64);

impl Commands {
    pub(crate) fn new(shared: Arc<Shared>, requests: Requests, members: mpsc::Sender<String>) -> Self {
        let shard = ClientShard { number: 0, total: 1 };
        let members = CachedAnswers::new(members);
        let (under_way, turns) = (FuturesUnordered::new(), HashMap::new());
        Self { shared, shard, session: 0, requests, members, under_way, turns, number: 0 }
    }

    /// The client's shard and the nonce of its session are known. Its presences may have been changed through another worker.
    pub(crate) fn of_session(&mut self, shard: ClientShard, nonce: u64) {
        (self.shard, self.session) = (shard, nonce);
        let total = self.shared.bridge.fleet_shards();
        let mut last = self.shared.presences.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|fleet_shard, _| !shard.overlaps(fleet_shard.0, total));
    }

    /// Carries commands out; never ends while there are none.
    pub(crate) async fn work(&mut self) {
        match self.under_way.next().await {
            None => std::future::pending().await,
            Some(Some((subject, number))) => {
                if self.turns.get(&subject).is_some_and(|(last, ..)| *last == number) {
                    self.turns.remove(&subject);
                }
            }
            Some(None) => {}
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

    /// Takes a command with opcode 3, 4, 8, 31 or 43.
    pub(crate) fn take(&mut self, op: u8, mut data: Value) {
        if self.under_way.len() >= UNDER_WAY {
            tracing::warn!(op, "too many pending commands of a client of the gateway; command dropped");
            return;
        }
        let mut asked = None;
        if op == 8
            && let Some(data) = data.as_object_mut()
        {
            asked = data.remove("nonce").and_then(|nonce| nonce.as_str().map(str::to_owned));
        }
        let command = match GatewayCommand::parse(json!({"op": op, "d": data})) {
            Ok(command) => command,
            Err(error) => {
                tracing::info!(op, %error, "client of the gateway sent an invalid command");
                return;
            }
        };
        if op == 8 {
            let (shared, requests, members) =
                (self.shared.clone(), self.requests.clone(), self.members.clone());
            let request = request_members(shared, requests, members, command, asked);
            self.under_way.push(request.map(|()| None).boxed());
            return;
        }
        let subject = (op, command.kind().guild());
        if self.turns.get(&subject).is_some_and(|(.., text)| text == command.text()) {
            return;
        }
        let text = command.text().to_owned();
        let left = match command.kind() {
            CommandKind::Voice { guild, joins: true } => {
                self.shared.voice.join(self.session, guild);
                None
            }
            CommandKind::Voice { guild, joins: false } => Some((guild, self.shared.voice.joining(guild))),
            _ => None,
        };
        let (shared, shard) = (self.shared.clone(), self.shard);
        let until = Instant::now() + WITHIN;
        let sending = async move {
            let sent = match op {
                3 => send_presence(&shared, shard, &command, until).await,
                31 => shared.bridge.send_to_guilds(&command, until).await.map_err(|error| error.to_string()),
                _ => shared
                    .bridge
                    .send_to_guild(&command, until)
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string()),
            };
            match (sent, left) {
                (Ok(()), Some((guild, joining))) => shared.voice.left(guild, joining),
                (Ok(()), None) => {}
                (Err(error), _) => {
                    tracing::info!(op, error, "command of a client of the gateway was not sent");
                }
            }
        };
        if op != 3 && op != 4 {
            self.under_way.push(sending.map(|()| None).boxed());
            return;
        }
        // An older one could go out after this one. Dropped, it goes out before this one or not at all.
        let (sending, abort) = abortable(sending);
        self.number += 1;
        let turn = (subject, self.number);
        if let Some((_, older, _)) = self.turns.insert(subject, (self.number, abort, text)) {
            older.abort();
        }
        self.under_way.push(sending.map(move |_| Some(turn)).boxed());
    }
}

/// A session has ended: leaves the voice channels that it joined through this worker.
pub(crate) async fn leave_voice(shared: &Shared, session: &ClientSession) {
    let until = Instant::now() + WITHIN;
    let leaving = shared.voice.end(session.nonce).into_iter().map(async |guild| {
        let left = match GatewayCommand::parse(json!({"op": 4, "d": {"guild_id": guild.to_string()}})) {
            Ok(command) => shared.bridge.send_to_guild(&command, until).await.map(drop),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = left {
            tracing::warn!(guild.id = guild, %error, "a session of a client of the gateway has ended, but the bot did not leave its voice channel");
        }
    });
    stream::iter(leaving).buffer_unordered(GUILDS_AT_ONCE).collect::<()>().await;
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
        let shards = overlapping.filter(|shard| last.get(shard).is_none_or(|last| last != command.text()));
        // It may go out and not be noted: a later command can replace it.
        let shards: Vec<ShardSlot> = shards.collect();
        for shard in &shards {
            last.remove(shard);
        }
        shards
    };
    if shards.is_empty() {
        return Ok(());
    }
    let receipt =
        shared.bridge.update_presence(&shards, command, until).await.map_err(|error| error.to_string())?;
    let mut last = shared.presences.lock().unwrap_or_else(PoisonError::into_inner);
    for shard in &shards {
        if receipt.failures.iter().all(|(failed, _)| failed != shard) {
            last.insert(*shard, command.text().to_owned());
        }
    }
    drop(last);
    match receipt.failures.first() {
        None => Ok(()),
        Some((shard, why)) => Err(format!("{} shards, among them {shard}: {why}", receipt.failures.len())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::testing::{Fate, Scripted, shared};

    const WHOLE: ClientShard = ClientShard { number: 0, total: 1 };

    fn presence(name: &str) -> GatewayCommand {
        let activities = json!([{"name": name, "type": 0}]);
        GatewayCommand::parse(json!({"op": 3, "d": {"status": "idle", "activities": activities}})).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn presence_is_the_last_one_only_where_it_was_sent() {
        let worker = Scripted::new(|_, _| Vec::new());
        let shared = shared(3, &worker);
        let send =
            async |name: &str| send_presence(&shared, WHOLE, &presence(name), Instant::now() + WITHIN).await;
        worker.fates.lock().unwrap().insert(ShardSlot(1), Fate::Refused);
        send("one").await.unwrap_err();
        assert_eq!(worker.sent_on(), [0, 2]);
        send("one").await.unwrap();
        assert_eq!(worker.sent_on(), [1], "where it was refused");
        send("one").await.unwrap();
        assert_eq!(worker.sent_on(), [0; 0], "an equal one");
        // The client leaves while the command waits for its turn.
        worker.fates.lock().unwrap().insert(ShardSlot(1), Fate::Waits);
        assert!(timeout(Duration::from_secs(1), send("two")).await.is_err());
        assert_eq!(worker.sent_on(), [0, 2]);
        send("two").await.unwrap();
        assert!(worker.sent_on().contains(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn last_command_about_the_same_is_the_last_that_goes_out() {
        let worker = Scripted::new(|_, _| Vec::new());
        let shared = Arc::new(shared(2, &worker));
        let (members, _chunks) = mpsc::channel(1);
        let mut commands = Commands::new(shared, Requests::default(), members);
        let working = async |commands: &mut Commands| {
            let working = async {
                loop {
                    commands.work().await;
                }
            };
            timeout(Duration::from_secs(30), working).await.unwrap_err();
        };
        let late = |worker: &Scripted| worker.fates.lock().unwrap().insert(ShardSlot(0), Fate::Late);
        late(&worker);
        let show = |commands: &mut Commands, name: &str| {
            let payload: Value = serde_json::from_str(presence(name).text()).unwrap();
            commands.take(3, payload["d"].clone());
            commands.work().now_or_never();
        };
        for name in ["one", "two", "two"] {
            show(&mut commands, name);
        }
        working(&mut commands).await;
        let sent = |shard: u32| -> Vec<String> {
            let sent = worker.sent.lock().unwrap();
            sent.iter().filter(|(on, _)| on.0 == shard).map(|(_, text)| text.clone()).collect()
        };
        assert!(sent(0).len() == 1 && sent(0)[0].contains("two"), "{:?}", sent(0));
        assert_eq!(sent(1).len(), 2, "an equal one that is under way is not sent again");
        // Shown on one shard already, and replaced by the one before it.
        late(&worker);
        show(&mut commands, "one");
        show(&mut commands, "two");
        working(&mut commands).await;
        for shard in [0, 1] {
            assert!(sent(shard).last().unwrap().contains("two"), "{:?}", sent(shard));
        }
        worker.sent.lock().unwrap().clear();
        late(&worker);
        // Another guild of the same shard waits for nothing.
        for (guild, channel) in [(2_u64 << 22, "5"), (2 << 22, "6"), (4 << 22, "7")] {
            commands.take(4, json!({"guild_id": guild.to_string(), "channel_id": channel}));
            commands.work().now_or_never();
        }
        working(&mut commands).await;
        let sent: Vec<_> = worker.sent.lock().unwrap().drain(..).map(|(_, text)| text).collect();
        assert!(sent.len() == 2 && sent[0].contains(r#""6""#) && sent[1].contains(r#""7""#), "{sent:?}");
        assert!(commands.turns.is_empty() && commands.under_way.is_empty());
    }
}
