//! Numbers from a seed: SplitMix64, so that a seed means the same on every machine and with every version.

use std::time::Duration;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(super) fn range(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// From `least` to `most`, to the millisecond.
    pub(super) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        Duration::from_millis(self.range(least.as_millis() as u64, most.as_millis() as u64))
    }

    /// Times between independent accidents are distributed like this.
    pub(super) fn exponential(&mut self, mean: Duration) -> Duration {
        let uniform = self.range(1, 1_000_000) as f64 / 1_000_000.0;
        mean.mul_f64(-uniform.ln())
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.range(0, from.len() as u64 - 1) as usize]
    }
}
