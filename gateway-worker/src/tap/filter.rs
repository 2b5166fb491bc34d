//! Which events a tap shows. Pure.

use std::collections::BTreeSet;

use fleet_model::{ShardEvent, ShardSlot};

/// Which events a tap shows; an empty set means all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TapFilter {
    /// Discord's names of events.
    pub(crate) names: BTreeSet<String>,
    pub(crate) guilds: BTreeSet<u64>,
    /// First and last shard of each range.
    pub(crate) shards: Vec<(u32, u32)>,
    /// The share of these events, above 0 and up to 1.
    pub(crate) sample: f64,
}

impl TapFilter {
    /// Whether an event is shown. The same event is shown by each tap of the same share.
    pub(crate) fn wants(&self, shard: ShardSlot, event: &ShardEvent, session: u64) -> bool {
        let is_named = self.names.is_empty() || self.names.contains(&*event.name);
        let of_guild =
            self.guilds.is_empty() || event.guild.is_some_and(|guild| self.guilds.contains(&guild));
        let has_shard = |&(first, last): &(u32, u32)| (first..=last).contains(&shard.0);
        let of_shard = self.shards.is_empty() || self.shards.iter().any(has_shard);
        is_named && of_guild && of_shard && self.is_sampled(shard, session, event.position.sequence)
    }

    fn is_sampled(&self, shard: ShardSlot, session: u64, sequence: u64) -> bool {
        if self.sample >= 1.0 {
            return true;
        }
        let mixed = mix(mix(mix(session) ^ sequence) ^ u64::from(shard.0));
        // The upper 53 bits are a number from 0 to 1 without rounding.
        ((mixed >> 11) as f64 / (1_u64 << 53) as f64) < self.sample
    }
}

/// Spreads a number over all bits ([SplitMix64](https://prng.di.unimi.it/splitmix64.c)).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use fleet_model::{Mark, Position};

    use super::*;

    fn event(name: &str, guild: Option<u64>, sequence: u64) -> ShardEvent {
        ShardEvent {
            name: name.into(),
            position: Position::new(0, sequence),
            guild,
            mark: Mark::Fresh,
            received_at_unix_ms: 0,
            traceparent: None,
            text: "{}".into(),
        }
    }

    #[test]
    fn names_guilds_and_shards_all_must_match() {
        let filter = TapFilter {
            names: ["A".to_owned(), "B".to_owned()].into(),
            guilds: [5].into(),
            shards: vec![(0, 3), (7, 7)],
            sample: 1.0,
        };
        let wants = |shard, name, guild| filter.wants(ShardSlot(shard), &event(name, guild, 1), 1);
        assert!(wants(0, "A", Some(5)) && wants(3, "B", Some(5)) && wants(7, "A", Some(5)));
        assert!(
            !wants(4, "A", Some(5))
                && !wants(0, "C", Some(5))
                && !wants(0, "A", Some(6))
                && !wants(0, "A", None)
        );
        let all = TapFilter { sample: 1.0, ..TapFilter::default() };
        assert!(all.wants(ShardSlot(9), &event("X", None, 1), 1));
    }

    #[test]
    fn sample_has_its_share_of_each_shard_and_is_repeatable() {
        for sample in [0.001, 0.01, 0.1, 0.5] {
            let filter = TapFilter { sample, ..TapFilter::default() };
            for shard in [0, 1, 500] {
                let wanted =
                    |sequence| filter.wants(ShardSlot(shard), &event("A", None, sequence), 1_790_000_000_000);
                let taken: Vec<u64> = (0..100_000).filter(|&sequence| wanted(sequence)).collect();
                let share = taken.len() as f64 / 100_000.0;
                assert!(
                    (share - sample).abs() < 0.005_f64.min(sample / 2.0),
                    "{sample} of shard {shard}: {share}"
                );
                assert!(taken.iter().all(|&sequence| wanted(sequence)));
            }
        }
    }
}
