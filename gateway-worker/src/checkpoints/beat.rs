//! When checkpoints are written.

use std::time::Duration;

use fleet_model::ShardKey;
use tokio::time::Instant;

/// Groups of shards. If all shards encoded at once, the worker's events would be delayed.
const GROUPS: u32 = 4;

/// The moments at which a worker's shards write. A group of shards writes together, so that its heads share packets and system calls, which are a
/// large part of what a head costs Redis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    began: Instant,
    every: Duration,
}

impl Beat {
    /// Moments that are `every` apart, from now on.
    pub(crate) fn new(every: Duration) -> Self {
        Self { began: Instant::now(), every: every.max(Duration::from_millis(1)) }
    }

    /// Returns the first moment of the shard's group after `earliest`.
    pub(crate) fn next(&self, shard: ShardKey, earliest: Instant) -> Instant {
        let first = self.began + self.every * (shard.number() % GROUPS) / GROUPS;
        let Some(since_first) = earliest.checked_duration_since(first) else { return first };
        let since_last = since_first.as_nanos() % self.every.as_nanos();
        earliest + self.every - Duration::from_nanos(u64::try_from(since_last).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn next_moment_is_within_one_interval_and_the_same_for_a_group(
            every_ms in 1..10_000_u64, shard in 0..1_000_u32, after_ms in 0..100_000_000_000_u64, later_ms in 0..10_000_u64,
        ) {
            let every = Duration::from_millis(every_ms);
            let beat = Beat::new(every);
            let earliest = beat.began + Duration::from_millis(after_ms);
            let next = beat.next(ShardKey::new(shard, 1_004), earliest);
            prop_assert!(next > earliest && next - earliest <= every);
            prop_assert_eq!(beat.next(ShardKey::new(shard + GROUPS, 1_004), earliest), next);
            let later = beat.next(ShardKey::new(shard, 1_004), earliest + Duration::from_millis(later_ms));
            prop_assert_eq!((later - next).as_nanos() % every.as_nanos(), 0);
        }
    }
}
