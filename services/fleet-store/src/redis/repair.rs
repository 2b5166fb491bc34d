//! Finds and removes records of the fleet that no program of the fleet can have written, such as a term beyond every clock: they
//! keep coordinators from acting, and nothing else removes them.

use std::collections::BTreeSet;

use fleet_model::{Incarnation, MAX_SHARDS, ShardKey, ShardSlot, Term, WorkerId};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::cmd;
use redis_link::{FieldRule, FieldValue, InvalidPart, LinkError, RecordError, RecordRule};

use super::{FleetRedisStore, load::MOST_LISTED};
use crate::FleetStoreError;

/// Commands on their way at once.
const AT_ONCE: usize = 64;

const TERM: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone("term", FieldValue::ClockMade),
        FieldRule::alone("expires_at_ms", FieldValue::Number(20)),
        FieldRule::alone("ttl_ms", FieldValue::UpToDay),
        FieldRule::alone("standby_at_ms", FieldValue::Number(20)),
    ],
    whole: false,
};

const FLEET: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone("term", FieldValue::ClockMade),
        FieldRule::alone("total", FieldValue::Shards),
        FieldRule { name: "budget_total", value: FieldValue::Number(9), group: "budget" },
        FieldRule { name: "budget_remaining", value: FieldValue::Number(9), group: "budget" },
        FieldRule { name: "budget_resets_at_unix_ms", value: FieldValue::Number(19), group: "budget" },
        FieldRule::alone("last_ran_unix_ms", FieldValue::Number(19)),
        FieldRule::alone("head_key", FieldValue::KeyId),
    ],
    whole: false,
};

// Not its incarnation or its revocation: those fence.
const WORKER: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone("term", FieldValue::ClockMade),
        FieldRule::alone("expires_at_ms", FieldValue::Number(20)),
        FieldRule::alone("ttl_ms", FieldValue::UpToDay),
    ],
    whole: false,
};

const SHARD: RecordRule = RecordRule {
    kind: "hash",
    fields: &[
        FieldRule::alone("term", FieldValue::ClockMade),
        FieldRule { name: "epoch", value: FieldValue::ClockMade, group: "owner" },
        FieldRule { name: "worker", value: FieldValue::Name, group: "owner" },
        FieldRule { name: "incarnation", value: FieldValue::Name, group: "owner" },
    ],
    whole: false,
};

const WORKERS: RecordRule = RecordRule { kind: "set", fields: &[], whole: false };
const HISTORY: RecordRule = RecordRule { kind: "stream", fields: &[], whole: false };

/// An invalid record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Its key.
    pub key: String,
    /// What is invalid.
    pub part: InvalidPart,
}

/// A coordinator that holds the term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActingCoordinator {
    /// Its incarnation.
    pub holder: Incarnation,
    /// Its term, if that is valid.
    pub term: Option<Term>,
}

fn away(error: LinkError) -> FleetStoreError {
    FleetStoreError::Away(error.to_string())
}

