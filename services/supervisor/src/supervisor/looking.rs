//! Observes the fleet: memory of the workers, which programs answer, whether the fleet has started, the line for the service manager.

use std::time::{Duration, Instant};

use super::{Place, Stage, Supervisor};
use crate::{identity::group_memory, program::Kind, slot::Effect};

/// How often the memory of workers is measured, if it is limited.
const MEASURE_EVERY: Duration = Duration::from_secs(2);

impl Supervisor<'_> {
    /// Measures the workers' memory, if it is limited.
    pub(super) fn measure(&mut self, now: Instant) {
        let limited = self.config.max_memory.is_some() && self.stage == Stage::Running;
        let is_replaced = self.roll.is_some() || self.checking.is_some();
        if !limited || is_replaced || now < self.measured_at + MEASURE_EVERY {
            return;
        }
        self.measured_at = now;
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            let (Kind::Worker(_), Some(run)) = (place.kind, place.slot.serving()) else { continue };
            let Some(child) = self.children.get(&(at, run)) else { continue };
            let Some(bytes) = group_memory(child.child.pid) else { continue };
            let effects = place.slot.memory(run, bytes, now);
            if effects.iter().any(|effect| matches!(effect, Effect::Spawn { .. })) {
                tracing::warn!(
                    worker.id = child.name,
                    memory_mib = bytes >> 20,
                    limit_mib = self.config.max_memory.unwrap_or_default() >> 20,
                    "memory limit exceeded; the worker is replaced (MAX_MEMORY_RESTART)"
                );
            }
            self.apply(at, effects);
        }
    }

    /// Notes which programs answer. A worker answers while it is connected to an acting coordinator; without one, that can't be known.
    /// The coordinator answers while the supervisor can ask it.
    pub(super) fn note_answers(&mut self, now: Instant) {
        if self.stage != Stage::Running {
            return;
        }
        let fleet = self.fleet.borrow();
        for (at, place) in self.places.iter_mut().enumerate() {
            let Some(run) = place.slot.serving() else { continue };
            let answers = match (place.kind, &*fleet) {
                (Kind::Coordinator, fleet) => fleet.is_some(),
                (Kind::Worker(_), Some(glance)) if glance.acting => {
                    let child = self.children.get(&(at, run));
                    child.is_none_or(|child| glance.connected.iter().any(|worker| worker.name == child.name))
                }
                (Kind::Worker(_) | Kind::Simulator, _) => true,
            };
            place.slot.answers(run, answers, now);
        }
    }

    /// Passes the state of the fleet on to the service manager, and says once when everything runs.
    pub(super) fn note_ready(&mut self, now: Instant) {
        if self.is_ready || self.stage != Stage::Running || self.roll.is_some() {
            return;
        }
        let serves = |place: &Place| place.slot.serving().is_some() || place.slot.is_stopping();
        let coordinator = self.places.iter().any(|place| place.kind == Kind::Coordinator && serves(place));
        // A worker that does not come up must not keep the others from being called ready.
        let waited = now >= self.started_at + self.config.spawn_within;
        if coordinator && (waited || self.places.iter().all(serves)) {
            self.is_ready = true;
            self.trust_settings();
            let status = self.status();
            tracing::info!(status, "fleet started");
            self.notifier.ready(&status);
        }
    }

    /// From now on no exit of a program means that a setting is wrong, also in places that are added later.
    pub(super) fn trust_settings(&mut self) {
        self.trusts_settings = true;
        for place in &mut self.places {
            place.slot.trust_settings();
        }
    }

    pub(super) fn status(&self) -> String {
        let workers = self.places.iter().filter(|place| matches!(place.kind, Kind::Worker(_)));
        let serving = workers.filter(|place| place.slot.serving().is_some()).count();
        let all = self.workers();
        let shards = match &*self.fleet.borrow() {
            Some(glance) if glance.acting && glance.shard_total == 0 => {
                "number of shards not known yet".to_owned()
            }
            Some(glance) if glance.acting => {
                format!("{} of {} shards ready", glance.shards_ready, glance.shard_total)
            }
            Some(_) => "coordinator waits".to_owned(),
            None => "coordinator starts".to_owned(),
        };
        format!("{serving} of {all} workers, {shards}")
    }
}
