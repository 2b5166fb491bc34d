//! The store of one process: for `altergolden dev` and for tests.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use fleet_model::{HeadSigning, Incarnation, Term, WorkerId};
use tokio::time::Instant;

use crate::{
    BudgetRecord, FleetRecord, FleetStore, FleetStoreError, FleetStoreIdentity, LeaseGrant, LeaseRecord,
    LeaseRenewal, OwnerRecord, OwnerWrite, Revocation, StoreCheck, TermClaim, TermRenewal, TermWrite,
    WorkerRecord,
};

mod history;
mod records;

use history::History;
use records::Records;

/// A store in this process's memory. Clones share the records, which end with the last of them. Its clock is tokio's, so a
/// test may pause it.
#[derive(Clone, Debug)]
pub struct FleetMemoryStore {
    identity: FleetStoreIdentity,
    records: Arc<Mutex<Records>>,
    history: Arc<Mutex<History>>,
}

impl FleetMemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let identity =
            FleetStoreIdentity(format!("memory-{:016x}", RandomState::new().hash_one(Instant::now())));
        Self { identity, records: Arc::default(), history: Arc::default() }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Each rule writes in one go after its checks, so the records are whole even if a holder panicked.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FleetMemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl FleetStore for FleetMemoryStore {
    async fn identity(&self) -> Result<FleetStoreIdentity, FleetStoreError> {
        Ok(self.identity.clone())
    }

    async fn claim_term(
        &self,
        holder: &Incarnation,
        at_least: Term,
        ttl: Duration,
    ) -> Result<TermClaim, FleetStoreError> {
        Ok(self.records().claim_term(holder, at_least, ttl, Instant::now()))
    }

    async fn renew_term(
        &self,
        term: Term,
        holder: &Incarnation,
        ttl: Duration,
    ) -> Result<TermRenewal, FleetStoreError> {
        Ok(self.records().renew_term(term, holder, ttl, Instant::now()))
    }

    async fn release_term(&self, term: Term, holder: &Incarnation) -> Result<(), FleetStoreError> {
        self.records().release_term(term, holder);
        Ok(())
    }

    async fn withdraw_standby(&self, holder: &Incarnation) -> Result<(), FleetStoreError> {
        self.records().withdraw_standby(holder);
        Ok(())
    }

    async fn fence(&self, term: Term) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().fence(term))
    }

    async fn load(&self) -> Result<FleetRecord, FleetStoreError> {
        Ok(self.records().load(Instant::now()))
    }

    async fn check(&self) -> Result<StoreCheck, FleetStoreError> {
        let FleetRecord { term, shard_total, .. } = self.records().load(Instant::now());
        Ok(StoreCheck { invalid: Vec::new(), term, shard_total })
    }

    async fn leases(&self) -> Result<BTreeMap<WorkerId, LeaseRecord>, FleetStoreError> {
        Ok(self.records().leases(Instant::now()))
    }

    async fn set_shard_total(&self, term: Term, total: u32) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().set_shard_total(term, total))
    }

    async fn grant_lease(
        &self,
        term: Term,
        worker: &WorkerRecord,
        ttl: Duration,
    ) -> Result<LeaseGrant, FleetStoreError> {
        Ok(self.records().grant_lease(term, worker, ttl, Instant::now()))
    }

    async fn renew_lease(
        &self,
        worker: &WorkerRecord,
        ttl: Duration,
        in_window: bool,
    ) -> Result<LeaseRenewal, FleetStoreError> {
        Ok(self.records().renew_lease(worker, ttl, in_window, Instant::now()))
    }

    async fn revoke_lease(
        &self,
        term: Term,
        worker: &WorkerId,
        incarnation: &Incarnation,
        even_if_live: bool,
    ) -> Result<Revocation, FleetStoreError> {
        Ok(self.records().revoke_lease(term, worker, incarnation, even_if_live, Instant::now()))
    }

    async fn forget_worker(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Result<(), FleetStoreError> {
        self.records().forget_worker(worker, incarnation, Instant::now());
        Ok(())
    }

    async fn assign(&self, term: Term, owners: &[OwnerRecord]) -> Result<Vec<OwnerWrite>, FleetStoreError> {
        let mut records = self.records();
        Ok(owners.iter().map(|owner| records.assign(term, owner)).collect())
    }

    async fn save_trusted(
        &self,
        term: Term,
        identity: Option<&FleetStoreIdentity>,
    ) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_trusted(term, identity))
    }

    async fn save_last_ran(&self, term: Term, at_unix_ms: u64) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_last_ran(term, at_unix_ms))
    }

    async fn save_head_signing(
        &self,
        term: Term,
        signing: HeadSigning,
    ) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_head_signing(term, signing))
    }

    async fn save_intent(&self, term: Term, intent: &str) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_intent(term, intent))
    }

    async fn save_notices(&self, term: Term, notices: &str) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_notices(term, notices))
    }

    async fn load_notices(&self) -> Result<Option<String>, FleetStoreError> {
        Ok(self.records().notices())
    }

    async fn save_budget(&self, term: Term, budget: BudgetRecord) -> Result<TermWrite, FleetStoreError> {
        Ok(self.records().save_budget(term, budget))
    }
}