impl FleetRedisStore {
    /// Returns the coordinator that holds the term.
    ///
    /// # Errors
    /// The store is away. A record of the term that cannot be read names no coordinator.
    pub async fn acting(&self) -> Result<Option<ActingCoordinator>, FleetStoreError> {
        let key = self.keys.term();
        let names = ["holder", "expires_at_ms", "term"];
        let read = self.link.command(cmd("HMGET").arg(&key).arg(&names)).await;
        let [holder, expires, term]: [Option<String>; 3] =
            match read.map_err(|error: LinkError| RecordError::of(&key, error)) {
                Ok(fields) => fields,
                Err(RecordError::Unexpected(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        let now = self.link.time().await.map_err(away)?.as_millis();
        let holds = expires.and_then(|expires| expires.parse::<u128>().ok()).is_some_and(|at| at > now);
        let holder = holder.filter(|_| holds).and_then(|holder| holder.parse().ok());
        Ok(holder.map(|holder| ActingCoordinator {
            holder,
            term: term.and_then(|term| term.parse().ok()).map(Term),
        }))
    }

    /// Returns the invalid records; with `remove` their invalid parts are removed. Valid parts stay, so that it does no harm
    /// beside a running fleet.
    ///
    /// # Errors
    /// The store is away. Some records may have been repaired.
    pub async fn repair(&self, remove: bool) -> Result<Vec<Repair>, FleetStoreError> {
        // Before anything is repaired: the list of workers and the total may be the invalid parts.
        let (workers, slots) = self.known_records().await?;
        let mut rules = vec![
            (self.keys.term(), TERM),
            (self.keys.fleet(), FLEET),
            (self.keys.workers(), WORKERS),
            (self.keys.history(), HISTORY),
        ];
        rules.extend(workers.iter().map(|name| (self.keys.worker(name), WORKER)));
        rules.extend(slots.iter().map(|slot| (self.keys.shard(ShardKey::new(slot.0, MAX_SHARDS)), SHARD)));
        let checks = rules.into_iter().map(async |(key, rule)| {
            let found = self.link.repair_record(&key, rule, remove).await;
            found.map(|found| found.map(|part| Repair { key, part }))
        });
        let found: Vec<Option<Repair>> =
            stream::iter(checks).buffered(AT_ONCE).try_collect().await.map_err(away)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Returns the slots that may have records, such as a checkpoint.
    ///
    /// # Errors
    /// The store is away.
    pub async fn slots(&self) -> Result<BTreeSet<ShardSlot>, FleetStoreError> {
        Ok(self.known_records().await?.1)
    }

    /// The workers and slots that may have records: the ones that the fleet knows, and the ones that have keys. Where keys cannot be listed, in a
    /// Cluster or as a user that may not, an unknown total counts as the highest one.
    async fn known_records(&self) -> Result<(BTreeSet<WorkerId>, BTreeSet<ShardSlot>), FleetStoreError> {
        let key = self.keys.workers();
        let listed: Result<Vec<Vec<u8>>, LinkError> =
            self.link.command(cmd("SRANDMEMBER").arg(&key).arg(MOST_LISTED)).await;
        let listed = match listed.map_err(|error| RecordError::of(&key, error)) {
            Err(RecordError::Unexpected(_)) => Vec::new(),
            listed => listed?,
        };
        let mut workers: BTreeSet<WorkerId> =
            listed.iter().filter_map(|name| str::from_utf8(name).ok()?.parse().ok()).collect();
        let total = match self.load_fleet().await {
            Ok(fleet) => fleet.shard_total,
            Err(FleetStoreError::InvalidRecord(_)) => None,
            Err(error) => return Err(error),
        };
        let stored = self.stored_keys().await?;
        let total = total.unwrap_or(if stored.is_some() { 0 } else { MAX_SHARDS });
        let mut slots: BTreeSet<ShardSlot> = (0..total).map(ShardSlot).collect();
        for key in stored.iter().flatten() {
            let Some((kind, name)) = self.keys.tagged(key) else { continue };
            match kind {
                "worker" => workers.extend(name.parse::<WorkerId>()),
                "shard" => slots.extend(name.parse().ok().filter(|slot| *slot < MAX_SHARDS).map(ShardSlot)),
                _ => {}
            }
        }
        Ok((workers, slots))
    }

    /// The keys about one worker or one shard, if keys can be listed.
    async fn stored_keys(&self) -> Result<Option<Vec<String>>, FleetStoreError> {
        if self.link.url().is_cluster() {
            return Ok(None);
        }
        let (mut stored, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.all_tagged()).arg("COUNT").arg(1_000);
            let (next, keys): (u64, Vec<String>) = match self.link.command(&scan).await {
                Err(LinkError::Refused(_)) => return Ok(None),
                page => page.map_err(away)?,
            };
            stored.extend(keys);
            if next == 0 {
                return Ok(Some(stored));
            }
            cursor = next;
        }
    }

    /// Forgets that unsigned heads of checkpoints are refused, for a fleet that gives up its credentials.
    ///
    /// # Errors
    /// The store is away, or the fleet's record is of another type.
    pub async fn forget_head_signing(&self) -> Result<(), FleetStoreError> {
        let key = self.keys.fleet();
        let fields = ["head_key", "head_key_required"];
        self.link
            .command(cmd("HDEL").arg(&key).arg(&fields))
            .await
            .map_err(|error| RecordError::of(&key, error).into())
    }
}
