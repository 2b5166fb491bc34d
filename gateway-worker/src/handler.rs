//! What bot code is: an [`EventHandler`], given each event of each shard that runs here, with a [`Context`].
//!
//! Owns the words between the platform and a bot. How events get here in order and within bounds is `dispatch`'s; what was
//! received, kept and resumed is the [shard](crate::shard)'s.
//!
//! What a handler can count on: events of one guild come one after the other in Discord's order, events of different guilds in
//! parallel. An event is given to a handler once, unless the worker died or was cut off: then what may have been handled
//! before comes again with [`Mark::Replayed`], or [`Mark::Expired`]. Whatever was or may have been lost is told by [`EventHandler::gap`].

use std::{
    collections::BTreeSet,
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use dispatch::Kind;
pub use fleet_model::Mark;
use fleet_model::{Epoch, Gap, ShardNumber};
use serde::Serialize;
use shard_bridge::{Bridge, BridgeError, GatewayCommand, InvalidCommand};
use tokio_util::sync::CancellationToken;
use twilight_model::gateway::payload::outgoing::{RequestGuildMembers, UpdatePresence, UpdateVoiceState};

use crate::{
    cache::ShardCache,
    payload::{self, Misplaced},
    reading,
    shard::Shard,
};

mod messages;

pub use messages::{RequestError, ShardMessage, ShardRequest, Taken};

/// Bot code. One handler serves all shards of a worker; it runs on threads of its own, so that one which blocks stops neither
/// leases nor sockets.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Which events it is given. What nobody wants is not kept for it, nor parsed.
    fn wants(&self) -> Wanted {
        Wanted::All
    }

    /// An event. A panic in here is caught, counted and logged; the event counts as handled.
    async fn handle(&self, context: &Context, event: &Event);

    /// Work that one worker of the fleet does for all, such as a timer or a report: runs on whoever holds shard 0, from when that
    /// shard is first ready. Returning ends it for this tenure; the next holder begins it again.
    ///
    /// `cancelled` tells it to end: the shard goes elsewhere, the worker stops, or its lease can't be known to hold. It is waited for
    /// before shard 0 is given up, `SINGLETON_TIMEOUT` (5 s) at most; then it is aborted where it awaits. When the lease is gone it
    /// has 250 ms. It is begun again when the lease is back, and after a panic, which is caught and logged, with growing waits.
    ///
    /// So two never run at once as long as leases hold. Code that blocks its thread can't be aborted, a process that was
    /// stopped goes on for up to 50 ms when it wakes, and a wrong verdict about a worker lasts up to a second: whatever must never be
    /// done twice is to be written under [`Context::epoch`], and refused under a lower one.
    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        let _ = (context, cancelled);
    }

    /// Events of this shard were or may have been lost.
    async fn gap(&self, context: &Context, gap: &Gap) {
        let _ = (context, gap);
    }

    /// Another part of the bot has sent this shard a message (`Bridge::send_to_shard`, `SendToShard`).
    ///
    /// The sender is told whether it is taken, before this ends: [`Taken::No`] counts when it is said before anything is awaited.
    /// A panic in here is caught, counted and logged; the message counts as taken. After a minute it is ended where it awaits.
    ///
    /// Messages come beside events and beside each other, up to 256 at once on a worker with what is [asked](Self::request). One comes
    /// after another if its sender waited for that. A message is sent once; none is repeated when a worker dies.
    async fn message(&self, context: &Context, message: &ShardMessage) -> Taken {
        let _ = (context, message);
        Taken::No
    }

    /// Another part of the bot asks this shard something (`Bridge::request`, `Request`): each shard gives a reply of its own, up to
    /// 256 KiB as JSON text.
    ///
    /// At the deadline, or when whoever asks has gone, it is ended where it awaits. A panic in here is caught, counted and logged, and
    /// told as a failure. Numbers in the reply reach others as doubles: ids are to be texts.
    ///
    /// # Errors
    /// Told to whoever asks.
    async fn request(
        &self,
        context: &Context,
        request: &ShardRequest,
    ) -> Result<serde_json::Value, RequestError> {
        let _ = (context, request);
        Err(RequestError::UnknownType)
    }
}

/// The handler of a worker without bot code: it fills its caches, and that is all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHandler;

#[async_trait]
impl EventHandler for NoHandler {
    fn wants(&self) -> Wanted {
        Wanted::Nothing
    }

    async fn handle(&self, _: &Context, _: &Event) {}
}

/// Which events a handler is given, by Discord's names for them
/// ([Receive Events](https://discord.com/developers/docs/events/gateway-events#receive-events)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None, and no gaps either.
    Nothing,
    /// All, those that this version has never heard of included.
    All,
    /// These.
    Only(BTreeSet<&'static str>),
}

impl Wanted {
    /// Only these: `Wanted::only(["INTERACTION_CREATE"])`.
    pub fn only(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self::Only(names.into_iter().collect())
    }

    /// An event of this name is wanted.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Where an event happened, and what there is to act with.
#[derive(Clone)]
pub struct Context {
    pub(crate) shard: Arc<Shard>,
    pub(crate) tools: Arc<Tools>,
}

/// What every context of a worker shares.
pub(crate) struct Tools {
    pub(crate) http: Arc<twilight_http::Client>,
    /// It gives up soon.
    pub(crate) callbacks: Arc<twilight_http::Client>,
    pub(crate) bridge: Bridge,
}

impl Context {
    /// The shard.
    pub fn shard(&self) -> ShardNumber {
        self.shard.number()
    }

