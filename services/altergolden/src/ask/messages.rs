//! Messages to shards and to the manager, questions to shards, and subscriptions.

use altergolden_proto::v1;
use clap::{Subcommand, ValueEnum};
use shard_bridge::{ClientError, Data};

use super::{ServerArgs, json_data, shard_number};
use crate::{
    exit::{CommandOutcome, print_json},
    json, table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Send a message to one shard
    ///
    /// Exit code 1 when the shard has no message handler, or the bot has no such shard.
    SendToShard {
        /// The shard's number
        #[arg(value_parser = shard_number, allow_negative_numbers = true)]
        shard: u32,
        #[command(flatten)]
        content: MessageArgs,
    },
    /// Send a message to the manager: every subscriber receives it
    SendToManager {
        #[command(flatten)]
        content: MessageArgs,
        /// The shard that sends it
        #[arg(long, value_name = "NUMBER", value_parser = shard_number, allow_negative_numbers = true)]
        shard: Option<u32>,
    },
    /// Ask shards a question and print their replies
    ///
    /// Exit code 1 when no shard knows the type of the question, 4 when a reply is missing.
    Request {
        #[command(flatten)]
        content: MessageArgs,
        /// Only this shard; may be given more than once
        #[arg(long, value_name = "NUMBER", value_parser = shard_number, allow_negative_numbers = true)]
        shard: Vec<u32>,
    },
    /// Print messages as they arrive, one JSON object per line
    Subscribe {
        /// Only these types
        types: Vec<String>,
        /// Only messages to this recipient; may be given more than once
        #[arg(long, value_enum, value_name = "RECIPIENT")]
        recipient: Vec<Recipient>,
    },
}

/// The type and data of a message.
#[derive(Debug, clap::Args)]
pub(crate) struct MessageArgs {
    /// What kind of message it is
    r#type: String,
    /// Its data, as JSON
    #[arg(default_value = "null", value_parser = json_data)]
    data: Data,
}

/// The recipient of a message.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Recipient {
    /// All workers: broadcasts
    All,
    /// The manager of the shards
    Manager,
    /// Shards of the worker that is asked
    Shard,
}

impl From<Recipient> for v1::MessageRecipient {
    fn from(recipient: Recipient) -> Self {
        match recipient {
            Recipient::All => Self::All,
            Recipient::Manager => Self::Manager,
            Recipient::Shard => Self::Shard,
        }
    }
}

pub(super) async fn answer(
    command: MessageCommand,
    server: &ServerArgs,
) -> Result<CommandOutcome, ClientError> {
    match command {
        MessageCommand::SendToShard { shard, content: MessageArgs { r#type, data } } => {
            let sent = server.connect().await?.send_to_shard(shard, &r#type, data).await?;
            server.show(|_| delivery_text(shard, &sent), || json::sent_to_shard(&sent));
            Ok(if sent.delivered { CommandOutcome::success() } else { CommandOutcome::negative() })
        }
        MessageCommand::SendToManager { content: MessageArgs { r#type, data }, shard } => {
            let id = server.connect().await?.send_to_manager(shard, &r#type, data).await?;
            server.show(|_| format!("{id}: sent"), || serde_json::json!({ "message_id": id }));
            Ok(CommandOutcome::success())
        }
        MessageCommand::Request { content: MessageArgs { r#type, data }, shard } => {
            let answer = server.connect().await?.request_shards(shard, &r#type, data).await?;
            server.show(|screen| table::replies(&answer, screen), || json::replies(&answer));
            Ok(reply_outcome(&answer))
        }
        MessageCommand::Subscribe { types, recipient } => {
            subscribe(server, types, recipient.into_iter().map(Into::into).collect()).await
        }
    }
}

async fn subscribe(
    server: &ServerArgs,
    types: Vec<String>,
    recipients: Vec<v1::MessageRecipient>,
) -> Result<CommandOutcome, ClientError> {
    let mut stream = server.connect().await?.subscribe_to(types, &recipients).await?;
    loop {
        tokio::select! {
            item = stream.message() => match item? {
                Some(item) => print_json(json::subscribed(item)),
                None => return Ok(CommandOutcome::unreachable("the server ended the stream")),
            },
            _ = tokio::signal::ctrl_c() => return Ok(CommandOutcome::success()),
        }
    }
}

fn delivery_text(shard: u32, sent: &v1::SendToShardResponse) -> String {
    if sent.delivered {
        format!("shard {shard}: delivered on {}", sent.worker_id)
    } else {
        format!("shard {shard}: not delivered: {}", sent.reason)
    }
}

/// Success when all shards have replied; negative when no shard knows the type.
fn reply_outcome(answer: &v1::RequestResponse) -> CommandOutcome {
    let unknown = |reply: &v1::ShardReply| {
        matches!(&reply.outcome, Some(v1::shard_reply::Outcome::Failure(failure))
            if failure.kind() == v1::ReplyFailureKind::UnknownType)
    };
    if answer.complete {
        CommandOutcome::success()
    } else if answer.replies.iter().all(unknown) {
        CommandOutcome::negative()
    } else {
        CommandOutcome::incomplete()
    }
}
