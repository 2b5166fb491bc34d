//! Workers that supervisors reported as killed from outside: the events in their handlers are not to blame.
//!
//! The report may arrive before or after the worker is given up.

use std::{collections::VecDeque, time::Duration};

use fleet_model::{Epoch, Incarnation, ShardNumber, WorkerId};

use super::{Fleet, Now, breaker::REMEMBERED};

/// The most incarnations that are remembered; the oldest goes.
const LIVES: usize = 256;

#[derive(Clone, Debug, Default)]
pub(super) struct Kills {
    lives: VecDeque<Life>,
}

/// An incarnation that ended recently, or was reported to have.
#[derive(Clone, Debug)]
struct Life {
    worker: WorkerId,
    incarnation: Incarnation,
    /// Its shards when it was given up; empty before.
    had: Vec<(ShardNumber, Epoch)>,
    killed: bool,
    at: Duration,
}

impl Kills {
    fn life(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Duration) -> &mut Life {
        let known =
            self.lives.iter().position(|life| life.worker == *worker && life.incarnation == *incarnation);
        let place = known.unwrap_or_else(|| {
            if self.lives.len() >= LIVES {
                self.lives.pop_front();
            }
            let (worker, incarnation) = (worker.clone(), incarnation.clone());
            self.lives.push_back(Life { worker, incarnation, had: Vec::new(), killed: false, at: now });
            self.lives.len() - 1
        });
        &mut self.lives[place]
    }

    /// Notes that a worker was given up, with its shards. Returns the shards that its death does not incriminate.
    pub(super) fn lost(
        &mut self,
        worker: &WorkerId,
        incarnation: &Incarnation,
        had: Vec<(ShardNumber, Epoch)>,
        now: Duration,
    ) -> Vec<ShardNumber> {
        let life = self.life(worker, incarnation, now);
        (life.had, life.at) = (had, now);
        if life.killed { life.had.iter().map(|(shard, _)| *shard).collect() } else { Vec::new() }
    }

    /// The epochs of killed owners of a shard.
    pub(super) fn of_shard(&self, shard: ShardNumber) -> Vec<Epoch> {
        let had = self.lives.iter().filter(|life| life.killed).flat_map(|life| &life.had);
        had.filter(|(had, _)| *had == shard).map(|(_, epoch)| *epoch).collect()
    }

    pub(super) fn forget_old(&mut self, now: Duration) {
        self.lives.retain(|life| now.saturating_sub(life.at) < REMEMBERED);
    }
}

impl Fleet {
    /// Notes how a worker's process ended. Without an incarnation the report is about the known, or last known, one.
    pub fn exit_explained(
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
        let last =
            self.kills.lives.iter().rev().find(|life| life.worker == *worker).map(|life| &life.incarnation);
        let Some(life) = incarnation.or(known).or(last).cloned() else { return };
        // Unknown workers are not remembered.
        if self.workers.get(worker).is_none_or(|known| known.incarnation != life)
            && !self.kills.lives.iter().any(|one| one.worker == *worker && one.incarnation == life)
        {
            return;
        }
        let life = self.kills.life(worker, &life, now.mono);
        life.killed = true;
        for (shard, _) in &life.had {
            self.breaker.acquit(*shard, life.at);
        }
    }
}

/// Whether the supervisor's reason says that something other than the worker's own code ended the process.
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
