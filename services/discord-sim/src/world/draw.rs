//! Deterministic numbers: a stream of draws named by a seed and a path of numbers.
//!
//! The same seed and path give the same draws on every machine and in every version, so a guild can be made
//! again from its number instead of being stored. Not for anything secret.
//!
//! The first number of a path is the domain of what is drawn: 1 to 17 and 40 to 54 are the world's, 99 is the hub's. A
//! new fact gets a new domain, so that everything that was there before stays as it was.

/// What a stream of SplitMix64 (Steele, Lea, Flood 2014) counts up by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser, which mixes a word.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A stream of deterministic draws.
#[derive(Clone, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The stream with this seed and path; different paths give unrelated streams.
    pub(crate) fn new(seed: u64, path: &[u64]) -> Self {
        Self(path.iter().fold(mix(seed ^ STEP), |state, step| {
            mix(state.wrapping_add(STEP) ^ mix(step.wrapping_add(0xd1b5_4a32_d192_ed03)))
        }))
    }

    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Passes over so many words; every draw but [`hex`](Self::hex) takes one.
    pub(super) const fn skip(&mut self, words: u64) {
        self.0 = self.0.wrapping_add(STEP.wrapping_mul(words));
    }

    /// A number in `low..=high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high, "an empty range has no draw");
        let span = high - low + 1;
        low + ((u128::from(self.word()) * u128::from(span)) >> 64) as u64
    }

    /// True in `percent` of 100 draws.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.range(0, 99) < percent
    }

    /// A number in `low..=high` whose logarithm is uniform: small ones are common, large ones rare.
    pub(crate) fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let unit = self.word() as f64 / u64::MAX as f64;
        let ratio = high as f64 / low as f64;
        ((low as f64 * ratio.powf(unit)) as u64).clamp(low, high)
    }

    /// One of the items.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.range(0, items.len() as u64 - 1) as usize]
    }

    /// 32 hexadecimal digits, the shape of Discord's image hashes and session ids.
    pub(crate) fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.word(), self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_gives_the_same_draws() {
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
