//! The day's IDENTIFYs.

use super::Time;

/// How many IDENTIFYs are left, and how many of these are kept back so that a crash loop can't burn the day.
///
/// A bot that runs out has its token reset by Discord
/// ([Session start limit](https://discord.com/developers/docs/events/gateway#session-start-limit-object)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyBudget {
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// How many of these are kept back.
    pub reserve: u32,
    /// When Discord counts anew.
    pub resets_at: Time,
}

impl IdentifyBudget {
    /// Down to the reserve: nothing is granted until Discord counts anew or the reserve is lowered.
    pub fn is_short(&self) -> bool {
        self.remaining <= self.reserve
    }

    /// Takes one. False when only the reserve is left.
    pub(super) fn spend(&mut self) -> bool {
        let possible = !self.is_short();
        if possible {
            self.remaining -= 1;
        }
        possible
    }

    /// Gives one back that was never sent.
    pub(super) fn give_back(&mut self) {
        self.remaining = self.remaining.saturating_add(1).min(self.total);
    }
}
