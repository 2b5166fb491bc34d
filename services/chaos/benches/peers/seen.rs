//! Which simulated messages bot code handled, and how often: pure, but for reading the files that the bots write.

use std::{collections::BTreeMap, fs, ops::RangeInclusive, path::Path};

use chaos::line::{Book, Line};

/// How often bot code handled each message, by the message's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    times: BTreeMap<u64, Times>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    all: u64,
    /// Of these, marked for bot code as possibly handled before.
    marked: u64,
}

/// What became of the messages of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) twice: u64,
    /// Handled again without a mark.
    pub(crate) twice_unmarked: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, number: u64, is_marked: bool) {
        let times = self.times.entry(number).or_default();
        times.all += 1;
        times.marked += u64::from(is_marked);
    }

    /// Returns how many messages were handled at least once.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// Accounts for the messages with these numbers.
    pub(crate) fn account(&self, sent: RangeInclusive<u64>) -> Account {
        let count = (sent.end() + 1).saturating_sub(*sent.start());
        let handled: Vec<&Times> = self.times.range(sent).map(|(_, times)| times).collect();
        let again = |times: &&&Times| times.all > 1;
        Account {
            sent: count,
            lost: count - handled.len() as u64,
            twice: handled.iter().filter(again).count() as u64,
            twice_unmarked: handled.iter().filter(|times| times.all > times.marked + 1).count() as u64,
        }
    }

    /// Reads the files of all bots in a folder: numbers by line from the peers (`.seen`), ledgers from ours (`.ledger`).
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let mut seen = Self::default();
        let files =
            fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        for path in files.flatten().map(|file| file.path()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("seen") => {
                    let text = fs::read_to_string(&path)
                        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                    text.lines()
                        .filter_map(|line| line.parse().ok())
                        .for_each(|number| seen.add(number, false));
                }
                Some("ledger") => {
                    let book = Book::read(&path).map_err(|error| error.to_string())?;
                    for line in &book.lines {
                        if let Line::Start(start) = line
                            && let Some(number) = start.message
                        {
                            seen.add(number, start.replayed);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(seen)
    }
}
