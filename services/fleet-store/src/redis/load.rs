//! Reading everything that is written down: many small commands at once over one connection, as a cluster needs it.

use std::{collections::BTreeMap, str::FromStr};

use fleet_model::{Epoch, HeadSigning, MAX_SHARDS, ShardKey, Term, WorkerId};
use futures_util::{StreamExt, stream};
use redis::{FromRedisValue, cmd};
use redis_link::RecordError;

use super::{FleetRedisStore, scripts, unix_ms};
use crate::{
    BudgetRecord, FleetRecord, FleetStoreError, FleetStoreIdentity, LeaseRecord, OwnerRecord, WorkerRecord,
};

/// Commands on their way at once.
const AT_ONCE: usize = 64;

/// The most names of workers that are read at once.
pub(super) const MOST_LISTED: usize = 10_000;

/// The most keys of invalid records that are named.
const MOST_INVALID: usize = 16;

/// Returns what was loaded; `None` for an invalid record, whose key goes to `invalid`.
pub(super) fn readable<T>(
    loaded: Result<T, FleetStoreError>,
    invalid: &mut Vec<String>,
) -> Result<Option<T>, FleetStoreError> {
    match loaded {
        Ok(loaded) => Ok(Some(loaded)),
        Err(FleetStoreError::InvalidRecord(key)) => {
            if invalid.len() < MOST_INVALID && !invalid.contains(&key) {
                invalid.push(key);
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Parses a field of the hash at a key: a number or a name.
fn field<T: FromStr>(key: &str, value: &str) -> Result<T, FleetStoreError> {
    value.parse().map_err(|_| FleetStoreError::InvalidRecord(key.to_owned()))
}

/// What is written of the fleet as a whole.
pub(super) struct FleetFields {
    /// The highest term that has written it.
    pub(super) term: Term,
    pub(super) shard_total: Option<u32>,
    budget: Option<BudgetRecord>,
    last_ran_unix_ms: Option<u64>,
    trusted: Option<FleetStoreIdentity>,
    head_signing: HeadSigning,
    intent: Option<String>,
}

impl FleetRedisStore {
    pub(super) async fn load_all(&self) -> Result<FleetRecord, FleetStoreError> {
        let mut invalid = Vec::new();
        let (term, fleet, workers) =
            tokio::try_join!(self.load_term(), self.load_fleet(), self.load_workers(&mut invalid))?;
        let FleetFields {
            term: fleet_term,
            shard_total,
            budget,
            last_ran_unix_ms,
            trusted,
            head_signing,
            intent,
        } = fleet;
        let mut term = workers.values().map(|lease| lease.term).fold(term.max(fleet_term), Term::max);
        let shards = ShardKey::all(shard_total.unwrap_or(0)).map(|shard| self.load_owner(shard));
        let mut loading = stream::iter(shards).buffer_unordered(AT_ONCE);
        let mut owners = BTreeMap::new();
        while let Some(owner) = loading.next().await {
            let Some((owner, written_by)) = readable(owner, &mut invalid)? else { continue };
            term = term.max(written_by);
            owners.extend(owner.map(|owner| (owner.shard, owner)));
        }
        Ok(FleetRecord {
            term,
            shard_total,
            workers,
            owners,
            budget,
            last_ran_unix_ms,
            trusted,
            head_signing,
            intent,
            invalid,
        })
    }

    pub(super) async fn fields<T: FromRedisValue>(
        &self,
        key: &str,
        fields: &[&str],
    ) -> Result<T, FleetStoreError> {
        let clock = unix_ms();
        let args = [fields, &[clock.as_str()]].concat();
        let answer = self.link.script(&scripts::FIELDS, &[key], &args).await;
        answer.map_err(|error| RecordError::of(key, error).into())
    }

    pub(super) async fn load_term(&self) -> Result<Term, FleetStoreError> {
        let key = self.keys.term();
        let [term]: [Option<String>; 1] = self.fields(&key, &["term"]).await?;
        term.map_or(Ok(Term(0)), |term| field(&key, &term).map(Term))
    }

    pub(super) async fn load_fleet(&self) -> Result<FleetFields, FleetStoreError> {
        let key = self.keys.fleet();
        let names = [
            "total",
            "budget_total",
            "budget_remaining",
            "budget_resets_at_unix_ms",
            "last_ran_unix_ms",
            "head_key",
            "head_key_required",
            "intent",
            "term",
            "trusted",
        ];
        let [total, day, remaining, resets_at, last_ran, head_key, required, intent, term, trusted]: [Option<
            String,
        >;
            10] = self.fields(&key, &names).await?;
        let term = term.map_or(Ok(Term(0)), |term| field(&key, &term).map(Term))?;
        let total = total.map(|total| field(&key, &total)).transpose()?;
        if total.is_some_and(|total| !(1..=MAX_SHARDS).contains(&total)) {
            return Err(FleetStoreError::InvalidRecord(key));
        }
        let budget = match (day, remaining, resets_at) {
            (None, None, None) => None,
            (Some(day), Some(remaining), Some(resets_at)) => Some(BudgetRecord {
                total: field(&key, &day)?,
                remaining: field(&key, &remaining)?,
                resets_at_unix_ms: field(&key, &resets_at)?,
            }),
            _ => return Err(FleetStoreError::InvalidRecord(key)),
        };
        let last_ran_unix_ms = last_ran.map(|at| field(&key, &at)).transpose()?;
        let head_key = head_key.filter(|id| !id.is_empty());
        let head_signing = HeadSigning {
            by: head_key.map(|id| field(&key, &id)).transpose()?,
            required: required.is_some_and(|required| required != "0"),
        };
        let trusted = trusted.filter(|identity| !identity.is_empty()).map(FleetStoreIdentity);
        Ok(FleetFields { term, shard_total: total, budget, last_ran_unix_ms, trusted, head_signing, intent })
    }

    /// The workers whose records can be read; `invalid` gets the keys of the others.
    pub(super) async fn load_workers(
        &self,
        invalid: &mut Vec<String>,
    ) -> Result<BTreeMap<WorkerId, LeaseRecord>, FleetStoreError> {
        let key = self.keys.workers();
        let of = |error| FleetStoreError::from(RecordError::of(&key, error));
        let listed: usize = self.link.command(cmd("SCARD").arg(&key)).await.map_err(of)?;
        // Some of them, so that a list of any size shrinks: names without a record are removed below.
        let names: Vec<Vec<u8>> =
            self.link.command(cmd("SRANDMEMBER").arg(&key).arg(MOST_LISTED)).await.map_err(of)?;
        let mut valid: Vec<WorkerId> = Vec::new();
        for name in names {
            match str::from_utf8(&name).ok().and_then(|name| name.parse().ok()) {
                Some(name) => valid.push(name),
                None => self.unlist(&name).await?,
            }
        }
        let mut loading =
            stream::iter(valid.into_iter().map(|name| self.load_worker(name))).buffer_unordered(AT_ONCE);
        let mut workers = BTreeMap::new();
        while let Some(record) = loading.next().await {
            let record = readable(record, invalid)?.flatten();
            workers.extend(record.map(|record| (record.worker.worker.clone(), record)));
        }
        if listed > MOST_LISTED {
            return Err(FleetStoreError::InvalidRecord(key));
        }
        Ok(workers)
    }

    async fn load_worker(&self, worker: WorkerId) -> Result<Option<LeaseRecord>, FleetStoreError> {
        let key = self.keys.worker(&worker);
        let answer = self.run(&scripts::READ_WORKER, &key, &[]).await?;
        match answer.verdict() {
            "MISSING" => {
                // Its record went by age. Were it just being written, the worker's next renewal adds the name again.
                self.unlist(worker.as_str().as_bytes()).await?;
                Ok(None)
            }
            "RECORD" => {
                let incarnation = answer.parse(1)?;
                let url = answer.text(2)?.to_owned();
                let (remaining, revoked) = (answer.millis(3)?, answer.text(4)? == "1");
                let term = Term(answer.parse(5)?);
                Ok(Some(LeaseRecord {
                    worker: WorkerRecord { worker, incarnation, url },
                    remaining,
                    revoked,
                    term,
                }))
            }
            _ => Err(answer.unexpected()),
        }
    }

    /// The owner of a shard, and the highest term that has written its record.
    async fn load_owner(&self, shard: ShardKey) -> Result<(Option<OwnerRecord>, Term), FleetStoreError> {
        let key = self.keys.shard(shard);
        let names = ["worker", "incarnation", "epoch", "term"];
        let [worker, incarnation, epoch, term]: [Option<String>; 4] = self.fields(&key, &names).await?;
        let term = term.map_or(Ok(Term(0)), |term| field(&key, &term).map(Term))?;
        let owner = match (worker, incarnation, epoch) {
            (None, None, None) => None,
            (Some(worker), Some(incarnation), Some(epoch)) => Some(OwnerRecord {
                shard,
                worker: field(&key, &worker)?,
                incarnation: field(&key, &incarnation)?,
                epoch: Epoch(field(&key, &epoch)?),
            }),
            _ => return Err(FleetStoreError::InvalidRecord(key)),
        };
        Ok((owner, term))
    }
}
