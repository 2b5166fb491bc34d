//! Writes one shard's checkpoints: a task of its own, which ends with the shard's.
//!
//! The order is what makes a checkpoint whole at any moment: `read` is looked at first, then what has changed and what is
//! pending are taken, so that both reach at least as far; records are written before the head that speaks of them. Records
//! may be newer than the head: each guild has a stamp, and what is replayed up to it changes nothing.
//!
//! When the format has become older, a pass writes everything anew, over what is there: until it is done a worker that reads only
//! the older one can't go on from here. When it has become newer, nothing is written for that.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use checkpoint::{
    CHUNK, CheckpointStoreError, FORMAT_MIN, Head, HeadWrite, PendingEvent, Record, RecordKey, WriteStep,
    Written, encode_head, encode_record,
};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Checkpoints, Keep};
use crate::{
    bot::Deliveries,
    cache::{Changed, GuildChanges},
    shard_state::{Progress, ShardState},
    threads::Turn,
};

/// How long the last checkpoint of a shard may take.
const LAST: Duration = Duration::from_secs(2);

/// The writer of a shard, in the hands of the shard's task. Dropped, it ends where it is.
#[derive(Debug)]
pub(crate) struct Writer {
    soon: Arc<Notify>,
    last: Option<oneshot::Sender<Last>>,
    task: AbortOnDropHandle<()>,
}

/// What the store holds when writing begins.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The session that it is of.
    pub(crate) session: u64,
    /// The pending events.
    pub(crate) pending: BTreeSet<(u64, u64)>,
    /// The newest format that a record has.
    pub(crate) format: u16,
}

/// The last checkpoint of an owner that stops in order.
#[derive(Debug)]
pub(crate) struct Last {
    /// All events whose handlers have not started.
    pub(crate) pending: Pending,
    /// Discord will send nothing again.
    pub(crate) exact: bool,
}

/// Pending events by position.
type Pending = Vec<((u64, u64), PendingEvent)>;

impl Writer {
    /// Begins to write. `serial`: what the store said when the checkpoint was claimed. `stored`: what it holds that is of use.
    pub(crate) fn start(
        checkpoints: Checkpoints,
        shard: Arc<ShardState>,
        deliveries: Deliveries,
        serial: u64,
        stored: Option<Stored>,
    ) -> Self {
        let soon = Arc::new(Notify::new());
        let (last, end) = oneshot::channel();
        let (stored, stored_pending, stored_format) = match stored {
            Some(Stored { session, pending, format }) => (Some(session), pending, format),
            None => (None, BTreeSet::new(), FORMAT_MIN),
        };
        let pass = Pass {
            checkpoints,
            shard,
            deliveries,
            serial,
            stored,
            stored_pending,
            stored_handled: BTreeSet::new(),
            stored_format,
            doubtful_pending: BTreeSet::new(),
            in_doubt: false,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(pass.run(soon.clone(), end)));
        Self { soon, last: Some(last), task }
    }

    /// A new session has begun: its head is written at once.
    pub(crate) fn write_soon(&self) {
        self.soon.notify_one();
    }

    /// Writes the last checkpoint of an owner that stops in order.
    pub(crate) async fn finish(mut self, word: Last) {
        if let Some(last) = self.last.take() {
            let _ = last.send(word);
        }
        if tokio::time::timeout(LAST, &mut self.task).await.is_err() {
            tracing::warn!(
                "the last checkpoint of a shard was not written in time: the one before it counts"
            );
        }
    }
}

/// How a pass writes.
#[derive(Clone, Copy)]
struct Form {
    /// What it writes in.
    format: u16,
    /// The store holds nothing of the session.
    fresh: bool,
    /// What the store holds is in a newer format.
    anew: bool,
}

/// What became of a pass.
enum End {
    /// Written to its end, or there was nothing to write.
    Done,
    /// The store does not answer; the next pass goes on.
    Away,
    /// Somebody else has the shard.
    Outranked,
}

/// See the module's documentation.
struct Pass {
    checkpoints: Checkpoints,
    shard: Arc<ShardState>,
    deliveries: Deliveries,
    /// Of the last step that was written.
    serial: u64,
    /// The session that the store holds.
    stored: Option<u64>,
    /// The pending events that the store holds.
    stored_pending: BTreeSet<(u64, u64)>,
    /// Those among them that it holds as handled.
    stored_handled: BTreeSet<(u64, u64)>,
    /// The newest format that it may hold a record in.
    stored_format: u16,
    /// Those that it may hold: of passes that failed.
    doubtful_pending: BTreeSet<(u64, u64)>,
    /// The last step may have been carried out, or not.
    in_doubt: bool,
}

