//! Calls to the store, to workers and to Discord that run beside the driver, and their outcomes.

use std::{net::SocketAddr, time::Duration};

use fleet_model::{HeadSigning, Incarnation, WorkerId};
use fleet_store::{
    FleetStore, FleetStoreError, FleetStoreIdentity, OwnerRecord, OwnerWrite, Revocation, StoreCheck,
    TermWrite,
};

use process::life;

use super::Driver;
use crate::{
    dial_back,
    discord::{DiscordError, GatewayInfo},
};
use fleet::{Finding, LeaseVerdict, Note, Now, Ownership, RevocationCause, identify::Grant};

/// The outcome of a call that the driver started.
pub(crate) enum DriverOutcome {
    Owners(Vec<Ownership>, Result<Vec<OwnerWrite>, FleetStoreError>),
    Lease(WorkerId, Incarnation, RevocationCause, Result<Revocation, FleetStoreError>),
    Leases(Result<Vec<(WorkerId, Incarnation)>, FleetStoreError>),
    Probed(WorkerId, Incarnation, Duration, Finding),
    ExitProbed(WorkerId, Incarnation, Finding),
    Granted(Vec<Grant>, Result<TermWrite, FleetStoreError>),
    Store(Result<FleetStoreIdentity, FleetStoreError>),
    Checked(Result<StoreCheck, FleetStoreError>),
    Budget(Result<GatewayInfo, DiscordError>),
    Intent(Result<TermWrite, FleetStoreError>),
    /// A write that is repeated after the next probe of the store if it fails.
    Done(Result<TermWrite, FleetStoreError>),
}

