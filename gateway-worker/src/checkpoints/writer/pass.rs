//! One pass of a writer: writes changes and pending events to the store in steps.

use fleet_model::Position;
use std::{collections::BTreeSet, sync::Arc};

use checkpoint::{
    CHUNK, CheckpointStoreError, Head, HeadWrite, PendingEvent, Record, RecordKey, StepAnswer, WriteStep,
    encode_record,
};
use guild_cache::Changed;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::LastCheckpoint;
use crate::{
    bot::{EventQueue, KnownPending},
    cache::{Layouts, WrittenAs},
    checkpoints::{Checkpoints, Keep},
    clock::unix_ms,
    shard_state::{Progress, ShardState},
    threads::TimeSlice,
};

/// How a pass writes.
#[derive(Clone, Copy)]
struct Form {
    /// The format that it writes.
    format: u16,
    /// The store holds nothing of the session.
    fresh: bool,
    /// Records in the store have a newer format or other keys.
    rewrite: bool,
    /// The store may hold guilds with other keys.
    moves: bool,
}

/// How a pass ended.
enum PassEnd {
    /// Written to its end, or there was nothing to write.
    Done,
    /// The store does not answer; the next pass goes on.
    Away,
    /// Another worker has the shard.
    Outranked,
}

/// What a writer knows from one pass to the next.
pub(super) struct Pass {
    pub(super) checkpoints: Checkpoints,
    pub(super) shard: Arc<ShardState>,
    pub(super) event_queue: EventQueue,
    /// The serial of the last written step.
    pub(super) serial: u64,
    /// The session that the store holds.
    pub(super) stored: Option<u64>,
    /// The pending events that the store holds.
    pub(super) stored_pending: BTreeSet<Position>,
    /// Those among them that it holds as handled.
    pub(super) stored_handled: BTreeSet<Position>,
    /// The newest format that it may hold a record in.
    pub(super) stored_format: u16,
    /// The kinds of keys that its guilds may have.
    pub(super) stored_layouts: Layouts,
    /// Those that it may hold, from failed passes.
    pub(super) doubtful_pending: BTreeSet<Position>,
    /// It is unknown whether the last step was carried out.
    pub(super) in_doubt: bool,
}

