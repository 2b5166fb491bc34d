//! Which shards the screen shows: a filter as the operator types it. Pure.

use altergolden_proto::v1;

use crate::value_text;

/// The words of a filter. A shard passes when it matches a number (if there are any) and each of the other words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    text: String,
    ranges: Vec<(u32, u32)>,
    words: Vec<(bool, Word)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// The start of a state's name.
    State(String),
    /// A part of a worker's name.
    Worker(String),
}

/// The fewest letters that name a state; shorter words are parts of workers' names.
const STATE_LETTERS: usize = 3;

impl Filter {
    /// Reads numbers (`7`), ranges (`0-63`), starts of states (`resum`), and parts of workers' names. `!` before a state or a name
    /// means all others, and `worker:` before a word that it is a name.
    pub(super) fn parse(text: &str) -> Self {
        let mut filter = Self { text: text.trim().to_owned(), ..Self::default() };
        for word in filter.text.clone().to_lowercase().split([' ', ',']).filter(|word| !word.is_empty()) {
            if let Some(range) = range(word) {
                filter.ranges.push(range);
                continue;
            }
            let (wanted, word) = word.strip_prefix('!').map_or((true, word), |word| (false, word));
            if word.is_empty() {
                continue;
            }
            let word = match word.strip_prefix("worker:") {
                Some(name) => Word::Worker(name.to_owned()),
                None if is_state(word) => Word::State(word.to_owned()),
                None => Word::Worker(word.to_owned()),
            };
            filter.words.push((wanted, word));
        }
        filter
    }

    /// The filter for the shards of one worker.
    pub(super) fn of_worker(name: &str) -> Self {
        Self::parse(&format!("worker:{name}"))
    }

    /// The filter as it was typed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether every shard passes.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.words.is_empty()
    }

    /// Whether this shard passes.
    pub(super) fn passes(&self, shard: &v1::Shard) -> bool {
        let number = shard.shard_id;
        let in_ranges = self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&number));
        (self.ranges.is_empty() || in_ranges)
            && self.words.iter().all(|(wanted, word)| *wanted == matches(word, shard))
    }
}

fn matches(word: &Word, shard: &v1::Shard) -> bool {
    match word {
        Word::State(state) => value_text::status(shard.status).starts_with(state),
        Word::Worker(name) => shard.worker_id.to_lowercase().contains(name),
    }
}

fn range(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn is_state(word: &str) -> bool {
    let names = (0..=i32::from(v1::ShardStatus::Failed)).map(value_text::status);
    word.len() >= STATE_LETTERS && names.into_iter().any(|name| name.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(filter: &str) -> Vec<u32> {
        use v1::ShardStatus::{Failed, Ready, Reconnecting};
        let shards =
            [(0, "blue-1", Ready), (1, "blue-2", Ready), (2, "ready-made", Failed), (10, "", Reconnecting)];
        let filter = Filter::parse(filter);
        let shards = shards.map(|(shard_id, worker, status)| v1::Shard {
            shard_id,
            worker_id: worker.to_owned(),
            status: status.into(),
            ..v1::Shard::default()
        });
        shards.iter().filter(|shard| filter.passes(shard)).map(|shard| shard.shard_id).collect()
    }

    #[test]
    fn words_name_numbers_states_and_workers() {
        for (filter, expected) in [
            ("", &[0, 1, 2, 10][..]),
            ("2", &[2]),
            ("1-9", &[1, 2]),
            ("0 10", &[0, 10]),
            ("0,1", &[0, 1]),
            ("9-1", &[]),
            ("ready", &[0, 1]),
            ("READY", &[0, 1]),
            ("!ready", &[2, 10]),
            ("rec", &[10]),
            ("fail", &[2]),
            ("blue", &[0, 1]),
            ("Blue-1", &[0]),
            ("!blue", &[2, 10]),
            ("ready blue-2", &[1]),
            ("0-1 blue-2", &[1]),
            ("worker:ready", &[2]),
            ("re", &[2]),
            ("!", &[0, 1, 2, 10]),
            ("nothing", &[]),
        ] {
            assert_eq!(passing(filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn filter_of_a_worker_keeps_its_text() {
        assert_eq!(Filter::of_worker("a").text(), "worker:a");
        assert!(Filter::parse("  ").is_empty() && !Filter::parse("7").is_empty());
    }
}
