//! Messages to shards and to the manager, questions to shards, and what arrives.

use altergolden_proto::v1;
use clap::{Subcommand, ValueEnum};
use shard_bridge::{ClientError, Data};

use super::{Server, json_data};
use crate::{
    exit::{Outcome, say_json},
    json, table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// A message to one shard: exit 1 when nobody listens there, or the bot has no such shard
    SendToShard {
        /// The shard's number
        shard: u32,
        #[command(flatten)]
        content: Content,
        #[command(flatten)]
        server: Server,
    },
    /// A message to whoever manages the shards: all who are subscribed, at any process
    SendToManager {
        #[command(flatten)]
        content: Content,
        /// The shard for which it speaks
        #[arg(long, value_name = "NUMBER")]
        shard: Option<u32>,
        #[command(flatten)]
        server: Server,
    },
    /// A question to shards, with each one's own reply: exit 1 when none knows what is asked, 4 when some have not replied
    Request {
        #[command(flatten)]
        content: Content,
        /// Only this shard; may be given more than once
        #[arg(long, value_name = "NUMBER")]
        shard: Vec<u32>,
        #[command(flatten)]
        server: Server,
    },
    /// The messages from now on, as the process that is asked gets them, one JSON object a line
    Subscribe {
        /// Only these types
        types: Vec<String>,
        /// Only messages to this recipient; may be given more than once
        #[arg(long, value_enum, value_name = "RECIPIENT")]
        recipient: Vec<Recipient>,
        #[command(flatten)]
        server: Server,
    },
}

/// What is said.
#[derive(Debug, clap::Args)]
pub(crate) struct Content {
    /// What kind of message it is
    r#type: String,
    /// Its data, as JSON
    #[arg(default_value = "null", value_parser = json_data)]
    data: Data,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Recipient {
    /// Everybody: broadcasts
    All,
    /// Whoever manages the shards
    Manager,
    /// Shards that run in the process that is asked
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

pub(super) async fn answer(command: MessageCommand) -> Result<Outcome, ClientError> {
    match command {
        MessageCommand::SendToShard { shard, content: Content { r#type, data }, server } => {
            let sent = server.connect().await?.send_to_shard(shard, &r#type, data).await?;
            server.show(|| sent_in_words(shard, &sent), || json::sent_to_shard(&sent));
            Ok(if sent.delivered { Outcome::yes() } else { Outcome::no() })
        }
        MessageCommand::SendToManager { content: Content { r#type, data }, shard, server } => {
            let id = server.connect().await?.send_to_manager(shard, &r#type, data).await?;
            server.show(|| format!("{id}: sent"), || serde_json::json!({ "message_id": id }));
            Ok(Outcome::yes())
        }
        MessageCommand::Request { content: Content { r#type, data }, shard, server } => {
            let answer = server.connect().await?.request_shards(shard, &r#type, data).await?;
            server.show(|| table::replies(&answer), || json::replies(&answer));
            Ok(replied(&answer))
        }
        MessageCommand::Subscribe { types, recipient, server } => {
            subscribe(&server, types, recipient.into_iter().map(Into::into).collect()).await
        }
    }
}

async fn subscribe(
    server: &Server,
    types: Vec<String>,
    recipients: Vec<v1::MessageRecipient>,
) -> Result<Outcome, ClientError> {
    let mut stream = server.connect().await?.subscribe_to(types, &recipients).await?;
    loop {
        tokio::select! {
            item = stream.message() => match item? {
                Some(item) => say_json(json::subscribed(item)),
                None => return Ok(Outcome::unreachable("the server ended the stream")),
            },
            _ = tokio::signal::ctrl_c() => return Ok(Outcome::yes()),
        }
    }
}

fn sent_in_words(shard: u32, sent: &v1::SendToShardResponse) -> String {
    if sent.delivered {
        format!("shard {shard}: delivered on {}", sent.worker_id)
    } else {
        format!("shard {shard}: not delivered: {}", sent.reason)
    }
}

/// Yes when all have replied; no when each one says that it does not know what is asked.
fn replied(answer: &v1::RequestResponse) -> Outcome {
    let unknown = |reply: &v1::ShardReply| {
        matches!(&reply.outcome, Some(v1::shard_reply::Outcome::Failure(failure))
            if failure.kind() == v1::ReplyFailureKind::UnknownType)
    };
    if answer.complete {
        Outcome::yes()
    } else if answer.replies.iter().all(unknown) {
        Outcome::no()
    } else {
        Outcome::incomplete()
    }
}
