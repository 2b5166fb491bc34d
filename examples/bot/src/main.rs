//! A bot of three slash commands that is a whole gateway worker: started in the place of `gateway-worker`, with its settings.
//!
//! [`commands`] says which commands there are, [`registration`] tells Discord of them, [`interactions`] reads what somebody
//! asks and answers it in time, [`answers`] makes the words. `docs/bots.md` walks through it.

use std::process::ExitCode;

use gateway_worker::{CancellationToken, Context, Event, EventHandler, Wanted, async_trait};

use crate::interactions::TooLate;

mod answers;
mod commands;
mod interactions;
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

    /// One worker of the fleet registers the commands: whoever holds shard 0, each time that it comes to hold it.
    async fn singleton(&self, context: &Context, cancelled: CancellationToken) {
        // None: it was told to end, and the next holder registers them.
        let _ = cancelled.run_until_cancelled(registration::register(context.http())).await;
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    gateway_worker::run(Bot::default()).await
}
