//! The store that several processes share.
//!
//! Every rule is a script over one key; Redis's clock is the only one. Nothing is cached here.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use fleet_model::{Epoch, HeadSigning, Incarnation, ShardKey, Term, WorkerId};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::cmd;
use redis_link::{KeyPrefix, RecordError, RedisLink, Script, ScriptAnswer};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    BudgetRecord, FleetRecord, FleetStore, FleetStoreError, FleetStoreIdentity, LeaseGrant, LeaseRecord,
    LeaseRenewal, OwnerRecord, OwnerWrite, RECORD_KEPT, Revocation, STANDBY_REMEMBERED, StoreCheck,
    TermClaim, TermRenewal, TermWrite, WorkerRecord,
};

mod history;
mod keys;
mod load;
mod repair;
mod scripts;

use keys::Keys;
use load::readable;
pub use repair::{ActingCoordinator, Repair};

/// Assignments on their way at once.
const ASSIGNMENTS_AT_ONCE: usize = 64;

/// The store over Redis: single, Sentinel or Cluster, from 6.2 on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FleetRedisStore {
    link: RedisLink,
    keys: Keys,
}

impl FleetRedisStore {
    /// A store over this link. All keys carry the prefix, so that several bots can share a Redis.
    pub fn new(link: RedisLink, prefix: KeyPrefix) -> Self {
        Self { link, keys: Keys::new(prefix) }
    }

    /// Runs a script over one record. This process's clock comes last in its arguments.
    async fn run<'a>(
        &self,
        script: &Script,
        key: &'a str,
        args: &[&str],
    ) -> Result<ScriptAnswer<'a>, FleetStoreError> {
        let clock = unix_ms();
        let args = [args, &[clock.as_str()]].concat();
        Ok(self.link.record_script(script, key, &[key], &args).await?)
    }

    /// Holds what takes several commands to the deadline of one.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, FleetStoreError>>,
    ) -> Result<T, FleetStoreError> {
        let deadline = self.link.deadline();
        timeout(deadline, work).await.unwrap_or_else(|_| {
            Err(FleetStoreError::Away(format!("redis was not done within {} ms", deadline.as_millis())))
        })
    }

    async fn list(&self, worker: &WorkerId) -> Result<(), FleetStoreError> {
        let key = self.keys.workers();
        self.link
            .command(cmd("SADD").arg(&key).arg(worker.as_str()))
            .await
            .map_err(|error| RecordError::of(&key, error).into())
    }

    async fn unlist(&self, name: &[u8]) -> Result<(), FleetStoreError> {
        let key = self.keys.workers();
        self.link
            .command(cmd("SREM").arg(&key).arg(name))
            .await
            .map_err(|error| RecordError::of(&key, error).into())
    }

    async fn write_fleet(&self, term: Term, fields: &[(&str, String)]) -> Result<TermWrite, FleetStoreError> {
        let key = self.keys.fleet();
        let term = term.to_string();
        let mut args = vec![term.as_str()];
        args.extend(fields.iter().flat_map(|(name, value)| [*name, value.as_str()]));
        let answer = self.run(&scripts::WRITE_FLEET, &key, &args).await?;
        match answer.verdict() {
            "WRITTEN" => Ok(TermWrite::Written),
            "STALE_TERM" => Ok(TermWrite::StaleTerm),
            _ => Err(answer.unexpected()),
        }
    }

    /// The fleet's record first: from then on its total is no older coordinator's to change.
    async fn fence_all(&self, term: Term) -> Result<TermWrite, FleetStoreError> {
        let fenced = self.write_fleet(term, &[]).await?;
        let total = self.load_fleet().await?.shard_total;
        let shards = ShardKey::all(total.unwrap_or(0)).map(|shard| self.fence_shard(term, shard));
        let shards: Vec<TermWrite> =
            stream::iter(shards).buffer_unordered(ASSIGNMENTS_AT_ONCE).try_collect().await?;
        Ok(if shards.contains(&TermWrite::StaleTerm) { TermWrite::StaleTerm } else { fenced })
    }

    async fn fence_shard(&self, term: Term, shard: ShardKey) -> Result<TermWrite, FleetStoreError> {
        let key = self.keys.shard(shard);
        match self.run(&scripts::FENCE_SHARD, &key, &[&term.to_string()]).await {
            Ok(answer) if answer.verdict() == "STALE_TERM" => Ok(TermWrite::StaleTerm),
            // No term can write an invalid record.
            Ok(_) | Err(FleetStoreError::InvalidRecord(_)) => Ok(TermWrite::Written),
            Err(error) => Err(error),
        }
    }

    async fn assign_one(&self, term: Term, owner: &OwnerRecord) -> Result<OwnerWrite, FleetStoreError> {
        let key = self.keys.shard(owner.shard);
        let (term, epoch) = (term.to_string(), owner.epoch.to_string());
        let args = [term.as_str(), owner.worker.as_str(), owner.incarnation.as_str(), epoch.as_str()];
        let written = async {
            let answer = self.run(&scripts::ASSIGN, &key, &args).await?;
            match answer.verdict() {
                "WRITTEN" => Ok(OwnerWrite::Written),
                "OUTRANKED" => Ok(OwnerWrite::Outranked(Epoch(answer.parse(1)?))),
                "STALE_TERM" => Ok(OwnerWrite::StaleTerm),
                "AHEAD" => Err(clock_ahead()),
                _ => Err(answer.unexpected()),
            }
        };
        // An unexpected record says nothing about the others.
        match written.await {
            Err(FleetStoreError::InvalidRecord(key)) => Ok(OwnerWrite::Invalid(key)),
            written => written,
        }
    }
}

