//! Delays assignments to workers that die repeatedly, and of shards whose owners do; in the end it stops them.
//!
//! A death may be caused by the worker (a machine that is short of memory, a broken build) or by a shard that kills its
//! owners. Both are counted. The first death within [`REMEMBERED`] has no effect; each further one delays the next
//! assignment, twice as long as the one before; at [`STOPPED_AT`] deaths the worker or shard is stopped until it has had no
//! death for [`REMEMBERED`]. A restart of the coordinator forgets all deaths, so an operator can start over.
//!
//! A shard is blamed only for owners that died soon after they got it: an owner that ran it for long took many other shards
//! down as well.
//!
//! If a shard's owners died soon one after the other, an event may be the cause: the next owner must be careful.

use std::{collections::BTreeMap, fmt, time::Duration};

use fleet_model::{ShardKey, WorkerId};

/// How long a death counts.
pub(super) const REMEMBERED: Duration = Duration::from_mins(10);

/// This many deaths within [`REMEMBERED`] stop a worker or shard.
pub(super) const STOPPED_AT: usize = 8;

/// The wait after the second death; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// An owner that died within this time of getting a shard counts as a further death of the shard.
const SOON: Duration = Duration::from_mins(1);

/// Owners of a shard that died within this time of each other make the next one careful.
const CLOSE: Duration = Duration::from_mins(1);

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct DeathBreaker {
    pub(super) workers: BTreeMap<WorkerId, Deaths>,
    pub(super) shards: BTreeMap<ShardKey, Deaths>,
}

/// When something died, at most [`STOPPED_AT`] times, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Deaths {
    pub(super) at: Vec<Duration>,
    pub(super) stopped: bool,
}

/// A worker that gets no shards for now, or a shard that gets no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldBack {
    /// The remaining time.
    pub left: Duration,
    /// How many deaths are remembered.
    pub deaths: usize,
    /// It died too often: it is held back until it has had no death for [`REMEMBERED`].
    pub stopped: bool,
}

/// For people: follows "shard 3 is" or "worker a is".
impl fmt::Display for HoldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.stopped { "stopped" } else { "held back" };
        // Rounded up, so that a wait that is not over never shows 0 s.
        let left = self.left.as_millis().div_ceil(1000);
        write!(f, "{word} for {left} s")
    }
}

impl Deaths {
    fn add(&mut self, now: Duration) {
        if self.at.len() == STOPPED_AT {
            self.at.remove(0);
        }
        self.at.push(now);
        self.stopped |= self.at.len() == STOPPED_AT;
    }

    /// A stopped worker or shard keeps its deaths until the last of them is old.
    fn forget_old(&mut self, now: Duration) {
        let old = |at: Duration| now.saturating_sub(at) >= REMEMBERED;
        if !self.stopped {
            self.at.retain(|at| !old(*at));
        } else if self.at.last().is_none_or(|last| old(*last)) {
            *self = Self::default();
        }
    }

    fn held(&self, now: Duration) -> Option<HoldBack> {
        let last = *self.at.last()?;
        let wait = match self.at.len() {
            _ if self.stopped => REMEMBERED,
            deaths @ 2.. => (FIRST_WAIT * 2u32.pow(deaths as u32 - 2)).min(LONGEST_WAIT),
            _ => Duration::ZERO,
        };
        let left = (last + wait).saturating_sub(now);
        (!left.is_zero()).then_some(HoldBack { left, deaths: self.at.len(), stopped: self.stopped })
    }
}

impl DeathBreaker {
    pub(super) fn worker_died(&mut self, worker: &WorkerId, now: Duration) {
        self.workers.entry(worker.clone()).or_default().add(now);
    }

    /// Notes that a shard's owner died, which had the shard for `had_for`.
    pub(super) fn owner_died(&mut self, shard: ShardKey, had_for: Duration, now: Duration) {
        let deaths = self.shards.entry(shard).or_default();
        if deaths.at.is_empty() || had_for < SOON {
            deaths.add(now);
        }
    }

    pub(super) fn forget_old(&mut self, now: Duration) {
        self.workers.values_mut().for_each(|deaths| deaths.forget_old(now));
        self.workers.retain(|_, deaths| !deaths.at.is_empty());
        self.shards.values_mut().for_each(|deaths| deaths.forget_old(now));
        self.shards.retain(|_, deaths| !deaths.at.is_empty());
    }

    /// Returns whether no worker has died recently.
    pub(super) fn is_calm(&self) -> bool {
        self.workers.is_empty()
    }

    /// Returns whether a worker of this name died recently.
    pub(super) fn remembers(&self, worker: &WorkerId) -> bool {
        self.workers.contains_key(worker)
    }

