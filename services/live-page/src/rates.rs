//! Events a second of each shard. Pure.

use std::time::Duration;

use fleet_model::EventRate;

use crate::ShardData;

/// The rate of each shard, by its place in the list of shards.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    shards: Vec<EventRate>,
    newest: Duration,
}

impl Rates {
    /// Takes the newest reports. A list of another length begins all counts again.
    pub(crate) fn observe(&mut self, shards: &[ShardData]) {
        if self.shards.len() != shards.len() {
            self.shards = vec![EventRate::default(); shards.len()];
        }
        let newest = shards.iter().filter_map(|shard| shard.reported_at).max();
        self.newest = self.newest.max(newest.unwrap_or_default());
        for (rate, shard) in self.shards.iter_mut().zip(shards) {
            if let Some(at) = shard.reported_at {
                rate.add(at, shard.sequence);
            }
            rate.forget(self.newest);
        }
    }

    /// Returns the events a second of the shard at a place; `None` while too few reports are known.
    pub(crate) fn at(&self, place: usize) -> Option<f64> {
        self.shards.get(place)?.per_second()
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::ShardStatus;

    use super::*;

    fn shard(sequence: u64, at_ms: u64) -> ShardData {
        ShardData {
            number: 0,
            worker: None,
            status: ShardStatus::Ready,
            guilds: 0,
            latency_ms: None,
            sequence,
            reported_at: Some(Duration::from_millis(at_ms)),
            since_unix_ms: None,
            detail: String::new(),
        }
    }

    #[test]
    fn each_shard_has_a_rate_and_another_number_of_shards_begins_again() {
        let mut rates = Rates::default();
        rates.observe(&[shard(1, 1_000)]);
        rates.observe(&[shard(9, 2_000), shard(9, 2_000)]);
        assert_eq!((rates.at(0), rates.at(7)), (None, None));
        rates.observe(&[shard(19, 3_000), shard(9, 3_000)]);
        assert_eq!((rates.at(0), rates.at(1)), (Some(10.0), Some(0.0)));
    }

    #[test]
    fn shard_that_is_not_heard_loses_its_rate() {
        let mut rates = Rates::default();
        for second in 1..9 {
            let silent = second.min(3);
            rates.observe(&[shard(second * 10, second * 1_000), shard(silent * 10, silent * 1_000)]);
        }
        assert_eq!((rates.at(0), rates.at(1)), (Some(10.0), None));
    }
}
