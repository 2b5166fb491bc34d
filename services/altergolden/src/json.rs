//! Answers as JSON for programs: field names as in the protos, ids as strings, statuses in lower case.

use altergolden_proto::{convert, v1};
use serde_json::{Value, json};

use crate::value_text::{
    data_text, failure_kind, plan_state, problem_weight, recipient, set_aside_id, start_kind, status,
};

pub(crate) fn stats(stats: &v1::GetAggregateStatsResponse, problems: &[v1::Problem]) -> Value {
    let shards: Vec<Value> = stats
        .shards
        .iter()
        .map(|shard| {
            json!({
                "shard_id": shard.shard_id,
                "worker_id": shard.worker_id,
                "status": status(shard.status),
                "guilds": shard.guilds,
                "users": shard.users,
                "channels": shard.channels,
                "voice_connections": shard.voice_connections,
                "latency_ms": shard.latency_ms,
                "uptime_seconds": shard.uptime_seconds,
                "age_ms": shard.age_ms,
                "outcome": shard.outcome.as_ref().map(outcome),
            })
        })
        .collect();
    json!({
        "total_guilds": stats.total_guilds,
        "total_users": stats.total_users,
        "total_channels": stats.total_channels,
        "total_voice_connections": stats.total_voice_connections,
        "shard_count": stats.shard_count,
        "complete": stats.complete,
        "missing_shards": stats.missing_shards,
        "shards": shards,
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

pub(crate) fn problem(problem: &v1::Problem) -> Value {
    json!({
        "code": problem.code,
        "message": problem.message,
        "weight": problem_weight(problem.weight),
        "since_unix_ms": problem.since_unix_ms,
        "shards": problem.shards.iter().map(|span| json!({ "first": span.first, "last": span.last })).collect::<Vec<_>>(),
    })
}

fn outcome(outcome: &v1::StartOutcome) -> Value {
    let gap = outcome.gap.as_ref().map(|gap| {
        json!({
            "since_unix_ms": gap.since_unix_ms,
            "until_unix_ms": gap.until_unix_ms,
            "last_sequence": gap.last_sequence,
            "reason": gap.reason,
        })
    });
    json!({
        "kind": start_kind(outcome.kind),
        "took_ms": outcome.took_ms,
        "replayed": outcome.replayed,
        "at_unix_ms": outcome.at_unix_ms,
        "gap": gap,
    })
}

pub(crate) fn plan(plan: &v1::Plan) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "shard_id": step.shard_id,
                "from": step.from,
                "to": step.to,
                "identifies": step.identifies,
                "done": step.done,
            })
        })
        .collect();
    json!({
        "id": plan.id.to_string(),
        "description": plan.description,
        "state": plan_state(plan.state),
        "reason": plan.reason,
        "steps": steps,
        "steps_done": plan.steps_done,
        "identifies": plan.identifies,
        "estimated_ms": plan.estimated_ms,
        "elapsed_ms": plan.elapsed_ms,
        "at_once": plan.at_once,
    })
}

pub(crate) fn guild(guild: &v1::FindGuildResponse) -> Value {
    json!({
        "found": guild.found,
        "complete": guild.complete,
        "guild_id": guild.guild_id.to_string(),
        "name": guild.name,
        "member_count": guild.member_count,
        "shard_id": guild.shard_id,
        "worker_id": guild.worker_id,
        "unavailable": guild.unavailable,
        "reason": guild.reason,
    })
}

pub(crate) fn user(user: &v1::FindUserResponse) -> Value {
    json!({
        "found": user.found,
        "complete": user.complete,
        "user_id": user.user_id.to_string(),
        "shard_ids": user.shard_ids,
        "username": user.username,
        "reason": user.reason,
    })
}

pub(crate) fn broadcast(sent: &v1::BroadcastResponse) -> Value {
    json!({
        "message_id": sent.message_id,
        "workers_expected": sent.workers_expected,
        "workers_acknowledged": sent.workers_acknowledged,
        "missing_workers": sent.missing_workers,
    })
}

pub(crate) fn sent_to_shard(sent: &v1::SendToShardResponse) -> Value {
    json!({ "delivered": sent.delivered, "worker_id": sent.worker_id, "reason": sent.reason })
}

pub(crate) fn replies(answer: &v1::RequestResponse) -> String {
    use v1::shard_reply::Outcome;
    let reply = |reply: &v1::ShardReply| {
        let (name, said) = match &reply.outcome {
            Some(Outcome::Value(value)) => {
                ("value", data_text(&reply.value_json, || convert::to_json(value.clone())))
            }
            Some(Outcome::Failure(failure)) => (
                "failure",
                json!({ "kind": failure_kind(failure.kind), "reason": failure.reason }).to_string(),
            ),
            None => ("failure", json!({ "kind": failure_kind(0), "reason": "" }).to_string()),
        };
        let worker = json!(reply.worker_id);
        object(&[("shard_id", reply.shard_id.to_string()), (name, said), ("worker_id", worker.to_string())])
    };
    let replies: Vec<String> = answer.replies.iter().map(reply).collect();
    object(&[("complete", answer.complete.to_string()), ("replies", format!("[{}]", replies.join(",")))])
}

