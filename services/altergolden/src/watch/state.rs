//! The model of the screen: the last status of the fleet, the connection, and what the operator looks at. Pure: news, keys and the time
//! go in, [`view`](super::view) makes a screen of it.

use std::{collections::HashMap, time::Duration};

use altergolden_proto::v1;
use outside_text::printable;

use super::{filter::Filter, layout, problems, rates::Rates};

mod keys;

pub(super) use keys::Key;

/// Data that is older counts as stale. The coordinator sends a status each second.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The longest filter, in characters.
const LONGEST_FILTER: usize = 60;

/// A moment, on two clocks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Now {
    /// Since the screen began.
    pub(super) mono: Duration,
    /// Milliseconds since the Unix epoch.
    pub(super) unix_ms: u64,
}

/// What comes from the coordinator's side.
#[derive(Debug)]
pub(super) enum News {
    /// The fleet.
    Status(Box<v1::FleetStatus>),
    /// The connection was lost, or could not be made.
    Lost {
        /// Why.
        reason: String,
        /// When the next attempt begins, on the screen's clock.
        next: Duration,
    },
    /// An attempt to connect begins.
    Connecting,
}

/// The connection to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Statuses arrive.
    Live,
    /// An attempt to connect is under way.
    Connecting,
    /// The last attempt failed.
    Lost {
        /// Why, safe to print.
        reason: String,
        /// When the next attempt begins.
        next: Duration,
    },
}

/// One page of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// A little of everything.
    Overview,
    /// A line for each shard.
    Shards,
    /// A line for each worker.
    Workers,
    /// All problems in full.
    Problems,
    /// The steps of the plan.
    Plan,
}

impl Page {
    /// In the order of their keys.
    pub(super) const ALL: [Self; 5] =
        [Self::Overview, Self::Shards, Self::Workers, Self::Problems, Self::Plan];

    /// The name in the last line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Shards => "shards",
            Self::Workers => "workers",
            Self::Problems => "problems",
            Self::Plan => "plan",
        }
    }
}

/// Since when a shard is in its state.
#[derive(Clone, Copy, Debug)]
struct Observed {
    status: i32,
    /// `None`: it was in this state when the screen began.
    since: Option<Duration>,
}

/// The model of the screen.
#[derive(Debug)]
pub(super) struct State {
    /// The coordinator's address, safe to print.
    pub(super) url: String,
    /// The connection.
    pub(super) link: Link,
    /// The last status.
    pub(super) fleet: v1::FleetStatus,
    /// When it was received; `None` before the first.
    pub(super) received: Option<Duration>,
    /// Events a second.
    pub(super) rates: Rates,
    /// The page.
    pub(super) page: Page,
    /// Which entry of each page is selected; the first line of pages of text.
    selected: [usize; Page::ALL.len()],
    /// Which shards are shown.
    pub(super) filter: Filter,
    /// A filter that is being typed.
    pub(super) typing: Option<String>,
    /// The shard whose detail is shown.
    pub(super) detail: Option<u32>,
    /// Whether the keys are explained.
    pub(super) help: bool,
    /// Columns and rows of the terminal.
    pub(super) size: (u16, u16),
    /// The operator wants to leave.
    pub(super) quits: bool,
    observed: HashMap<u32, Observed>,
}

impl State {
    /// The screen before the first status.
    pub(super) fn new(url: &str, size: (u16, u16)) -> Self {
        Self {
            url: printable(url).to_string(),
            link: Link::Connecting,
            fleet: v1::FleetStatus::default(),
            received: None,
            rates: Rates::default(),
            page: Page::Overview,
            selected: [0; Page::ALL.len()],
            filter: Filter::default(),
            typing: None,
            detail: None,
            help: false,
            size,
            quits: false,
            observed: HashMap::new(),
        }
    }

    /// Takes the size of the terminal, in columns and rows.
    pub(super) fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
        self.clamp_selection();
    }

    /// Takes news about the fleet.
    pub(super) fn apply(&mut self, news: News, now: Duration) {
        match news {
            News::Status(status) => self.receive(*status, now),
            News::Lost { reason, next } => {
                self.link = Link::Lost { reason: printable(&reason).to_string(), next };
            }
            News::Connecting => self.link = Link::Connecting,
        }
    }

    fn receive(&mut self, mut status: v1::FleetStatus, now: Duration) {
        status.shards.sort_by_key(|shard| shard.shard_id);
        status.workers.sort_by(|a, b| name_order(&a.worker_id).cmp(&name_order(&b.worker_id)));
        self.rates.observe(&status.shards, now);
        let mut before = std::mem::take(&mut self.observed);
        for shard in &status.shards {
            let since = match before.remove(&shard.shard_id) {
                Some(known) if known.status == shard.status => known.since,
                Some(_) => Some(now),
                None => self.received.map(|_| now),
            };
            self.observed.insert(shard.shard_id, Observed { status: shard.status, since });
        }
        self.fleet = status;
        self.received = Some(now);
        self.link = Link::Live;
        self.clamp_selection();
    }

    /// How old the status is; `None` before the first.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.received?))
    }

    /// Whether the shown figures may no longer be true.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        self.link != Link::Live || self.age(now).is_none_or(|age| age > STALE_AFTER)
    }

    /// The shards that pass the filter, by number.
    pub(super) fn shards(&self) -> Vec<&v1::Shard> {
        self.fleet.shards.iter().filter(|shard| self.filter.passes(shard)).collect()
    }

    /// How long the shard has been in its state, as far as this screen has seen; `None` when it was before the screen began.
    pub(super) fn in_state_for(&self, shard: u32, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.observed.get(&shard)?.since?))
    }

    /// The selected entry of the page.
    pub(super) fn selected(&self) -> usize {
        self.selected[self.page as usize]
    }

    fn select(&mut self, entry: usize) {
        self.selected[self.page as usize] = entry;
        self.clamp_selection();
    }

    /// Keeps the selection inside its list.
    fn clamp_selection(&mut self) {
        let last = self.entries().saturating_sub(1);
        let selected = &mut self.selected[self.page as usize];
        *selected = (*selected).min(last);
    }

    /// How many entries the page has.
    fn entries(&self) -> usize {
        match self.page {
            Page::Overview | Page::Shards => self.shards().len(),
            Page::Workers => self.fleet.workers.len(),
            Page::Problems => self.problem_pages(),
            Page::Plan => self.fleet.plan.as_ref().map_or(0, |plan| plan.steps.len()),
        }
    }

    /// How many lines the page of problems can be scrolled by, and one.
    fn problem_pages(&self) -> usize {
        let width = layout::text_width(self.size);
        let lines = problems::count_lines(&self.fleet.problem_details, u64::MAX, width);
        lines.saturating_sub(layout::text_rows(self.size)) + 1
    }

    /// How the overview is divided.
    pub(super) fn overview(&self) -> layout::Overview {
        let (workers, problems) = (self.fleet.workers.len(), self.fleet.problem_details.len());
        layout::overview(self.size, &self.shards(), workers, problems)
    }
}

/// Sorts `worker-2` before `worker-10`: by the name without the number at its end, then by that number.
fn name_order(name: &str) -> (&str, usize, &str) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].trim_start_matches('0');
    (stem, number.len(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_their_numbers() {
        let mut names = ["b", "a-10", "a-2", "a-007", "a", "99999999999999999999999", "a-10b"];
        names.sort_by_key(|name| name_order(name));
        assert_eq!(names, ["99999999999999999999999", "a", "a-2", "a-007", "a-10", "a-10b", "b"]);
    }
}
