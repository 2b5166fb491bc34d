//! The bridge's answers to the wire, and the replies of other workers from it.

use altergolden_proto::{convert, v1};
use fleet_model::{ShardSlot, WorkerId};
use prost::Message as _;
use tonic::Status;
use v1::{ReplyFailureKind as WireKind, shard_answer, shard_reply::Outcome};

use crate::{
    answer::{
        BridgeError, BroadcastReceipt, FleetStats, GuildAnswer, MessageReceipt, PresenceReceipt,
        ReplyFailure, ReplyFailureKind as Kind, ReplyValue, ShardReply, TimedReport, UserAnswer,
    },
    command::{CommandRefused, InvalidCommand},
    content::InvalidContent,
    hub::{RecipientKind, Wants},
    local::{AnswerOutcome, ShardAnswer},
    object::ObjectRefused,
};

/// Errors whose gRPC code is the one of their class.
macro_rules! into_status {
    ($($error:ty),*) => {$(
        impl From<$error> for Status {
            fn from(error: $error) -> Self {
                convert::status(&error)
            }
        }
    )*};
}

into_status!(BridgeError, InvalidContent, InvalidCommand, CommandRefused, ObjectRefused);

impl BridgeError {
    /// Returns another process's status as an error of its class.
    pub(crate) fn from_peer(status: Status) -> Self {
        Self::new(convert::class_of(&status), status.message())
    }
}

/// Returns what a subscriber wants. An empty list of recipients is all of them; a number that this version does not know
/// matches none.
pub(crate) fn wants(types: Vec<String>, recipients: &[i32]) -> Wants {
    let kind = |number: &i32| match v1::MessageRecipient::try_from(*number).ok()? {
        v1::MessageRecipient::Unspecified | v1::MessageRecipient::All => Some(RecipientKind::All),
        v1::MessageRecipient::Manager => Some(RecipientKind::Manager),
        v1::MessageRecipient::Shard => Some(RecipientKind::Shard),
    };
    let kinds: Vec<_> = recipients.iter().filter_map(kind).collect();
    Wants::only(types, (!recipients.is_empty()).then_some(&kinds))
}

fn worker_id(worker: Option<&WorkerId>) -> String {
    worker.map(ToString::to_string).unwrap_or_default()
}

fn slots<S: Into<ShardSlot>>(shards: Vec<S>) -> Vec<u32> {
    shards.into_iter().map(|shard| shard.into().0).collect()
}

impl From<FleetStats> for v1::GetAggregateStatsResponse {
    fn from(stats: FleetStats) -> Self {
        Self {
            total_guilds: stats.total_guilds,
            total_users: stats.total_users,
            total_channels: stats.total_channels,
            total_voice_connections: stats.total_voice_connections,
            shard_count: stats.shard_count,
            complete: stats.complete,
            missing_shards: slots(stats.missing_shards),
            shards: stats.shards.into_iter().map(Into::into).collect(),
            next_page_token: String::new(),
        }
    }
}

impl From<TimedReport> for v1::ShardStats {
    fn from(timed: TimedReport) -> Self {
        let TimedReport { worker, report, age } = timed;
        Self {
            shard_id: report.shard.0,
            worker_id: worker.into(),
            status: v1::ShardStatus::from(report.status).into(),
            guilds: report.guilds,
            users: report.users,
            channels: report.channels,
            voice_connections: report.voice_connections,
            latency_ms: report.latency_ms,
            uptime_seconds: report.uptime_seconds,
            age_ms: age.as_millis() as u64,
            outcome: report.outcome.map(Into::into),
        }
    }
}

impl From<GuildAnswer> for v1::FindGuildResponse {
    fn from(answer: GuildAnswer) -> Self {
        Self {
            found: answer.found,
            complete: answer.complete,
            guild_id: answer.guild_id,
            name: answer.name,
            member_count: answer.member_count,
            shard_id: answer.shard.map_or(0, |shard| shard.slot().0),
            worker_id: worker_id(answer.worker.as_ref()),
            unavailable: answer.unavailable,
            reason: answer.reason,
        }
    }
}

impl From<UserAnswer> for v1::FindUserResponse {
    fn from(answer: UserAnswer) -> Self {
        Self {
            found: answer.found,
            complete: answer.complete,
            user_id: answer.user_id,
            shard_ids: slots(answer.shards),
            username: answer.username,
            reason: answer.reason,
        }
    }
}

