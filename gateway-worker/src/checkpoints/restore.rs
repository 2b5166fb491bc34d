//! What a shard begins with: it claims its checkpoint, so that no owner before it can write there any more, and reads it.
//!
//! A checkpoint that can't be read costs that shard an IDENTIFY and a gap, and nobody else anything.

use std::{collections::HashSet, time::Duration};

use checkpoint::{
    Claim, Cursor, FORMAT_MIN, FormatError, Head, Page, PageRead, PendingEvent, Record, RecordKey,
    StoreError, Stored, decode_head, decode_record, format_of,
};
use fleet_model::{Epoch, ShardNumber};

use super::{Checkpoints, Keep, LostSession, Outranked};
use crate::{
    cache::{self, Prepared, RestoreError, ShardCache},
    threads::Turn,
};

/// A read that failed is tried again so often, this long after.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(300);

/// What a session must have been opened with to be of use here.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    pub(crate) total: u32,
    pub(crate) intents: u64,
    pub(crate) transport: String,
    /// Names of cache resources.
    pub(crate) resources: Vec<String>,
}

/// What a shard begins with.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Nothing: no owner before left anything, or what there was is of no use.
    Anew {
        serial: u64,
        lost: Option<LostSession>,
        /// The bot's presence, which outlives a session that is of no use.
        presence: Option<String>,
        /// The ordinal of that session; 0 when there is none. The next one's is above it, whatever the clocks say.
        ordinal: u64,
    },
    /// A session to resume. Its records, so many, are still to be read. `format`: the head's.
    From { head: Box<Head>, serial: u64, records: u64, format: u16 },
}

impl Beginning {
    fn anew(serial: u64, lost: Option<LostSession>) -> Self {
        Self::Anew { serial, lost, presence: None, ordinal: 0 }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) guilds: cache::Restored,
    /// In order.
    pub(super) pending: Vec<PendingEvent>,
    /// The newest format that a record has.
    pub(super) format: u16,
}

/// What a shard goes on with.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) guilds: Prepared,
    /// In order.
    pub(crate) pending: Vec<PendingEvent>,
    /// The newest format that a record has.
    pub(crate) format: u16,
}

