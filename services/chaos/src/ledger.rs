//! The comparer: what Discord's stand-in dispatched, against what handlers did with it.
//!
//! Owns the [`Verdict`]. Pure: two ledgers in, a verdict out. Discord's side is a list of [`Session`]s, each with how many
//! sequences were dispatched to it; the handlers' side is a [`Book`] for each process. The two meet where a READY that was
//! handled names its session. What may excuse a loss is a gap that was told, and nothing else.

mod discord;
mod losses;
mod order;
mod owners;
mod placed;
mod verdict;

pub use discord::{Session, sessions};
pub use verdict::{Backwards, GapTold, GapWas, Handled, Loss, Repeat, TwoOwners, Unplaced, Verdict};

use crate::line::Book;
use placed::Placed;

/// How strict to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How long after a shard's higher epoch began a lower one may still start events. Zero, unless a worker that lives was
    /// reported dead: then one renewal of a lease.
    pub loser_window_us: u64,
}

/// Compares what was dispatched with what was handled. `now_us` is when it was looked at, since the Unix epoch.
pub fn compare(sessions: &[Session], books: &[Book], rules: Rules, now_us: u64) -> Verdict {
    let placed = Placed::new(sessions, books);
    let mut verdict = Verdict {
        dispatched: sessions.iter().map(|session| session.last - session.silent.len() as u64).sum(),
        handled: placed::handled(books),
        repeated: placed.repeats(),
        unplaced: placed.unplaced.clone(),
        backwards: order::backwards(books),
        two_owners: owners::two_owners(books, rules),
        ..Verdict::default()
    };
    losses::judge(sessions, books, &placed, now_us, &mut verdict);
    verdict
}

#[cfg(test)]
mod tests;
