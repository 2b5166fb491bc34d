//! The records and their rules, without a clock: the time goes in as an argument.
//!
//! `redis/scripts` says the same in Lua; the contract suite holds the two together.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fleet_model::{Epoch, HeadSigning, Incarnation, ShardKey, Term, WorkerId};
use tokio::time::Instant;

use crate::{
    BudgetRecord, FleetRecord, FleetStoreIdentity, LeaseGrant, LeaseRecord, LeaseRenewal, OwnerRecord,
    OwnerWrite, RECORD_KEPT, Revocation, STANDBY_REMEMBERED, TermClaim, TermRenewal, TermWrite, WorkerRecord,
};

/// Everything that is written down.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The highest term ever held.
    term: Term,
    /// Who holds it and until when.
    holder: Option<(Incarnation, Instant)>,
    /// The last other coordinator that asked for the term, and when.
    standby: Option<(Incarnation, Instant)>,
    shard_total: Option<u32>,
    budget: Option<BudgetRecord>,
    last_ran_unix_ms: Option<u64>,
    trusted: Option<FleetStoreIdentity>,
    head_signing: HeadSigning,
    intent: Option<String>,
    notices: Option<String>,
    /// The highest term that wrote one of these.
    fleet_term: Term,
    leases: HashMap<WorkerId, Lease>,
    owners: HashMap<ShardKey, OwnerRecord>,
    /// The highest term that wrote about a shard, or fenced it.
    owner_terms: HashMap<ShardKey, Term>,
}

#[derive(Debug)]
struct Lease {
    incarnation: Incarnation,
    url: String,
    expires_at: Instant,
    revoked: bool,
    /// Shown by `load`: not once the worker was forgotten.
    listed: bool,
    term: Term,
}

impl Lease {
    fn remaining(&self, now: Instant) -> Duration {
        self.expires_at.saturating_duration_since(now)
    }
}

impl Records {
    pub(super) fn claim_term(
        &mut self,
        holder: &Incarnation,
        at_least: Term,
        ttl: Duration,
        now: Instant,
    ) -> TermClaim {
        match &self.holder {
            Some((other, until)) if *until > now && other != holder => {
                self.standby = Some((holder.clone(), now));
                return TermClaim::HeldBy {
                    term: self.term,
                    holder: other.clone(),
                    remaining: until.saturating_duration_since(now),
                };
            }
            Some((_, until)) if *until > now => {}
            _ => self.term = at_least.max(Term(self.term.0 + 1)),
        }
        self.withdraw_standby(holder);
        self.holder = Some((holder.clone(), now + ttl));
        TermClaim::Acting(self.term)
    }

    pub(super) fn renew_term(
        &mut self,
        term: Term,
        holder: &Incarnation,
        ttl: Duration,
        now: Instant,
    ) -> TermRenewal {
        let held = self.holder.as_ref().is_some_and(|(present, _)| present == holder);
        if self.term > term || (self.term == term && !held) {
            return TermRenewal::Lost { to: self.term };
        }
        self.term = term;
        self.holder = Some((holder.clone(), now + ttl));
        let standby = self
            .standby
            .as_ref()
            .is_some_and(|(other, asked)| other != holder && now < *asked + STANDBY_REMEMBERED);
        TermRenewal::Held { standby }
    }

    pub(super) fn withdraw_standby(&mut self, holder: &Incarnation) {
        self.standby.take_if(|(standby, _)| standby == holder);
    }

    pub(super) fn release_term(&mut self, term: Term, holder: &Incarnation) {
        if self.term == term && self.holder.as_ref().is_some_and(|(present, _)| present == holder) {
            self.holder = None;
        }
    }

    pub(super) fn leases(&self, now: Instant) -> BTreeMap<WorkerId, LeaseRecord> {
        let workers =
            self.leases.iter().filter(|(_, lease)| lease.listed && now < lease.expires_at + RECORD_KEPT);
        let workers = workers.map(|(worker, lease)| {
            let record = WorkerRecord {
                worker: worker.clone(),
                incarnation: lease.incarnation.clone(),
                url: lease.url.clone(),
            };
            (
                worker.clone(),
                LeaseRecord {
                    worker: record,
                    remaining: lease.remaining(now),
                    revoked: lease.revoked,
                    term: lease.term,
                },
            )
        });
        workers.collect()
    }

    pub(super) fn load(&self, now: Instant) -> FleetRecord {
        let below = |shard: ShardKey| self.shard_total.is_some_and(|total| shard.slot().0 < total);
        let owners = self.owners.iter().filter(|(shard, _)| below(**shard));
        let written = self.owner_terms.values().chain(self.leases.values().map(|lease| &lease.term));
        FleetRecord {
            term: written.copied().fold(self.term.max(self.fleet_term), Term::max),
            shard_total: self.shard_total,
            workers: self.leases(now),
            owners: owners.map(|(shard, owner)| (*shard, owner.clone())).collect::<BTreeMap<_, _>>(),
            budget: self.budget,
            last_ran_unix_ms: self.last_ran_unix_ms,
            trusted: self.trusted.clone(),
            head_signing: self.head_signing,
            intent: self.intent.clone(),
            invalid: Vec::new(),
        }
    }

    pub(super) fn set_shard_total(&mut self, term: Term, total: u32) -> TermWrite {
        self.fenced(term, |records| records.shard_total = Some(total))
    }

    pub(super) fn save_trusted(&mut self, term: Term, identity: Option<&FleetStoreIdentity>) -> TermWrite {
        self.fenced(term, |records| records.trusted = identity.cloned())
    }

    pub(super) fn save_last_ran(&mut self, term: Term, at_unix_ms: u64) -> TermWrite {
        self.fenced(term, |records| records.last_ran_unix_ms = Some(at_unix_ms))
    }

