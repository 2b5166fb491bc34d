//! Claims a shard's checkpoint when the shard starts, so that no previous owner can write there any more, and reads it.
//!
//! A checkpoint that cannot be read costs only its shard an IDENTIFY and a gap. Unfinished events in it need no
//! session: they are read and handled in any case; the gap begins before those that cannot be read.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use checkpoint::{
    CheckpointStoreError, ClaimAnswer, Cursor, FORMAT_MIN, Head, Page, PageRead, PendingEvent, ReadHeadError,
    Record, RecordKey, StoredCheckpoint, decode_record, format_of,
};
use fleet_model::{Epoch, Position, ShardKey};
use outside_text::printable_within;

use super::{Checkpoints, Keep, LostSession, Outranked, Unread, older};
use crate::{
    cache::{Prepared, RestoreError, Restoring, ShardCache},
    clock::unix_ms,
    threads::TimeSlice,
};

/// How often a failed read is retried, and how long after.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(300);

/// The requirements for resuming a session here, and what is known of its shard.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Another worker ran the shard before: then a missing checkpoint means a gap.
    pub(crate) ran_before: bool,
    pub(crate) shard: ShardKey,
    pub(crate) intents: u64,
    pub(crate) transport: String,
    /// Names of cache resources.
    pub(crate) resources: Vec<String>,
}

/// What a shard begins with.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// No usable session.
    Fresh(FreshStart),
    /// A session to resume. Its `records` are still to be read. `format`: the head's.
    Resume { head: Box<Head>, serial: u64, records: u64, format: u16 },
}

/// How a shard begins without a session.
#[derive(Debug, Default)]
pub(crate) struct FreshStart {
    pub(crate) serial: u64,
    pub(crate) lost: Option<LostSession>,
    /// The bot's presence, which survives the session.
    pub(crate) presence: Option<String>,
    /// The ordinal of the lost session, 0 without one. The next ordinal must be higher, even when clocks disagree.
    pub(crate) ordinal: u64,
    /// Unfinished events of previous owners, in order.
    pub(crate) pending: Vec<PendingEvent>,
    /// The `started` marks of `pending` are exact.
    pub(crate) exact: bool,
}

/// The pending events of a checkpoint whose session cannot be used.
#[derive(Debug, Default)]
pub(crate) struct LeftOver {
    /// The readable ones, in order.
    pub(crate) pending: Vec<PendingEvent>,
    pub(crate) unread: Option<Unread>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) guilds: Restoring,
    /// In order.
    pub(super) pending: Vec<PendingEvent>,
    /// The newest format that a record has.
    pub(super) format: u16,
}

/// What a shard resumes with.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) guilds: Prepared,
    /// In order.
    pub(crate) pending: Vec<PendingEvent>,
    /// The newest format that a record has.
    pub(crate) format: u16,
}

/// The guilds cannot be read; with the readable rest.
#[derive(Debug)]
pub(crate) struct NotRestored {
    pub(crate) why: LoadError,
    pub(crate) left: LeftOver,
}

/// The records can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}")]
    Store(#[from] CheckpointStoreError),
    #[error("another worker has the shard, at epoch {0}")]
    Outranked(Epoch),
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
    pub(crate) shard: ShardKey,
    pub(crate) epoch: Epoch,
    pub(crate) serial: u64,
    pub(crate) records: u64,
}

