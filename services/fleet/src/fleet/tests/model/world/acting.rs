//! What a worker does in a beat.

use super::*;

/// Beats after which a worker that has left is started again.
const STARTS_AGAIN: u8 = 3;

/// The most late reports of a worker that wait.
const REPORT_WAITS: usize = 3;

impl World {
    pub(super) fn worker_acts(&mut self, n: usize) {
        if !self.workers[n].acts() {
            return;
        }
        // What it has done since the last beat, under the current window.
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

    /// A draining worker whose shards were not taken over in time closes them and exits.
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
            worker.renewed(self.fences, sent_ago);
        }
    }

    fn renew_through_store(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if !worker.renews || worker.cut_from_store > 0 || self.store.away > 0 {
            return;
        }
        match self.store.renew(self.fences, (n, worker.life), worker.window > 0) {
            Renewal::HoldBack(term) => {
                worker.renewed(self.fences, 0);
                worker.term = worker.term.max(term);
            }
            Renewal::Refused if self.fences.has(Fence::RefusalsEndTheLife) => self.restart(n),
            Renewal::Lapsed | Renewal::Refused => {}
        }
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
        worker.reports.push(worker.says());
        let due = if worker.late_reports > 0 { 1 } else { worker.reports.len() };
        let waits = if worker.late_reports > 0 { REPORT_WAITS } else { 0 };
        for _ in 0..due {
            let worker = &mut self.workers[n];
            if worker.stream != Some(term) || worker.reports.len() <= waits {
                return;
            }
            let sent_ago = worker.reports.len() as u8 - 1;
            let said = worker.reports.remove(0);
            self.take_report(n, i, said, sent_ago);
        }
    }

    /// Delivers a report to a coordinator, `sent_ago` beats late.
    fn take_report(&mut self, n: usize, i: usize, said: Said, sent_ago: u8) {
        let ready = |(shard, epoch): (ShardKey, Epoch)| ShardReport::bare(shard, epoch, ShardStatus::Ready);
        let leaving = said.drains && said.running == [None; SHARDS];
        let report = WorkerReport {
            assignment_revision: said.revision,
            shards: by_shard(&said.running).into_iter().map(ready).collect(),
            arrived: by_shard(&said.arriving)
                .into_iter()
                .map(|(shard, epoch)| (shard.slot(), epoch))
                .collect(),
            draining: said.drains,
            leaving,
            ..WorkerReport::default()
        };
        let (fences, term, life) = (self.fences, self.coordinators[i].term, self.workers[n].life);
        let heard = self.coordinators[i].fleet.report(&name(n), &incarnation(life), report, now(fences));
        let Ok(heard) = heard else {
            self.deliver(i, n, Parcel::Refused);
            self.coordinators[i].streams[n] = None;
            return;
        };
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
        // The report's decisions may have ended the incarnation or the stream.
        if self.workers[n].stream == Some(term) && self.workers[n].life == life && self.hears(n, term) {
            let worker = &mut self.workers[n];
            worker.unanswered = 0;
            let lapsed = heard == LeaseAnswer::NotRenewed && fences.has(Fence::LapsedStaysClosed);
            if lapsed || !self.coordinators[i].may_act(fences) {
                return;
            }
            if worker.late > 0 {
                worker.held_up.push(sent_ago);
            } else {
                worker.renewed(fences, sent_ago);
            }
        }
    }

    /// Tries the coordinators in turn, the oldest first: it may not know of the newer one.
    fn register(&mut self, n: usize) {
        if self.workers[n].cut_from_coordinators > 0 {
            return;
        }
        for i in 0..self.coordinators.len() {
            let (fences, worker, term) = (self.fences, &self.workers[n], self.coordinators[i].term);
            let older = term < worker.term && fences.has(Fence::WorkersIgnoreOlderTerms);
            let one = &self.coordinators[i];
            if one.stopped > 0 || one.busy > 0 || older || !one.may_act(fences) {
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
                    Grant::Revoked => return self.restart(n),
                    Grant::Refused => continue,
                }
            }
            let claims_all = worker.window > 0 || !fences.has(Fence::ClaimsNeedAnOpenWindow);
            let claims = if claims_all { worker.running } else { [None; SHARDS] };
            let nothing = claims == [None; SHARDS];
            let registration = Registration {
                granted: granted || !fences.has(Fence::LapsedStaysClosed),
                found_at: Some((peer(n), 1).into()),
                running: claimed(by_shard(&claims), if nothing { 0 } else { SHARDS as u32 }),
                draining: self.workers[n].drains.is_some(),
                ..registration(who.as_str(), incarnation.as_str())
            };
            let registration = with_profile(registration, |profile| {
                profile.generation = Some(self.generation_of(n));
                profile.needs = Some(self.needs_of(n));
            });
            let one = &mut self.coordinators[i];
            let Ok(assignment) = one.fleet.join(registration, now(fences)) else { continue };
            if !fences.has(Fence::GraceAfterAStart) {
                one.fleet.term.grace_until = one.fleet.term.grace_until.min(now(fences).mono);
                one.fleet.term.unregistered_until = one.fleet.term.unregistered_until.min(now(fences).mono);
            }
            one.fleet.stream_opened(&who, &incarnation, Some(peer(n)));
            one.streams[n] = Some(self.workers[n].life);
            let worker = &mut self.workers[n];
            worker.reports.clear();
            (worker.stream, worker.term, worker.unanswered) = (Some(term), term, 0);
            (worker.renews, worker.inbox, worker.drain_waits) = (true, None, false);
            worker.renewed(fences, 0);
            worker.revision = assignment.revision;
            self.apply_assignment(n, set_of(&assignment));
            if self.coordinators[i].fleet.drain_reason(&who).is_some() {
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
        let busy = one.stopped > 0 || one.busy > 0;
        if worker.cut_from_coordinators > 0 || busy || one.term < worker.term {
            return false;
        }
        let owner = one.fleet.owner(ShardSlot(shard as u32));
        let may = owner == Some((&name(n), Epoch(epoch)));
        (may || !self.fences.has(Fence::PermitsOnlyForOwners))
            && one.may_act(self.fences)
            && self.reaches_store(i)
            && self.store.spend_permit(self.fences, self.coordinators[i].term)
    }
}
