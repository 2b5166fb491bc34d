//! Holds fresh events back after a RESUME, until a checkpoint covers it.

use fleet_model::Position;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// How long fresh events wait at most for a checkpoint that covers RESUMED.
const COVER: Duration = Duration::from_millis(500);

/// Holds fresh events back after RESUMED until a checkpoint reaches as far. Discord replays RESUMED like any other dispatch: to the
/// next owner, one that no checkpoint covers looks like the end of what it must mark as replayed.
///
/// Each RESUMED holds back only the events behind it, for its own time.
#[derive(Default)]
pub(super) struct Gate {
    /// Positions that a checkpoint must cover, and how long to wait for it. Expired holds are removed when the next one is added.
    holds: Mutex<BTreeMap<Position, Instant>>,
    covered: Notify,
}

impl Gate {
    fn holds(&self) -> MutexGuard<'_, BTreeMap<Position, Instant>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shut_until(&self, position: Position) {
        let now = Instant::now();
        let mut holds = self.holds();
        holds.retain(|_, until| *until > now);
        holds.insert(position, now + COVER);
    }

    pub(super) fn covered(&self, position: Position) {
        let mut holds = self.holds();
        if holds.first_key_value().is_some_and(|(first, _)| *first <= position) {
            holds.retain(|hold, _| *hold > position);
            self.covered.notify_waiters();
        }
    }

    /// Whether an event is held back now.
    pub(super) fn holds_back(&self, event: Position) -> bool {
        self.held_until(event).is_some()
    }

    /// Returns until when an event is held back, if at all.
    fn held_until(&self, event: Position) -> Option<Instant> {
        let holds = self.holds();
        if holds.is_empty() {
            return None;
        }
        let now = Instant::now();
        holds.range(..event).map(|(_, until)| *until).filter(|until| *until > now).max()
    }

    /// Waits until every RESUMED before an event is covered, but at most [`COVER`] for each.
    pub(super) async fn pass(&self, event: Position) {
        loop {
            let mut covered = std::pin::pin!(self.covered.notified());
            covered.as_mut().enable();
            let Some(until) = self.held_until(event) else { return };
            // Covered or expired: check the holds again.
            let _ = tokio::time::timeout_at(until, covered).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_resumed_holds_only_later_events() {
        let gate = Gate::default();
        let began = Instant::now();
        gate.shut_until(Position::new(1, 10));
        tokio::time::advance(Duration::from_millis(400)).await;
        gate.shut_until(Position::new(1, 20));
        let waited = async |event| {
            gate.pass(Position::new(1, event)).await;
            began.elapsed().as_millis()
        };
        let (before, behind_first, behind_second) = tokio::join!(waited(10), waited(11), waited(21));
        assert_eq!(before, 400, "the event came before RESUMED");
        // The timer rounds up.
        assert!((500..510).contains(&behind_first) && (900..910).contains(&behind_second));
    }

    #[tokio::test(start_paused = true)]
    async fn checkpoint_releases_only_what_it_covers() {
        let gate = Gate::default();
        gate.shut_until(Position::new(1, 10));
        gate.shut_until(Position::new(1, 20));
        gate.covered(Position::new(1, 9));
        assert!(gate.held_until(Position::new(1, 11)).is_some(), "the checkpoint ends before it");
        gate.covered(Position::new(1, 15));
        assert!(
            gate.held_until(Position::new(1, 11)).is_none()
                && gate.held_until(Position::new(1, 21)).is_some()
        );
        gate.covered(Position::new(2, 1));
        assert!(gate.held_until(Position::new(1, 21)).is_none());
    }
}
