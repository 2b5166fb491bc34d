//! The day's budget of IDENTIFYs.

use super::Time;

/// How many IDENTIFYs are left, and how many of these are reserved so that a crash loop can't use up the day's budget.
///
/// A bot that runs out has its token reset by Discord
/// ([Session start limit](https://discord.com/developers/docs/events/gateway#session-start-limit-object)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyBudget {
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// How many of these are reserved.
    pub reserve: u32,
    /// When Discord resets the count.
    pub resets_at: Time,
}

impl IdentifyBudget {
    /// Returns whether only the reserve is left: nothing is granted until Discord resets the count or the reserve is lowered.
    pub fn is_short(&self) -> bool {
        self.remaining <= self.reserve
    }

    /// Takes one IDENTIFY. False when only the reserve is left.
    pub(super) fn spend(&mut self) -> bool {
        let possible = !self.is_short();
        if possible {
            self.remaining -= 1;
        }
        possible
    }

    /// Returns an IDENTIFY to the budget that was never sent.
    pub(super) fn give_back(&mut self) {
        self.remaining = self.remaining.saturating_add(1).min(self.total);
    }
}
