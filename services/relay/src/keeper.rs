//! Cuts what is too old, and measures how far bots are behind: one worker of the fleet does it for all.

use std::{collections::HashSet, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{RedisRelay, RelayError, RelayMetrics, metrics::Group, redis::groups::GroupState};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Groups that are measured, and groups that have a counter of their own.
const GROUPS: usize = 1_024;

/// Stream and group under which further ones are counted: counters stay, and bots choose the names of groups.
const OTHER: &str = "OTHER";

/// Keeps the streams until `stop`, whenever `acts` says that it is this process's turn. What others measured is not shown.
pub async fn run(relay: RedisRelay, metrics: RelayMetrics, acts: impl Fn() -> bool, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper { relay, metrics, counted: HashSet::new() };
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
    /// Groups with a counter.
    counted: HashSet<Group>,
}

/// Returns under which name a group is counted.
fn counted_as(group: &Group, counted: &mut HashSet<Group>) -> Group {
    if counted.contains(group) || (counted.len() < GROUPS && counted.insert(group.clone())) {
        group.clone()
    } else {
        Group { stream: OTHER.to_owned(), group: OTHER.to_owned() }
    }
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
    async fn keep(&mut self, acts: &impl Fn() -> bool) -> Result<(), RelayError> {
        self.relay.end_claims().await?;
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
            let counted = counted_as(&group, &mut self.counted);
            self.metrics.cut_unread.get_or_create(&counted).inc_by(state.cut);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_do_not_grow_the_metrics_without_bound() {
        let mut counted = HashSet::new();
        let group = |n: usize| Group { stream: "MESSAGE_CREATE".to_owned(), group: format!("bot-{n}") };
        for n in 0..GROUPS {
            assert_eq!(counted_as(&group(n), &mut counted), group(n));
        }
        assert_eq!(counted_as(&group(GROUPS), &mut counted).group, OTHER);
        assert_eq!(counted_as(&group(0), &mut counted), group(0), "the first ones are still known");
        assert_eq!(counted.len(), GROUPS);
    }
}