    pub(super) fn save_head_signing(&mut self, term: Term, signing: HeadSigning) -> TermWrite {
        self.fenced(term, |records| records.head_signing = signing)
    }

    pub(super) fn save_intent(&mut self, term: Term, intent: &str) -> TermWrite {
        self.fenced(term, |records| records.intent = Some(intent.to_owned()))
    }

    pub(super) fn save_notices(&mut self, term: Term, notices: &str) -> TermWrite {
        self.fenced(term, |records| records.notices = Some(notices.to_owned()))
    }

    pub(super) fn notices(&self) -> Option<String> {
        self.notices.clone()
    }

    pub(super) fn save_budget(&mut self, term: Term, budget: BudgetRecord) -> TermWrite {
        self.fenced(term, |records| records.budget = Some(budget))
    }

    fn fenced(&mut self, term: Term, write: impl FnOnce(&mut Self)) -> TermWrite {
        if self.fleet_term > term {
            return TermWrite::StaleTerm;
        }
        self.fleet_term = term;
        write(self);
        TermWrite::Written
    }

    pub(super) fn fence(&mut self, term: Term) -> TermWrite {
        let shards = ShardKey::all(self.shard_total.unwrap_or(0));
        let newer = |written_by: Option<&Term>| written_by.is_some_and(|written_by| *written_by > term);
        if shards.clone().any(|shard| newer(self.owner_terms.get(&shard))) {
            return TermWrite::StaleTerm;
        }
        self.fenced(term, |records| {
            for shard in shards {
                records.owner_terms.insert(shard, term);
            }
        })
    }

    /// The lease of that name, unless it is so old that the store would have dropped its record.
    fn lease(&mut self, worker: &WorkerId, now: Instant) -> Option<&mut Lease> {
        self.leases.retain(|_, lease| now < lease.expires_at + RECORD_KEPT);
        self.leases.get_mut(worker)
    }

    pub(super) fn grant_lease(
        &mut self,
        term: Term,
        worker: &WorkerRecord,
        ttl: Duration,
        now: Instant,
    ) -> LeaseGrant {
        if let Some(lease) = self.lease(&worker.worker, now) {
            if lease.term > term {
                return LeaseGrant::StaleTerm;
            }
            if lease.incarnation == worker.incarnation && lease.revoked {
                return LeaseGrant::Revoked;
            }
            if lease.incarnation != worker.incarnation && !lease.revoked && lease.expires_at > now {
                return LeaseGrant::HeldByOther {
                    incarnation: lease.incarnation.clone(),
                    remaining: lease.remaining(now),
                };
            }
        }
        self.write_lease(worker, ttl, term, now);
        LeaseGrant::Granted
    }

    pub(super) fn renew_lease(
        &mut self,
        worker: &WorkerRecord,
        ttl: Duration,
        in_window: bool,
        now: Instant,
    ) -> LeaseRenewal {
        let mut term = Term(0);
        let mut live = false;
        if let Some(lease) = self.lease(&worker.worker, now) {
            if lease.incarnation != worker.incarnation || lease.revoked {
                return LeaseRenewal::Refused;
            }
            term = lease.term;
            live = lease.expires_at > now;
        }
        if !live && !in_window {
            return LeaseRenewal::Lapsed;
        }
        self.write_lease(worker, ttl, term, now);
        LeaseRenewal::Held(term)
    }

    fn write_lease(&mut self, worker: &WorkerRecord, ttl: Duration, term: Term, now: Instant) {
        let lease = Lease {
            incarnation: worker.incarnation.clone(),
            url: worker.url.clone(),
            expires_at: now + ttl,
            revoked: false,
            listed: true,
            term,
        };
        self.leases.insert(worker.worker.clone(), lease);
    }

    pub(super) fn revoke_lease(
        &mut self,
        term: Term,
        worker: &WorkerId,
        incarnation: &Incarnation,
        even_if_live: bool,
        now: Instant,
    ) -> Revocation {
        let Some(lease) = self.lease(worker, now) else {
            let marker = Lease {
                incarnation: incarnation.clone(),
                url: String::new(),
                expires_at: now,
                revoked: true,
                listed: false,
                term,
            };
            self.leases.insert(worker.clone(), marker);
            return Revocation::Revoked;
        };
        if lease.term > term {
            return Revocation::StaleTerm;
        }
        if lease.incarnation != *incarnation {
            return Revocation::Replaced;
        }
        if !lease.revoked && lease.expires_at > now && !even_if_live {
            return Revocation::StillLive(lease.remaining(now));
        }
        lease.revoked = true;
        lease.expires_at = now;
        lease.term = term;
        Revocation::Revoked
    }

    pub(super) fn forget_worker(&mut self, worker: &WorkerId, incarnation: &Incarnation, now: Instant) {
        match self.lease(worker, now) {
            Some(lease) if lease.incarnation == *incarnation && lease.revoked => lease.listed = false,
            Some(lease) if lease.incarnation == *incarnation => {
                self.leases.remove(worker);
            }
            _ => {}
        }
    }

    pub(super) fn assign(&mut self, term: Term, owner: &OwnerRecord) -> OwnerWrite {
        if self.owner_terms.get(&owner.shard).is_some_and(|written_by| *written_by > term) {
            return OwnerWrite::StaleTerm;
        }
        if let Some(present) = self.owners.get(&owner.shard) {
            let outranked = |epoch: Epoch| epoch > owner.epoch || (epoch == owner.epoch && present != owner);
            if outranked(present.epoch) {
                return OwnerWrite::Outranked(present.epoch);
            }
        }
        self.owners.insert(owner.shard, owner.clone());
        self.owner_terms.insert(owner.shard, term);
        OwnerWrite::Written
    }
}