/// An object built from values that are JSON text; a [`Value`] would lose digits.
fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

pub(crate) fn subscribed(item: v1::SubscribeResponse) -> String {
    use v1::subscribe_response::Item;
    match item.item {
        Some(Item::Message(message)) => object(&[
            (
                "data",
                data_text(&message.data_json, || message.data.map(convert::to_json).unwrap_or_default()),
            ),
            ("message_id", json!(message.message_id).to_string()),
            ("recipient", json!(recipient(message.recipient)).to_string()),
            ("sender", json!(message.sender).to_string()),
            ("shard_id", json!(message.shard_id).to_string()),
            ("type", json!(message.r#type).to_string()),
        ]),
        Some(Item::Missed(missed)) => {
            json!({ "missed": { "count": missed.count, "reason": missed.reason } }).to_string()
        }
        None => Value::Null.to_string(),
    }
}

pub(crate) fn shards(shards: &[v1::Shard]) -> Value {
    shards
        .iter()
        .map(|shard| {
            json!({
                "shard_id": shard.shard_id,
                "worker_id": shard.worker_id,
                "epoch": shard.epoch,
                "status": status(shard.status),
                "guilds": shard.guilds,
                "latency_ms": shard.latency_ms,
                "sequence": shard.sequence,
                "uptime_seconds": shard.uptime_seconds,
                "since_unix_ms": shard.since_unix_ms,
                "age_ms": shard.age_ms,
                "outcome": shard.outcome.as_ref().map(outcome),
                "detail": shard.detail,
            })
        })
        .collect()
}

pub(crate) fn workers(workers: &[v1::Worker]) -> Value {
    workers
        .iter()
        .map(|worker| {
            let shards: Vec<u32> = worker.shards.iter().flat_map(|range| range.first..=range.last).collect();
            json!({
                "worker_id": worker.worker_id,
                "incarnation": worker.incarnation,
                "url": worker.url,
                "version": worker.version,
                "generation": worker.generation,
                "shards": shards,
                "capacity": worker.capacity,
                "rss_bytes": worker.rss_bytes,
                "connected": worker.connected,
                "draining": worker.draining,
                "last_heard_ms": worker.last_heard_ms,
            })
        })
        .collect()
}

pub(crate) fn set_asides(events: &[v1::SetAside]) -> Value {
    events.iter().map(set_aside_without_payload).collect()
}

pub(crate) fn set_aside(event: &v1::SetAside) -> Value {
    let mut value = set_aside_without_payload(event);
    // As it was sent: numbers in it can be larger than JSON's readers take.
    value["payload"] = event.payload.clone().into();
    value
}

fn set_aside_without_payload(event: &v1::SetAside) -> Value {
    let id = event.id.unwrap_or_default();
    json!({
        "id": set_aside_id(event.id),
        "shard_id": id.shard_id,
        "session": id.session.to_string(),
        "sequence": id.sequence.to_string(),
        "name": event.name,
        "at_unix_ms": event.at_unix_ms,
        "received_at_unix_ms": event.received_at_unix_ms,
        "deaths": event.deaths,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use altergolden_proto::DESCRIPTORS;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn json_has_each_field_of_an_answer() {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let messages = || files.file.iter().flat_map(|file| &file.message_type);
        let answers = [
            ("GetAggregateStatsResponse", stats(&v1::GetAggregateStatsResponse::default(), &[])),
            ("ShardStats", {
                let shards = vec![v1::ShardStats::default()];
                stats(&v1::GetAggregateStatsResponse { shards, ..Default::default() }, &[])["shards"][0]
                    .take()
            }),
            ("Problem", problem(&v1::Problem::default())),
            ("StartOutcome", outcome(&v1::StartOutcome::default())),
            ("Gap", {
                let gap = Some(v1::Gap::default());
                outcome(&v1::StartOutcome { gap, ..Default::default() })["gap"].take()
            }),
            ("Plan", plan(&v1::Plan::default())),
            ("PlanStep", {
                let steps = vec![v1::PlanStep::default()];
                plan(&v1::Plan { steps, ..Default::default() })["steps"][0].take()
            }),
            ("FindGuildResponse", guild(&v1::FindGuildResponse::default())),
            ("FindUserResponse", user(&v1::FindUserResponse::default())),
            ("BroadcastResponse", broadcast(&v1::BroadcastResponse::default())),
            ("SendToShardResponse", sent_to_shard(&v1::SendToShardResponse::default())),
            ("Shard", shards(&[v1::Shard::default()])[0].take()),
            ("Worker", workers(&[v1::Worker::default()])[0].take()),
            ("SetAside", set_aside(&v1::SetAside::default())),
        ];
        for (name, json) in answers {
            let message = messages().find(|message| message.name() == name).unwrap();
            let fields: BTreeSet<&str> =
                message.field.iter().map(prost_types::FieldDescriptorProto::name).collect();
            let shown: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
            // The commands show the whole list.
            let missing: Vec<_> =
                fields.difference(&shown).filter(|field| **field != "next_page_token").collect();
            assert!(missing.is_empty(), "{name} in JSON has no {missing:?}");
        }
    }
}
