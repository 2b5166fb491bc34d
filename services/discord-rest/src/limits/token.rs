//! Whether Discord takes a caller's token.
//!
//! One 401 of a token that never was good is enough. One that was good lately may have met a path that takes no such token: three in
//! a row are needed.

/// How long a refused token is not sent.
pub(crate) const REFUSED_MS: u64 = 60_000;
/// How long a good answer counts.
pub(crate) const GOOD_MS: u64 = 600_000;
/// Number of refusals in a row.
pub(crate) const IN_A_ROW: u32 = 3;

/// What Discord said of a token.
#[derive(Debug, Default)]
pub(super) struct Token {
    /// When it was last good.
    good: Option<u64>,
    refusals: u32,
    refused_until: u64,
}

impl Token {
    pub(super) fn note(&mut self, is_good: bool, now: u64) {
        if is_good {
            *self = Self { good: Some(now), ..Self::default() };
            return;
        }
        self.refusals = self.refusals.saturating_add(1);
        let was_good = self.good.is_some_and(|good| good + GOOD_MS > now);
        if !was_good || self.refusals >= IN_A_ROW {
            self.refused_until = now + REFUSED_MS;
        }
    }

    pub(super) fn refused_for(&self, now: u64) -> Option<u64> {
        self.refused_until.checked_sub(now).filter(|left| *left > 0)
    }
}
