//! Suspects: events that a shard's earlier owners may have died of, and the care with which they are handled.
//!
//! Owns the way of a suspect to its handler and back: it is noted in the store before the handler begins, and the note is taken back
//! when the handler has ended, even by a panic. At most one suspect is handled at a time over all shards of a worker,
//! and one that others no longer wait for loses its note. So a note of a previous owner means that this event alone was
//! being handled when that owner died, and an event that two owners noted is set aside. Notes of owners that were
//! killed from outside are void.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use checkpoint::{
    CheckpointStoreError, Fenced, NoteAnswer, Position, SetAside, SetAsideStore, SetAsideSummary,
};
use dispatch::{Admission, Delivery, DispatchMetrics, Dispatcher, Handler};
use fleet_model::{Assignment, Epoch, ShardKey};
use tokio::{runtime::Handle, sync::OwnedMutexGuard, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{clock::unix_ms, event::queued::Queued, shard_state::ShardState};

/// How many owners must have died with an event in its handler before it is set aside.
const DEATHS: u32 = 2;

/// How long to wait for a store that takes no note. After that suspects are handled without one, until it answers.
const WAIT_FOR_NOTE: Duration = Duration::from_secs(30);

/// How long to wait for a store that does not take the end of a handler.
const WAIT_FOR_END: Duration = Duration::from_secs(5);

/// The wait between two tries.
const AGAIN: Duration = Duration::from_millis(300);

/// The longest brief care, after which fresh events no longer wait.
const BRIEFLY: Duration = Duration::from_secs(3);

/// The care that a shard starts with.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardCaution {
    pub(super) level: CareLevel,
    /// The epochs of owners that were killed from outside.
    pub(super) killed: Vec<Epoch>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CareLevel {
    #[default]
    None,
    /// The previous owner died.
    Brief,
    /// Two owners died within a short time.
    Full,
}

impl ShardCaution {
    /// Reads the caution for a shard out of an assignment.
    pub(crate) fn assigned(assignment: &Assignment, shard: ShardKey) -> Self {
        let level = if assignment.careful.contains(&shard) {
            CareLevel::Full
        } else if assignment.suspected.contains(&shard) {
            CareLevel::Brief
        } else {
            CareLevel::None
        };
        let killed = assignment.killed.iter().filter(|(of, _)| *of == shard).map(|(_, epoch)| *epoch);
        Self { level, killed: killed.collect() }
    }
}

impl From<bool> for ShardCaution {
    fn from(careful: bool) -> Self {
        Self { level: if careful { CareLevel::Full } else { CareLevel::None }, killed: Vec::new() }
    }
}

impl CareLevel {
    /// Sets the queue's level of care. Must be called before anything is queued.
    pub(super) fn apply<H: Handler<Queued>>(
        self,
        dispatcher: &Dispatcher<Queued, H>,
        runtime: &Handle,
        closing: &CancellationToken,
    ) {
        match self {
            Self::None => {}
            Self::Full => dispatcher.begin_carefully(false),
            Self::Brief => {
                dispatcher.begin_carefully(true);
                let (dispatcher, closing) = (dispatcher.clone(), closing.clone());
                runtime.spawn(async move {
                    if tokio::time::timeout(BRIEFLY, closing.cancelled()).await.is_err() {
                        dispatcher.end_care();
                    }
                });
            }
        }
    }
}

/// What the shards of a worker share. Clones share it too.
#[derive(Clone)]
pub(crate) struct Suspects {
    store: Arc<dyn SetAsideStore>,
    /// Held by the one suspect that is being handled.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of slow suspects that still run while others go on: no other suspect runs alone beside them.
    let_go: Arc<AtomicUsize>,
    metrics: DispatchMetrics,
}

impl Suspects {
    pub(crate) fn new(store: Arc<dyn SetAsideStore>, metrics: DispatchMetrics) -> Self {
        Self { store, turn: Arc::default(), let_go: Arc::default(), metrics }
    }

    /// For one shard. `closing`: cancelled when nothing more is to begin.
    pub(super) fn of_shard(
        &self,
        shard: Arc<ShardState>,
        closing: CancellationToken,
        killed: Vec<Epoch>,
    ) -> ShardSuspects {
        ShardSuspects {
            worker: self.clone(),
            shard,
            closing,
            voided: AtomicBool::new(killed.is_empty()),
            killed,
            turn: Mutex::default(),
            away_since: Mutex::default(),
        }
    }
}

/// The part of one shard.
pub(super) struct ShardSuspects {
    worker: Suspects,
    shard: Arc<ShardState>,
    closing: CancellationToken,
    /// Previous owners whose notes are void.
    killed: Vec<Epoch>,
    /// Whether those notes have been removed.
    voided: AtomicBool,
    /// The worker's lock, and the event that holds it.
    turn: Mutex<Option<(Position, OwnedMutexGuard<()>)>>,
    /// Since when the store has taken no note.
    away_since: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShardSuspects {
    /// Notes a suspect that is to be handled alone, or sets it aside.
    pub(super) async fn admit(&self, delivery: &Delivery<Queued>) -> Admission {
        let at = delivery.payload().event.position;
        let admission = tokio::select! {
            biased;
            () = self.closing.cancelled() => Admission::PutBack,
            admission = self.decide(at, delivery) => admission,
        };
        if admission != Admission::Handle {
            self.give_turn_back(at);
        }
        admission
    }

    async fn decide(&self, at: Position, delivery: &Delivery<Queued>) -> Admission {
        // An operator asked for it to be handled. Its record is kept until the handler has ended.
        if delivery.payload().is_replay {
            return Admission::Handle;
        }
        let turn = self.worker.turn.clone().lock_owned().await;
        *lock(&self.turn) = Some((at, turn));
        if self.worker.let_go.load(Ordering::Relaxed) > 0 {
            return Admission::Handle;
        }
        match self.note(at).await {
            None | Some(NoteAnswer::Yes { .. }) => Admission::Handle,
            Some(NoteAnswer::No { before }) => self.set_aside(at, delivery, before).await,
            Some(NoteAnswer::Outranked(by)) => {
                self.shard.outranked(by);
                Admission::PutBack
            }
        }
    }

    /// Notes an event, after removing void notes.
    async fn try_note(&self, at: Position) -> Result<NoteAnswer, CheckpointStoreError> {
        let (shard, epoch) = (self.shard.key(), self.shard.epoch());
        if !self.voided.load(Ordering::Relaxed) {
            if let Fenced::Outranked(by) =
                self.worker.store.void_notes(shard, epoch, None, &self.killed).await?
            {
                return Ok(NoteAnswer::Outranked(by));
            }
            self.voided.store(true, Ordering::Relaxed);
        }
        self.worker.store.note(shard, epoch, at, DEATHS).await
    }

    /// Notes an event, and waits for a store that is away. `None` when it was away for too long.
    async fn note(&self, at: Position) -> Option<NoteAnswer> {
        loop {
            let error = match self.try_note(at).await {
                Ok(noted) => {
                    *lock(&self.away_since) = None;
                    return Some(noted);
                }
                Err(error) => error,
            };
            let away_since = *lock(&self.away_since).get_or_insert_with(Instant::now);
            if away_since.elapsed() >= WAIT_FOR_NOTE {
                tracing::warn!(
                    shard.id = %self.shard.key(), session = at.session, sequence = at.sequence, %error,
                    "cannot record suspect event; handling it unrecorded"
                );
                return None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Releases the worker's lock. Returns false when the event does not hold it.
    fn give_turn_back(&self, at: Position) -> bool {
        lock(&self.turn).take_if(|(of, _)| *of == at).is_some()
    }

    /// Sets an event aside. Waits for a store that is away, as handling the event could kill another worker.
    async fn set_aside(&self, at: Position, delivery: &Delivery<Queued>, noted: u32) -> Admission {
        let kind = delivery.kind();
        let event = &delivery.payload().event;
        let summary = SetAsideSummary {
            at,
            name: kind.to_owned(),
            received_at_unix_ms: event.received_at_unix_ms,
            set_aside_at_unix_ms: unix_ms(),
            noted,
        };
        let event = SetAside { summary, text: event.text.clone() };
        let (shard, epoch) = (self.shard.key(), self.shard.epoch());
        let mut said = false;
        loop {
            match self.worker.store.set_aside(shard, epoch, &event).await {
                Ok(Fenced::Done { forgotten }) => {
                    self.worker.metrics.count_set_aside(kind, forgotten);
                    tracing::error!(
                        shard.id = %shard, event = %kind, session = at.session, sequence = at.sequence,
                        deaths = noted, forgotten,
                        "event set aside: workers died with it in its handler (altergolden set-aside show \
                         {shard}/{}/{})", at.session, at.sequence
                    );
                    return Admission::LeaveOut;
                }
                Ok(Fenced::Outranked(by)) => {
                    self.shard.outranked(by);
                    return Admission::PutBack;
                }
                Err(error) => {
                    if !said {
                        tracing::warn!(shard.id = %shard, %error, "cannot set an event aside; retrying");
                        said = true;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Withdraws a suspect that was admitted but not handled, because the shard ends.
    pub(super) async fn not_started(&self, delivery: &Delivery<Queued>) {
        let at = delivery.payload().event.position;
        if !delivery.payload().is_replay {
            self.withdraw(at).await;
        }
        self.give_turn_back(at);
    }

    /// Removes the note of a suspect whose handler has ended.
    pub(super) async fn ended(&self, delivery: &Delivery<Queued>) {
        let at = delivery.payload().event.position;
        if delivery.payload().is_replay {
            self.forget(at).await;
        } else if delivery.alone {
            self.take_back(at).await;
            if !self.give_turn_back(at) {
                self.worker.let_go.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Lets others go on beside a slow suspect. It no longer runs alone, so its note is removed.
    pub(super) async fn let_go(&self, delivery: &Delivery<Queued>) {
        let at = delivery.payload().event.position;
        if delivery.payload().is_replay {
            return;
        }
        self.worker.let_go.fetch_add(1, Ordering::Relaxed);
        self.withdraw(at).await;
        self.give_turn_back(at);
    }

    /// Removes this owner's note of an event.
    async fn withdraw(&self, at: Position) {
        let (shard, epoch) = (self.shard.key(), self.shard.epoch());
        let voided =
            patiently(|| async move { self.worker.store.void_notes(shard, epoch, Some(at), &[epoch]).await });
        self.log_note_removal(at, voided.await);
    }

    async fn take_back(&self, at: Position) {
        let (shard, epoch) = (self.shard.key(), self.shard.epoch());
        self.log_note_removal(at, patiently(|| self.worker.store.take_back(shard, epoch, at)).await);
    }

    fn log_note_removal(&self, at: Position, taken_back: Result<Fenced, CheckpointStoreError>) {
        match taken_back {
            Ok(Fenced::Done { .. }) => {}
            Ok(Fenced::Outranked(by)) => self.shard.outranked(by),
            Err(error) => tracing::warn!(
                shard.id = %self.shard.key(), session = at.session, sequence = at.sequence, %error,
                "cannot remove the note of an event"
            ),
        }
    }

    /// Removes a handled event from those set aside.
    async fn forget(&self, at: Position) {
        let shard = self.shard.key();
        match patiently(|| self.worker.store.drop_aside(shard.slot(), at)).await {
            Ok(_) => tracing::info!(
                shard.id = %shard, session = at.session, sequence = at.sequence,
                "event that was set aside has been handled"
            ),
            Err(error) => tracing::warn!(
                shard.id = %shard, session = at.session, sequence = at.sequence, %error,
                "cannot remove a handled event from those set aside; it is still listed"
            ),
        }
    }
}

/// Retries for a while when the store is away.
async fn patiently<T, E, F: Future<Output = Result<T, E>>>(ask: impl Fn() -> F) -> Result<T, E> {
    let until = Instant::now() + WAIT_FOR_END;
    loop {
        match ask().await {
            Err(_) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            end => return end,
        }
    }
}

#[cfg(test)]
mod tests;
