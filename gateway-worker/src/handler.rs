//! The interface of bot code: an [`EventHandler`] receives each event of each shard that runs here, with a [`Context`].
//!
//! Owns the interface between the platform and a bot. The crate `dispatch` brings events here in order and within bounds; the
//! [shard](crate::shard) receives, keeps and resumes them.
//!
//! What a handler can count on: events of one guild come one after the other in Discord's order, events of different guilds in
//! parallel. An event is given to a handler once, unless the worker died or was cut off: then what may have been handled
//! before comes again with [`Mark::Replayed`](crate::Mark::Replayed), or [`Mark::Expired`](crate::Mark::Expired). [`EventHandler::gap`] reports
//! what was or may have been lost.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use fleet_model::{Epoch, Gap, ShardKey};
use serde::Serialize;
use shard_bridge::{Bridge, BridgeError, GatewayCommand, InvalidCommand};
use tokio_util::sync::CancellationToken;
use twilight_model::gateway::payload::outgoing::{RequestGuildMembers, UpdatePresence, UpdateVoiceState};

use crate::{
    cache::ShardCache,
    discord::{ClientMaker, TracedClients},
    event::{Event, Wanted},
    shard_state::ShardState,
};

mod messages;

pub use messages::{MessageOutcome, RequestError, ShardMessage, ShardRequest};

/// Bot code. One handler serves all shards of a worker; it runs on threads of its own, so that one which blocks stops neither
/// leases nor sockets.
#[async_trait]
pub trait EventHandler: Send + Sync + 'static {
    /// Returns the events that it is given. Other events are neither queued nor parsed for it.
    fn wants(&self) -> Wanted {
        Wanted::All
    }

    /// An event. A panic in here is caught, counted and logged; the event counts as handled.
    async fn handle(&self, context: &Context, event: &Event);

    /// Work that one worker of the fleet does for all, such as a timer or a report. It runs on the worker that holds shard 0, from
    /// when that shard is first ready. Once it returns it does not run again until another worker holds shard 0.
    ///
    /// `cancelled` tells it to end: the shard goes elsewhere, the worker stops, or its lease can't be known to hold. It is waited for
    /// before shard 0 is given up, `SINGLETON_TIMEOUT` (5 s) at most; then it is aborted where it awaits. When the lease is gone it
    /// has 250 ms. It is begun again when the lease is back, and after a panic, which is caught and logged, with growing waits.
    ///
    /// So two never run at once as long as leases hold. Code that blocks its thread can't be aborted, a process that was
    /// stopped goes on for up to 50 ms when it wakes, and a wrong verdict about a worker lasts up to a second: work that must
    /// never be done twice must be written under [`Context::epoch`], and refused under a lower one.
    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        let _ = (context, cancelled);
    }

    /// Events of this shard were or may have been lost.
    async fn gap(&self, context: &Context, gap: &Gap) {
        let _ = (context, gap);
    }

    /// Another part of the bot has sent this shard a message (`Bridge::send_to_shard`, `SendToShard`).
    ///
    /// The sender is told whether it is accepted before this ends: [`MessageOutcome::Declined`] counts when it is returned before
    /// anything is awaited.
    /// A panic in here is caught, counted and logged; the message counts as taken. After a minute it is ended where it awaits.
    ///
    /// Messages come beside events and beside each other, up to 256 at once on a worker with what is [asked](Self::request). One comes
    /// after another if its sender waited for that. A message is sent once; none is repeated when a worker dies.
    async fn message(&self, context: &Context, message: &ShardMessage) -> MessageOutcome {
        let _ = (context, message);
        MessageOutcome::Declined
    }

    /// Another part of the bot asks this shard something (`Bridge::request`, `Request`): each shard gives a reply of its own, up to
    /// 256 KiB as JSON text.
    ///
    /// At the deadline, or when the caller has gone, it is ended where it awaits. A panic in here is caught, counted and logged, and
    /// reported as a failure. Numbers in the reply reach others as doubles: ids are to be texts.
    ///
    /// # Errors
    /// Sent to the caller.
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

/// Where an event happened, and what there is to act with.
#[derive(Clone)]
pub struct Context {
    pub(crate) shard: Arc<ShardState>,
    pub(crate) tools: Arc<Tools>,
    /// Clients whose requests are in the trace of the event.
    traced: Option<Arc<TracedClients>>,
}

/// What every context of a worker shares.
pub(crate) struct Tools {
    pub(crate) http: Arc<twilight_http::Client>,
    /// It gives up soon.
    pub(crate) callbacks: Arc<twilight_http::Client>,
    pub(crate) bridge: Bridge,
    pub(crate) makes: ClientMaker,
}

impl Context {
    pub(crate) fn new(shard: Arc<ShardState>, tools: Arc<Tools>) -> Self {
        Self { shard, tools, traced: None }
    }

    /// Returns a context whose REST calls are in a trace.
    pub(crate) fn traced(&self, traceparent: String) -> Self {
        let traced = Some(Arc::new(TracedClients::new(traceparent)));
        Self { shard: self.shard.clone(), tools: self.tools.clone(), traced }
    }

    /// The shard.
    pub fn shard(&self) -> ShardKey {
        self.shard.key()
    }

    /// How many shards the bot has.
    pub fn shard_total(&self) -> u32 {
        self.shard.key().total()
    }

    /// The epoch under which this worker runs the shard: the fencing token for what the bot writes elsewhere.
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
        let traced = self.traced.as_ref().and_then(|traced| traced.http(&self.tools.makes));
        traced.unwrap_or(&self.tools.http)
    }

    /// The same for first answers to interactions (`create_response`): it gives up after 5 s, when Discord takes none any more. They
    /// wait for no turn, by either client, as Discord counts them against no limit that they share.
    pub fn callbacks(&self) -> &twilight_http::Client {
        let traced = self.traced.as_ref().and_then(|traced| traced.callbacks(&self.tools.makes));
        traced.unwrap_or(&self.tools.callbacks)
    }

    /// Sends a command to Discord through the gateway: a presence on this shard, a voice state or a request for members on the shard of
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

/// A command that bot code may send to Discord through the gateway.
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
