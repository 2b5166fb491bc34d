//! What the fleet must not forget: the acting coordinator's term, the workers' leases, each shard's owner and epoch, the
//! identify budget. Beside it the fleet's history, which may lose entries.
//!
//! Owns the records and the compare-and-write rules that fence them. Decides nothing: the crate `fleet` decides, this
//! refuses what is stale. Two stores keep the same contract: [`FleetMemoryStore`] for one process, [`FleetRedisStore`] for many.
//!
//! Every write about a shard carries its [`Epoch`], every write by a coordinator its [`Term`]; a record refuses a lower
//! one. No script touches two Redis Cluster slots, so each record keeps the highest term that wrote it.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use fleet_model::{Epoch, HeadSigning, Incarnation, ShardKey, Term, WorkerId};
use redis_link::RecordError;

mod history;
mod memory;
mod redis;

pub use history::{
    HISTORY_BYTES, HISTORY_ENTRIES, HistoryId, HistoryStore, HistoryText, InvalidHistoryId, StoredHistory,
};
pub use memory::FleetMemoryStore;
pub use redis::{ActingCoordinator, FleetRedisStore, Repair};

/// How long the record of a lease is kept after the lease has ended, revoked or lapsed.
const RECORD_KEPT: Duration = Duration::from_hours(1);

/// How long a silent standby counts as able to take the term. One that stops in order withdraws.
const STANDBY_REMEMBERED: Duration = Duration::from_hours(24);

/// The store's records and rules.
///
/// Every command has a deadline of its own (2 s), and a method fails with [`FleetStoreError`] when one of its commands is late.
/// Methods about all shards take as long as their commands need. Times to live are counted by the store's clock.
#[async_trait]
pub trait FleetStore: HistoryStore {
    /// Which store this is. A changed answer means that it restarted, or that another took over, and may have lost its
    /// last writes.
    async fn identity(&self) -> Result<FleetStoreIdentity, FleetStoreError>;

    /// Takes the term when it is free, or when `holder` holds it already. Each new holder gets a higher number than
    /// any that the store remembers, and `at_least` this one: a caller that gives the wall clock is above the terms that
    /// a wiped store forgot and workers remember. A caller that has to wait is noted as a standby.
    async fn claim_term(
        &self,
        holder: &Incarnation,
        at_least: Term,
        ttl: Duration,
    ) -> Result<TermClaim, FleetStoreError>;

    /// Keeps the term, writing it again if the store lost it. The answer says whether a standby was noted.
    async fn renew_term(
        &self,
        term: Term,
        holder: &Incarnation,
        ttl: Duration,
    ) -> Result<TermRenewal, FleetStoreError>;

    /// Lets the term go, so that the next coordinator need not wait. No error when it is not `holder`'s.
    async fn release_term(&self, term: Term, holder: &Incarnation) -> Result<(), FleetStoreError>;

    /// Removes the note of a standby that stops. Does nothing when another one is noted.
    async fn withdraw_standby(&self, holder: &Incarnation) -> Result<(), FleetStoreError>;

    /// Keeps every older term from writing about the fleet and its shards, as far as there are shards. To be done before
    /// [`FleetStore::load`] at the beginning of a term: what an older coordinator still had on its way is loaded, or refused.
    async fn fence(&self, term: Term) -> Result<TermWrite, FleetStoreError>;

    /// Everything that is written down. Invalid records of workers and shards are left out, and named.
    async fn load(&self) -> Result<FleetRecord, FleetStoreError>;

    /// Looks at the records of the term, the fleet and the workers.
    async fn check(&self) -> Result<StoreCheck, FleetStoreError>;

    /// The workers' leases alone. Invalid records are left out.
    async fn leases(&self) -> Result<BTreeMap<WorkerId, LeaseRecord>, FleetStoreError>;

    /// Writes the shard total down.
    async fn set_shard_total(&self, term: Term, total: u32) -> Result<TermWrite, FleetStoreError>;

