//! The store that several processes share.
//!
//! Every rule is a script over one shard's keys; Redis's clock is the only one. Nothing is cached here.

use std::time::Duration;

use async_trait::async_trait;
use fleet_model::{Epoch, ShardKey, ShardSlot};
use redis_link::{KeyPrefix, RedisLink, Script, ScriptAnswer};

use crate::{
    CheckpointStore, CheckpointStoreError, ClaimAnswer, Cursor, Freshness, KEPT, Page, PageRead, StepAnswer,
    StoredCheckpoint, StoredHead, WriteStep, format::LARGEST,
};

mod keys;
mod repair;
mod scripts;
mod set_aside;

use keys::ShardKeys;

/// The store over Redis: single, Sentinel or Cluster, from 6.2 on. Cheap to clone.
///
/// With the prefix of the fleet store it heeds that one's owners too: a shard that was given to somebody else can't be written any
/// more, even before the new owner claims it.
#[derive(Clone, Debug)]
pub struct CheckpointRedisStore {
    link: RedisLink,
    prefix: KeyPrefix,
}

impl CheckpointRedisStore {
    /// A store over this link. All keys carry the prefix, so that several bots can share a Redis.
    pub fn new(link: RedisLink, prefix: KeyPrefix) -> Self {
        Self { link, prefix }
    }

    fn keys(&self, shard: impl Into<ShardSlot>) -> ShardKeys {
        ShardKeys::new(&self.prefix, shard.into())
    }

    async fn run<'a>(
        &self,
        script: &Script,
        keys: &'a ShardKeys,
        args: &[&[u8]],
    ) -> Result<ScriptAnswer<'a>, CheckpointStoreError> {
        self.run_over(script, keys, &[&keys.owner, &keys.checkpoint], args).await
    }

    async fn run_over<'a>(
        &self,
        script: &Script,
        keys: &'a ShardKeys,
        all: &[&str],
        args: &[&[u8]],
    ) -> Result<ScriptAnswer<'a>, CheckpointStoreError> {
        Ok(self.link.record_script(script, &keys.checkpoint, all, args).await?)
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[async_trait]
impl CheckpointStore for CheckpointRedisStore {
    async fn claim(&self, shard: ShardKey, epoch: Epoch) -> Result<ClaimAnswer, CheckpointStoreError> {
        let keys = self.keys(shard);
        let args = [epoch.to_string(), millis(KEPT)];
        let all = [keys.owner.as_str(), &keys.checkpoint, &keys.claim];
        let args = args.each_ref().map(String::as_bytes);
        let mut answer = self.run_over(&scripts::CLAIM, &keys, &all, &args).await?;
        match answer.verdict() {
            "YOURS" => {
                let (serial, records) = (answer.parse(1)?, answer.parse(2)?);
                let head = match answer.take_bytes(5) {
                    Some(bytes) => Some(StoredHead { bytes, age: answer.millis(4)? }),
                    None => None,
                };
                let owner_before = answer.is_given(3).then(|| answer.parse(3).map(Epoch)).transpose()?;
                Ok(ClaimAnswer::Yours(StoredCheckpoint { serial, records, head, owner_before }))
            }
            "OUTRANKED" => Ok(ClaimAnswer::Outranked(Epoch(answer.parse(1)?))),
            _ => Err(answer.unexpected()),
        }
    }

    async fn write(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        step: &WriteStep,
    ) -> Result<StepAnswer, CheckpointStoreError> {
        let keys = self.keys(shard);
        let fresh = if step.fresh { "1" } else { "0" };
        let (total, head) = match &step.head {
            Some(head) => (head.total.to_string(), head.bytes.as_ref()),
            None => (String::new(), &[][..]),
        };
        let begin = [epoch.to_string(), serial.to_string(), millis(KEPT), fresh.to_owned(), total];
        let remove: Vec<String> = step.remove.iter().map(ToString::to_string).collect();
        let removed = remove.len().to_string();
        let set: Vec<String> = step.set.iter().map(|(key, _)| key.to_string()).collect();
        let mut args: Vec<&[u8]> = begin.iter().map(String::as_bytes).collect();
        args.extend([head, removed.as_bytes()]);
        args.extend(remove.iter().map(String::as_bytes));
        for (key, (_, bytes)) in set.iter().zip(&step.set) {
            args.extend([key.as_bytes(), bytes]);
        }
        let answer = self.run(&scripts::WRITE, &keys, &args).await?;
        match answer.verdict() {
            "WRITTEN" => Ok(StepAnswer::Yes { serial: answer.parse(1)? }),
            "LOST" => Ok(StepAnswer::Lost { serial: answer.parse(1)? }),
            "OUTRANKED" => Ok(StepAnswer::Outranked(Epoch(answer.parse(1)?))),
            _ => Err(answer.unexpected()),
        }
    }

    async fn read(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        serial: u64,
        cursor: Cursor,
    ) -> Result<PageRead, CheckpointStoreError> {
        let keys = self.keys(shard);
        let args = [epoch.0, serial, cursor.position, cursor.count.into(), LARGEST as u64];
        let args = args.map(|number| number.to_string());
        let answer = self.run(&scripts::READ, &keys, &args.each_ref().map(String::as_bytes)).await?;
        match answer.verdict() {
            "PAGE" => {
                let position = answer.parse(1)?;
                let records = answer.pairs(2);
                let bytes = records.iter().map(|(_, bytes)| bytes.len()).sum();
                let next = (position != 0).then(|| cursor.after(position, records.len(), bytes));
                Ok(PageRead::Page(Page { records, next }))
            }
            "LOST" => Ok(PageRead::Lost { serial: answer.parse(1)? }),
            "OUTRANKED" => Ok(PageRead::Outranked(Epoch(answer.parse(1)?))),
            _ => Err(answer.unexpected()),
        }
    }

    async fn freshness(&self, shard: ShardKey) -> Result<Option<Freshness>, CheckpointStoreError> {
        let keys = self.keys(shard);
        let answer = self.run(&scripts::FRESHNESS, &keys, &[]).await?;
        match answer.verdict() {
            "NONE" => Ok(None),
            "HEAD" => Ok(Some(Freshness {
                epoch: Epoch(answer.parse(1)?),
                total: answer.parse(2)?,
                age: answer.millis(3)?,
                records: answer.parse(4)?,
            })),
            _ => Err(answer.unexpected()),
        }
    }
}