impl Pass {
    async fn run(mut self, soon: Arc<Notify>, mut end: oneshot::Receiver<Last>) {
        let mut wait = self.checkpoints.every;
        loop {
            tokio::select! {
                biased;
                last = &mut end => {
                    if let Ok(last) = last {
                        self.write(Some(last)).await;
                    }
                    return;
                }
                () = soon.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
            let began = Instant::now();
            // A pass is not broken off when the end comes meanwhile: the last one goes on from it.
            if matches!(self.write(None).await, End::Outranked) {
                return;
            }
            // Slow passes leave the store as much time as they take.
            wait = self.checkpoints.every.max(began.elapsed());
        }
    }

    /// One checkpoint. `last`: the final one, with what is pending then.
    async fn write(&mut self, last: Option<Last>) -> End {
        let Some(progress) = self.shard.progress_to_write() else { return End::Done };
        if self.checkpoints.keep == Keep::Off {
            return self.clear().await;
        }
        let began = Instant::now();
        let mut rewritten = false;
        let format = self.checkpoints.format.now();
        loop {
            let session = progress.session.ordinal;
            // Asked again each time until it has been written to its end.
            let anew = format < self.stored_format;
            if anew {
                self.shard.cache().note_everything(session);
            }
            self.stored_format = self.stored_format.max(format);
            let fresh = self.stored != Some(session);
            let Some(mut changed) = self.shard.cache().take_changes(session) else { return End::Done };
            let form = Form { format, fresh, anew };
            let outcome = self.write_changes(&progress, &mut changed, form, last.as_ref()).await;
            match outcome {
                Ok(()) => {
                    if anew {
                        tracing::info!(shard.id = %self.shard.number(), format, "the checkpoint is in an older format now");
                    }
                    // A store that was emptied holds nothing else either.
                    if anew || fresh {
                        self.stored_format = format;
                    }
                    self.shard.set_checkpointed(progress.read_at_unix_ms);
                    self.deliveries.covered((session, progress.read));
                    self.checkpoints.metrics.count_written(began.elapsed(), format);
                    return End::Done;
                }
                Err(StepFailed::Lost) if !rewritten => {
                    rewritten = true;
                    self.checkpoints.metrics.count_rewritten();
                    tracing::warn!(
                        shard.id = %self.shard.number(),
                        "the store has lost writes: the checkpoint is written anew"
                    );
                    self.shard.cache().note_everything(session);
                    self.stored = None;
                }
                Err(StepFailed::Outranked(by)) => {
                    self.shard.outranked(by);
                    return End::Outranked;
                }
                Err(failed) => {
                    self.checkpoints.metrics.count_failure();
                    self.shard.cache().give_back(session, changed);
                    tracing::debug!(shard.id = %self.shard.number(), %failed, "the checkpoint was not written");
                    self.shard.set_checkpoint_failed(failed.to_string());
                    return End::Away;
                }
            }
        }
    }

    /// Removes old records once a session has begun, now that nothing is kept: the next owner must not get them.
    async fn clear(&mut self) -> End {
        if self.serial == 0 || self.stored.is_some() {
            return End::Done;
        }
        match self.step(WriteStep { fresh: true, ..WriteStep::default() }).await {
            Ok(()) => {
                self.stored = Some(0);
                End::Done
            }
            Err(StepFailed::Outranked(by)) => {
                self.shard.outranked(by);
                End::Outranked
            }
            Err(_) => End::Away,
        }
    }

    async fn write_changes(
        &mut self,
        progress: &Progress,
        changed: &mut Changed,
        form: Form,
        last: Option<&Last>,
    ) -> Result<(), StepFailed> {
        let Form { format, fresh, anew } = form;
        let session = progress.session.ordinal;
        let full = self.checkpoints.keep == Keep::Full;
        if fresh {
            self.stored_pending.clear();
            self.stored_handled.clear();
            if progress.began_at > 0 {
                // From here on the session can be resumed, with all its guilds still to come.
                let (positions, pending) = self.pending(progress, progress.began_at, last, anew);
                let mut step = WriteStep { fresh: true, ..WriteStep::default() };
                for (at, event) in pending {
                    step.set.push((
                        RecordKey::Pending(at.0, at.1),
                        encode_record(&Record::Pending(event), format)?,
                    ));
                }
                step.head = Some(self.head(progress, progress.began_at, format, true, false)?);
                self.step(step).await?;
                self.stored = Some(session);
                self.stored_pending = positions;
            }
        }
        let mut step = WriteStep { fresh: self.stored != Some(session), ..WriteStep::default() };
        let mut bytes = 0;
        let mut turn = Turn::begin();
        if full {
            for (guild, changes) in &mut changed.guilds {
                fail::fail_point!("checkpoint_write_guild");
                turn.give_way().await;
                self.add_guild(session, *guild, changes, format, &mut step, &mut bytes).await?;
            }
        }
        let (still, unknown) = self.pending(progress, progress.read, last, anew);
        let gone = self.stored_pending.union(&self.doubtful_pending).filter(|at| !still.contains(at));
        step.remove.extend(gone.map(|at| RecordKey::Pending(at.0, at.1)));
        self.doubtful_pending.extend(unknown.iter().map(|(at, _)| *at));
        let handled: Vec<_> = unknown.iter().filter(|(_, event)| event.handled).map(|(at, _)| *at).collect();
        for (at, event) in unknown {
            let record = encode_record(&Record::Pending(event), format)?;
            bytes += record.len();
            step.set.push((RecordKey::Pending(at.0, at.1), record));
            if bytes >= CHUNK {
                self.flush(&mut step, &mut bytes).await?;
            }
        }
        fail::fail_point!("checkpoint_write_head");
        step.head =
            Some(self.head(progress, progress.read, format, false, last.is_some_and(|last| last.exact))?);
        self.step(step).await?;
        self.stored = Some(session);
        self.stored_handled.extend(handled);
        self.stored_handled.retain(|at| still.contains(at));
        self.stored_pending = still;
        self.doubtful_pending.clear();
        Ok(())
    }

    /// What is pending up to a sequence of the session, and what of it the store does not hold for sure.
    /// All of it when it is written anew.
    fn pending(
        &self,
        progress: &Progress,
        up_to: u64,
        last: Option<&Last>,
        anew: bool,
    ) -> (BTreeSet<(u64, u64)>, Pending) {
        if let Some(Last { pending, .. }) = last {
            // Written again, as what was begun when it was first written may not have been since.
            return (pending.iter().map(|(at, _)| *at).collect(), pending.clone());
        }
        // What is done with since it was written is written again: else its handlers would be given it again.
        let known = |position, handled: bool| {
            let is_written = !anew && self.stored_pending.contains(&position);
            is_written && (!handled || self.stored_handled.contains(&position))
        };
        let pending = self.deliveries.pending((progress.session.ordinal, up_to), known);
        (pending.positions.into_iter().collect(), pending.unknown)
    }

    /// Adds a guild's records, and writes what has come together when that is enough for a step.
    async fn add_guild(
        &mut self,
        session: u64,
        guild: u64,
        changes: &mut GuildChanges,
        format: u16,
        step: &mut WriteStep,
        bytes: &mut usize,
    ) -> Result<(), StepFailed> {
        let records = self.shard.cache().records(session, guild, changes);
        for (key, record) in records.members {
            let record = encode_record(&record, format)?;
            *bytes += record.len();
            step.set.push((key, record));
            if *bytes >= CHUNK {
                self.flush(step, bytes).await?;
            }
        }
        step.remove.extend(records.gone);
        for (key, record) in records.together {
            let record = encode_record(&record, format)?;
            *bytes += record.len();
            step.set.push((key, record));
        }
        if *bytes >= CHUNK {
            self.flush(step, bytes).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, step: &mut WriteStep, bytes: &mut usize) -> Result<(), StepFailed> {
        let full = std::mem::take(step);
        *bytes = 0;
        self.step(full).await
    }

    /// One step to the store.
    async fn step(&mut self, step: WriteStep) -> Result<(), StepFailed> {
        let bytes: usize = step.set.iter().map(|(_, bytes)| bytes.len()).sum();
        self.checkpoints.pace.spend(bytes).await;
        fail::fail_point!("checkpoint_write_step");
        let (shard, epoch) = (self.shard.number(), self.shard.epoch());
        let mut answer = self.checkpoints.store.write(shard, epoch, self.serial, &step).await;
        if let Ok(Written::Lost { serial }) = answer
            && self.in_doubt
            && serial == self.serial + 1
        {
            // The step before whose answer did not come was carried out. Nobody else writes at this epoch.
            self.serial = serial;
            answer = self.checkpoints.store.write(shard, epoch, self.serial, &step).await;
        }
        self.in_doubt = answer.is_err();
        match answer? {
            Written::Yes { serial } => {
                self.serial = serial;
                self.checkpoints.metrics.count_step(step.set.len(), bytes);
                Ok(())
            }
            Written::Lost { serial } => {
                self.serial = serial;
                Err(StepFailed::Lost)
            }
            Written::Outranked(by) => Err(StepFailed::Outranked(by)),
        }
    }

    fn head(
        &self,
        progress: &Progress,
        read: u64,
        format: u16,
        empty: bool,
        exact: bool,
    ) -> Result<HeadWrite, StepFailed> {
        let without_guilds = empty || self.checkpoints.keep != Keep::Full;
        let mut session = (*progress.session).clone();
        if self.checkpoints.keep != Keep::Full {
            session.resources.clear();
        }
        let head = Head {
            read,
            read_at_unix_ms: progress.read_at_unix_ms,
            expecting: self.shard.cache().guilds_to_expect(without_guilds),
            doubt: self.shard.cache().doubt_code(),
            own_user: self.shard.cache().own_user(),
            presence: self.shard.presence(),
            epoch: self.shard.epoch(),
            exact,
            session,
        };
        Ok(HeadWrite { bytes: encode_head(&head, format)?, total: progress.session.total })
    }
}

/// A step that was not written.
#[derive(Debug, thiserror::Error)]
enum StepFailed {
    #[error("{0}")]
    Away(#[from] CheckpointStoreError),
    #[error("the store has lost writes")]
    Lost,
    #[error("another worker has the shard, at epoch {0}")]
    Outranked(fleet_model::Epoch),
    #[error("{0}")]
    Format(#[from] checkpoint::FormatError),
}

#[cfg(test)]
mod tests;
