//! Carries out what slots decide, and tells them what became of it.

use std::{collections::VecDeque, time::Instant};

use process::supervised::REPLACES;

use super::{Place, RunningChild, Stage, Supervisor, SupervisorEnd};
use crate::{
    child::{Child, Serving},
    fleet_watch,
    output::{Lines, Prefix},
    program::Kind,
    slot::{Effect, Ended, KillReason, NameSide, RunId},
    state_folder::ListedChild,
};

/// A process: its place, and its number there.
pub(super) type ChildKey = (usize, RunId);

impl Supervisor<'_> {
    /// Carries out the effects of one place.
    pub(super) fn apply(&mut self, at: usize, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let name = self.name_of(at, &effect);
            match effect {
                Effect::Spawn { run, side } => {
                    if let Err(error) = self.spawn((at, run), side) {
                        tracing::error!(program = name, %error, "program not started");
                        let now = Instant::now();
                        effects.extend(self.places[at].slot.ended(
                            run,
                            Ended::NotStarted,
                            now,
                            rand::random(),
                        ));
                    }
                }
                Effect::Terminate(run) => self.with_child((at, run), |child| child.child.terminate()),
                Effect::Kill(run, reason) => {
                    match reason {
                        KillReason::NotServing => {
                            tracing::warn!(program = name, "program did not serve in time, killing it");
                        }
                        KillReason::NotAnswering => {
                            tracing::warn!(program = name, "program does not answer, killing it");
                        }
                        KillReason::NotStopping => {
                            tracing::warn!(program = name, "program did not stop in time, killing it");
                        }
                    }
                    self.with_child((at, run), |child| child.child.kill());
                }
                // Done when the process was reaped, while its name was known.
                Effect::ReportExit(..) => {}
                Effect::RestartIn(wait, how) => {
                    let in_ms = wait.as_millis() as u64;
                    tracing::warn!(program = name, exit = %how, restart_in_ms = in_ms, "program ended; it is restarted");
                }
                Effect::Replaced => self.replaced(at),
                Effect::ReplacementFailed(reason) => self.replacement_failed(at, reason),
                Effect::MemoryStaysHigh(wait) => {
                    let next_in_s = wait.as_secs();
                    tracing::warn!(
                        worker.id = name,
                        next_in_s,
                        "memory limit exceeded again soon after a replacement, pausing replacements; raise MAX_MEMORY_RESTART"
                    );
                }
                Effect::WrongSetting => {
                    self.stop(SupervisorEnd::WrongSetting(format!(
                        "{name} rejected a setting: its error is in the log above"
                    )));
                }
                Effect::TokenRefused => {
                    self.stop(SupervisorEnd::TokenRefused(format!("{name}: Discord refused the token")));
                }
            }
        }
    }

    fn name_of(&self, at: usize, effect: &Effect) -> String {
        let kind = self.places[at].kind;
        let run = match effect {
            Effect::Spawn { side, .. } => return kind.name(*side),
            Effect::Terminate(run) | Effect::Kill(run, _) | Effect::ReportExit(run, _) => Some(*run),
            _ => self.places[at].slot.current(),
        };
        let child = run.and_then(|run| self.children.get(&(at, run)));
        child.map_or_else(|| kind.name(NameSide::A), |child| child.name.clone())
    }

    fn with_child(&self, key: ChildKey, act: impl FnOnce(&RunningChild)) {
        if let Some(child) = self.children.get(&key) {
            act(child);
        }
    }

    fn spawn(&mut self, key: ChildKey, side: NameSide) -> std::io::Result<()> {
        let kind = self.places[key.0].kind;
        let mut command = self.programs.command(kind, side);
        if self.places[key.0].slot.is_changing() {
            command.env(REPLACES, "1");
        }
        let child = Child::spawn(command, matches!(self.config.lines, Lines::Prefixed { .. }))?;
        let name = kind.name(side);
        tracing::info!(program = name, process.pid = child.pid.as_raw_nonzero().get(), "program started");
        let stale = self.incarnation_of(&name);
        let child = RunningChild { child, name, reported: false, stale, incarnation: None, inherited: false };
        let attended = self.attend(key, &child);
        self.children.insert(key, child);
        self.list_children();
        if let Err(error) = attended {
            tracing::error!(%error, "cannot read program output");
        }
        Ok(())
    }

    /// Passes on what the child says.
    pub(super) fn attend(&self, key: ChildKey, child: &RunningChild) -> std::io::Result<()> {
        let prefix = Prefix::new(&child.name, key.0);
        child.child.attend(key, &prefix, &self.outputs, self.serving.clone())
    }

    /// Writes down which processes run.
    pub(super) fn list_children(&mut self) {
        let listed = self.children.values().filter_map(|child| {
            Some(ListedChild { name: child.name.clone(), identity: child.child.identity.clone()? })
        });
        self.folder.list_children(listed.collect());
    }

    /// Looks which processes have ended.
    pub(super) fn reap(&mut self) {
        let ended: Vec<(ChildKey, Ended)> =
            self.children.iter().filter_map(|(key, child)| Some((*key, child.child.ended()?))).collect();
        if ended.is_empty() {
            return;
        }
        for (key, how) in ended {
            let Some(child) = self.children.remove(&key) else { continue };
            tracing::info!(program = child.name, exit = %how, "program ended");
            let (at, run) = key;
            let effects = self.places[at].slot.ended(run, how, Instant::now(), rand::random());
            if effects.iter().any(|effect| matches!(effect, Effect::ReportExit(..))) {
                self.report_exit(at, &child, how);
            }
            self.apply(at, effects);
        }
        self.list_children();
    }

    /// Tells the coordinator that a worker has ended.
    fn report_exit(&self, at: usize, child: &RunningChild, how: Ended) {
        let is_worker = matches!(self.places[at].kind, Kind::Worker(_));
        // Without the incarnation the report could hit the worker's next process.
        if let (true, Some(incarnation)) =
            (is_worker && self.stage == Stage::Running, child.incarnation.clone())
        {
            let (url, credentials) = (self.programs.coordinator_url(), self.programs.credentials.clone());
            let name = child.name.clone();
            tokio::spawn(fleet_watch::report_exit(url, credentials, name, incarnation, how.to_string()));
        }
    }

    /// The incarnation under which the coordinator knows this worker now.
    pub(super) fn incarnation_of(&self, name: &str) -> Option<String> {
        let fleet = self.fleet.borrow();
        let connected = fleet.as_ref()?.connected.iter().find(|worker| worker.name == name)?;
        Some(connected.incarnation.clone())
    }

    /// A process reported that it serves.
    pub(super) fn take_report(&mut self, serving: Serving<ChildKey>) {
        let Some(child) = self.children.get_mut(&serving.key) else { return };
        if std::mem::replace(&mut child.reported, true) {
            return;
        }
        let health = serving.health.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(program = child.name, health, "program serves");
        self.note_serving(serving.key);
    }

    /// The coordinator said something about the fleet.
    pub(super) fn take_glance(&mut self) {
        let keys: Vec<ChildKey> = self.children.keys().copied().collect();
        for key in keys {
            self.note_serving(key);
        }
        self.add_workers();
        if self.is_ready {
            self.notifier.status(&self.status());
        }
    }

    /// A worker serves when it is registered; the other programs when they have reported so.
    fn note_serving(&mut self, key: ChildKey) {
        let Some(name) = self.children.get(&key).map(|child| child.name.clone()) else { return };
        let known = self.incarnation_of(&name);
        let Some(child) = self.children.get_mut(&key) else { return };
        let serves = match self.places[key.0].kind {
            Kind::Worker(_) => {
                let registered = known.is_some() && known != child.stale;
                if registered {
                    child.incarnation = known;
                }
                registered
            }
            Kind::Coordinator | Kind::Simulator => child.reported,
        };
        if serves {
            let effects = self.places[key.0].slot.serves(key.1, Instant::now());
            self.apply(key.0, effects);
        }
    }

    /// A worker that has reported, but can't register because no coordinator acts, has its time again: a restart would not help.
    pub(super) fn grant_time(&mut self, now: Instant) {
        let acting = self.fleet.borrow().as_ref().is_some_and(|glance| glance.acting);
        if acting {
            return;
        }
        for (at, place) in self.places.iter_mut().enumerate() {
            for run in place.slot.starting() {
                if matches!(place.kind, Kind::Worker(_))
                    && self.children.get(&(at, run)).is_some_and(|child| child.reported)
                {
                    place.slot.extend(run, now);
                }
            }
        }
    }

    /// Adds workers when the automatic number of shards needs more.
    fn add_workers(&mut self) {
        if self.stage != Stage::Running || self.roll.is_some() {
            return;
        }
        let total = self
            .fleet
            .borrow()
            .as_ref()
            .filter(|glance| glance.acting)
            .map_or(0, |glance| glance.shard_total);
        let wanted = self.config.size.workers_for(total);
        let running = self.workers();
        if wanted > running {
            tracing::info!(shards = total, workers = wanted, "workers added for the number of shards");
        }
        for number in running..wanted {
            let at = self.add_place(Kind::Worker(number));
            let effects = self.places[at].slot.start(Instant::now());
            self.apply(at, effects);
        }
    }

    /// The number of workers that the fleet has, without those that leave it for good.
    pub(super) fn workers(&self) -> u16 {
        let stays = |place: &&Place| matches!(place.kind, Kind::Worker(_)) && !place.slot.is_stopping();
        self.places.iter().filter(stays).count() as u16
    }
}