impl From<BroadcastReceipt> for v1::BroadcastResponse {
    fn from(receipt: BroadcastReceipt) -> Self {
        Self {
            message_id: receipt.message_id,
            workers_expected: receipt.workers_expected,
            workers_acknowledged: receipt.workers_acknowledged,
            missing_workers: receipt.missing_workers.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<MessageReceipt> for v1::SendToShardResponse {
    fn from(receipt: MessageReceipt) -> Self {
        let MessageReceipt { delivered, worker, reason } = receipt;
        Self { delivered, worker_id: worker.to_string(), reason }
    }
}

impl From<PresenceReceipt> for v1::UpdatePresenceResponse {
    fn from(receipt: PresenceReceipt) -> Self {
        let failure = |(shard, reason): (ShardSlot, String)| v1::CommandFailure { shard_id: shard.0, reason };
        let failures: Vec<_> = receipt.failures.into_iter().map(failure).collect();
        Self { complete: failures.is_empty(), failures }
    }
}

impl From<ShardReply> for v1::ShardReply {
    fn from(reply: ShardReply) -> Self {
        let (outcome, value_json) = match reply.outcome {
            Ok(ReplyValue { value, exact_text }) => (Outcome::Value(convert::from_json(value)), exact_text),
            Err(failure) => (Outcome::Failure(failure.into()), String::new()),
        };
        Self { value_json, outcome: Some(outcome), ..empty_reply(reply.shard, reply.worker.as_ref()) }
    }
}

fn empty_reply(shard: ShardSlot, worker: Option<&WorkerId>) -> v1::ShardReply {
    v1::ShardReply { shard_id: shard.0, worker_id: worker_id(worker), ..v1::ShardReply::default() }
}

/// Returns the encoded length of a reply with a value.
pub(crate) fn reply_len(shard: ShardSlot, worker: Option<&WorkerId>, reply: &ReplyValue) -> usize {
    let delimited = |bytes: usize| 1 + prost::length_delimiter_len(bytes) + bytes;
    let text = if reply.exact_text.is_empty() { 0 } else { delimited(reply.exact_text.len()) };
    empty_reply(shard, worker).encoded_len() + delimited(convert::encoded_len(&reply.value)) + text
}

/// Returns the encoded length of a reply without a value.
pub(crate) fn failed_reply_len(shard: ShardSlot, worker: Option<&WorkerId>, failure: &ReplyFailure) -> usize {
    let outcome = Some(Outcome::Failure(failure.clone().into()));
    v1::ShardReply { outcome, ..empty_reply(shard, worker) }.encoded_len()
}

impl From<ReplyFailure> for v1::ReplyFailure {
    fn from(failure: ReplyFailure) -> Self {
        let kind = match failure.kind {
            Kind::Unknown => WireKind::Unspecified,
            Kind::Unassigned => WireKind::Unassigned,
            Kind::Unreachable => WireKind::Unreachable,
            Kind::TooLate => WireKind::TooLate,
            Kind::UnknownType => WireKind::UnknownType,
            Kind::Failed => WireKind::Failed,
            Kind::TooLarge => WireKind::TooLarge,
        };
        Self { kind: kind.into(), reason: failure.reason }
    }
}

impl From<v1::ReplyFailure> for ReplyFailure {
    fn from(failure: v1::ReplyFailure) -> Self {
        let kind = match failure.kind() {
            WireKind::Unspecified => Kind::Unknown,
            WireKind::Unassigned => Kind::Unassigned,
            WireKind::Unreachable => Kind::Unreachable,
            WireKind::TooLate => Kind::TooLate,
            WireKind::UnknownType => Kind::UnknownType,
            WireKind::Failed => Kind::Failed,
            WireKind::TooLarge => Kind::TooLarge,
        };
        Self { kind, reason: failure.reason }
    }
}

impl From<ShardAnswer> for v1::ShardAnswer {
    fn from(answer: ShardAnswer) -> Self {
        let outcome = match answer.outcome {
            AnswerOutcome::Json(json) => shard_answer::Outcome::Json(json),
            AnswerOutcome::Failed(failure) => shard_answer::Outcome::Failure(failure.into()),
            AnswerOutcome::NotMine => shard_answer::Outcome::NotMine(true),
        };
        Self { shard_id: answer.shard.0, outcome: Some(outcome) }
    }
}

impl From<v1::ShardAnswer> for ShardAnswer {
    fn from(answer: v1::ShardAnswer) -> Self {
        let outcome = match answer.outcome {
            Some(shard_answer::Outcome::Json(json)) => AnswerOutcome::Json(json),
            Some(shard_answer::Outcome::Failure(failure)) => AnswerOutcome::Failed(failure.into()),
            Some(shard_answer::Outcome::NotMine(_)) => AnswerOutcome::NotMine,
            None => AnswerOutcome::Failed(ReplyFailure::new(Kind::Failed, "its reply is of an unknown kind")),
        };
        Self { shard: ShardSlot(answer.shard_id), outcome }
    }
}