impl Checkpoints {
    /// Claims a shard's checkpoint. Waits for a store that is away for as long as `go_on` says.
    pub(crate) async fn claim(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        needs: &Needs,
        go_on: impl Fn() -> bool,
    ) -> Result<Beginning, Outranked> {
        let mut said = false;
        loop {
            match self.store.claim(shard, epoch).await {
                Ok(ClaimAnswer::Outranked(by)) => return Err(Outranked(by)),
                Ok(ClaimAnswer::Yours(claimed)) => {
                    fail::fail_point!("checkpoint_claimed");
                    return Ok(self.judge(shard, epoch, claimed, needs).await);
                }
                Err(CheckpointStoreError::Unexpected(why)) => {
                    self.metrics.count_refused();
                    tracing::error!(shard.id = %shard, why, "unexpected checkpoint format; identifying");
                    let lost = Some(LostSession::because(why));
                    return Ok(Beginning::Fresh(FreshStart { lost, ..FreshStart::default() }));
                }
                Err(error) => {
                    if !said {
                        tracing::warn!(shard.id = %shard, %error, "cannot claim the checkpoint; retrying");
                        said = true;
                    }
                    if !go_on() {
                        let why = format!("cannot claim the checkpoint: {error}");
                        let lost = Some(LostSession::because(why));
                        return Ok(Beginning::Fresh(FreshStart { lost, ..FreshStart::default() }));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn judge(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        claimed: StoredCheckpoint,
        needs: &Needs,
    ) -> Beginning {
        let StoredCheckpoint { serial, records, head, owner_before } = claimed;
        let (why, head) = match head {
            // The owner died before it had a session, or keeps no checkpoint, or the store lost everything.
            None if owner_before.is_some() || needs.ran_before || records > 0 => {
                ("no checkpoint was left".to_owned(), None)
            }
            // A first start.
            None => return Beginning::Fresh(FreshStart { serial, ..FreshStart::default() }),
            Some(stored) => match self.heads.decode(&stored.bytes, shard, serial, unix_ms()) {
                Err(ReadHeadError::Refused(why)) => {
                    // As if there were none: its events may be another program's too.
                    self.metrics.count_refused_head();
                    tracing::error!(shard.id = %shard, %why, "checkpoint refused; identifying");
                    let lost = Some(LostSession::because(format!("its checkpoint was refused: {why}")));
                    return Beginning::Fresh(FreshStart { serial, lost, ..FreshStart::default() });
                }
                Err(error) => (format!("cannot read the checkpoint's head: {error}"), None),
                Ok(mut head) => {
                    // An owner that claimed it and died before writing may have handled pending events.
                    head.exact &= owner_before == Some(head.epoch);
                    let off = (self.keep == Keep::Off).then(|| "CHECKPOINT is off".to_owned());
                    if let Some(why) = off.or_else(|| unfit(&head, needs)) {
                        (why, Some(head))
                    } else {
                        let format = format_of(&stored.bytes).unwrap_or(FORMAT_MIN);
                        return Beginning::Resume { head: Box::new(head), serial, records, format };
                    }
                }
            },
        };
        let LeftOver { pending, unread } = self.left_over(ToRead { shard, epoch, serial, records }).await;
        if records > 0 || head.is_some() {
            self.metrics.count_refused();
        }
        tracing::warn!(
            shard.id = %shard, why, pending = pending.len(), unread = unread.is_some(),
            "cannot resume the checkpoint's session; identifying"
        );
        let Some(head) = head else {
            let lost = Some(LostSession::because(why));
            return Beginning::Fresh(FreshStart { serial, lost, pending, ..FreshStart::default() });
        };
        Beginning::Fresh(FreshStart {
            serial,
            lost: Some(LostSession::of(&head, why).or_before(unread, &head.session)),
            presence: head.presence,
            ordinal: head.session.ordinal,
            pending,
            exact: head.exact,
        })
    }

    /// Reads the pending events of a checkpoint whose session cannot be used, including those above its `read`: Discord
    /// sends none of them again.
    pub(crate) async fn left_over(&self, what: ToRead) -> LeftOver {
        let mut pending = BTreeMap::new();
        let mut unread: Option<Unread> = None;
        let mut tries = 0;
        loop {
            let read = self.each_record(what, |field, bytes| {
                match field.parse() {
                    Ok(key @ RecordKey::Pending(position)) => match decode_record(key, &bytes) {
                        Ok(Record::Pending(event)) => {
                            pending.insert(position, event);
                        }
                        _ => unread = older(unread, position),
                    },
                    Ok(_) => {}
                    // The unreadable record may have been a pending event.
                    Err(_) => unread = Some(Position::default()),
                }
                Ok(())
            });
            match read.await {
                Ok(()) => break,
                Err(LoadError::Store(error)) if tries < TRIES => {
                    tries += 1;
                    again(what.shard, &error, tries).await;
                }
                Err(error) => {
                    tracing::warn!(shard.id = %what.shard, %error, "cannot read pending events of a checkpoint");
                    unread = Some(Position::default());
                    break;
                }
            }
        }
        LeftOver { pending: pending.into_values().collect(), unread }
    }

    /// Reads the records of a head, and builds the guilds for the cache from them.
    ///
    /// # Errors
    /// The store has not answered for a while, or a record is malformed; with the readable pending events.
    pub(crate) async fn restore(
        &self,
        what: ToRead,
        head: &Head,
        cache: &ShardCache,
    ) -> Result<Restored, NotRestored> {
        let restored = async {
            let Loaded { mut guilds, pending, format } = self.load(what, head, cache).await?;
            let mut slice = TimeSlice::begin();
            while guilds.next_guild()? {
                slice.yield_if_over().await;
            }
            Ok(Restored { guilds: guilds.finish(head), pending, format })
        };
        match restored.await {
            Ok(restored) => Ok(restored),
            Err(why) => Err(NotRestored { why, left: self.left_over(what).await }),
        }
    }

    /// Reads the records of a head.
    pub(super) async fn load(
        &self,
        what: ToRead,
        head: &Head,
        cache: &ShardCache,
    ) -> Result<Loaded, LoadError> {
        let mut tries = 0;
        loop {
            match self.load_once(what, head, cache).await {
                Err(LoadError::Store(error)) if tries < TRIES => {
                    tries += 1;
                    again(what.shard, &error, tries).await;
                }
                end => return end,
            }
        }
    }

    async fn load_once(&self, what: ToRead, head: &Head, cache: &ShardCache) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded { guilds: cache.restoring(), pending: Vec::new(), format: FORMAT_MIN };
        self.each_record(what, |field, bytes| {
            let key: RecordKey = field.parse()?;
            loaded.format = loaded.format.max(format_of(&bytes).unwrap_or_default());
            if let Some(Record::Pending(event)) = loaded.guilds.take(key, &bytes)?
                && event.position <= Position::new(head.session.ordinal, head.read)
            {
                loaded.pending.push(event);
            }
            Ok(())
        })
        .await?;
        loaded.pending.sort_by_key(|event| event.position);
        fail::fail_point!("checkpoint_read_end");
        Ok(loaded)
    }

    /// Reads all records, passing each to `take` once.
    async fn each_record(
        &self,
        what: ToRead,
        mut take: impl FnMut(String, Bytes) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let ToRead { shard, epoch, serial, records } = what;
        // A page may bring again what another brought.
        let mut seen = HashSet::new();
        let mut next = (records > 0).then_some(Cursor::START);
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
                if seen.insert(field.clone()) {
                    take(field, bytes)?;
                }
            }
        }
        match seen.len() {
            have if have as u64 == records => Ok(()),
            have => Err(LoadError::Incomplete { have, records }),
        }
    }
}

/// Waits before a failed read is retried.
async fn again(shard: ShardKey, error: &CheckpointStoreError, tries: u32) {
    tracing::warn!(shard.id = %shard, %error, "cannot read the checkpoint; retrying");
    tokio::time::sleep(AGAIN * tries).await;
}

/// Returns why a session cannot be resumed here.
pub(crate) fn unfit(head: &Head, needs: &Needs) -> Option<String> {
    let session = &head.session;
    if session.id.is_empty() {
        return Some("its session was given up".to_owned());
    }
    if let Some(shard) = session.shard.filter(|shard| *shard != needs.shard.slot()) {
        return Some(format!("it is of shard {shard}"));
    }
    let total = needs.shard.total();
    if session.total != total {
        return Some(format!("it is of {} shards, not {total}", session.total));
    }
    if session.intents != needs.intents {
        return Some(format!("its session has intents {}, not {} (INTENTS)", session.intents, needs.intents));
    }
    if session.transport != needs.transport {
        let transport = printable_within(&session.transport, 64);
        return Some(format!("its session speaks {transport}, not {}", needs.transport));
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
