//! A bot with three slash commands that is also a gateway worker: start it instead of `gateway-worker`, with the same settings.
//!
//! [`commands`] lists the commands, [`registration`] registers them with Discord, [`interactions`] parses and answers them,
//! [`answers`] formats the texts. [`messages`] handles messages and requests of other parts of the bot to one shard. `docs/bots.md`
//! explains the code.

use std::process::ExitCode;

use gateway_worker::{
    CancellationToken, Context, Event, EventHandler, MessageOutcome, RequestError, ShardMessage,
    ShardRequest, Wanted, async_trait, serde_json::Value,
};

use crate::interactions::ExpiredCount;

mod answers;
mod commands;
mod interactions;
mod messages;
mod registration;

/// The bot.
#[derive(Default)]
struct Bot {
    expired: ExpiredCount,
}

#[async_trait]
impl EventHandler for Bot {
    fn wants(&self) -> Wanted {
        Wanted::only(["INTERACTION_CREATE"])
    }

    async fn handle(&self, context: &Context, event: &Event) {
        interactions::handle(context, event, &self.expired).await;
    }

    async fn message(&self, context: &Context, message: &ShardMessage) -> MessageOutcome {
        messages::handle(context, message)
    }

    async fn request(&self, context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
        messages::reply(context, request)
    }

    /// Registers the commands. Only the owner of shard 0 runs it, each time it becomes the owner.
    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        // Cancelled: the next owner registers the commands.
        let _ = cancelled.run_until_cancelled(registration::register(context.http())).await;
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    gateway_worker::run(Bot::default()).await
}
