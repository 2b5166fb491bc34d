//! Workers that supervisors reported as killed from outside: the events in their handlers did not cause that.
//!
//! The report may arrive before or after the worker is given up.

use std::{collections::VecDeque, time::Duration};

use fleet_model::{Epoch, Incarnation, ShardKey, WorkerId};

use super::{Fleet, Now, breaker::REMEMBERED};

/// The most incarnations that are remembered; further ones replace the oldest.
const INCARNATIONS: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct KillReports {
    ended: VecDeque<EndedIncarnation>,
}

/// An incarnation that ended recently, or was reported to have.
#[derive(Clone, Debug)]
struct EndedIncarnation {
    worker: WorkerId,
    incarnation: Incarnation,
    /// Its shards when it was given up; empty before.
    had: Vec<(ShardKey, Epoch)>,
    killed: bool,
    at: Duration,
}

impl KillReports {
    fn entry(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        now: Duration,
    ) -> &mut EndedIncarnation {
        let known =
            self.ended.iter().position(|one| one.worker == *worker && one.incarnation == *incarnation);
        let place = known.unwrap_or_else(|| {
            if self.ended.len() >= INCARNATIONS {
                self.ended.pop_front();
            }
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.ended.push_back(EndedIncarnation {
                worker,
                incarnation,
                had: Vec::new(),
                killed: false,
                at: now,
            });
            self.ended.len() - 1
        });
        &mut self.ended[place]
    }

    /// Notes that a worker was given up, with its shards. Returns the shards that did not cause its death.
    pub(super) fn record_loss(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        had: Vec<(ShardKey, Epoch)>,
        now: Duration,
    ) -> Vec<ShardKey> {
        let one = self.entry(worker, incarnation, now);
        (one.had, one.at) = (had, now);
        if one.killed { one.had.iter().map(|(shard, _)| *shard).collect() } else { Vec::new() }
    }

    /// Notes that an incarnation was killed from outside. Returns its shards, if it was given up already, and when.
    pub(super) fn record_kill(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        now: Duration,
    ) -> (Vec<ShardKey>, Duration) {
        let one = self.entry(worker, incarnation, now);
        one.killed = true;
        (one.had.iter().map(|(shard, _)| *shard).collect(), one.at)
    }

    /// Returns the last incarnation of a worker that is remembered.
    fn last_incarnation(&self, worker: &WorkerId) -> Option<&Incarnation> {
        self.ended.iter().rev().find(|one| one.worker == *worker).map(|one| &one.incarnation)
    }

    fn knows(&self, worker: &WorkerId, incarnation: &Incarnation) -> bool {
        self.ended.iter().any(|one| one.worker == *worker && one.incarnation == *incarnation)
    }

    /// Returns the epochs of a shard's owners that were killed.
    pub(super) fn killed_epochs(&self, shard: ShardKey) -> Vec<Epoch> {
        let had = self.ended.iter().filter(|one| one.killed).flat_map(|one| &one.had);
        had.filter(|(had, _)| *had == shard).map(|(_, epoch)| *epoch).collect()
    }

    pub(super) fn forget_old(&mut self, now: Duration) {
        self.ended.retain(|one| now.saturating_sub(one.at) < REMEMBERED);
    }
}

impl Fleet {
    /// Notes how a worker's process ended. Without an incarnation the report is about the known, or last known, one.
    pub fn record_exit_reason(
        &mut self,
        worker: &WorkerId,
        incarnation: Option<&Incarnation>,
        reason: &str,
        now: Now,
    ) {
        if !is_kill_from_outside(reason) {
            return;
        }
        let known = self.workers.get(worker).map(|known| &known.incarnation);
        let last = self.deaths.kills.last_incarnation(worker);
        let Some(ended) = incarnation.or(known).or(last).cloned() else { return };
        // Unknown workers are not remembered.
        if known == Some(&ended) || self.deaths.kills.knows(worker, &ended) {
            self.deaths.note_kill(worker, &ended, now.mono);
        }
    }
}

/// Returns whether the supervisor's reason names a cause outside the worker's own code.
fn is_kill_from_outside(reason: &str) -> bool {
    const WORDS: [&str; 9] =
        ["sigkill", "sigterm", "sigint", "sighup", "oom", "oomkilled", "evicted", "preempted", "killed"];
    /// Numbers of these signals, and the exit codes that shells and container runtimes make of them.
    const SIGNALS: [&str; 4] = ["1", "2", "9", "15"];
    const CODES: [&str; 4] = ["129", "130", "137", "143"];
    let reason = reason.to_ascii_lowercase();
    let words: Vec<&str> =
        reason.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let signal = words.windows(2).any(|pair| pair[0] == "signal" && SIGNALS.contains(&pair[1]));
    let memory = words.windows(3).any(|three| three == ["out", "of", "memory"]);
    signal || memory || words.iter().any(|word| WORDS.contains(word) || CODES.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_from_outside_are_not_crashes() {
        for (reason, outside) in [
            ("signal 9", true),
            ("signal: 9 (SIGKILL)", true),
            ("SIGTERM", true),
            ("exit code 137", true),
            ("exit status: 143", true),
            ("OOMKilled", true),
            ("Out of memory", true),
            ("Evicted: node pressure", true),
            ("signal 6", false),
            ("signal: 11 (SIGSEGV) (core dumped)", false),
            ("exit code 1", false),
            ("exit code 134", false),
            ("exit status: 101", false),
            ("", false),
        ] {
            assert_eq!(is_kill_from_outside(reason), outside, "{reason}");
        }
    }
}