    /// How many shards the bot has.
    pub fn shard_total(&self) -> u32 {
        self.shard.total()
    }

    /// The epoch under which this worker runs the shard: the fencing token for whatever the bot writes elsewhere.
    pub fn epoch(&self) -> Epoch {
        self.shard.epoch()
    }

    /// What the shard knows. It may be ahead of the event at hand.
    pub fn cache(&self) -> &ShardCache {
        self.shard.cache()
    }

    /// Discord's REST API, by way of this worker's proxy: it keeps the whole fleet to Discord's limits. A request waits for its turn;
    /// when that does not come in time (`REST_LONGEST_WAIT`) the answer is 503.
    pub fn http(&self) -> &twilight_http::Client {
        &self.tools.http
    }

    /// The same for first answers to interactions (`create_response`): it gives up after 5 s, when Discord takes none any more. They
    /// wait for no turn, by either client, as Discord counts them against no limit that they share.
    pub fn callbacks(&self) -> &twilight_http::Client {
        &self.tools.callbacks
    }

    /// Tells Discord something through the gateway: a presence on this shard, a voice state or a request for members on the shard of
    /// its guild. Ends when it has gone out; waits for a connection, and for Discord's limits, for no longer than `within`.
    ///
    /// # Errors
    /// As [`Bridge::send_gateway_payload`].
    pub async fn command(&self, command: &impl Command, within: Duration) -> Result<(), BridgeError> {
        let until = tokio::time::Instant::now() + within;
        let payload = serde_json::to_value(command).map_err(InvalidCommand::from)?;
        let command = GatewayCommand::parse(payload)?;
        match command.kind().guild() {
            Some(_) => self.bridge().send_to_guild(&command, until).await.map(drop),
            None => self.bridge().send_command(self.shard(), &command, until).await,
        }
    }

    /// Questions and messages across all shards.
    pub fn bridge(&self) -> &Bridge {
        &self.tools.bridge
    }
}

/// What bot code may tell Discord through the gateway.
pub trait Command: Serialize {}

impl Command for RequestGuildMembers {}
impl Command for UpdatePresence {}
impl Command for UpdateVoiceState {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("shard", &self.shard())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

/// Returns the mark of an event that comes late: an interaction may have expired.
pub(crate) fn late_mark(name: &str, text: &str, now_unix_ms: u64) -> Mark {
    if payload::interaction_age(name, text, now_unix_ms) > ANSWERED_WITHIN {
        Mark::Expired
    } else {
        Mark::Replayed
    }
}

/// How long Discord waits for the first answer to an interaction.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// One dispatch event.
#[derive(Clone)]
pub struct Event {
    pub(crate) name: Kind,
    /// Of the shard's session: grows with each READY.
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) guild: Option<u64>,
    pub(crate) mark: Mark,
    pub(crate) received_at_unix_ms: u64,
    pub(crate) text: String,
}

impl Event {
    /// Discord's name for it: `MESSAGE_CREATE`.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its place: the session's ordinal, which grows with each READY of the shard, and the sequence number within it.
    pub fn position(&self) -> (u64, u64) {
        (self.session, self.sequence)
    }

    /// The guild in which it happened.
    pub fn guild(&self) -> Option<u64> {
        self.guild
    }

    /// Whether it may have been handled before.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// When a worker first received it.
    pub fn received_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.received_at_unix_ms)
    }

    /// The payload as Discord sent it: JSON with `op`, `t`, `s` and `d`.
    pub fn raw(&self) -> &str {
        &self.text
    }

    /// The payload as twilight's types; `None` for an event that twilight does not know.
    ///
    /// # Errors
    /// The payload does not match twilight's types. The error contains nothing of the payload, so it can be logged.
    pub fn parse(&self) -> Result<Option<twilight_model::gateway::event::Event>, EventError> {
        reading::whole(self.name(), &self.text).map_err(|error| EventError((&error).into()))
    }
}

/// A payload that does not match twilight's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError(Misplaced);

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event does not match twilight's types: {}", self.0)
    }
}

impl Error for EventError {}

impl fmt::Debug for Event {
    /// Without what people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.name)
            .field("session", &self.session)
            .field("sequence", &self.sequence)
            .field("guild", &self.guild)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_error_contains_nothing_of_the_payload() {
        for d in [r#"{"content":{"marker":"marker"}}"#, r#"["marker"]"#, r#"{"id":"marker""#] {
            let event = Event {
                name: "MESSAGE_CREATE".into(),
                session: 1,
                sequence: 2,
                guild: None,
                mark: Mark::Fresh,
                received_at_unix_ms: 0,
                text: format!(r#"{{"t":"MESSAGE_CREATE","s":2,"op":0,"d":{d}}}"#),
            };
            let error = event.parse().unwrap_err();
            assert!(error.source().is_none());
            let said = format!("{error} {error:?} {event:?}");
            assert!(said.contains("line 1") && !said.contains("marker"), "{said}");
        }
    }
}
