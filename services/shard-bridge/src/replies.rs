//! Each shard's own reply to a question, as one answer that fits. Pure.

use altergolden_proto::convert;
use fleet_model::{ShardSlot, WorkerId};

use crate::{
    answer::{BridgeError, ReplyFailure, ReplyFailureKind as Kind, ReplyValue, ShardReplies, ShardReply},
    content::{InvalidContent, LARGEST, exact_value, nests_too_deep},
    wire,
};

/// The largest answer, in bytes.
pub const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

/// Maximum size of an answer when the caller names none: what a gRPC client takes by default.
const USUAL_ANSWER: usize = 4 * 1024 * 1024;

/// What an answer must have room for, for each shard: more than a shard takes that does not reply.
const FAILED_REPLY: usize = 419;

/// What is kept for each reply with a value, in case it does not fit and is told so instead.
const KEPT: usize = 384;

/// What is around a reply in the answer, at most: its tag and length.
const AROUND: usize = 6;

/// How large an answer may be, of what was asked for.
pub(crate) fn max_bytes(asked: Option<u32>) -> usize {
    asked.map_or(USUAL_ANSWER, |asked| (asked as usize).clamp(USUAL_ANSWER, LARGEST_ANSWER))
}

/// Checks that an answer has room to say of each shard at least why its reply is missing.
pub(crate) fn check_room(shards: usize, max_bytes: usize) -> Result<(), BridgeError> {
    let needed = shards * FAILED_REPLY;
    if needed > max_bytes {
        let most = max_bytes / FAILED_REPLY;
        let why = format!(
            "the answer of {shards} shards may need {needed} bytes and max_bytes is {max_bytes}: ask at most {most} shards at a time, or raise max_bytes"
        );
        return Err(BridgeError::invalid(why));
    }
    Ok(())
}

/// What became of the question to one shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replied {
    pub(crate) shard: ShardSlot,
    /// Who runs it.
    pub(crate) worker: Option<WorkerId>,
    /// Its reply as JSON text, or why it is missing.
    pub(crate) outcome: Result<String, ReplyFailure>,
}

/// Makes the answer, reply by reply: those that come first have what room there is.
#[derive(Debug)]
pub(crate) struct Merge {
    max_bytes: usize,
    left: usize,
    answer: ShardReplies,
}

impl Merge {
    /// Before the first of these replies. Shards without a value have their room reserved from the start.
    pub(crate) fn of(replies: &[Replied], max_bytes: usize) -> Self {
        let kept: usize = replies
            .iter()
            .map(|reply| match &reply.outcome {
                Ok(_) => KEPT,
                Err(failure) => wire::failed_reply_len(reply.shard, reply.worker.as_ref(), failure) + AROUND,
            })
            .sum();
        let answer =
            ShardReplies { complete: !replies.is_empty(), replies: Vec::with_capacity(replies.len()) };
        Self { max_bytes, left: max_bytes.saturating_sub(kept + AROUND), answer }
    }

    /// The next one, in order of shards.
    pub(crate) fn add(&mut self, reply: Replied) {
        let Replied { shard, worker, outcome } = reply;
        let outcome = outcome.and_then(|json| self.fit(shard, worker.as_ref(), json));
        self.answer.complete &= outcome.is_ok();
        self.answer.replies.push(ShardReply { shard, worker, outcome });
    }

    /// Checks a reply and takes its room.
    fn fit(
        &mut self,
        shard: ShardSlot,
        worker: Option<&WorkerId>,
        json: String,
    ) -> Result<ReplyValue, ReplyFailure> {
        // Its worker has looked already: but that may be any version.
        if json.len() > LARGEST {
            let reason = format!("its reply of {} bytes is over the limit of {LARGEST}", json.len());
            return Err(ReplyFailure::new(Kind::TooLarge, reason));
        }
        let value = exact_value(&json).map_err(|error| match error {
            InvalidContent::Json(why) => {
                ReplyFailure::new(Kind::Failed, format!("its reply is not JSON: {why}"))
            }
            error => ReplyFailure::new(Kind::Failed, format!("its reply is invalid: {error}")),
        })?;
        if nests_too_deep(&value) {
            return Err(ReplyFailure::new(Kind::Failed, "its reply is nested too deeply"));
        }
        let exact_text = if convert::is_exact(&value) { String::new() } else { json };
        let reply = ReplyValue { value, exact_text };
        let bytes = wire::reply_len(shard, worker, &reply) + AROUND;
        let Some(left) = self.left.checked_sub(bytes.saturating_sub(KEPT)) else {
            let reason = format!(
                "its reply of {bytes} bytes does not fit into the whole answer, which may have {}",
                self.max_bytes
            );
            return Err(ReplyFailure::new(Kind::TooLarge, reason));
        };
        self.left = left;
        Ok(reply)
    }

    pub(crate) fn finish(self) -> ShardReplies {
        self.answer
    }
}

#[cfg(test)]
mod tests;