impl Driver<'_> {
    /// Starts a call whose outcome comes back. Each store call has its own deadline.
    pub(super) fn start(&self, work: impl Future<Output = DriverOutcome> + Send + 'static) {
        let outcomes = self.calls.outcomes.clone();
        self.calls.tasks.spawn(async move {
            // No receiver: the term is over.
            let _ = outcomes.send(work.await).await;
        });
    }

    /// Asks the store for its identity, unless a question is under way.
    pub(super) fn probe_store(&mut self) {
        if !self.store.asked {
            self.store.asked = true;
            let store = self.shell.store.clone();
            self.start(async move { DriverOutcome::Store(store.identity().await) });
        }
    }

    /// Looks for invalid and missing records.
    pub(super) fn check_store(&self) {
        let store = self.shell.store.clone();
        self.start(async move { DriverOutcome::Checked(store.check().await) });
    }

    pub(super) fn write_owners(&self, owners: Vec<Ownership>) {
        let (store, term) = (self.shell.store.clone(), self.term.number);
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
            DriverOutcome::Owners(owners, written)
        });
    }

    pub(super) fn write_total(&self, total: u32) {
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move { DriverOutcome::Done(store.set_shard_total(term, total).await) });
    }

    /// Writes down whether the store is trusted, when that has changed or a write may have failed: see [`fleet::Recovered::is_whole`].
    pub(super) fn save_trust(&mut self, now: Now) {
        if !self.term.may_act || !self.fleet.store_is_up() {
            self.store.saved_trust = None;
            return;
        }
        let is_trusted = self.fleet.store_is_trusted(now);
        if self.store.saved_trust.replace(is_trusted) == Some(is_trusted) {
            return;
        }
        let identity = is_trusted.then(|| self.store.identity.clone());
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move { DriverOutcome::Done(store.save_trusted(term, identity.as_ref()).await) });
    }

    /// Gives up recovered workers whose processes ran on this host and have ended.
    pub(super) fn give_up_gone_workers(&mut self) {
        let now = self.shell.now();
        let gone = self.fleet.unheard_workers(now).filter(|(_, incarnation)| life::is_gone(incarnation));
        let gone: Vec<_> = gone.map(|(worker, incarnation)| (worker.clone(), incarnation.clone())).collect();
        for (worker, incarnation) in gone {
            match self.fleet.accept_exit(&worker, Some(&incarnation), now) {
                Ok(_) => tracing::warn!(worker.id = %worker, "the worker's process on this host has ended"),
                Err(why) => {
                    tracing::debug!(worker.id = %worker, %why, "the worker's process has ended; its lease decides");
                }
            }
        }
    }

    pub(super) fn write_last_ran(&self, at_unix_ms: u64) {
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move { DriverOutcome::Done(store.save_last_ran(term, at_unix_ms).await) });
    }

    pub(super) fn write_head_signing(&self, signing: HeadSigning) {
        let (store, term) = (self.shell.store.clone(), self.term.number);
        self.start(async move { DriverOutcome::Done(store.save_head_signing(term, signing).await) });
    }

    pub(super) fn probe_worker(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
        address: SocketAddr,
        broke_at: Duration,
    ) {
        let scheme = self.fleet.probe_target(&worker).map_or("http", |(_, url)| dial_back::scheme(url));
        let credentials = self.shell.credentials.clone();
        self.start(async move {
            let finding = dial_back::probe(address, scheme, &worker, &incarnation, &credentials).await;
            DriverOutcome::Probed(worker, incarnation, broke_at, finding)
        });
    }

    pub(super) fn revoke(&self, worker: WorkerId, incarnation: Incarnation, cause: RevocationCause) {
        let (store, term) = (self.shell.store.clone(), self.term.number);
        let known = self.store.identity.clone();
        self.start(async move {
            // A store that restarted since the last probe has lost live leases.
            if let Err(error) = same_store(&*store, &known).await {
                return DriverOutcome::Lease(worker, incarnation, cause, Err(error));
            }
            let even_if_live = cause == RevocationCause::Evidence;
            let mut revocation = store.revoke_lease(term, &worker, &incarnation, even_if_live).await;
            fail::fail_point!("coordinator_lease_revoked");
            // A store that restarted in between found no lease, which shows nothing about a worker that was only silent.
            if !even_if_live && let Err(error) = same_store(&*store, &known).await {
                revocation = Err(error);
            }
            DriverOutcome::Lease(worker, incarnation, cause, revocation)
        });
    }

    pub(super) fn find_leases(&self) {
        let (store, known) = (self.shell.store.clone(), self.store.identity.clone());
        self.start(async move {
            let leases = async {
                let leases = store.leases().await?;
                // Asked last: had it restarted before, leases would be missing.
                same_store(&*store, &known).await?;
                let live = leases.into_values().filter(|lease| !lease.revoked && !lease.remaining.is_zero());
                Ok(live.map(|lease| (lease.worker.worker, lease.worker.incarnation)).collect())
            };
            DriverOutcome::Leases(leases.await)
        });
    }

    pub(super) fn forget(&self, worker: WorkerId, incarnation: Incarnation) {
        let store = self.shell.store.clone();
        self.start(async move {
            let forgotten = store.forget_worker(&worker, &incarnation).await;
            DriverOutcome::Done(forgotten.map(|()| TermWrite::Written))
        });
    }

    /// Applies an outcome.
    pub(super) fn on_outcome(&mut self, outcome: DriverOutcome) {
        let now = self.shell.now();
        match outcome {
            DriverOutcome::Owners(owners, Ok(written)) => {
                if written.contains(&OwnerWrite::StaleTerm) {
                    self.ask_for_the_term();
                }
                let invalid = owners.iter().zip(&written).filter_map(|(owner, written)| match written {
                    OwnerWrite::Invalid(key) => Some((owner.shard, key.clone())),
                    _ => None,
                });
                let invalid: Vec<_> = invalid.collect();
                // Records are independent: one written under a higher term says nothing about the others.
                let outcomes = owners.iter().zip(written).map(|(owner, written)| match written {
                    OwnerWrite::Written => (owner, Ok(())),
                    OwnerWrite::Outranked(epoch) => (owner, Err(Some(epoch))),
                    OwnerWrite::StaleTerm | OwnerWrite::Invalid(_) => (owner, Err(None)),
                });
                self.fleet.on_written(outcomes, now);
                self.name_invalid(invalid.iter().map(|(_, key)| key));
                for (shard, _) in invalid {
                    self.fleet.delay_after_invalid_record(shard, now);
                }
            }
            DriverOutcome::Owners(owners, Err(error)) => {
                self.store_failed(&error);
                self.fleet.on_written(owners.iter().map(|owner| (owner, Err(None))), now);
            }
            DriverOutcome::Lease(worker, incarnation, cause, revocation) => {
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
                self.fleet.on_lease_verdict(&worker, &incarnation, cause, verdict, now);
                self.exits.decided(&worker, &incarnation, verdict);
            }
            DriverOutcome::Leases(leases) => {
                if let Err(error) = &leases {
                    self.store_failed(error);
                }
                self.fleet.on_leases_found(leases.ok(), now);
            }
            DriverOutcome::Probed(worker, incarnation, broke_at, finding) => {
                self.note(&Note::Probed { worker: worker.clone(), finding });
                self.fleet.on_probe(&worker, &incarnation, broke_at, finding, now);
            }
            DriverOutcome::ExitProbed(worker, incarnation, finding) => {
                self.exit_probed(worker, incarnation, finding, now);
            }
            DriverOutcome::Granted(grants, written) => {
                if let Err(error) = &written {
                    tracing::warn!(%error, "cannot write permits to the store as spent; granting none");
                    self.store_failed(error);
                }
                if matches!(written, Ok(TermWrite::StaleTerm)) {
                    self.ask_for_the_term();
                }
                let written = matches!(written, Ok(TermWrite::Written));
                self.send_permits(grants, written);
            }
            DriverOutcome::Store(identity) => self.on_store_probe(identity),
            DriverOutcome::Checked(Ok(check)) => self.on_store_checked(&check),
            DriverOutcome::Budget(info) => self.discord_answered(info, now),
            DriverOutcome::Intent(written) => {
                self.on_intent_written(matches!(written, Ok(TermWrite::Written)));
                self.on_outcome(DriverOutcome::Done(written));
            }
            DriverOutcome::Done(Ok(TermWrite::StaleTerm)) => self.ask_for_the_term(),
            // A store that is away is noticed by its probe.
            DriverOutcome::Done(Ok(TermWrite::Written)) | DriverOutcome::Checked(Err(_)) => {}
            DriverOutcome::Done(Err(error)) => self.store_failed(&error),
        }
    }

    fn on_store_probe(&mut self, identity: Result<FleetStoreIdentity, FleetStoreError>) {
        self.store.asked = false;
        // A store that answers and does not renew the term takes no writes.
        let identity = match self.term.held.failure() {
            Some(error @ FleetStoreError::Away(_)) => Err(error),
            _ => identity,
        };
        match identity {
            Ok(identity) => {
                let same = self.store.identity == identity;
                if !same {
                    tracing::warn!("fleet store restarted; writing the owners again");
                }
                self.store.identity = identity;
                self.shell.metrics.set_store_up(true);
                // While the term is unconfirmed, nothing is written.
                if self.term.may_act {
                    self.fleet.mark_store_up(same, self.shell.now());
                }
            }
            Err(error) => self.store_failed(&error),
        }
    }

    fn store_failed(&mut self, error: &FleetStoreError) {
        // One invalid record says nothing of the others.
        if let FleetStoreError::InvalidRecord(key) = error {
            return self.name_invalid([key]);
        }
        if self.shell.metrics.set_store_up(false) {
            tracing::warn!(%error, "fleet store is away; shards keep running, none can move");
        }
        self.fleet.mark_store_away();
        self.publishing.dirty = true;
    }

    /// Names invalid records. What was lost with them, or with a record that is gone, is written again.
    fn on_store_checked(&mut self, check: &StoreCheck) {
        if check.term > self.term.number {
            self.ask_for_the_term();
        }
        self.name_invalid(&check.invalid);
        let is_missing =
            !check.invalid.is_empty() || (check.shard_total.is_none() && self.fleet.shard_total().is_some());
        let was_missing = std::mem::replace(&mut self.store.records_missing, is_missing);
        // A total that is being written for the first time is missing in one check.
        let writes = was_missing && check.invalid.is_empty();
        if writes && self.term.may_act {
            tracing::warn!("records of the fleet store were lost; writing them again");
            self.fleet.mark_store_up(false, self.shell.now());
        }
    }

    /// A record was written under a higher term; the renewal will tell whether another coordinator acts.
    fn ask_for_the_term(&self) {
        tracing::warn!(term = %self.term.number, "record of a higher term in the fleet store; renewing our own");
        self.term.held.outranked();
    }
}

async fn same_store(store: &dyn FleetStore, known: &FleetStoreIdentity) -> Result<(), FleetStoreError> {
    if store.identity().await? == *known {
        return Ok(());
    }
    Err(FleetStoreError::Away("it has just restarted".to_owned()))
}
