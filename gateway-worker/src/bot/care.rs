//! The care with which a shard handles what its owners may have died of.
//!
//! Owns the way of a suspect to its handler and back: it is noted in the store before the handler begins, and the note is taken back
//! when that came to its end, by a panic too. A note of an owner before means that its handler had begun when that owner died. One
//! such death may be another event's doing, whose handler ran beside it for another shard of the worker: so an event that was noted
//! once is handled while no other suspect of the whole worker is. One that was noted by two owners is set aside.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use checkpoint::{Fenced, Noted, Position, SetAside, SetAsideStore, SetAsideSummary};
use dispatch::{Admission, Delivery, DispatchMetrics};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::queued::Queued;
use crate::{checkpoints::unix_ms, shard::Shard};

/// So many owners died with an event in its handler when it is set aside.
const DEATHS: u32 = 2;

/// How long a store that takes no note is waited for; then suspects are handled without one, until it answers.
const WAIT_FOR_NOTE: Duration = Duration::from_secs(30);

/// How long a store is waited for that does not hear that a handler has ended.
const WAIT_FOR_END: Duration = Duration::from_secs(5);

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(300);

/// What the shards of a worker have in common. Clones are the same.
#[derive(Clone)]
pub(crate) struct Care {
    store: Arc<dyn SetAsideStore>,
    /// Suspects share it, but for one that was noted before.
    turn: Arc<RwLock<()>>,
    metrics: DispatchMetrics,
}

impl Care {
    pub(crate) fn new(store: Arc<dyn SetAsideStore>, metrics: DispatchMetrics) -> Self {
        Self { store, turn: Arc::default(), metrics }
    }

    /// Of one shard. `closing`: told when nothing more is to begin.
    pub(super) fn of_shard(&self, shard: Arc<Shard>, closing: CancellationToken) -> ShardCare {
        ShardCare { care: self.clone(), shard, closing, turn: Mutex::default(), away_since: Mutex::default() }
    }
}

/// One shard's.
pub(super) struct ShardCare {
    care: Care,
    shard: Arc<Shard>,
    closing: CancellationToken,
    /// What the event at hand has of the worker's turn.
    turn: Mutex<Option<(Position, Turn)>>,
    /// Since when the store has taken no note.
    away_since: Mutex<Option<Instant>>,
}

/// Held for as long as a suspect is handled.
#[expect(dead_code, reason = "what counts is when it is dropped")]
enum Turn {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

fn position(queued: &Queued) -> Position {
    let (session, sequence) = queued.position();
    Position { session, sequence }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShardCare {
    /// A suspect is about to be handled alone: notes it, or sets it aside.
    pub(super) async fn admit(&self, delivery: &Delivery<Queued>) -> Admission {
        let at = position(delivery.payload());
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
        // Whoever asked for it wants it handled; it is kept apart whatever becomes of it.
        if let Queued::Replay(_) = delivery.payload() {
            return Admission::Handle;
        }
        let mut below = 1;
        let shared = self.care.turn.clone().read_owned().await;
        *lock(&self.turn) = Some((at, Turn::Shared(shared)));
        loop {
            match self.note(at, below).await {
                None | Some(Noted::Yes { .. }) => return Admission::Handle,
                Some(Noted::Outranked(by)) => {
                    self.shard.outranked(by);
                    return Admission::PutBack;
                }
                Some(Noted::No { before }) if before >= DEATHS => {
                    return self.set_aside(at, delivery, before).await;
                }
                Some(Noted::No { .. }) => {
                    self.give_turn_back(at);
                    let alone = self.care.turn.clone().write_owned().await;
                    *lock(&self.turn) = Some((at, Turn::Alone(alone)));
                    below = DEATHS;
                }
            }
        }
    }

    /// What the store says to a note; `None` when it was away for too long.
    async fn note(&self, at: Position, below: u32) -> Option<Noted> {
        loop {
            let error = match self.care.store.note(self.shard.number(), self.shard.epoch(), at, below).await {
                Ok(noted) => {
                    *lock(&self.away_since) = None;
                    return Some(noted);
                }
                Err(error) => error,
            };
            let away_since = *lock(&self.away_since).get_or_insert_with(Instant::now);
            if away_since.elapsed() >= WAIT_FOR_NOTE {
                tracing::warn!(
                    shard.id = %self.shard.number(), session = at.session, sequence = at.sequence, %error,
                    "an event that may have killed a worker can't be noted: it is handled without"
                );
                return None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn give_turn_back(&self, at: Position) {
        lock(&self.turn).take_if(|(of, _)| *of == at);
    }

    /// Sets an event aside. Waits for a store that is away: nobody is better off with another death.
    async fn set_aside(&self, at: Position, delivery: &Delivery<Queued>, noted: u32) -> Admission {
        let kind = delivery.kind();
        let pending = delivery.payload().as_pending(true);
        let summary = SetAsideSummary {
            at,
            name: kind.as_str().to_owned(),
            received_at_unix_ms: pending.received_at_unix_ms,
            set_aside_at_unix_ms: unix_ms(),
            noted,
        };
        let event = SetAside { summary, text: pending.text };
        let (shard, epoch) = (self.shard.number(), self.shard.epoch());
        let mut said = false;
        loop {
            match self.care.store.set_aside(shard, epoch, &event).await {
                Ok(Fenced::Done { forgotten }) => {
                    self.care.metrics.count_set_aside(kind, forgotten);
                    tracing::error!(
                        shard.id = %shard, event = %kind, session = at.session, sequence = at.sequence,
                        deaths = noted, forgotten,
                        "an event was set aside: workers died with it in its handler (altergolden setaside show \
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
                        tracing::warn!(shard.id = %shard, %error, "an event can't be set aside; trying again");
                        said = true;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// A suspect that was admitted is not handled after all: the shard ends.
    pub(super) async fn not_begun(&self, delivery: &Delivery<Queued>) {
        self.give_turn_back(position(delivery.payload()));
    }

    /// A suspect's handler came to its end.
    pub(super) async fn ended(&self, delivery: &Delivery<Queued>) {
        let at = position(delivery.payload());
        if let Queued::Replay(_) = delivery.payload() {
            self.forget(at).await;
        } else if delivery.alone {
            self.take_back(at).await;
        }
        self.give_turn_back(at);
    }

    /// Others wait for it no longer.
    pub(super) fn let_go(&self, delivery: &Delivery<Queued>) {
        self.give_turn_back(position(delivery.payload()));
    }

    async fn take_back(&self, at: Position) {
        let (shard, epoch) = (self.shard.number(), self.shard.epoch());
        let taken_back = patiently(|| self.care.store.take_back(shard, epoch, at)).await;
        match taken_back {
            Ok(Fenced::Done { .. }) => {}
            Ok(Fenced::Outranked(by)) => self.shard.outranked(by),
            Err(error) => tracing::warn!(
                shard.id = %shard, session = at.session, sequence = at.sequence, %error,
                "the note of an event that was handled can't be taken back"
            ),
        }
    }

    /// What was set aside has been handled after all.
    async fn forget(&self, at: Position) {
        let shard = self.shard.number();
        match patiently(|| self.care.store.drop_aside(shard, at)).await {
            Ok(_) => tracing::info!(
                shard.id = %shard, session = at.session, sequence = at.sequence,
                "an event that was set aside has been handled"
            ),
            Err(error) => tracing::warn!(
                shard.id = %shard, session = at.session, sequence = at.sequence, %error,
                "an event that was set aside has been handled, and can't be dropped: it still shows"
            ),
        }
    }
}

/// Asks a store that is away again, for a while.
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
