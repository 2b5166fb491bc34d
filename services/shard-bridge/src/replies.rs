//! Each shard's own reply to a question, as one answer that fits. Pure.

use altergolden_proto::{convert, v1};
use fleet_model::{ShardNumber, WorkerId};
use prost::Message as _;
use v1::ReplyFailureKind as Kind;

use crate::content::{LARGEST, Misfit, exact_value, nests_too_deep};

/// The largest answer, in bytes.
pub const LARGEST_ANSWER: usize = 32 * 1024 * 1024;

/// Maximum size of an answer when the caller names none: what a gRPC client takes by default.
const USUAL_ANSWER: usize = 4 * 1024 * 1024;

/// The longest reason, in bytes: so that 10,000 of them fit.
const LONGEST_REASON: usize = 256;

/// What is kept for each reply with a value, in case it does not fit and is told so instead.
const KEPT: usize = 384;

/// What is around a reply in the answer, at most: its tag and length.
const AROUND: usize = 6;

/// How large an answer may be, of what was asked for.
pub(crate) fn max_bytes(asked: Option<u32>) -> usize {
    asked.map_or(USUAL_ANSWER, |asked| (asked as usize).clamp(USUAL_ANSWER, LARGEST_ANSWER))
}

/// A failure; its reason is cut to 256 bytes.
pub fn failure(kind: v1::ReplyFailureKind, reason: impl Into<String>) -> v1::ReplyFailure {
    let mut reason = reason.into();
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON - "…".len()));
        reason.push('…');
    }
    v1::ReplyFailure { kind: kind.into(), reason }
}

/// What became of the question to one shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replied {
    pub(crate) shard: ShardNumber,
    /// Who runs it.
    pub(crate) worker: Option<WorkerId>,
    /// Its reply as JSON text, or why it is missing.
    pub(crate) outcome: Result<String, v1::ReplyFailure>,
}

/// Makes the answer, reply by reply: those that come first have what room there is.
#[derive(Debug)]
pub(crate) struct Merge {
    max_bytes: usize,
    left: usize,
    response: v1::RequestResponse,
}

impl Merge {
    /// Before the first of these replies. Shards without a value have their room reserved from the start.
    pub(crate) fn of(replies: &[Replied], max_bytes: usize) -> Self {
        let kept: usize = replies
            .iter()
            .map(|reply| match &reply.outcome {
                Ok(_) => KEPT,
                Err(failure) => failed(reply, failure.clone()).encoded_len() + AROUND,
            })
            .sum();
        let response =
            v1::RequestResponse { complete: !replies.is_empty(), replies: Vec::with_capacity(replies.len()) };
        Self { max_bytes, left: max_bytes.saturating_sub(kept + AROUND), response }
    }

    /// The next one, in order of shards.
    pub(crate) fn add(&mut self, reply: Replied) {
        let added = match &reply.outcome {
            Ok(json) => self.with_value(&reply, json),
            Err(failure) => failed(&reply, failure.clone()),
        };
        self.response.complete &= matches!(added.outcome, Some(v1::shard_reply::Outcome::Value(_)));
        self.response.replies.push(added);
    }

    fn with_value(&mut self, reply: &Replied, json: &str) -> v1::ShardReply {
        // Its worker has looked already: but that may be any version.
        if json.len() > LARGEST {
            let reason = format!("its reply of {} bytes is over the limit of {LARGEST}", json.len());
            return failed(reply, failure(Kind::TooLarge, reason));
        }
        let value = match exact_value(json) {
            Ok(value) => value,
            Err(Misfit::Json(why)) => {
                return failed(reply, failure(Kind::Failed, format!("its reply is not JSON: {why}")));
            }
            Err(error) => {
                return failed(reply, failure(Kind::Failed, format!("its reply is invalid: {error}")));
            }
        };
        if nests_too_deep(&value) {
            return failed(reply, failure(Kind::Failed, "its reply is nested too deeply"));
        }
        let value_json = if convert::is_exact(&value) { String::new() } else { json.to_owned() };
        let value = v1::shard_reply::Outcome::Value(convert::from_json(value));
        let whole = v1::ShardReply { value_json, ..with(reply, value) };
        let bytes = whole.encoded_len() + AROUND;
        if let Some(left) = self.left.checked_sub(bytes.saturating_sub(KEPT)) {
            self.left = left;
            return whole;
        }
        let reason = format!(
            "its reply of {bytes} bytes does not fit into the whole answer, which may have {}",
            self.max_bytes
        );
        failed(reply, failure(Kind::TooLarge, reason))
    }

    pub(crate) fn finish(self) -> v1::RequestResponse {
        self.response
    }
}

fn failed(reply: &Replied, failure: v1::ReplyFailure) -> v1::ShardReply {
    with(reply, v1::shard_reply::Outcome::Failure(failure))
}

fn with(reply: &Replied, outcome: v1::shard_reply::Outcome) -> v1::ShardReply {
    v1::ShardReply {
        shard_id: reply.shard.0,
        worker_id: reply.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        outcome: Some(outcome),
        value_json: String::new(),
    }
}

#[cfg(test)]
mod tests;
