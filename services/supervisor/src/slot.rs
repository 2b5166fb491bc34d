//! The state machine of one slot: the place of one coordinator, worker or simulator, in which processes follow each other. Pure.
//!
//! Inputs are methods with the time; what must be done comes back as [`Effect`]s. The shell starts and signals processes, and reports
//! here what became of them. A process is called a *run* and has a number, so that late news about an earlier run changes nothing.
//!
//! A slot has one *current* run. A replacement starts beside it (*incoming*) and takes its place once it serves; only then is the
//! current run told to stop (*leaving*). If the replacement does not come up, the current run stays.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use backoff::{Backoff, Policy};
use process::settings::Exit;

use memory::{MemoryLimit, MemoryVerdict};

mod effect;
mod memory;
#[cfg(test)]
mod tests;

pub use effect::{Effect, Ended, KillReason, NameSide, Role, RunId};

/// How a slot behaves.
#[derive(Clone, Copy, Debug)]
pub struct SlotPolicy {
    /// Waits before restarts.
    pub restarts: Policy,
    /// At most this many restarts...
    pub budget: usize,
    /// ...in this time. Then the slot waits until there is room again.
    pub window: Duration,
    /// How long a run may take until it serves, and be silent afterwards.
    pub spawn_within: Duration,
    /// How long a run may take to stop.
    pub stop_within: Duration,
    /// Resident memory above which a run is replaced, in bytes.
    pub max_memory: Option<u64>,
}

/// A process of the slot.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: RunId,
    side: NameSide,
    serves: bool,
    /// When it is killed: it does not serve yet, does not answer, or was told to stop.
    deadline: Option<Instant>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Slot {
    policy: SlotPolicy,
    backoff: Backoff,
    /// When the slot's runs were restarted, within the window.
    restarts: VecDeque<Instant>,
    memory: MemoryLimit,
    next: u64,
    current: Option<Run>,
    incoming: Option<Run>,
    leaving: Vec<Run>,
    /// The name of the last current run.
    side: NameSide,
    retry_at: Option<Instant>,
    /// A replacement is under way.
    replacing: bool,
    stopping: bool,
    /// A run of this slot has served.
    has_served: bool,
}

impl Slot {
    /// A slot without a run.
    pub fn new(policy: SlotPolicy) -> Self {
        Self {
            policy,
            backoff: Backoff::new(policy.restarts),
            restarts: VecDeque::new(),
            memory: MemoryLimit::new(policy.max_memory),
            next: 1,
            current: None,
            incoming: None,
            leaving: Vec::new(),
            side: NameSide::A,
            retry_at: None,
            replacing: false,
            stopping: false,
            has_served: false,
        }
    }

    /// Takes over a run of an earlier image.
    pub fn adopt(&mut self, role: Role, side: NameSide, now: Instant) -> RunId {
        let id = RunId(self.next);
        self.next += 1;
        let deadline = match role {
            Role::Serving => None,
            Role::Starting => Some(now + self.policy.spawn_within),
            Role::Leaving => Some(now + self.policy.stop_within),
        };
        let run = Run { id, side, serves: role == Role::Serving, deadline };
        if role == Role::Leaving || self.current.is_some() {
            self.leaving.push(Run { deadline: Some(now + self.policy.stop_within), ..run });
            if self.current.is_none() {
                // A run that starts now must have the other name.
                self.side = side.other();
            }
        } else {
            if run.serves {
                self.backoff.succeeded(now);
                self.has_served = true;
            }
            self.side = side;
            self.current = Some(run);
        }
        id
    }

    /// The slot's runs with their roles, for the next image. To be called only while the slot is not changing, so without a replacement.
    pub fn runs(&self) -> Vec<(RunId, Role, NameSide)> {
        let role = |run: &Run| if run.serves { Role::Serving } else { Role::Starting };
        let current = self.current.iter().map(|run| (run.id, role(run), run.side));
        current.chain(self.leaving.iter().map(|run| (run.id, Role::Leaving, run.side))).collect()
    }

    /// Starts the first run.
    pub fn start(&mut self, now: Instant) -> Vec<Effect> {
        if self.stopping || self.current.is_some() { Vec::new() } else { vec![self.spawn_current(now)] }
    }