/// The error for a term or an epoch that Redis's clock has not reached.
fn clock_ahead() -> FleetStoreError {
    let why = "the clock of this process is more than a day ahead of Redis's: set both clocks (NTP)";
    FleetStoreError::Away(why.to_owned())
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn unix_ms() -> String {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

#[async_trait]
impl FleetStore for FleetRedisStore {
    async fn identity(&self) -> Result<FleetStoreIdentity, FleetStoreError> {
        let run_id = self.link.run_id().await.map_err(|error| FleetStoreError::Away(error.to_string()))?;
        Ok(FleetStoreIdentity(run_id))
    }

    async fn claim_term(
        &self,
        holder: &Incarnation,
        at_least: Term,
        ttl: Duration,
    ) -> Result<TermClaim, FleetStoreError> {
        let key = self.keys.term();
        let answer = self
            .run(&scripts::CLAIM_TERM, &key, &[holder.as_str(), &millis(ttl), &at_least.to_string()])
            .await?;
        match answer.verdict() {
            "ACTING" => Ok(TermClaim::Acting(Term(answer.parse(1)?))),
            "HELD_BY" => Ok(TermClaim::HeldBy {
                term: Term(answer.parse(1)?),
                holder: answer.parse(2)?,
                remaining: answer.millis(3)?,
            }),
            "AHEAD" => Err(clock_ahead()),
            _ => Err(answer.unexpected()),
        }
    }

    async fn renew_term(
        &self,
        term: Term,
        holder: &Incarnation,
        ttl: Duration,
    ) -> Result<TermRenewal, FleetStoreError> {
        let key = self.keys.term();
        let args = [&term.to_string(), holder.as_str(), &millis(ttl), &millis(STANDBY_REMEMBERED)];
        let answer = self.run(&scripts::RENEW_TERM, &key, &args).await?;
        match answer.verdict() {
            "HELD" => Ok(TermRenewal::Held { standby: answer.text(1)? == "1" }),
            "LOST" => Ok(TermRenewal::Lost { to: Term(answer.parse(1)?) }),
            _ => Err(answer.unexpected()),
        }
    }

    async fn release_term(&self, term: Term, holder: &Incarnation) -> Result<(), FleetStoreError> {
        self.run(&scripts::RELEASE_TERM, &self.keys.term(), &[&term.to_string(), holder.as_str()]).await?;
        Ok(())
    }

    async fn withdraw_standby(&self, holder: &Incarnation) -> Result<(), FleetStoreError> {
        self.run(&scripts::WITHDRAW_STANDBY, &self.keys.term(), &[holder.as_str()]).await?;
        Ok(())
    }

    async fn fence(&self, term: Term) -> Result<TermWrite, FleetStoreError> {
        self.fence_all(term).await
    }

    async fn load(&self) -> Result<FleetRecord, FleetStoreError> {
        self.load_all().await
    }

    async fn check(&self) -> Result<StoreCheck, FleetStoreError> {
        let mut invalid = Vec::new();
        let term = readable(self.load_term().await, &mut invalid)?;
        let fleet = readable(self.load_fleet().await, &mut invalid)?;
        let workers = self.load_workers(&mut invalid).await;
        let workers = readable(workers, &mut invalid)?.unwrap_or_default();
        let shard_total = fleet.as_ref().and_then(|fleet| fleet.shard_total);
        let terms = term.into_iter().chain(fleet.map(|fleet| fleet.term));
        let terms = terms.chain(workers.into_values().map(|lease| lease.term));
        Ok(StoreCheck { invalid, term: terms.max().unwrap_or_default(), shard_total })
    }

    async fn leases(&self) -> Result<BTreeMap<WorkerId, LeaseRecord>, FleetStoreError> {
        self.load_workers(&mut Vec::new()).await
    }

    async fn set_shard_total(&self, term: Term, total: u32) -> Result<TermWrite, FleetStoreError> {
        self.write_fleet(term, &[("total", total.to_string())]).await
    }

    async fn grant_lease(
        &self,
        term: Term,
        worker: &WorkerRecord,
        ttl: Duration,
    ) -> Result<LeaseGrant, FleetStoreError> {
        let key = self.keys.worker(&worker.worker);
        let (term, ttl, kept) = (term.to_string(), millis(ttl), millis(RECORD_KEPT));
        let args = [term.as_str(), worker.incarnation.as_str(), &worker.url, &ttl, &kept];
        self.in_time(async {
            let answer = self.run(&scripts::GRANT_LEASE, &key, &args).await?;
            match answer.verdict() {
                "GRANTED" => {
                    self.list(&worker.worker).await?;
                    Ok(LeaseGrant::Granted)
                }
                "REVOKED" => Ok(LeaseGrant::Revoked),
                "HELD_BY_OTHER" => Ok(LeaseGrant::HeldByOther {
                    incarnation: answer.parse(1)?,
                    remaining: answer.millis(2)?,
                }),
                "STALE_TERM" => Ok(LeaseGrant::StaleTerm),
                _ => Err(answer.unexpected()),
            }
        })
        .await
    }

    async fn renew_lease(
        &self,
        worker: &WorkerRecord,
        ttl: Duration,
        in_window: bool,
    ) -> Result<LeaseRenewal, FleetStoreError> {
        let key = self.keys.worker(&worker.worker);
        let (ttl, kept) = (millis(ttl), millis(RECORD_KEPT));
        let args = [worker.incarnation.as_str(), &worker.url, &ttl, flag(in_window), &kept];
        let by = Instant::now() + self.link.deadline();
        let answer = self.run(&scripts::RENEW_LEASE, &key, &args).await?;
        match answer.verdict() {
            "HELD" => {
                // The name is added each time, so the set heals by itself in a Redis that lost it. The lease is what
                // counts: it is held even if this fails.
                if !matches!(timeout_at(by, self.list(&worker.worker)).await, Ok(Ok(()))) {
                    tracing::debug!(worker = %worker.worker, "the lease was renewed, but not the list of workers");
                }
                Ok(LeaseRenewal::Held(Term(answer.parse(1)?)))
            }
            "REFUSED" => Ok(LeaseRenewal::Refused),
            "LAPSED" => Ok(LeaseRenewal::Lapsed),
            _ => Err(answer.unexpected()),
        }
    }

    async fn revoke_lease(
        &self,
        term: Term,
        worker: &WorkerId,
        incarnation: &Incarnation,
        even_if_live: bool,
    ) -> Result<Revocation, FleetStoreError> {
        let key = self.keys.worker(worker);
        let args = [&term.to_string(), incarnation.as_str(), flag(even_if_live), &millis(RECORD_KEPT)];
        let answer = self.run(&scripts::REVOKE_LEASE, &key, &args).await?;
        match answer.verdict() {
            "REVOKED" => Ok(Revocation::Revoked),
            "STILL_LIVE" => Ok(Revocation::StillLive(answer.millis(1)?)),
            "REPLACED" => Ok(Revocation::Replaced),
            "STALE_TERM" => Ok(Revocation::StaleTerm),
            _ => Err(answer.unexpected()),
        }
    }

    async fn forget_worker(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Result<(), FleetStoreError> {
        let key = self.keys.worker(worker);
        self.in_time(async {
            let answer = self.run(&scripts::FORGET_WORKER, &key, &[incarnation.as_str()]).await?;
            match answer.verdict() {
                // If another worker takes the name right now, its next renewal adds it again.
                "FORGOTTEN" => self.unlist(worker.as_str().as_bytes()).await,
                _ => Ok(()),
            }
        })
        .await
    }

    async fn assign(&self, term: Term, owners: &[OwnerRecord]) -> Result<Vec<OwnerWrite>, FleetStoreError> {
        let writes: Vec<_> = owners.iter().map(|owner| self.assign_one(term, owner)).collect();
        stream::iter(writes).buffered(ASSIGNMENTS_AT_ONCE).try_collect().await
    }

    async fn save_trusted(
        &self,
        term: Term,
        identity: Option<&FleetStoreIdentity>,
    ) -> Result<TermWrite, FleetStoreError> {
        let identity = identity.map(|identity| identity.0.clone()).unwrap_or_default();
        self.write_fleet(term, &[("trusted", identity)]).await
    }

    async fn save_last_ran(&self, term: Term, at_unix_ms: u64) -> Result<TermWrite, FleetStoreError> {
        self.write_fleet(term, &[("last_ran_unix_ms", at_unix_ms.to_string())]).await
    }

    async fn save_head_signing(
        &self,
        term: Term,
        signing: HeadSigning,
    ) -> Result<TermWrite, FleetStoreError> {
        let HeadSigning { by, required } = signing;
        let fields = [
            ("head_key", by.map(|id| id.to_string()).unwrap_or_default()),
            ("head_key_required", flag(required).to_owned()),
        ];
        self.write_fleet(term, &fields).await
    }

    async fn save_intent(&self, term: Term, intent: &str) -> Result<TermWrite, FleetStoreError> {
        self.write_fleet(term, &[("intent", intent.to_owned())]).await
    }

    async fn save_notices(&self, term: Term, notices: &str) -> Result<TermWrite, FleetStoreError> {
        self.write_fleet(term, &[("notices", notices.to_owned())]).await
    }

    async fn load_notices(&self) -> Result<Option<String>, FleetStoreError> {
        let [notices]: [Option<String>; 1] = self.fields(&self.keys.fleet(), &["notices"]).await?;
        Ok(notices)
    }

    async fn save_budget(&self, term: Term, budget: BudgetRecord) -> Result<TermWrite, FleetStoreError> {
        let fields = [
            ("budget_total", budget.total.to_string()),
            ("budget_remaining", budget.remaining.to_string()),
            ("budget_resets_at_unix_ms", budget.resets_at_unix_ms.to_string()),
        ];
        self.write_fleet(term, &fields).await
    }
}
