//! Deterministic random numbers: a stream of draws from a seed and a path of numbers.
//!
//! The same seed and path give the same draws on every machine and in every version, so a guild can be generated again from its index
//! instead of being stored. Not suitable for secrets.
//!
//! The first number of a path is the domain: the world uses 1 to 17 and 40 to 54, the hub 99. A new property needs a new domain, so
//! that existing ones do not change.

/// Increment of SplitMix64 (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes a word: the finaliser of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A stream of deterministic draws.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// Creates the stream of a seed and path; different paths give unrelated streams.
    pub(crate) fn new(seed: u64, path: &[u64]) -> Self {
        Self(path.iter().fold(mix(seed ^ STEP), |state, step| {
            mix(state.wrapping_add(STEP) ^ mix(step.wrapping_add(0xd1b5_4a32_d192_ed03)))
        }))
    }

    /// Draws 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Skips words; every draw except [`hex`](Self::hex) takes one.
    pub(super) const fn skip(&mut self, words: u64) {
        self.0 = self.0.wrapping_add(STEP.wrapping_mul(words));
    }

    /// Draws a number in `low..=high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high, "an empty range has no draw");
        let span = high - low + 1;
        low + ((u128::from(self.word()) * u128::from(span)) >> 64) as u64
    }

    /// Returns true with this probability in percent.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.range(0, 99) < percent
    }

    /// Draws a number in `low..=high` whose logarithm is uniform: small ones are common, large ones rare.
    pub(crate) fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let unit = self.word() as f64 / u64::MAX as f64;
        let ratio = high as f64 / low as f64;
        ((low as f64 * ratio.powf(unit)) as u64).clamp(low, high)
    }

    /// Draws one of the items.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.range(0, items.len() as u64 - 1) as usize]
    }

    /// Draws 32 hexadecimal digits, the format of Discord's image hashes and session ids.
    pub(crate) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.word(), self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_path_gives_same_draws() {
        let (mut one, mut two) = (Draw::new(7, &[1, 2]), Draw::new(7, &[1, 2]));
        assert!((0..100).all(|_| one.word() == two.word()));
        assert_ne!(Draw::new(7, &[1, 2]).word(), Draw::new(7, &[2, 1]).word());
        assert_ne!(Draw::new(7, &[1]).word(), Draw::new(8, &[1]).word());
    }

    #[test]
    fn draws_stay_in_range() {
        let mut draw = Draw::new(1, &[]);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&draw.range(3, 9)));
            assert!((5..=20_000).contains(&draw.skewed(5, 20_000)));
        }
        assert_eq!(draw.range(4, 4), 4);
        let mut ahead = draw.clone();
        ahead.skip(2);
        let (_, _) = (draw.chance(5), draw.pick(&[1, 2, 3]));
        assert_eq!(draw.word(), ahead.word(), "a draw takes one word");
    }
}
