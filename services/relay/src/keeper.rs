//! Cuts what is too old, and measures how far bots are behind: one worker of the fleet does it for all.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{RedisRelay, RelayError, RelayMetrics, metrics::Group, redis::groups::GroupState};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Groups that are measured.
const GROUPS: usize = 1_024;

/// Keeps the streams until `stop`, whenever `acts` says that it is this process's turn. What others measured is not shown.
pub async fn run(relay: RedisRelay, metrics: RelayMetrics, acts: impl Fn() -> bool, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let keeper = Keeper { relay, metrics };
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        if !acts() {
            keeper.rest();
        } else if let Some(Err(error)) = stop.run_until_cancelled(keeper.keep(&acts)).await {
            tracing::debug!(%error, "the relay's streams cannot be looked at");
        }
    }
}

struct Keeper {
    relay: RedisRelay,
    metrics: RelayMetrics,
}

impl Keeper {
    fn rest(&self) {
        self.metrics.lag.clear();
        self.metrics.unacknowledged.clear();
    }

    async fn look_at(&self, name: &str) -> Result<Vec<GroupState>, RelayError> {
        self.metrics.count_cut(self.relay.cut_old(name).await?);
        self.relay.groups(name).await
    }

    /// Checks all streams while it is this process's turn.
    async fn keep(&self, acts: &impl Fn() -> bool) -> Result<(), RelayError> {
        let mut groups = Vec::new();
        for name in self.relay.names().await? {
            if !acts() {
                self.rest();
                return Ok(());
            }
            match self.look_at(&name).await {
                Ok(of_stream) => groups.extend(of_stream),
                Err(error @ RelayError::Away(_)) => return Err(error),
                // The others are looked at all the same.
                Err(error) => {
                    tracing::warn!(stream = name, %error, "a stream of the relay cannot be looked at");
                }
            }
        }
        groups.truncate(GROUPS);
        // Groups that are gone are not shown any more.
        self.metrics.lag.clear();
        self.metrics.unacknowledged.clear();
        for state in groups {
            let group = Group { stream: state.stream, group: state.group };
            self.metrics.unacknowledged.get_or_create(&group).set(state.unacknowledged as i64);
            if let Some(lag) = state.lag {
                self.metrics.lag.get_or_create(&group).set(lag as i64);
            }
            self.metrics.cut_unread.get_or_create(&group).inc_by(state.cut);
            if state.cut > 0 {
                tracing::warn!(
                    stream = group.stream,
                    group = group.group,
                    entries = state.cut,
                    "a stream was at its cap: entries were cut off before the group had read them"
                );
            }
        }
        Ok(())
    }
}
