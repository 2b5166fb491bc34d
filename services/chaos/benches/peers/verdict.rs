//! What a system was asked, what it said, and whether that was right: pure.

use std::collections::BTreeMap;

/// A question about the whole bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The number of guilds.
    Total,
    /// One guild by its id.
    Guild(u64),
}

/// What is asked of a guild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) members: u64,
}

/// An answer. `is_complete` is false if the system itself says that something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Total {
        guilds: u64,
        is_complete: bool,
    },
    Guild {
        found: Option<Known>,
        is_complete: bool,
    },
    /// An error, or no answer within 2 s.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    /// Differs from the truth, and the system did not say that anything is missing.
    Wrong,
    /// The system said that something is missing.
    Incomplete,
    Unanswered,
}

/// All guilds of the simulated Discord.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth(pub(crate) BTreeMap<u64, Known>);

impl Truth {
    pub(crate) fn judge(&self, question: Question, said: &Said) -> Verdict {
        let is_right = match (question, said) {
            (_, Said::Nothing) => return Verdict::Unanswered,
            (_, Said::Total { is_complete: false, .. } | Said::Guild { is_complete: false, .. }) => {
                return Verdict::Incomplete;
            }
            (Question::Total, Said::Total { guilds, .. }) => *guilds == self.0.len() as u64,
            (Question::Guild(id), Said::Guild { found, .. }) => found.as_ref() == self.0.get(&id),
            _ => false,
        };
        if is_right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// Counts of verdicts, and the time of each call in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) wrong: u64,
    pub(crate) incomplete: u64,
    pub(crate) unanswered: u64,
    pub(crate) times_ms: Vec<f64>,
}

impl Tally {
    pub(crate) fn add(&mut self, verdict: Verdict, took_ms: f64) {
        self.times_ms.push(took_ms);
        match verdict {
            Verdict::Right => {}
            Verdict::Wrong => self.wrong += 1,
            Verdict::Incomplete => self.incomplete += 1,
            Verdict::Unanswered => self.unanswered += 1,
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.times_ms.len() as u64
    }
}

/// Returns the least value that at least this share of the values does not exceed; none of no values.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}
