//! Messages and requests of other parts of the bot to one shard.

use gateway_worker::{
    Context, MessageOutcome, RequestError, ShardMessage, ShardRequest,
    serde_json::{Value, json},
};

/// Request for the size of a shard.
const STATS: &str = "stats";

/// Message for a shard's log.
const NOTE: &str = "note";

/// Replies to a request for a shard.
pub(crate) fn reply(context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
    match request.kind.as_str() {
        STATS => {
            let (guilds, users, ..) = context.cache().figures();
            Ok(json!({ "guilds": guilds, "users": users }))
        }
        _ => Err(RequestError::UnknownType),
    }
}

/// Handles a message. Declines unknown kinds, so that the sender learns of it.
pub(crate) fn handle(context: &Context, message: &ShardMessage) -> MessageOutcome {
    match message.kind.as_str() {
        NOTE => {
            let (shard, ShardMessage { data, sender, .. }) = (context.shard(), message);
            tracing::info!(shard.id = %shard, sender, %data, "note received");
            MessageOutcome::Accepted
        }
        _ => MessageOutcome::Declined,
    }
}