    /// A run serves.
    pub fn serves(&mut self, id: RunId, now: Instant) -> Vec<Effect> {
        if self.stopping {
            return Vec::new();
        }
        if let Some(run) = self.current.as_mut().filter(|run| run.id == id && !run.serves) {
            (run.serves, run.deadline) = (true, None);
            self.backoff.succeeded(now);
            self.has_served = true;
            return self.replaced();
        }
        if let Some(mut run) = self.incoming.take_if(|run| run.id == id) {
            (run.serves, run.deadline) = (true, None);
            self.side = run.side;
            let old = self.current.replace(run);
            let effects = old.map(|old| self.leave(old, now));
            return effects.into_iter().chain(self.replaced()).collect();
        }
        Vec::new()
    }

    /// Gives a run that does not serve yet, through no fault of its own, its whole time again.
    pub fn extend(&mut self, id: RunId, now: Instant) {
        let starting = self.current.iter_mut().chain(&mut self.incoming);
        for run in starting.filter(|run| run.id == id && !run.serves) {
            run.deadline = Some(now + self.policy.spawn_within);
        }
    }

    /// Whether the current run answers, which is asked once it serves. One that stays silent for too long is killed.
    pub fn answers(&mut self, id: RunId, answers: bool, now: Instant) {
        let Some(run) = self.current.as_mut().filter(|run| run.id == id && run.serves) else { return };
        if answers {
            run.deadline = None;
        } else {
            run.deadline.get_or_insert(now + self.policy.spawn_within);
        }
    }

    /// A run has ended. `jitter`: a random number from 0 to 1.
    pub fn ended(&mut self, id: RunId, how: Ended, now: Instant, jitter: f64) -> Vec<Effect> {
        if let Some(at) = self.leaving.iter().position(|run| run.id == id) {
            self.leaving.swap_remove(at);
            let died = (how != Ended::Code(0)).then_some(Effect::ReportExit(id, how));
            return died.into_iter().chain(self.replaced()).collect();
        }
        if self.incoming.take_if(|run| run.id == id).is_some() {
            self.replacing = false;
            return vec![Effect::ReportExit(id, how), Effect::ReplacementFailed("it ended")];
        }
        if self.current.take_if(|run| run.id == id).is_none() {
            return Vec::new();
        }
        let mut effects = vec![Effect::ReportExit(id, how)];
        if self.stopping {
            return effects;
        }
        if how == Ended::Code(Exit::Token as i32) {
            effects.push(Effect::TokenRefused);
            return effects;
        }
        if how == Ended::Code(Exit::Settings as i32) && !self.has_served {
            effects.push(Effect::WrongSetting);
            return effects;
        }
        if let Some(incoming) = self.incoming.take() {
            // The replacement is on its way already. It counts as served only when it does.
            self.side = incoming.side;
            self.current = Some(incoming);
            return effects;
        }
        if std::mem::take(&mut self.replacing) {
            effects.push(Effect::ReplacementFailed("it ended"));
        }
        self.backoff.failed(now);
        // At least half of the bound: a restart at once would be no wait.
        let wait = self.backoff.wait(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        let at = (now + wait).max(self.budget_has_room_at(now));
        self.retry_at = Some(at);
        effects.push(Effect::RestartIn(at.saturating_duration_since(now), how));
        effects
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let started = self.current.iter_mut().chain(&mut self.incoming);
        let started = started.map(|run| {
            let reason = if run.serves { KillReason::NotAnswering } else { KillReason::NotServing };
            (run, reason)
        });
        let runs = started.chain(self.leaving.iter_mut().map(|run| (run, KillReason::NotStopping)));
        for (run, reason) in runs.filter(|(run, _)| run.deadline.is_some_and(|at| at <= now)) {
            // Again after a while, in case that the signal got lost.
            run.deadline = Some(now + self.policy.stop_within);
            effects.push(Effect::Kill(run.id, reason));
        }
        if self.retry_at.take_if(|at| *at <= now).is_some() && self.current.is_none() && !self.stopping {
            self.restarts.push_back(now);
            effects.push(self.spawn_current(now));
        }
        effects
    }

    /// Replaces the current run. False: it can't be replaced now, because it does not serve or something is under way already.
    pub fn replace(&mut self, now: Instant) -> (bool, Vec<Effect>) {
        let serves = self.current.is_some_and(|run| run.serves);
        if !serves || self.is_changing() || self.stopping {
            return (false, Vec::new());
        }
        self.replacing = true;
        let (run, effect) = self.spawn(self.side.other(), now);
        self.incoming = Some(run);
        (true, vec![effect])
    }

    /// Gives the replacement up. A run that does not serve yet is told to stop.
    pub fn cancel_replacement(&mut self, now: Instant) -> Vec<Effect> {
        self.replacing = false;
        let incoming = self.incoming.take();
        incoming.map(|run| self.leave(run, now)).into_iter().collect()
    }

    /// Whether the current run is being replaced, or an earlier run has yet to end.
    pub fn is_changing(&self) -> bool {
        self.incoming.is_some() || !self.leaving.is_empty() || self.replacing
    }

    /// A run has this much resident memory. If it is too much, the run is replaced.
    pub fn memory(&mut self, id: RunId, bytes: u64, now: Instant) -> Vec<Effect> {
        if self.serving() != Some(id) || self.is_changing() {
            return Vec::new();
        }
        match self.memory.judge(bytes, now) {
            MemoryVerdict::Nothing => Vec::new(),
            MemoryVerdict::Pause(left) => vec![Effect::MemoryStaysHigh(left)],
            MemoryVerdict::Replace => {
                self.memory.replaced(now);
                self.replace(now).1
            }
        }
    }

    /// Tells all runs to stop; none is started from now on.
    pub fn stop(&mut self, now: Instant) -> Vec<Effect> {
        self.stopping = true;
        self.retry_at = None;
        self.replacing = false;
        let running: Vec<Run> = self.current.take().into_iter().chain(self.incoming.take()).collect();
        running.into_iter().map(|run| self.leave(run, now)).collect()
    }

    /// Whether no process of the slot is left.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.incoming.is_none() && self.leaving.is_empty()
    }

