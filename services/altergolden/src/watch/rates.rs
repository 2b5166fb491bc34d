//! Events a second of each shard, from statuses as they are received. Pure.

use std::{collections::HashMap, time::Duration};

use altergolden_proto::v1;
use fleet_model::EventRate;

/// The rate of each shard.
#[derive(Debug, Default)]
pub(super) struct Rates {
    shards: HashMap<u32, EventRate>,
}

impl Rates {
    /// Takes the shards of a status that was received at `now`.
    pub(super) fn observe(&mut self, shards: &[v1::Shard], now: Duration) {
        let mut known = std::mem::take(&mut self.shards);
        for shard in shards {
            let mut rate = known.remove(&shard.shard_id).unwrap_or_default();
            if let Some(age) = shard.age_ms {
                rate.add(now.saturating_sub(Duration::from_millis(age)), shard.sequence);
            }
            rate.forget(now);
            self.shards.insert(shard.shard_id, rate);
        }
    }

    /// Events a second of one shard; `None` while too few reports are known.
    pub(super) fn of_shard(&self, shard: u32) -> Option<f64> {
        self.shards.get(&shard)?.per_second()
    }

    /// Events a second of several shards; `None` when none of them has a rate.
    pub(super) fn sum(&self, shards: impl Iterator<Item = u32>) -> Option<f64> {
        shards.filter_map(|shard| self.of_shard(shard)).reduce(|all, one| all + one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(shard_id: u32, sequence: u64, age_ms: u64) -> v1::Shard {
        v1::Shard { shard_id, sequence, age_ms: Some(age_ms), ..v1::Shard::default() }
    }

    fn rates(reports: &[(u64, u64, u64)]) -> Rates {
        let mut rates = Rates::default();
        for &(now_ms, sequence, age_ms) in reports {
            rates.observe(&[shard(3, sequence, age_ms)], Duration::from_millis(now_ms));
        }
        rates
    }

    #[test]
    fn reports_count_from_when_they_were_made() {
        // The ages differ: the reports were made at 900 ms and at 2,900 ms.
        assert_eq!(rates(&[(1_000, 10, 100), (3_000, 110, 100)]).of_shard(3), Some(50.0));
        assert_eq!(rates(&[(1_000, 10, 0), (2_000, 20, 0), (9_000, 20, 7_000)]).of_shard(3), None);
        assert_eq!(rates(&[(u64::MAX, u64::MAX, u64::MAX), (u64::MAX, 1, 0)]).of_shard(3), None);
        // One report, received three times.
        assert_eq!(rates(&[(1_000, 10, 0), (1_400, 10, 400), (1_900, 10, 899)]).of_shard(3), None);
    }

    #[test]
    fn rates_of_several_shards_are_added_and_gone_shards_are_forgotten() {
        let mut several = rates(&[(1_000, 10, 0), (2_000, 30, 0)]);
        assert_eq!(several.sum([3, 9].into_iter()), Some(20.0));
        assert_eq!(several.sum([9].into_iter()), None);
        several.observe(&[], Duration::from_secs(3));
        assert!(several.shards.is_empty());
    }
}
