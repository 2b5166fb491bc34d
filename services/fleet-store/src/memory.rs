//! The store of one process: for `altergolden dev` and for tests.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fleet_model::{Incarnation, Term, WorkerId};
use tokio::time::Instant;

use crate::{
    BudgetRecord, Fenced, FleetRecord, FleetStore, LeaseGrant, LeaseRecord, LeaseRenewal, OwnerRecord,
    Revocation, StoreError, StoreIdentity, TermClaim, TermRenewal, WorkerRecord, Written,
};

mod records;

use records::Records;

/// A store in this process's memory. Clones share the records, which end with the last of them. Its clock is tokio's, so a
/// test may pause it.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    identity: StoreIdentity,
    records: Arc<Mutex<Records>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let identity = StoreIdentity(format!("memory-{:016x}", RandomState::new().hash_one(Instant::now())));
        Self { identity, records: Arc::default() }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Each rule writes in one go after its checks, so the records are whole even if a holder panicked.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl FleetStore for MemoryStore {
    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(self.identity.clone())
    }

    async fn claim_term(
        &self,
        holder: &Incarnation,
        at_least: Term,
        ttl: Duration,
    ) -> Result<TermClaim, StoreError> {
        Ok(self.records().claim_term(holder, at_least, ttl, Instant::now()))
    }

    async fn renew_term(
        &self,
        term: Term,
        holder: &Incarnation,
        ttl: Duration,
    ) -> Result<TermRenewal, StoreError> {
        Ok(self.records().renew_term(term, holder, ttl, Instant::now()))
    }

    async fn release_term(&self, term: Term, holder: &Incarnation) -> Result<(), StoreError> {
        self.records().release_term(term, holder);
        Ok(())
    }

    async fn withdraw_standby(&self, holder: &Incarnation) -> Result<(), StoreError> {
        self.records().withdraw_standby(holder);
        Ok(())
    }

    async fn fence(&self, term: Term) -> Result<Fenced, StoreError> {
        Ok(self.records().fence(term))
    }

    async fn load(&self) -> Result<FleetRecord, StoreError> {
        Ok(self.records().load(Instant::now()))
    }

    async fn check(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn leases(&self) -> Result<BTreeMap<WorkerId, LeaseRecord>, StoreError> {
        Ok(self.records().leases(Instant::now()))
    }

    async fn set_shard_total(&self, term: Term, total: u32) -> Result<Fenced, StoreError> {
        Ok(self.records().set_shard_total(term, total))
    }

    async fn grant_lease(
        &self,
        term: Term,
        worker: &WorkerRecord,
        ttl: Duration,
    ) -> Result<LeaseGrant, StoreError> {
        Ok(self.records().grant_lease(term, worker, ttl, Instant::now()))
    }

    async fn renew_lease(
        &self,
        worker: &WorkerRecord,
        ttl: Duration,
        in_window: bool,
    ) -> Result<LeaseRenewal, StoreError> {
        Ok(self.records().renew_lease(worker, ttl, in_window, Instant::now()))
    }

    async fn revoke_lease(
        &self,
        term: Term,
        worker: &WorkerId,
        incarnation: &Incarnation,
        even_if_live: bool,
    ) -> Result<Revocation, StoreError> {
        Ok(self.records().revoke_lease(term, worker, incarnation, even_if_live, Instant::now()))
    }

    async fn forget_worker(&self, worker: &WorkerId, incarnation: &Incarnation) -> Result<(), StoreError> {
        self.records().forget_worker(worker, incarnation, Instant::now());
        Ok(())
    }

    async fn assign(&self, term: Term, owners: &[OwnerRecord]) -> Result<Vec<Written>, StoreError> {
        let mut records = self.records();
        Ok(owners.iter().map(|owner| records.assign(term, owner)).collect())
    }

    async fn save_last_ran(&self, term: Term, at_unix_ms: u64) -> Result<Fenced, StoreError> {
        Ok(self.records().save_last_ran(term, at_unix_ms))
    }

    async fn save_intent(&self, term: Term, intent: &str) -> Result<Fenced, StoreError> {
        Ok(self.records().save_intent(term, intent))
    }

    async fn save_budget(&self, term: Term, budget: BudgetRecord) -> Result<Fenced, StoreError> {
        Ok(self.records().save_budget(term, budget))
    }
}
