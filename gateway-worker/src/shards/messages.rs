//! Messages and requests to shards of this worker.

use std::sync::Arc;

use fleet_model::ShardSlot;
use futures_util::stream::{self, StreamExt as _};
use shard_bridge::{
    AnswerOutcome, Delivered, ReplyFailure, ReplyFailureKind as Kind, ShardAnswer, ShardMessage, ShardRequest,
};
use tokio::time::Instant;

use super::RunningShards;

/// Calls of others that a worker serves at once: half of what one connection may carry, so that lookups are never behind them.
pub(crate) const CALLS: usize = 128;

/// Shards that one call may have asked, or waiting for their turn, at once.
const EACH_CALL: usize = 128;

impl RunningShards {
    /// Whether this worker may act for a shard: it runs here under a lease that is known to hold.
    pub(crate) fn may_act_for(&self, shard: ShardSlot) -> bool {
        self.get(shard).is_some_and(|shard| shard.callbacks().may_act())
    }

    /// See [`shard_bridge::LocalShards::deliver`].
    pub(super) async fn deliver_message(&self, message: Arc<ShardMessage>, until: Instant) -> Delivered {
        let Ok(_call) = self.calls.try_acquire() else { return Delivered::Busy };
        let Some(shard) = self.get(message.shard) else { return Delivered::NotMine };
        shard.callbacks().deliver(message, until).await
    }

    /// See [`shard_bridge::LocalShards::ask`].
    pub(super) async fn ask_shards(
        &self,
        shards: Vec<ShardSlot>,
        request: Arc<ShardRequest>,
        max_bytes: usize,
    ) -> Vec<ShardAnswer> {
        let Ok(_call) = self.calls.try_acquire() else {
            let busy = |shard| {
                let outcome =
                    failed(Kind::Failed, format!("its worker has {CALLS} such calls under way already"));
                ShardAnswer { shard, outcome }
            };
            return shards.into_iter().map(busy).collect();
        };
        let asking = shards.into_iter().enumerate().map(|(position, slot)| {
            let (shard, request) = (self.get(slot), request.clone());
            async move {
                let outcome = match shard {
                    Some(shard) => shard.callbacks().ask(request).await,
                    None => AnswerOutcome::NotMine,
                };
                (position, ShardAnswer { shard: slot, outcome })
            }
        });
        let mut answers: Vec<_> = stream::iter(asking).buffer_unordered(EACH_CALL).collect().await;
        answers.sort_unstable_by_key(|(position, _)| *position);
        fitting(answers.into_iter().map(|(_, answer)| answer), max_bytes)
    }
}

/// Keeps replies up to `max_bytes` together; the others become failures that say so.
fn fitting(answers: impl Iterator<Item = ShardAnswer>, max_bytes: usize) -> Vec<ShardAnswer> {
    let mut left = max_bytes;
    let fit = |mut answer: ShardAnswer| {
        if let AnswerOutcome::Json(json) = &answer.outcome {
            if let Some(after) = left.checked_sub(json.len()) {
                left = after;
            } else {
                let why = format!(
                    "its reply of {} bytes does not fit into the whole answer, which may have {max_bytes}",
                    json.len()
                );
                answer.outcome = failed(Kind::TooLarge, why);
            }
        }
        answer
    };
    answers.map(fit).collect()
}

fn failed(kind: Kind, reason: String) -> AnswerOutcome {
    AnswerOutcome::Failed(ReplyFailure::new(kind, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_replies_take_the_room() {
        let answer = |shard, json: &str| ShardAnswer {
            shard: ShardSlot(shard),
            outcome: AnswerOutcome::Json(json.to_owned()),
        };
        let answers = [answer(0, "1234"), answer(1, "123456789"), answer(2, "12"), answer(3, "1")];
        let mut fit = fitting(answers.into_iter(), 7).into_iter().map(|answer| answer.outcome);
        assert_eq!(fit.next(), Some(AnswerOutcome::Json("1234".to_owned())));
        let Some(AnswerOutcome::Failed(failure)) = fit.next() else { panic!("it fits") };
        let (kind, why) = (failure.kind, failure.reason);
        assert!(kind == Kind::TooLarge && why.contains("9 bytes"), "{why}");
        assert_eq!(fit.next(), Some(AnswerOutcome::Json("12".to_owned())));
        assert_eq!(fit.next(), Some(AnswerOutcome::Json("1".to_owned())));
    }
}
