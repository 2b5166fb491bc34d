//! What a worker does in a beat.

use super::*;

/// A worker that has left is started again so many beats later.
const STARTS_AGAIN: u8 = 3;

impl World {
    pub(super) fn worker_acts(&mut self, n: usize) {
        if !self.workers[n].acts() {
            return;
        }
        // What it has done since the last beat, under the window as it is.
        self.use_shards(n);
        self.read_inbox(n);
        if self.workers[n].drains == Some(0) {
            return self.exits(n);
        }
        self.take_late_acknowledgements(n);
        self.renew_through_store(n);
        match self.workers[n].stream {
            Some(term) => self.report(n, term),
            None => self.register(n),
        }
        self.use_shards(n);
    }

    /// It was told to go, and nobody has taken its shards in time: it closes them and ends.
    fn exits(&mut self, n: usize) {
        self.workers[n].crash(STARTS_AGAIN);
        self.stream_breaks(n);
    }

    fn read_inbox(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if worker.cut_from_coordinators > 0 {
            return;
        }
        let drain = std::mem::take(&mut worker.drain_waits).then_some(Parcel::Drain);
        let (parcels, stream) = ([worker.inbox.take(), drain], worker.stream);
        for parcel in parcels.into_iter().flatten() {
            if let Some(term) = stream.filter(|_| self.workers[n].stream == stream) {
                self.open(n, term, parcel);
            }
        }
    }

    fn take_late_acknowledgements(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if worker.late > 0 {
            return;
        }
        for sent_ago in std::mem::take(&mut worker.held_up) {
            worker.renewed(self.fences, sent_ago, worker.in_the_hole);
        }
    }

    fn renew_through_store(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if !worker.renews || worker.cut_from_store > 0 || self.store.away > 0 {
            return;
        }
        match self.store.renew(self.fences, (n, worker.life), worker.window > 0) {
            Renewal::Held(term) => {
                worker.renewed(self.fences, 0, false);
                worker.term = worker.term.max(term);
                worker.heard_of = worker.heard_of.max(term);
            }
            Renewal::Refused if self.fences.has(Fence::RefusalsEndTheLife) => self.begin_anew(n),
            Renewal::Lapsed | Renewal::Refused => {}
        }
    }

    /// An old coordinator that does not reach the store renews the window of a worker that does not either, and has heard of
    /// no newer one.
    fn is_in_the_hole(&self, n: usize, i: usize) -> bool {
        let newest = i + 1 == self.coordinators.len();
        let worker_reaches = self.workers[n].cut_from_store == 0 && self.store.away == 0;
        let heard_of_newer = self.workers[n].heard_of > self.coordinators[i].term;
        let began = self.coordinators[i].out_of_touch || self.workers[n].in_the_hole;
        !newest && began && !worker_reaches && !heard_of_newer
    }

    fn report(&mut self, n: usize, term: u8) {
        let Some(i) = self.coordinators.iter().position(|one| one.term == term) else {
            self.workers[n].stream = None;
            return self.register(n);
        };
        let worker = &mut self.workers[n];
        if worker.cut_from_coordinators > 0 || self.coordinators[i].stopped > 0 {
            worker.unanswered += 1;
            if worker.unanswered >= PATIENCE {
                worker.stream = None;
                worker.inbox = None;
            }
            return;
        }
        if self.coordinators[i].streams[n] != Some(worker.life) {
            worker.stream = None;
            return;
        }
        let ready =
            |(shard, epoch): (ShardNumber, Epoch)| ShardReport::bare(shard, epoch, ShardStatus::Ready);
        let report = Report {
            assignment_revision: worker.revision,
            shards: by_shard(&worker.running).into_iter().map(ready).collect(),
            arrived: by_shard(&worker.arriving).into_iter().collect(),
            draining: worker.drains.is_some(),
            leaving: worker.drains.is_some() && worker.running == [None; SHARDS],
            ..Report::default()
        };
        let leaving = report.leaving;
        let (fences, incarnation) = (self.fences, incarnation(worker.life));
        if let Ok(heard) = self.coordinators[i].fleet.report(&name(n), &incarnation, report, now(fences)) {
            self.carry_out(i);
            if leaving {
                // The driver forgets the stream, and the store the lease.
                self.coordinators[i].streams[n] = None;
                if self.reaches_store(i) {
                    self.store.forget((n, self.workers[n].life));
                }
                self.workers[n].crash(STARTS_AGAIN);
                return;
            }
            let in_the_hole = self.is_in_the_hole(n, i);
            // What it decided may have ended the life or the stream.
            if self.workers[n].stream == Some(term) && self.hears(n, term) {
                let worker = &mut self.workers[n];
                worker.unanswered = 0;
                let in_doubt =
                    self.coordinators[i].in_doubt && fences.has(Fence::StoppedCoordinatorsAskFirst);
                let lapsed = heard == Heard::NotRenewed && fences.has(Fence::LapsedStaysClosed);
                if in_doubt || lapsed {
                    return;
                }
                if worker.late > 0 {
                    worker.held_up.push(0);
                } else {
                    worker.renewed(fences, 0, in_the_hole);
                }
            }
        } else {
            self.deliver(i, n, Parcel::Refused);
            self.coordinators[i].streams[n] = None;
        }
    }