/// The records can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("another worker has the shard, at epoch {0}")]
    Outranked(Epoch),
    #[error("record {key}: {source}")]
    Record { key: String, source: FormatError },
    #[error("{0}")]
    Key(#[from] checkpoint::InvalidKey),
    #[error("the store has lost a part of it")]
    Lost,
    #[error("{0}")]
    Guilds(#[from] RestoreError),
    #[error("{have} of {records} records came")]
    Incomplete { have: usize, records: u64 },
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToRead {
    pub(crate) shard: ShardNumber,
    pub(crate) epoch: Epoch,
    pub(crate) serial: u64,
    pub(crate) records: u64,
}

impl Checkpoints {
    /// Claims a shard's checkpoint. Waits for a store that is away for as long as `go_on` says.
    pub(crate) async fn claim(
        &self,
        shard: ShardNumber,
        epoch: Epoch,
        needs: &Needs,
        go_on: impl Fn() -> bool,
    ) -> Result<Beginning, Outranked> {
        let mut said = false;
        loop {
            match self.store.claim(shard, epoch).await {
                Ok(Claim::Outranked(by)) => return Err(Outranked(by)),
                Ok(Claim::Yours(claimed)) => {
                    fail::fail_point!("checkpoint_claimed");
                    return Ok(self.judge(shard, claimed, needs));
                }
                Err(StoreError::Alien(why)) => {
                    self.metrics.count_refused();
                    tracing::error!(shard.id = %shard, why, "the checkpoint is none of ours: the shard identifies");
                    return Ok(Beginning::anew(0, Some(LostSession::because(why))));
                }
                Err(error) => {
                    if !said {
                        tracing::warn!(shard.id = %shard, %error, "the checkpoint can't be claimed; trying again");
                        said = true;
                    }
                    if !go_on() {
                        let lost =
                            LostSession::because(format!("the checkpoint could not be claimed: {error}"));
                        return Ok(Beginning::anew(0, Some(lost)));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn judge(&self, shard: ShardNumber, claimed: Stored, needs: &Needs) -> Beginning {
        let Stored { serial, records, head, owner_before } = claimed;
        let Some(stored) = head else {
            // A first start, or an owner that died before it had a session, or one that keeps nothing.
            let lost = owner_before.map(|_| LostSession::because("no checkpoint was left"));
            return Beginning::anew(serial, lost);
        };
        let refuse = |why: String, lost: LostSession, presence, ordinal| {
            self.metrics.count_refused();
            tracing::warn!(shard.id = %shard, why, "the checkpoint is of no use: the shard identifies");
            Beginning::Anew { serial, lost: Some(LostSession { reason: why, ..lost }), presence, ordinal }
        };
        if self.keep == Keep::Off {
            return refuse("CHECKPOINT is off".to_owned(), LostSession::default(), None, 0);
        }
        let format = format_of(&stored.bytes).unwrap_or(FORMAT_MIN);
        match decode_head(&stored.bytes) {
            Ok(mut head) => {
                // An owner that claimed it and died before it wrote may have handled what is pending.
                head.exact &= owner_before == Some(head.epoch);
                let lost = LostSession {
                    since_unix_ms: head.read_at_unix_ms,
                    last_sequence: head.read,
                    reason: String::new(),
                };
                match unfit(&head, needs) {
                    None => Beginning::From { head: Box::new(head), serial, records, format },
                    Some(why) => refuse(why, lost, head.presence, head.session.ordinal),
                }
            }
            Err(error) => refuse(format!("its head: {error}"), LostSession::default(), None, 0),
        }
    }

    /// Reads the records of a head, and makes of them what the cache can become.
    ///
    /// # Errors
    /// The store does not answer for a while, or a record makes no sense.
    pub(crate) async fn restore(
        &self,
        what: ToRead,
        head: &Head,
        cache: &ShardCache,
    ) -> Result<Restored, LoadError> {
        let Loaded { guilds, pending, format } = self.load(what, head).await?;
        let mut preparing = cache.prepare(guilds)?;
        let mut turn = Turn::begin();
        while preparing.next_guild()? {
            turn.give_way().await;
        }
        Ok(Restored { guilds: preparing.finish(), pending, format })
    }

    /// Reads the records of a head.
    pub(super) async fn load(&self, what: ToRead, head: &Head) -> Result<Loaded, LoadError> {
        let mut tries = 0;
        loop {
            match self.load_once(what, head).await {
                Err(LoadError::Store(error)) if tries < TRIES => {
                    tries += 1;
                    tracing::warn!(shard.id = %what.shard, %error, "the checkpoint can't be read; trying again");
                    tokio::time::sleep(AGAIN * tries).await;
                }
                end => return end,
            }
        }
    }

    async fn load_once(&self, what: ToRead, head: &Head) -> Result<Loaded, LoadError> {
        let ToRead { shard, epoch, serial, records } = what;
        let mut loaded = Loaded {
            guilds: cache::Restored {
                session: head.session.ordinal,
                expecting: head.expecting.clone(),
                own_user: head.own_user.clone(),
                ..cache::Restored::default()
            },
            pending: Vec::new(),
            format: FORMAT_MIN,
        };
        // A page may bring again what another brought.
        let mut seen = HashSet::new();
        let mut next = Some(Cursor::START);
        while let Some(cursor) = next {
            fail::fail_point!("checkpoint_read_page");
            let page = match self.store.read(shard, epoch, serial, cursor).await? {
                PageRead::Page(page) => page,
                PageRead::Lost { .. } => return Err(LoadError::Lost),
                PageRead::Outranked(by) => return Err(LoadError::Outranked(by)),
            };
            let Page { records, next: following } = page;
            next = following;
            for (field, bytes) in records {
                let key: RecordKey = field.parse()?;
                if !seen.insert(key) {
                    continue;
                }
                loaded.format = loaded.format.max(format_of(&bytes).unwrap_or_default());
                let record =
                    decode_record(key, &bytes).map_err(|source| LoadError::Record { key: field, source })?;
                if let Some(Record::Pending(event)) = loaded.guilds.take(key, record)
                    && (event.session, event.sequence) <= (head.session.ordinal, head.read)
                {
                    loaded.pending.push(event);
                }
            }
        }
        if seen.len() as u64 != records {
            return Err(LoadError::Incomplete { have: seen.len(), records });
        }
        loaded.pending.sort_by_key(|event| (event.session, event.sequence));
        fail::fail_point!("checkpoint_read_end");
        Ok(loaded)
    }
}

/// Why a session is of no use here.
pub(crate) fn unfit(head: &Head, needs: &Needs) -> Option<String> {
    let session = &head.session;
    if session.id.is_empty() {
        return Some("its session was given up".to_owned());
    }
    if session.total != needs.total {
        return Some(format!("it is of {} shards, not {}", session.total, needs.total));
    }
    if session.intents != needs.intents {
        return Some(format!("its session has intents {}, not {} (INTENTS)", session.intents, needs.intents));
    }
    if session.transport != needs.transport {
        return Some(format!("its session speaks {}, not {}", session.transport, needs.transport));
    }
    let missing: Vec<&str> = needs
        .resources
        .iter()
        .filter(|wanted| !session.resources.contains(wanted))
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("it holds no {} (CACHE, CHECKPOINT)", missing.join(", ")))
}

#[cfg(test)]
mod tests;
