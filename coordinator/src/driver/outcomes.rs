//! What runs beside the driver and comes back: store calls and REST calls.

use std::{net::SocketAddr, time::Duration};

use fleet_model::{Incarnation, WorkerId};
use fleet_store::{Fenced, FleetStore, OwnerRecord, Revocation, StoreError, StoreIdentity, Written};

use super::Driver;
use crate::{
    discord::{DiscordError, GatewayInfo},
    rpc::dial_back,
};
use fleet::{Cause, Finding, LeaseVerdict, Note, Ownership, identify::Grant};

/// Something that was started has ended.
pub(crate) enum Outcome {
    Owners(Vec<Ownership>, Result<Vec<Written>, StoreError>),
    Lease(WorkerId, Incarnation, Cause, Result<Revocation, StoreError>),
    Leases(Result<Vec<(WorkerId, Incarnation)>, StoreError>),
    Looked(WorkerId, Incarnation, Duration, Finding),
    ExitProbed(WorkerId, Incarnation, Finding),
    Granted(Vec<Grant>, Result<Fenced, StoreError>),
    Store(Result<StoreIdentity, StoreError>),
    /// The keys of invalid records.
    Checked(Vec<String>),
    Budget(Result<GatewayInfo, DiscordError>),
    Intent(Result<Fenced, StoreError>),
    /// A write whose failure is made good by the next probe of the store.
    Done(Result<Fenced, StoreError>),
}

