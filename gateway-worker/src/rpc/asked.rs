//! Messages and requests to shards of this worker.

use std::{collections::BTreeSet, sync::Arc};

use altergolden_proto::{
    convert::refusal,
    v1::{self, DeliveryOutcome},
};
use fleet_model::{ErrorClass, ShardSlot};
use shard_bridge::{
    Delivered, LARGEST_ANSWER, LocalShards as _, MOST_SHARDS, ShardMessage, ShardRequest, exact_value,
    hop_until,
};
use tonic::{Request, Status};

use crate::shards::RunningShards;

pub(super) async fn deliver(
    shards: &RunningShards,
    request: Request<v1::DeliverMessageRequest>,
) -> Result<v1::DeliverMessageResponse, Status> {
    let until = hop_until(request.metadata());
    let v1::DeliverMessageRequest { shard_id, r#type, json, sender } = request.into_inner();
    let data = exact_value(&json)?;
    let message = ShardMessage { shard: ShardSlot(shard_id), kind: r#type, data, json, sender };
    let outcome = match shards.deliver(Arc::new(message), until).await {
        Delivered::Yes => DeliveryOutcome::Delivered,
        Delivered::NoListener => DeliveryOutcome::NobodyListens,
        Delivered::NotMine => DeliveryOutcome::NotMine,
        Delivered::NoLease => DeliveryOutcome::NoLease,
        Delivered::Busy => DeliveryOutcome::Busy,
        Delivered::TooLate => DeliveryOutcome::TooLate,
    };
    Ok(v1::DeliverMessageResponse { outcome: outcome.into() })
}

pub(super) async fn ask(
    shards: &RunningShards,
    request: Request<v1::AskShardsRequest>,
) -> Result<v1::AskShardsResponse, Status> {
    let deadline = hop_until(request.metadata());
    let v1::AskShardsRequest { shard_ids, r#type, json, sender, max_bytes } = request.into_inner();
    if shard_ids.len() > MOST_SHARDS {
        let count = shard_ids.len();
        return Err(refusal(
            ErrorClass::InvalidInput,
            format!("{count} shards are over the limit of {MOST_SHARDS}"),
        ));
    }
    let data = exact_value(&json)?;
    let asked = ShardRequest { kind: r#type, data, json, sender, deadline };
    let slots: BTreeSet<ShardSlot> = shard_ids.into_iter().map(ShardSlot).collect();
    let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(LARGEST_ANSWER);
    let answers = shards.ask(slots.into_iter().collect(), Arc::new(asked), max_bytes).await;
    Ok(v1::AskShardsResponse { answers: answers.into_iter().map(Into::into).collect() })
}
