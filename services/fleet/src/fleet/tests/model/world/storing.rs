//! Calls of a coordinator to the store, and their outcomes.

use super::*;

impl World {
    pub(super) fn carry_out_calls(&mut self, i: usize) {
        while [self.coordinators[i].stopped, self.coordinators[i].busy] == [0; 2]
            && !self.coordinators[i].calls.is_empty()
        {
            for call in std::mem::take(&mut self.coordinators[i].calls) {
                if !self.coordinators[i].lost {
                    self.carry_out_call(i, call);
                    self.carry_out(i);
                }
            }
        }
    }

    fn carry_out_call(&mut self, i: usize, call: Call) {
        let reaches = self.reaches_store(i);
        let (fences, store, one) = (self.fences, &mut self.store, &mut self.coordinators[i]);
        let now = now(fences);
        match call {
            Call::WriteTotal if reaches => store.now.total = store.spend_permit(fences, one.term),
            Call::WriteTotal => {}
            Call::WriteIntent(intent) if reaches => {
                if store.spend_permit(fences, one.term) {
                    store.now.intent = *intent;
                }
            }
            Call::WriteIntent(_) => one.fleet.mark_store_away(),
            Call::FindLeases(known) if reaches && known == store.identity => {
                let leases = (0..).zip(&store.now.leases).filter_map(|(n, lease)| Some((n, (*lease)?)));
                let live = leases.filter(|(_, lease)| lease.left > 0 && !lease.revoked);
                let live = live.map(|(n, lease)| (name(n), incarnation(lease.life))).collect();
                // Without the rule no worker is ever unregistered.
                let live = if fences.has(Fence::UnregisteredAreWaitedFor) { live } else { Vec::new() };
                one.fleet.on_leases_found(Some(live), now);
            }
            Call::FindLeases(_) => {
                one.fleet.mark_store_away();
                one.fleet.on_leases_found(None, now);
            }
            Call::Write(owners) if reaches => {
                let mut outcomes = Vec::new();
                for owner in &owners {
                    let life = life(&owner.worker, &owner.incarnation);
                    let row = OwnerRow { life, epoch: owner.epoch.0 };
                    match store.assign(fences, one.term, owner.shard.slot().0 as usize, row) {
                        Written::Yes => outcomes.push((owner, Ok(()))),
                        Written::Outranked(epoch) => outcomes.push((owner, Err(Some(Epoch(epoch))))),
                        Written::StaleTerm => one.lost = true,
                    }
                }
                if !one.lost {
                    one.fleet.on_written(outcomes, now);
                }
            }
            Call::Write(owners) => {
                one.fleet.mark_store_away();
                one.fleet.on_written(owners.iter().map(|owner| (owner, Err(None))), now);
            }
            Call::Revoke(life, cause, known) => {
                let evidence = cause == RevocationCause::Evidence;
                let verdict = if evidence && !fences.has(Fence::EvidenceRevokes) {
                    LeaseVerdict::Revoked
                } else if !reaches || known != store.identity {
                    one.fleet.mark_store_away();
                    LeaseVerdict::Unknown
                } else {
                    match store.revoke(fences, one.term, life, evidence) {
                        Revoked::Yes => LeaseVerdict::Revoked,
                        Revoked::Live(left) => LeaseVerdict::Live(Duration::from_secs(left.into())),
                        Revoked::StaleTerm => {
                            one.lost = true;
                            return;
                        }
                    }
                };
                self.verdict(i, life, cause, verdict);
            }
        }
    }

    fn verdict(&mut self, i: usize, life: SimIncarnation, cause: RevocationCause, verdict: LeaseVerdict) {
        let (worker, incarnation) = (name(life.0), incarnation(life.1));
        let revoked = verdict == LeaseVerdict::Revoked;
        if revoked && self.coordinators[i].fleet.knows(&worker, &incarnation) {
            self.deliver(i, life.0, Parcel::Refused);
            self.coordinators[i].streams[life.0] = None;
        }
        self.coordinators[i].fleet.on_lease_verdict(&worker, &incarnation, cause, verdict, now(self.fences));
        self.carry_out(i);
    }
}