impl Driver<'_> {
    /// Starts something whose outcome comes back. Each store call has its own deadline.
    pub(super) fn start(&self, work: impl Future<Output = Outcome> + Send + 'static) {
        let outcomes = self.outcomes.clone();
        self.started.spawn(async move {
            // No receiver: the term is over.
            let _ = outcomes.send(work.await).await;
        });
    }

    /// The store's answer to a ping.
    pub(super) fn probe(&mut self) {
        if !self.store_asked {
            self.store_asked = true;
            let store = self.shell.store.clone();
            self.start(async move { Outcome::Store(store.identity().await) });
        }
    }

    /// Looks for invalid records. A store that is away is noticed by its probe.
    pub(super) fn check_store(&self) {
        let store = self.shell.store.clone();
        self.start(async move { Outcome::Checked(store.check().await.unwrap_or_default()) });
    }

    pub(super) fn write_owners(&self, owners: Vec<Ownership>) {
        let (store, term) = (self.shell.store.clone(), self.term);
        let records: Vec<OwnerRecord> = owners
            .iter()
            .map(|owner| OwnerRecord {
                shard: owner.shard,
                worker: owner.worker.clone(),
                incarnation: owner.incarnation.clone(),
                epoch: owner.epoch,
            })
            .collect();
        self.start(async move {
            let written = store.assign(term, &records).await;
            fail::fail_point!("coordinator_owners_written");
            Outcome::Owners(owners, written)
        });
    }

    pub(super) fn write_total(&self, total: u32) {
        let (store, term) = (self.shell.store.clone(), self.term);
        self.start(async move { Outcome::Done(store.set_shard_total(term, total).await) });
    }

    pub(super) fn write_last_ran(&self, at_unix_ms: u64) {
        let (store, term) = (self.shell.store.clone(), self.term);
        self.start(async move { Outcome::Done(store.save_last_ran(term, at_unix_ms).await) });
    }

    pub(super) fn look(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
        address: SocketAddr,
        broke_at: Duration,
    ) {
        self.start(async move {
            let finding = dial_back::look(address, &worker, &incarnation).await;
            Outcome::Looked(worker, incarnation, broke_at, finding)
        });
    }

    pub(super) fn revoke(&self, worker: WorkerId, incarnation: Incarnation, cause: Cause) {
        let (store, term) = (self.shell.store.clone(), self.term);
        let known = self.store_identity.clone();
        self.start(async move {
            // A store that restarted since the last look has lost leases that run.
            if let Err(error) = same_store(&*store, &known).await {
                return Outcome::Lease(worker, incarnation, cause, Err(error));
            }
            let even_if_live = cause == Cause::Evidence;
            let mut revocation = store.revoke_lease(term, &worker, &incarnation, even_if_live).await;
            fail::fail_point!("coordinator_lease_revoked");
            // One that restarted in between has found no lease, and says nothing of a worker that was only silent.
            if !even_if_live && let Err(error) = same_store(&*store, &known).await {
                revocation = Err(error);
            }
            Outcome::Lease(worker, incarnation, cause, revocation)
        });
    }

    pub(super) fn find_leases(&self) {
        let (store, known) = (self.shell.store.clone(), self.store_identity.clone());
        self.start(async move {
            let leases = async {
                let leases = store.leases().await?;
                // Asked last: had it restarted before, leases would be missing.
                same_store(&*store, &known).await?;
                let live = leases.into_values().filter(|lease| !lease.revoked && !lease.remaining.is_zero());
                Ok(live.map(|lease| (lease.worker.worker, lease.worker.incarnation)).collect())
            };
            Outcome::Leases(leases.await)
        });
    }

    pub(super) fn forget(&self, worker: WorkerId, incarnation: Incarnation) {
        let store = self.shell.store.clone();
        self.start(async move {
            let forgotten = store.forget_worker(&worker, &incarnation).await;
            Outcome::Done(forgotten.map(|()| Fenced::Written))
        });
    }

    /// Applies an outcome.
    pub(super) fn on_outcome(&mut self, outcome: Outcome) {
        let now = self.shell.now();
        match outcome {
            Outcome::Owners(owners, Ok(written)) => {
                if written.contains(&Written::StaleTerm) {
                    self.ask_for_the_term();
                }
                let invalid = owners.iter().zip(&written).filter_map(|(owner, written)| match written {
                    Written::Invalid(key) => Some((owner.shard, key.clone())),
                    _ => None,
                });
                let invalid: Vec<_> = invalid.collect();
                // Records are independent: one written under a higher term says nothing about the others.
                let outcomes = owners.iter().zip(written).map(|(owner, written)| match written {
                    Written::Yes => (owner, Ok(())),
                    Written::Outranked(epoch) => (owner, Err(Some(epoch))),
                    Written::StaleTerm | Written::Invalid(_) => (owner, Err(None)),
                });
                self.fleet.written(outcomes, now);
                self.name_invalid(invalid.iter().map(|(_, key)| key));
                for (shard, _) in invalid {
                    self.fleet.record_is_invalid(shard, now);
                }
            }
            Outcome::Owners(owners, Err(error)) => {
                self.store_failed(&error);
                self.fleet.written(owners.iter().map(|owner| (owner, Err(None))), now);
            }
            Outcome::Lease(worker, incarnation, cause, revocation) => {
                let verdict = match revocation {
                    Ok(Revocation::Revoked | Revocation::Replaced) => LeaseVerdict::Revoked,
                    Ok(Revocation::StillLive(remaining)) => LeaseVerdict::Live(remaining),
                    Ok(Revocation::StaleTerm) => {
                        self.ask_for_the_term();
                        LeaseVerdict::Unknown
                    }
                    Err(error) => {
                        self.store_failed(&error);
                        LeaseVerdict::Unknown
                    }
                };
                if verdict == LeaseVerdict::Revoked && self.fleet.knows(&worker, &incarnation) {
                    // It may be back meanwhile: it hears at once that it runs nothing any more.
                    self.refuse_lease(&worker, "it was revoked".to_owned());
                }
                self.fleet.lease_verdict(&worker, &incarnation, cause, verdict, now);
                self.exits.decided(&worker, &incarnation, verdict);
            }
            Outcome::Leases(leases) => {
                if let Err(error) = &leases {
                    self.store_failed(error);
                }
                self.fleet.leases_found(leases.ok(), now);
            }
            Outcome::Looked(worker, incarnation, broke_at, finding) => {
                self.note(&Note::Looked { worker: worker.clone(), finding });
                self.fleet.looked(&worker, &incarnation, broke_at, finding, now);
            }
            Outcome::ExitProbed(worker, incarnation, finding) => {
                self.exit_probed(worker, incarnation, finding, now);
            }
            Outcome::Granted(grants, written) => {
                if let Err(error) = &written {
                    tracing::warn!(%error, "no permit can be given: it can't be written down as spent");
                    self.store_failed(error);
                }
                if matches!(written, Ok(Fenced::StaleTerm)) {
                    self.ask_for_the_term();
                }
                let written = matches!(written, Ok(Fenced::Written));
                self.send_permits(grants, written);
            }
            Outcome::Store(identity) => self.store_said(identity),
            Outcome::Checked(invalid) => self.name_invalid(&invalid),
            Outcome::Budget(info) => self.discord_answered(info, now),
            Outcome::Intent(written) => {
                self.intent_came_back(matches!(written, Ok(Fenced::Written)));
                self.on_outcome(Outcome::Done(written));
            }
            Outcome::Done(Ok(Fenced::StaleTerm)) => self.ask_for_the_term(),
            Outcome::Done(Ok(Fenced::Written)) => {}
            Outcome::Done(Err(error)) => self.store_failed(&error),
        }
    }

    fn store_said(&mut self, identity: Result<StoreIdentity, StoreError>) {
        self.store_asked = false;
        // A store that answers and does not renew the term takes no writes.
        let identity = match self.tenure.failure() {
            Some(error @ StoreError::Away(_)) => Err(error),
            _ => identity,
        };
        match identity {
            Ok(identity) => {
                let same = self.store_identity == identity;
                if !same {
                    tracing::warn!("the fleet store has restarted: telling it again what runs");
                }
                self.store_identity = identity;
                self.shell.metrics.set_store_up(true);
                // While the term is unconfirmed, nothing is written.
                if self.may_act {
                    self.fleet.store_answers(same, self.shell.now());
                }
            }
            Err(error) => self.store_failed(&error),
        }
    }

    fn store_failed(&mut self, error: &StoreError) {
        // One invalid record says nothing of the others.
        if let StoreError::Alien(key) = error {
            return self.name_invalid([key]);
        }
        if self.shell.metrics.set_store_up(false) {
            tracing::warn!(%error, "the fleet store is away: shards keep running, none can move");
        }
        self.fleet.store_is_away();
        self.dirty = true;
    }

    /// A record was written under a higher term; the renewal will tell whether another coordinator acts.
    fn ask_for_the_term(&self) {
        tracing::warn!(term = %self.term, "record of a higher term in the fleet store; renewing our own");
        self.tenure.ask();
    }
}

async fn same_store(store: &dyn FleetStore, known: &StoreIdentity) -> Result<(), StoreError> {
    if store.identity().await? == *known {
        return Ok(());
    }
    Err(StoreError::Away("it has just restarted".to_owned()))
}