    /// Tries the coordinators in turn, the oldest first: it may not know of the newer one.
    fn register(&mut self, n: usize) {
        if self.workers[n].cut_from_coordinators > 0 {
            return;
        }
        for i in 0..self.coordinators.len() {
            let (fences, worker, term) = (self.fences, &self.workers[n], self.coordinators[i].term);
            let older = term < worker.term && fences.has(Fence::WorkersObeyNoOlderTerm);
            if self.coordinators[i].stopped > 0 || older {
                continue;
            }
            let (who, incarnation) = (name(n), incarnation(worker.life));
            if self.coordinators[i].fleet.may_join(&who, &incarnation).is_err() {
                continue;
            }
            let granted = self.reaches_store(i);
            if granted {
                match self.store.grant(fences, term, (n, worker.life)) {
                    Grant::Granted => {}
                    Grant::Revoked => return self.begin_anew(n),
                    Grant::Refused => continue,
                }
            }
            let claims_all = worker.window > 0 || !fences.has(Fence::ClaimsNeedAnOpenWindow);
            let claims = if claims_all { worker.running } else { [None; SHARDS] };
            let nothing = claims == [None; SHARDS];
            let registration = Registration {
                granted: granted || !fences.has(Fence::LapsedStaysClosed),
                found_at: Some((peer(n), 1).into()),
                running: by_shard(&claims),
                draining: self.workers[n].drains.is_some(),
                generation: self.generation_of(n),
                running_total: if nothing { 0 } else { SHARDS as u32 },
                ..registration(who.as_str(), incarnation.as_str())
            };
            let one = &mut self.coordinators[i];
            let Ok(assignment) = one.fleet.join(registration, now(fences)) else { continue };
            if !fences.has(Fence::GraceAfterAStart) {
                one.fleet.grace_until = one.fleet.grace_until.min(now(fences).mono);
                one.fleet.strangers_until = one.fleet.strangers_until.min(now(fences).mono);
            }
            one.fleet.stream_opened(&who, &incarnation, Some(peer(n)));
            one.streams[n] = Some(self.workers[n].life);
            let in_the_hole = self.is_in_the_hole(n, i);
            let worker = &mut self.workers[n];
            (worker.stream, worker.term, worker.unanswered) = (Some(term), term, 0);
            worker.heard_of = worker.heard_of.max(term);
            (worker.renews, worker.inbox, worker.drain_waits) = (true, None, false);
            worker.renewed(fences, 0, in_the_hole);
            worker.revision = assignment.revision;
            self.obey(n, set_of(&assignment));
            if self.coordinators[i].fleet.told_to_go(&who).is_some() {
                self.workers[n].drains.get_or_insert(DRAIN_BEATS);
            }
            self.carry_out(i);
            return;
        }
    }

    /// It identifies if it may, as a session may be void at any time, and writes checkpoints of what it handles.
    fn use_shards(&mut self, n: usize) {
        for shard in 0..SHARDS {
            let worker = &self.workers[n];
            let (true, Some(epoch)) = (worker.handles(self.fences, shard), worker.running[shard]) else {
                continue;
            };
            if self.gets_permit(n, shard, epoch) {
                self.check_identify(n, shard, epoch);
            }
            if self.workers[n].cut_from_store == 0 && self.store.away == 0 {
                let taken = self.store.write_checkpoint(self.fences, shard, epoch);
                self.check_checkpoint(n, shard, epoch, taken);
            }
        }
    }

    /// Asks the coordinator that it has a stream to, by the rules of `driver/identifies.rs`.
    fn gets_permit(&mut self, n: usize, shard: usize, epoch: u64) -> bool {
        let worker = &self.workers[n];
        let Some(i) = self.coordinators.iter().position(|one| worker.stream == Some(one.term)) else {
            return false;
        };
        let one = &self.coordinators[i];
        if worker.cut_from_coordinators > 0 || one.stopped > 0 || one.term < worker.term {
            return false;
        }
        let owner = one.fleet.owner(ShardNumber(shard as u32));
        let may = owner == Some((&name(n), Epoch(epoch)));
        (may || !self.fences.has(Fence::PermitsOnlyForOwners))
            && self.reaches_store(i)
            && self.store.spend_permit(self.fences, self.coordinators[i].term)
    }
}