    /// Returns how long a worker is held back, if it is.
    pub(super) fn worker(&self, worker: &WorkerId, now: Duration) -> Option<HoldBack> {
        self.workers.get(worker)?.held(now)
    }

    /// Returns whether a shard's next owner must be careful: any two remembered deaths of its owners were close to each other.
    /// Not only the last two, as the waits above grow longer than [`CLOSE`].
    pub(super) fn needs_care(&self, shard: ShardKey) -> bool {
        let close = |pair: &[Duration]| pair[1].saturating_sub(pair[0]) <= CLOSE;
        self.shards.get(&shard).is_some_and(|deaths| deaths.at.windows(2).any(close))
    }

    /// Returns whether the owner of a shard has just died, so that its suspects are handled with care for a short time.
    pub(super) fn suspects(&self, shard: ShardKey, now: Duration) -> bool {
        let last = self.shards.get(&shard).and_then(|deaths| deaths.at.last());
        last.is_some_and(|last| now.saturating_sub(*last) <= CLOSE)
    }

    /// Forgets a death of a shard: its owner that died at `died_at` was killed from outside.
    pub(super) fn forgive(&mut self, shard: ShardKey, died_at: Duration) {
        if let Some(deaths) = self.shards.get_mut(&shard).filter(|deaths| !deaths.stopped) {
            deaths.at.retain(|at| *at != died_at);
        }
    }

    /// Returns how long a shard is held back, if it is.
    pub(super) fn shard(&self, shard: ShardKey, now: Duration) -> Option<HoldBack> {
        self.shards.get(&shard)?.held(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn dead(times: &[u64]) -> Deaths {
        let mut deaths = Deaths::default();
        for &time in times {
            deaths.forget_old(at(time));
            deaths.add(at(time));
        }
        deaths
    }

    #[test]
    fn each_further_death_doubles_the_wait() {
        assert_eq!(dead(&[100]).held(at(100)), None, "the first has no effect");
        for (deaths, wait) in [(2, 5), (3, 10), (4, 20), (5, 40), (6, 80), (7, 160)] {
            let dead = dead(&vec![100; deaths]);
            let held = dead.held(at(100)).unwrap();
            assert_eq!((held.left, held.deaths, held.stopped), (at(wait), deaths, false));
            assert_eq!(dead.held(at(100 + wait)), None);
        }
    }

    #[test]
    fn eighth_death_stops_until_no_death_is_remembered() {
        let mut deaths = dead(&[0, 80, 160, 240, 320, 400, 480, 560]);
        // The first is old by then; the worker stays stopped.
        deaths.forget_old(at(700));
        assert!(deaths.held(at(700)).unwrap().stopped);
        deaths.add(at(1_000));
        deaths.forget_old(at(1_599));
        assert!(deaths.held(at(1_599)).unwrap().stopped, "a death while stopped counts as well");
        deaths.forget_old(at(1_600));
        assert_eq!(deaths, Deaths::default());
    }

    #[test]
    fn eight_deaths_over_a_longer_time_do_not_stop() {
        let deaths = dead(&[0, 100, 200, 300, 400, 500, 600, 700]);
        assert_eq!(deaths.at.len(), 6);
        assert!(!deaths.stopped);
    }

    #[test]
    fn owner_that_had_a_shard_for_long_does_not_count_against_it() {
        let mut breaker = DeathBreaker::default();
        let shard = ShardKey::new(0, 1);
        breaker.owner_died(shard, at(3_600), at(100));
        breaker.owner_died(shard, at(60), at(160));
        assert_eq!(breaker.shard(shard, at(160)), None);
        breaker.owner_died(shard, at(10), at(170));
        assert_eq!(breaker.shard(shard, at(170)).unwrap().deaths, 2);
    }

    #[test]
    fn two_close_deaths_need_care_until_they_are_forgotten() {
        let shard = ShardKey::new(0, 1);
        let care = |times: &[u64]| {
            let breaker = DeathBreaker { shards: [(shard, dead(times))].into(), ..DeathBreaker::default() };
            breaker.needs_care(shard)
        };
        assert!(!care(&[]) && !care(&[100]) && !care(&[100, 161]));
        assert!(care(&[100, 160]) && care(&[100, 200, 201]));
        assert!(care(&[100, 110, 120, 140, 180, 260]), "the breaker's own waits do not end the care");
        assert!(!care(&[100, 110, 710]), "the first is forgotten");
        assert!(!DeathBreaker::default().needs_care(shard));
    }

    #[test]
    fn display_rounds_seconds_up() {
        let held = HoldBack { left: Duration::from_millis(4_200), deaths: 2, stopped: false };
        assert_eq!(held.to_string(), "held back for 5 s");
        assert_eq!(HoldBack { stopped: true, ..held }.to_string(), "stopped for 5 s");
    }
}
