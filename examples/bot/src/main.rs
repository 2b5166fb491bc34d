//! A bot of three slash commands that is a whole gateway worker: started in the place of `gateway-worker`, with its settings.
//!
//! [`commands`] says which commands there are, [`registration`] tells Discord of them, [`interactions`] reads what somebody
//! asks and answers it in time, [`answers`] makes the words. [`messages`] is what other parts of the bot tell and ask one of its shards.
//! `docs/bots.md` walks through it.

use std::process::ExitCode;

use gateway_worker::{
    CancellationToken, Context, Event, EventHandler, MessageOutcome, RequestError, ShardMessage,
    ShardRequest, Wanted, async_trait, serde_json::Value,
};

use crate::interactions::TooLate;

mod answers;
mod commands;
mod interactions;
mod messages;
mod registration;

/// The bot.
#[derive(Default)]
struct Bot {
    too_late: TooLate,
}

#[async_trait]
impl EventHandler for Bot {
    fn wants(&self) -> Wanted {
        Wanted::only(["INTERACTION_CREATE"])
    }

    async fn handle(&self, context: &Context, event: &Event) {
        interactions::handle(context, event, &self.too_late).await;
    }

    async fn message(&self, context: &Context, message: &ShardMessage) -> MessageOutcome {
        messages::take(context, message)
    }

    async fn request(&self, context: &Context, request: &ShardRequest) -> Result<Value, RequestError> {
        messages::reply(context, request)
    }

    /// One worker of the fleet registers the commands: the owner of shard 0, each time that it starts to own it.
    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        // None: it was told to end, and the next holder registers them.
        let _ = cancelled.run_until_cancelled(registration::register(context.http())).await;
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    gateway_worker::run(Bot::default()).await
}