impl Pass {
    pub(super) async fn run(mut self, soon: Arc<Notify>, mut end: oneshot::Receiver<LastCheckpoint>) {
        let shard = self.shard.key();
        let mut due = self.checkpoints.beat.next(shard, Instant::now());
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
                () = tokio::time::sleep_until(due) => {}
            }
            let began = Instant::now();
            self.shard.cache().seal(unix_ms()).await;
            // A pass is not broken off when the end comes meanwhile: the last one goes on from it.
            if matches!(self.write(None).await, PassEnd::Outranked) {
                return;
            }
            // Slow passes leave the store as much time as they take, and then wait for their group.
            let ended = Instant::now();
            due = self.checkpoints.beat.next(shard, ended + ended.duration_since(began));
        }
    }

    /// Writes one checkpoint. `last`: the final one, with its pending events.
    async fn write(&mut self, last: Option<LastCheckpoint>) -> PassEnd {
        let Some(progress) = self.shard.progress_to_write() else { return PassEnd::Done };
        if self.checkpoints.keep == Keep::Off {
            // The cache notes changes even without checkpoints, because the last part of a copy needs them.
            drop(self.shard.cache().take_changes(progress.session.ordinal));
            return self.clear().await;
        }
        let began = Instant::now();
        let mut rewritten = false;
        let format = self.checkpoints.format.now();
        loop {
            let session = progress.session.ordinal;
            // Asked again each time until it has been written to its end.
            let fresh = self.stored != Some(session);
            let moves = !fresh && self.stored_layouts.has_other_than(format);
            let rewrite = moves || format < self.stored_format;
            if rewrite {
                self.shard.cache().note_everything(session);
            }
            self.stored_format = self.stored_format.max(format);
            self.stored_layouts = self.stored_layouts.and(Layouts::of(format));
            let Some(mut changed) = self.shard.cache().take_changes(session) else { return PassEnd::Done };
            let form = Form { format, fresh, rewrite, moves };
            let outcome = self.write_changes(&progress, &mut changed, form, last.as_ref()).await;
            match outcome {
                Ok(()) => {
                    if rewrite {
                        tracing::info!(shard.id = %self.shard.key(), format, "checkpoint rewritten in another format");
                    }
                    // A store that was emptied holds nothing else either.
                    if rewrite || fresh {
                        self.stored_format = format;
                        self.stored_layouts = Layouts::of(format);
                    }
                    self.shard.set_checkpointed(progress.read_at_unix_ms);
                    self.event_queue.covered(progress.position());
                    self.checkpoints.metrics.count_written(began.elapsed(), format);
                    return PassEnd::Done;
                }
                Err(StepFailed::Lost) if !rewritten => {
                    rewritten = true;
                    self.checkpoints.metrics.count_rewritten();
                    tracing::warn!(
                        shard.id = %self.shard.key(),
                        "store lost writes; rewriting the checkpoint"
                    );
                    self.shard.cache().note_everything(session);
                    self.stored = None;
                }
                Err(StepFailed::Outranked(by)) => {
                    self.shard.outranked(by);
                    return PassEnd::Outranked;
                }
                Err(failed) => {
                    self.checkpoints.metrics.count_failure();
                    self.shard.cache().give_back(session, changed);
                    tracing::debug!(shard.id = %self.shard.key(), %failed, "checkpoint not written");
                    self.shard.set_checkpoint_failed(failed.to_string());
                    return PassEnd::Away;
                }
            }
        }
    }

    /// Removes old records once a session has begun, now that nothing is kept: the next owner must not get them.
    async fn clear(&mut self) -> PassEnd {
        if self.serial == 0 || self.stored.is_some() {
            return PassEnd::Done;
        }
        match self.step(WriteStep { fresh: true, ..WriteStep::default() }).await {
            Ok(()) => {
                self.stored = Some(0);
                PassEnd::Done
            }
            Err(StepFailed::Outranked(by)) => {
                self.shard.outranked(by);
                PassEnd::Outranked
            }
            Err(_) => PassEnd::Away,
        }
    }

    async fn write_changes(
        &mut self,
        progress: &Progress,
        changed: &mut Changed,
        form: Form,
        last: Option<&LastCheckpoint>,
    ) -> Result<(), StepFailed> {
        let Form { format, fresh, rewrite, moves } = form;
        let session = progress.session.ordinal;
        let full = self.checkpoints.keep == Keep::Full;
        if fresh {
            self.stored_pending.clear();
            self.stored_handled.clear();
            if progress.began_at > 0 {
                // From here on the session can be resumed, with all its guilds still to come.
                let (positions, pending) = self.pending(progress, progress.began_at, last, rewrite);
                let mut step = WriteStep { fresh: true, ..WriteStep::default() };
                for event in pending {
                    let key = RecordKey::Pending(event.position);
                    step.set.push((key, encode_record(&Record::Pending(event), format)?));
                }
                step.head = Some(self.head(progress, progress.began_at, format, true, false)?);
                self.step(step).await?;
                self.stored = Some(session);
                self.stored_pending = positions;
            }
        }
        let mut step = WriteStep { fresh: self.stored != Some(session), ..WriteStep::default() };
        let mut bytes = 0;
        let mut slice = TimeSlice::begin();
        if full {
            let form = WrittenAs { format, moves };
            for guild in changed.guilds() {
                fail::fail_point!("checkpoint_write_guild");
                slice.yield_if_over().await;
                self.add_guild(session, guild, changed, form, &mut step, &mut bytes).await?;
            }
        }
        let (still, unknown) = self.pending(progress, progress.read, last, rewrite);
        let gone = self.stored_pending.union(&self.doubtful_pending).filter(|at| !still.contains(at));
        step.remove.extend(gone.copied().map(RecordKey::Pending));
        self.doubtful_pending.extend(unknown.iter().map(|event| event.position));
        let handled: Vec<_> =
            unknown.iter().filter(|event| event.handled).map(|event| event.position).collect();
        for event in unknown {
            let key = RecordKey::Pending(event.position);
            let record = encode_record(&Record::Pending(event), format)?;
            bytes += record.len();
            step.set.push((key, record));
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

    /// Returns what is pending up to a sequence of the session, and the part that the store may not hold.
    /// All of it when the checkpoint is rewritten.
    fn pending(
        &self,
        progress: &Progress,
        up_to: u64,
        last: Option<&LastCheckpoint>,
        rewrite: bool,
    ) -> (BTreeSet<Position>, Vec<PendingEvent>) {
        if let Some(LastCheckpoint { pending, .. }) = last {
            // Written again, as what was begun when it was first written may not have been since.
            return (pending.iter().map(|event| event.position).collect(), pending.clone());
        }
        let known = if rewrite {
            KnownPending::nothing()
        } else {
            KnownPending { written: &self.stored_pending, handled: &self.stored_handled }
        };
        let up_to = Position::new(progress.session.ordinal, up_to);
        let pending = self.event_queue.pending(up_to, &known);
        (pending.positions.into_iter().collect(), pending.unknown)
    }

    /// Adds a guild's records to a step, and writes the step when it is large enough.
    async fn add_guild(
        &mut self,
        session: u64,
        guild: u64,
        changed: &mut Changed,
        form: WrittenAs,
        step: &mut WriteStep,
        bytes: &mut usize,
    ) -> Result<(), StepFailed> {
        let records = self.shard.cache().records(session, guild, changed, form)?;
        for (key, record) in records.members {
            *bytes += record.len();
            step.set.push((key, record));
            if *bytes >= CHUNK {
                self.flush(step, bytes).await?;
            }
        }
        step.remove.extend(records.gone);
        for (key, record) in records.together {
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

    /// Writes one step to the store.
    async fn step(&mut self, step: WriteStep) -> Result<(), StepFailed> {
        let bytes: usize = step.set.iter().map(|(_, bytes)| bytes.len()).sum();
        self.checkpoints.pace.spend(bytes).await;
        fail::fail_point!("checkpoint_write_step");
        let (shard, epoch) = (self.shard.key(), self.shard.epoch());
        let mut answer = self.checkpoints.store.write(shard, epoch, self.serial, &step).await;
        if let Ok(StepAnswer::Lost { serial }) = answer
            && self.in_doubt
            && serial == self.serial + 1
        {
            // The unanswered step before was carried out: only this worker writes at this epoch.
            self.serial = serial;
            answer = self.checkpoints.store.write(shard, epoch, self.serial, &step).await;
        }
        self.in_doubt = answer.is_err();
        match answer? {
            StepAnswer::Yes { serial } => {
                self.serial = serial;
                self.checkpoints.metrics.count_step(step.set.len(), bytes);
                Ok(())
            }
            StepAnswer::Lost { serial } => {
                self.serial = serial;
                Err(StepFailed::Lost)
            }
            StepAnswer::Outranked(by) => Err(StepFailed::Outranked(by)),
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
            own_user: self.shard.cache().own_user_text(),
            presence: self.shard.presence(),
            epoch: self.shard.epoch(),
            exact,
            session,
        };
        let bytes = self.checkpoints.heads.encode(&head, format, self.shard.key(), self.serial)?;
        Ok(HeadWrite { bytes, total: progress.session.total })
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
