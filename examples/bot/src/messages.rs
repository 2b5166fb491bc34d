//! What other parts of the bot tell and ask one shard.

use gateway_worker::{
    Context, MessageOutcome, RequestError, ShardMessage, ShardRequest,
    serde_json::{Value, json},
};

/// Asks a shard how large it is.
const STATS: &str = "stats";

/// Tells a shard something for its log.
const NOTE: &str = "note";

/// Each shard's own reply to a question.
pub(crate) fn reply(context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
    match request.kind.as_str() {
        STATS => {
            let (guilds, users, ..) = context.cache().figures();
            Ok(json!({ "guilds": guilds, "users": users }))
        }
        _ => Err(RequestError::UnknownType),
    }
}

/// Says no to what it does not know, so that the sender hears of it.
pub(crate) fn take(context: &Context, message: &ShardMessage) -> MessageOutcome {
    match message.kind.as_str() {
        NOTE => {
            let (shard, ShardMessage { data, sender, .. }) = (context.shard(), message);
            tracing::info!(shard.id = %shard, sender, %data, "a note for this shard");
            MessageOutcome::Accepted
        }
        _ => MessageOutcome::Declined,
    }
}