    /// Whether nothing starts here any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The current run, if it serves.
    pub fn serving(&self) -> Option<RunId> {
        self.current.filter(|run| run.serves).map(|run| run.id)
    }

    /// The current run.
    pub fn current(&self) -> Option<RunId> {
        self.current.map(|run| run.id)
    }

    /// The settings have proved right elsewhere: from now on no exit means that they are wrong.
    pub fn trust_settings(&mut self) {
        self.has_served = true;
    }

    /// Runs that do not serve yet.
    pub fn starting(&self) -> Vec<RunId> {
        let runs = self.current.iter().chain(&self.incoming);
        runs.filter(|run| !run.serves).map(|run| run.id).collect()
    }

    /// When `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        let runs = self.current.iter().chain(&self.incoming).chain(&self.leaving);
        runs.filter_map(|run| run.deadline).chain(self.retry_at).min()
    }

    fn replaced(&mut self) -> Vec<Effect> {
        let done = self.replacing && self.incoming.is_none() && self.leaving.is_empty();
        if done && self.current.is_some_and(|run| run.serves) {
            self.replacing = false;
            return vec![Effect::Replaced];
        }
        Vec::new()
    }

    fn leave(&mut self, run: Run, now: Instant) -> Effect {
        self.leaving.push(Run { deadline: Some(now + self.policy.stop_within), ..run });
        Effect::Terminate(run.id)
    }

    fn spawn_current(&mut self, now: Instant) -> Effect {
        let (run, effect) = self.spawn(self.side, now);
        self.current = Some(run);
        effect
    }

    fn spawn(&mut self, side: NameSide, now: Instant) -> (Run, Effect) {
        let id = RunId(self.next);
        self.next += 1;
        let run = Run { id, side, serves: false, deadline: Some(now + self.policy.spawn_within) };
        (run, Effect::Spawn { run: id, side })
    }

    /// When the next restart is within the budget.
    fn budget_has_room_at(&mut self, now: Instant) -> Instant {
        while self.restarts.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.policy.window)
        {
            self.restarts.pop_front();
        }
        let over = self.restarts.len().checked_sub(self.policy.budget);
        let frees = over.and_then(|over| self.restarts.get(over));
        frees.map_or(now, |at| *at + self.policy.window)
    }
}
