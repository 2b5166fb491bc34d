//! How large the entries of each stream are, on average: pure.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Caps,
    names::{MOST_NAMES, is_known},
};

/// Number of entries in the average: one large entry must not make a stream short that others fill too.
const ENTRIES: u32 = 64;

/// Fields and the stream's own bookkeeping, for each entry.
const OVERHEAD: f64 = 100.0;

#[derive(Debug, Default)]
pub(super) struct Averages(HashMap<Arc<str>, Average>);

#[derive(Debug, Default)]
struct Average {
    bytes: f64,
    /// How many are in it, up to [`ENTRIES`].
    entries: u32,
}

impl Averages {
    pub(super) fn add(&mut self, name: &Arc<str>, bytes: usize) {
        if self.0.len() >= MOST_NAMES && !self.0.contains_key(name) && !is_known(name) {
            return;
        }
        let average = self.0.entry(name.clone()).or_default();
        average.entries = ENTRIES.min(average.entries + 1);
        average.bytes += (bytes as f64 + OVERHEAD - average.bytes) / f64::from(average.entries);
    }

    /// How many entries of a stream fit into its caps. Before enough have come, only their number counts.
    pub(super) fn length(&self, name: &str, caps: &Caps) -> u64 {
        match self.0.get(name).filter(|average| average.entries == ENTRIES) {
            Some(average) => caps.length.min((caps.bytes as f64 / average.bytes) as u64).max(1),
            None => caps.length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_entries_make_a_stream_shorter() {
        let caps = Caps { length: 1_000, bytes: 100_000, ..Caps::default() };
        let (small, large): (Arc<str>, Arc<str>) = ("SMALL".into(), "LARGE".into());
        let mut averages = Averages::default();
        averages.add(&small, 5_000_000);
        assert_eq!(averages.length("SMALL", &caps), 1_000, "one alone says nothing");
        let mut averages = Averages::default();
        for _ in 0..200 {
            averages.add(&small, 0);
            averages.add(&large, 900);
        }
        assert_eq!(averages.length("SMALL", &caps), 1_000);
        assert_eq!(averages.length("LARGE", &caps), 100);
        // One large entry among small ones does not empty the stream.
        averages.add(&small, 6_000);
        assert!(averages.length("SMALL", &caps) > 400);
    }
}
