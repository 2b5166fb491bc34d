//! How large the entries of each stream are, on average: pure.

use std::{collections::HashMap, sync::Arc};

use crate::Caps;

/// How much a new entry counts: some 64 of them make the average.
const WEIGHT: f64 = 1.0 / 64.0;

/// Fields and the stream's own bookkeeping, for each entry.
const OVERHEAD: f64 = 100.0;

/// Streams that have an average of their own; Discord has about 80 names.
const STREAMS: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Averages(HashMap<Arc<str>, f64>);

impl Averages {
    pub(super) fn add(&mut self, name: &Arc<str>, bytes: usize) {
        let bytes = bytes as f64 + OVERHEAD;
        if let Some(average) = self.0.get_mut(name) {
            *average += (bytes - *average) * WEIGHT;
        } else if self.0.len() < STREAMS {
            self.0.insert(name.clone(), bytes);
        }
    }

    /// How many entries of a stream fit into its caps.
    pub(super) fn length(&self, name: &str, caps: &Caps) -> u64 {
        let average = self.0.get(name).copied().unwrap_or(OVERHEAD);
        caps.length.min((caps.bytes as f64 / average) as u64).max(1)
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