    /// Gives a worker its lease at registration, and writes its record.
    async fn grant_lease(
        &self,
        term: Term,
        worker: &WorkerRecord,
        ttl: Duration,
    ) -> Result<LeaseGrant, FleetStoreError>;

    /// Renews a lease on the worker's own behalf. `in_window`: the worker knows by its own clock that the lease has not
    /// lapsed; only then is a missing or lapsed record written again.
    async fn renew_lease(
        &self,
        worker: &WorkerRecord,
        ttl: Duration,
        in_window: bool,
    ) -> Result<LeaseRenewal, FleetStoreError>;

    /// Ends a lease so that it can't be renewed: if it has lapsed (or is missing), or in any case with `even_if_live`.
    async fn revoke_lease(
        &self,
        term: Term,
        worker: &WorkerId,
        incarnation: &Incarnation,
        even_if_live: bool,
    ) -> Result<Revocation, FleetStoreError>;

    /// Removes the record of a worker that left. No error when it is gone, or is another incarnation's.
    async fn forget_worker(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Result<(), FleetStoreError>;

    /// Writes owners down, each only above the epoch that is written already (or at it, for the same owner: writing
    /// twice is no error). The answer has one entry for each assignment, in order.
    async fn assign(&self, term: Term, owners: &[OwnerRecord]) -> Result<Vec<OwnerWrite>, FleetStoreError>;

    /// Writes down when shards last ran, in milliseconds since the Unix epoch.
    async fn save_last_ran(&self, term: Term, at_unix_ms: u64) -> Result<TermWrite, FleetStoreError>;

    /// Writes down which store the acting coordinator trusts: it has lost no write since a lease's time to live. `None`: it trusts none.
    async fn save_trusted(
        &self,
        term: Term,
        identity: Option<&FleetStoreIdentity>,
    ) -> Result<TermWrite, FleetStoreError>;

    /// Writes down how the heads of checkpoints are signed.
    async fn save_head_signing(&self, term: Term, signing: HeadSigning)
    -> Result<TermWrite, FleetStoreError>;

    /// Writes down what operators want. The text is the coordinator's own.
    async fn save_intent(&self, term: Term, intent: &str) -> Result<TermWrite, FleetStoreError>;

    /// Writes down which problems were sent to the webhook. The text is the coordinator's own.
    async fn save_notices(&self, term: Term, notices: &str) -> Result<TermWrite, FleetStoreError>;

    /// Returns what [`FleetStore::save_notices`] wrote.
    async fn load_notices(&self) -> Result<Option<String>, FleetStoreError>;

    /// Writes the identify budget down.
    async fn save_budget(&self, term: Term, budget: BudgetRecord) -> Result<TermWrite, FleetStoreError>;
}

/// What tells one life of a store from the next: Redis's run id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetStoreIdentity(pub String);

/// One worker as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRecord {
    /// Its name.
    pub worker: WorkerId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Where its gRPC server answers.
    pub url: String,
}

/// One worker's record and what is left of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The worker.
    pub worker: WorkerRecord,
    /// How long the lease still lasts; zero when it has lapsed.
    pub remaining: Duration,
    /// It was revoked.
    pub revoked: bool,
    /// The highest term that has written the record.
    pub term: Term,
}

/// What [`FleetStore::check`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreCheck {
    /// Keys of invalid records (the first few).
    pub invalid: Vec<String>,
    /// The highest term in these records.
    pub term: Term,
    /// The shard total, if it is written down.
    pub shard_total: Option<u32>,
}

/// The owner of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// The shard.
    pub shard: ShardKey,
    /// The worker that it is assigned to.
    pub worker: WorkerId,
    /// That worker's life.
    pub incarnation: Incarnation,
    /// The epoch of the assignment.
    pub epoch: Epoch,
}

