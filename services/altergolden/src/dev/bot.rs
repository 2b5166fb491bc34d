//! The bot code of dev mode: enough to try messages and questions to shards.

use gateway_worker::{
    Context, Event, EventHandler, MessageOutcome, RequestError, ShardMessage, ShardRequest, Wanted,
    async_trait,
    serde_json::{Value, json},
};

use crate::exit::print_line;

/// Prints the messages to its shards, and answers `stats` and `echo`.
#[derive(Debug)]
pub(super) struct DevBot {
    /// Name of its worker.
    pub(super) worker: String,
}

#[async_trait]
impl EventHandler for DevBot {
    fn wants(&self) -> Wanted {
        Wanted::Nothing
    }

    async fn handle(&self, _: &Context, _: &Event) {}

    async fn message(&self, context: &Context, message: &ShardMessage) -> MessageOutcome {
        let ShardMessage { kind, data, sender, .. } = message;
        // JSON escapes control characters.
        let kind = Value::from(kind.as_str());
        print_line(format_args!(
            "shard {} on {} was sent {kind} by {sender}: {data}",
            context.shard(),
            self.worker
        ));
        MessageOutcome::Accepted
    }

    async fn request(&self, context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
        match request.kind.as_str() {
            "stats" => {
                let (guilds, users, channels, voice) = context.cache().figures();
                Ok(json!({ "guilds": guilds, "users": users, "channels": channels, "in_voice": voice }))
            }
            "echo" => Ok(request.data.clone()),
            _ => Err(RequestError::UnknownType),
        }
    }
}
