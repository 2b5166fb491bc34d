//! Directives on their way from a coordinator to a worker.

use super::*;

impl World {
    /// Puts a directive into the stream to a worker.
    pub(super) fn deliver(&mut self, i: usize, n: usize, parcel: Parcel) {
        let (term, stream) = (self.coordinators[i].term, self.coordinators[i].streams[n]);
        let worker = &mut self.workers[n];
        if stream != Some(worker.life) || worker.stream != Some(term) || !worker.alive {
            return;
        }
        if worker.cut_from_coordinators > 0 || worker.stopped > 0 {
            match parcel {
                // The worker reads both.
                Parcel::Drain => worker.drain_waits = true,
                _ if worker.inbox == Some(Parcel::Refused) => {}
                _ => worker.inbox = Some(parcel),
            }
        } else {
            self.open(n, term, parcel);
        }
    }

    /// A worker reads a directive of a coordinator of this term.
    pub(super) fn open(&mut self, n: usize, term: u8, parcel: Parcel) {
        if !self.hears(n, term) {
            return;
        }
        match parcel {
            Parcel::Assignment { revision, set } if revision >= self.workers[n].revision => {
                self.workers[n].revision = revision;
                self.apply_assignment(n, set);
            }
            Parcel::Assignment { .. } => {}
            Parcel::Drain => {
                self.workers[n].drains.get_or_insert(DRAIN_BEATS);
            }
            Parcel::Refused => self.restart(n),
        }
    }

    /// A worker applies an assignment.
    pub(super) fn apply_assignment(&mut self, n: usize, set: Set) {
        let copies = self.workers[n].arriving;
        let before = std::mem::replace(&mut self.workers[n].running, set.shards);
        self.workers[n].arriving = set.arriving;
        for (let_go, (before, now)) in self.let_go.iter_mut().zip(before.iter().zip(&set.shards)) {
            if before != now {
                *let_go = (*let_go).max(before.unwrap_or_default());
            }
        }
        self.check_copies(n, copies, before, set);
    }

    /// Returns whether a worker accepts a directive of this term. It closes the stream of an older one.
    pub(super) fn hears(&mut self, n: usize, term: u8) -> bool {
        let worker = &mut self.workers[n];
        if term < worker.term && self.fences.has(Fence::WorkersIgnoreOlderTerms) {
            worker.stream = None;
            worker.inbox = None;
            self.stream_breaks(n);
            return false;
        }
        worker.term = term;
        true
    }

    pub(super) fn restart(&mut self, n: usize) {
        self.stream_breaks(n);
        self.workers[n].restart();
    }
}

pub(super) fn set_of(assignment: &Assignment) -> Set {
    let arriving = assignment.arriving.iter().map(|(shard, arriving)| (*shard, arriving.epoch)).collect();
    Set {
        shards: epochs(&assignment.shards),
        arriving: epochs(&arriving),
        handed_over: epochs(&assignment.handed_over),
    }
}