/// The day's identify budget. Times are wall-clock, so that the next coordinator can use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetRecord {
    /// IDENTIFYs a day.
    pub total: u32,
    /// IDENTIFYs left.
    pub remaining: u32,
    /// When Discord resets the count, in milliseconds since the Unix epoch.
    pub resets_at_unix_ms: u64,
}

/// Everything that is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetRecord {
    /// The highest term in any record; 0 in a store that no coordinator has used. The next coordinator's term has to be above it.
    pub term: Term,
    /// The shard total, once settled.
    pub shard_total: Option<u32>,
    /// The workers, by name.
    pub workers: BTreeMap<WorkerId, LeaseRecord>,
    /// The owners, by shard, for the shards below the total.
    pub owners: BTreeMap<ShardKey, OwnerRecord>,
    /// The identify budget.
    pub budget: Option<BudgetRecord>,
    /// When shards last ran, as far as that was written down, in milliseconds since the Unix epoch.
    pub last_ran_unix_ms: Option<u64>,
    /// The identity of the store that the last coordinator trusted.
    pub trusted: Option<FleetStoreIdentity>,
    /// How the heads of checkpoints are signed.
    pub head_signing: HeadSigning,
    /// What operators want, as it was given.
    pub intent: Option<String>,
    /// Keys of records that were left out because they are invalid (the first few).
    pub invalid: Vec<String>,
}

/// The answer to a wish for the term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TermClaim {
    /// It is the caller's.
    Acting(Term),
    /// Another coordinator has it for so much longer, unless it renews.
    HeldBy {
        /// Its term.
        term: Term,
        /// Who.
        holder: Incarnation,
        /// What is left of its hold.
        remaining: Duration,
    },
}

/// The answer to a renewal of the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermRenewal {
    /// Still the caller's.
    Held {
        /// Another coordinator waits for the term, or has within the last day and did not withdraw.
        standby: bool,
    },
    /// A higher term was handed out.
    Lost {
        /// That term.
        to: Term,
    },
}

/// The answer to a write that only the acting coordinator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermWrite {
    /// Done.
    Written,
    /// Refused: a higher term has written here.
    StaleTerm,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseGrant {
    /// The lease runs.
    Granted,
    /// This incarnation's lease was revoked before; it never gets another.
    Revoked,
    /// Another incarnation holds the name for so much longer.
    HeldByOther {
        /// Whose.
        incarnation: Incarnation,
        /// What is left of it.
        remaining: Duration,
    },
    /// Refused: a higher term has written here.
    StaleTerm,
}

/// The answer to a worker's own renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRenewal {
    /// The lease runs on. The highest term that has written to this record comes along.
    Held(Term),
    /// It was revoked, or another incarnation has the name: over, at once.
    Refused,
    /// It lapsed or is missing and the worker is out of its own window: register again.
    Lapsed,
}

/// The answer to a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// That incarnation's lease can't be renewed from here on.
    Revoked,
    /// It lives for so much longer.
    StillLive(Duration),
    /// The name is another incarnation's by now, so the one asked about is over.
    Replaced,
    /// Refused: a higher term has written here.
    StaleTerm,
}

/// The answer to one assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerWrite {
    /// Written down.
    Written,
    /// Refused: the shard has this higher epoch, or this same epoch under another owner.
    Outranked(Epoch),
    /// Refused: a higher term has written here.
    StaleTerm,
    /// Not written: the shard's record, at this key, is invalid. The others of the same call are written.
    Invalid(String),
}

/// The store can't say.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FleetStoreError {
    /// It did not answer, or not in time.
    #[error("the fleet store is away: {0}")]
    Away(String),
    /// The record at this key has another type, can't be read, or holds numbers that this program would not write.
    #[error("the fleet store holds an invalid record at {0}")]
    InvalidRecord(String),
}

impl From<RecordError> for FleetStoreError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Unexpected(key) => Self::InvalidRecord(key),
            RecordError::Away(why) => Self::Away(why),
        }
    }
}
