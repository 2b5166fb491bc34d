//! The source's side: a shard that runs is copied, and handed off when it stops.
//!
//! A shard has one [`CopySlot`], where the target waits for the last part; a later copy ends an earlier one. Only the target of a
//! move that the coordinator ordered gets a copy: it presents the [ticket](Departing) that both workers were given for the move.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use checkpoint::{FormatError, Head, Record, RecordKey, encode_head, encode_record};
use fleet_model::{Classified, Departing, ErrorClass};
use tokio::sync::oneshot;

use crate::{cache::GuildRecords, checkpoints::writer::LastCheckpoint, shard_state::ShardState};

/// Where the target of a copy waits for its last part.
#[derive(Debug, Default)]
pub(crate) struct CopySlot {
    under_way: Mutex<Option<CopyUnderWay>>,
    /// The move that the coordinator has ordered, until its copy is complete.
    ordered: Mutex<Option<Departing>>,
}

#[derive(Debug)]
struct CopyUnderWay {
    session: u64,
    /// The format of all records of the copy. The fleet's format may change before the last part.
    format: u16,
    last: oneshot::Sender<LastPart>,
}

/// Records as they go over the wire.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// Removed before any is set.
    pub(crate) gone: Vec<RecordKey>,
    pub(crate) set: Vec<(RecordKey, Bytes)>,
    pub(crate) bytes: usize,
}

/// The last part of a copy, sent when the source has stopped.
#[derive(Debug)]
pub(crate) struct LastPart {
    /// What has changed since the copy began, and the events that are not handled yet.
    pub(crate) records: Encoded,
    pub(crate) head: Bytes,
}

/// A copy that has begun.
#[derive(Debug)]
pub(crate) struct Copying {
    pub(crate) session: u64,
    /// The format of all records of the copy.
    pub(crate) format: u16,
    /// The guilds to be sent.
    pub(crate) guilds: Vec<u64>,
    /// Comes when the shard has stopped; an error when it ends otherwise.
    pub(crate) last: oneshot::Receiver<LastPart>,
}

/// A shard can't be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyRefused {
    /// There is nothing to copy.
    #[error("the shard has no session yet, or its guilds are still being read")]
    NotYet,
    /// The caller has no right to the shard.
    #[error("the ticket is missing, or matches no move of this shard that the coordinator ordered")]
    NoTicket,
}

impl Classified for CopyRefused {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotYet => ErrorClass::NotPermitted,
            Self::NoTicket => ErrorClass::Forbidden,
        }
    }
}

impl Encoded {
    /// Adds a guild's records: members first, as the core speaks of them.
    pub(crate) fn add(&mut self, records: GuildRecords) {
        self.gone.extend(records.gone);
        for (key, bytes) in records.members.into_iter().chain(records.together) {
            self.push(key, bytes);
        }
    }

    fn push(&mut self, key: RecordKey, bytes: Bytes) {
        self.bytes += bytes.len();
        self.set.push((key, bytes));
    }
}

impl CopySlot {
    /// Notes which move the coordinator has ordered, if any. Another one, or none, ends the ticket of the one before.
    pub(crate) fn order(&self, departing: Option<&Departing>) {
        *self.ordered() = departing.cloned();
    }

    /// Checks the ticket of a caller. Older workers present none; so this is refused only where all callers `must_present` one.
    pub(crate) fn admit(&self, ticket: &[u8], must_present: bool) -> Result<(), CopyRefused> {
        let is_of_move = || {
            let ordered = self.ordered();
            ordered.as_ref().and_then(|departing| departing.ticket).is_some_and(|own| own.is(ticket))
        };
        let is_admitted = if ticket.is_empty() { !must_present } else { is_of_move() };
        is_admitted.then_some(()).ok_or(CopyRefused::NoTicket)
    }

    /// Begins a copy of a shard. One that is under way ends without its last part.
    pub(crate) fn begin(&self, shard: &ShardState, format: u16) -> Result<Copying, CopyRefused> {
        let session = shard.progress().ok_or(CopyRefused::NotYet)?.session.ordinal;
        let mut under_way = self.lock();
        let guilds = shard.cache().begin_copy(session).ok_or(CopyRefused::NotYet)?;
        let (last, receiver) = oneshot::channel();
        *under_way = Some(CopyUnderWay { session, format, last });
        Ok(Copying { session, format, guilds, last: receiver })
    }

    /// Ends a copy whose target no longer waits, unless a later copy is under way.
    pub(crate) fn abandon(&self, shard: &ShardState) {
        let mut under_way = self.lock();
        if let Some(CopyUnderWay { session, .. }) = under_way.take_if(|copy| copy.last.is_closed()) {
            shard.cache().drop_copy(session);
        }
    }

    /// Publishes the rest of a shard that has stopped in order, for the worker that copied it.
    pub(crate) fn hand_over(&self, shard: &ShardState, last: &LastCheckpoint) {
        let word = last;
        let Some(CopyUnderWay { session, format, last }) = self.lock().take() else { return };
        if last.is_closed() {
            // The target no longer waits.
            shard.cache().drop_copy(session);
            return;
        }
        match last_part(shard, session, word, format) {
            // An error means that the target is gone; the checkpoint has it all.
            Ok(Some(word)) => {
                self.order(None);
                drop(last.send(word));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(shard.id = %shard.key(), %error, "cannot encode the last part of a copy");
            }
        }
    }

    /// Ends a copy under way without its last part, because the shard has ended.
    pub(crate) fn close(&self) {
        self.lock().take();
    }

    #[cfg(test)]
    pub(crate) fn is_under_way(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<CopyUnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ordered(&self) -> std::sync::MutexGuard<'_, Option<Departing>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn last_part(
    shard: &ShardState,
    session: u64,
    last: &LastCheckpoint,
    format: u16,
) -> Result<Option<LastPart>, FormatError> {
    let Some(progress) = shard.progress().filter(|progress| progress.session.ordinal == session) else {
        return Ok(None);
    };
    let Some(changed) = shard.cache().end_copy(session, format)? else { return Ok(None) };
    let mut records = Encoded::default();
    for guild in changed {
        records.add(guild);
    }
    for event in &last.pending {
        let record = encode_record(&Record::Pending(event.clone()), format)?;
        records.push(RecordKey::Pending(event.position), record);
    }
    let head = Head {
        read: progress.read,
        read_at_unix_ms: progress.read_at_unix_ms,
        expecting: shard.cache().guilds_to_expect(false),
        doubt: shard.cache().doubt_code(),
        own_user: shard.cache().own_user_text(),
        presence: shard.presence(),
        epoch: shard.epoch(),
        exact: last.exact,
        session: (*progress.session).clone(),
    };
    Ok(Some(LastPart { records, head: encode_head(&head, format)? }))
}
