//! Workers that were killed from outside, as their supervisors reported: what was in their handlers is not to blame.
//!
//! A report may come before the worker is given up, or after, when its address has shown already that it is gone.

use std::{collections::VecDeque, time::Duration};

use fleet_model::{Epoch, Incarnation, ShardNumber, WorkerId};

use super::{Fleet, Now, breaker::REMEMBERED};

/// The most lives that are remembered; the oldest goes.
const LIVES: usize = 256;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Kills {
    lives: VecDeque<Life>,
}

/// One that ended lately, or was reported to have.
#[derive(Clone, Debug)]
struct Life {
    worker: WorkerId,
    incarnation: Incarnation,
    /// What it had when it was given up; empty before.
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

    /// A worker is given up, with what it had; the shards that its death says nothing of.
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

    /// The epochs of owners of a shard that were killed.
    pub(super) fn of_shard(&self, shard: ShardNumber) -> Vec<Epoch> {
        let had = self.lives.iter().filter(|life| life.killed).flat_map(|life| &life.had);
        had.filter(|(had, _)| *had == shard).map(|(_, epoch)| *epoch).collect()
    }

    pub(super) fn forget_old(&mut self, now: Duration) {
        self.lives.retain(|life| now.saturating_sub(life.at) < REMEMBERED);
    }
}

impl Fleet {
    /// A supervisor says how a worker's process ended. Without an incarnation it is about the one that is known, or was known last.
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
        // What nobody has ever heard of is not remembered.
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

/// Whether a process was ended by something else than its own code, by a supervisor's word for it.
fn is_kill_from_outside(reason: &str) -> bool {
    const WORDS: [&str; 9] =
        ["sigkill", "sigterm", "sigint", "sighup", "oom", "oomkilled", "evicted", "preempted", "killed"];
    /// Of the signals above, and the exit codes that shells and container runtimes make of them.
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
    fn kill_from_outside_is_told_from_a_crash() {
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
