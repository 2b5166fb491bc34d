//! The replacement of the supervisor and of its fleet by another program file: `altergolden up --replace` and SIGHUP.
//!
//! First the new program checks the settings. Then this process becomes the new program by `exec`: the pid, the children and their pipes
//! stay. The new image then *rolls*: it replaces the coordinator and, one after the other, the workers. A worker that does not come up
//! ends the roll; what runs already stays.

use std::{
    collections::VecDeque,
    ffi::OsString,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use outside_text::printable;
use tokio::{io::AsyncWriteExt as _, process::Command, task::JoinHandle, time::timeout};

use super::{FLUSH, STOP_GRACE, Stage, Supervisor};
use crate::{
    control::Client,
    handover::{CHECK_HANDOVER, FORMAT, HandedChild, Handover},
    kept_signals,
    program::{HANDOVER, Kind},
    slot::NameSide,
};

/// By when the new program must have checked the settings.
const CHECK_WITHIN: Duration = Duration::from_secs(20);

/// The flag that only checks the settings.
pub const CHECK_FLAG: &str = "--check";

/// The replacement of the fleet, one place after the other.
#[derive(Debug)]
pub(super) struct Roll {
    waiting: VecDeque<usize>,
    current: Option<Step>,
    replaced: usize,
    began: Instant,
}

/// The place that is being replaced.
#[derive(Debug)]
struct Step {
    at: usize,
    /// Its replacement has started.
    started: bool,
    deadline: Instant,
}

/// The new program checks the settings.
#[derive(Debug)]
pub(super) struct Checking {
    program: PathBuf,
    client: Option<Client>,
    task: JoinHandle<Result<(), String>>,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(client) = self.client.take() {
            client.done(1, "the supervisor stops");
        }
    }
}

/// Waits until the settings are checked. Never if they are not.
pub(super) async fn checked(checking: &mut Option<Checking>) -> Result<(), String> {
    match checking {
        Some(checking) => (&mut checking.task).await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}

/// Lets the new program check the settings, as it will find them, and that it can read `state`.
async fn check(
    program: PathBuf,
    args: Vec<OsString>,
    file_variables: Vec<String>,
    state: Vec<u8>,
) -> Result<(), String> {
    let mut command = Command::new(&program);
    for name in file_variables {
        command.env_remove(name);
    }
    command.args(args).arg(CHECK_FLAG).env_remove(HANDOVER).env(CHECK_HANDOVER, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let run = async {
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let write = async move {
            if let Some(mut stdin) = stdin {
                // A program that refuses the settings does not read it.
                let _ = stdin.write_all(&state).await;
            }
        };
        tokio::join!(write, child.wait_with_output()).1
    };
    let output = match timeout(CHECK_WITHIN, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("cannot run {}: {error}", program.display())),
        Err(_) => return Err(format!("{} did not check the settings within 20 s", program.display())),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().last().unwrap_or_default();
    Err(format!("{} refuses the settings ({}): {}", program.display(), output.status, printable(line)))
}

impl Supervisor<'_> {
    /// Begins to replace this process by `program`.
    pub(super) fn begin_replace(&mut self, program: PathBuf, client: Option<Client>) {
        let refused = if self.roll.is_some() || self.checking.is_some() {
            Some("a replacement is under way".to_owned())
        } else {
            self.is_busy()
        };
        let state = match refused {
            Some(refused) => Err(refused),
            None => self.handover().0.to_json().map_err(|error| error.to_string()),
        };
        match state {
            Ok(state) => {
                self.notifier.reloading();
                tracing::info!(program = %program.display(), "replacement requested");
                let (args, variables) = (self.config.args.clone(), self.config.file_variables.clone());
                let check = check(program.clone(), args, variables, state);
                self.checking = Some(Checking { program, client, task: tokio::spawn(check) });
            }
            Err(refused) => self.refuse_replace(&program, client, &refused),
        }
    }

    /// Why the fleet can't be handed over now, if it can't. A run beside the current one has no place in the next image.
    fn is_busy(&self) -> Option<String> {
        if self.stage != Stage::Running {
            return Some("the supervisor is stopping".to_owned());
        }
        let changing = self.places.iter().find(|place| place.slot.is_changing())?;
        let name = changing.kind.name(NameSide::A);
        Some(format!("{name} is being replaced; try again when that is over"))
    }

    /// The settings are checked: this process becomes the new program. Returns if that can't be; then everything is as before.
    pub(super) fn take_over(&mut self, checked: Result<(), String>) {
        let Some(mut checking) = self.checking.take() else { return };
        let (program, client) = (checking.program.clone(), checking.client.take());
        let failed = match checked.and_then(|()| self.is_busy().map_or(Ok(()), Err)) {
            Ok(()) => {
                if let Some(client) = &client {
                    client.say("the new program has checked the settings; it takes over");
                }
                self.client = client;
                let failed = self.exec(&program);
                let client = self.client.take();
                return self.refuse_replace(&program, client, &failed);
            }
            Err(failed) => failed,
        };
        self.refuse_replace(&program, client, &failed);
    }

    fn refuse_replace(&self, program: &Path, client: Option<Client>, error: &str) {
        tracing::error!(program = %program.display(), error, "not replaced");
        if let Some(client) = client {
            client.done(1, error);
        }
        // A reload that fails is over too, but not the one that refuses another.
        if self.stage == Stage::Running && self.roll.is_none() && self.checking.is_none() {
            self.notifier.ready(&self.status());
        }
    }

    /// What the next image takes over, with the descriptors.
    fn handover(&self) -> (Handover, Vec<BorrowedFd<'_>>) {
        let mut handover = Handover {
            format: FORMAT,
            coordinator: Some(self.programs.coordinator),
            simulator: self.programs.simulator,
            workers: self.workers(),
            trusts_settings: self.trusts_settings,
            has_client: self.client.is_some(),
            ..Handover::default()
        };
        let mut descriptors = vec![self.folder.lock()];
        for (at, place) in self.places.iter().enumerate() {
            for (run, role, side) in place.slot.runs() {
                let Some(child) = self.children.get(&(at, run)) else { continue };
                handover.children.push(HandedChild {
                    kind: place.kind,
                    pid: child.child.pid.as_raw_nonzero().get(),
                    role,
                    side,
                    reported: child.reported,
                });
                descriptors.extend(child.child.descriptors());
            }
        }
        descriptors.extend(self.client.as_ref().map(Client::descriptor));
        (handover, descriptors)
    }

    /// Returns why it failed.
    fn exec(&mut self, program: &Path) -> String {
        self.outputs.out.flush(FLUSH);
        self.own_lines.suspend(FLUSH);
        let (handover, descriptors) = self.handover();
        let failed = kept_signals::across(|| {
            handover.exec(program, &self.config.args, &self.config.file_variables, &descriptors).to_string()
        });
        if let Err(error) = self.own_lines.resume() {
            tracing::warn!(%error, "cannot redirect standard error; log lines of the supervisor may block on the terminal or the disk");
        }
        failed
    }

    /// Begins to replace everything that an earlier image has started.
    pub(super) fn begin_roll(&mut self) {
        let now = Instant::now();
        let rolls = |kind| kind != Kind::Simulator;
        let waiting = (0..self.places.len()).filter(|at| rolls(self.places[*at].kind)).collect();
        self.roll = Some(Roll { waiting, current: None, replaced: 0, began: now });
        self.progress(&format!(
            "supervisor {} runs version {}",
            std::process::id(),
            env!("CARGO_PKG_VERSION")
        ));
        self.advance_roll(now);
    }

    fn progress(&self, line: &str) {
        tracing::info!("{line}");
        if let Some(client) = &self.client {
            client.say(line);
        }
    }

    /// How long the replacement of one place may take: a start, one more start when a run crashed, and the end of the old run.
    fn step_within(&self) -> Duration {
        2 * self.config.spawn_within + self.config.drain_within + STOP_GRACE
    }

    /// Goes on with the roll.
    pub(super) fn advance_roll(&mut self, now: Instant) {
        let within = self.step_within();
        loop {
            let Some(roll) = &mut self.roll else { return };
            let Some(step) = &mut roll.current else {
                let Some(at) = roll.waiting.pop_front() else { return self.end_roll() };
                let deadline = now + within;
                roll.current = Some(Step { at, started: false, deadline });
                continue;
            };
            let at = step.at;
            if step.started {
                if now >= step.deadline {
                    let effects = self.places[at].slot.cancel_replacement(now);
                    self.apply(at, effects);
                    self.fail_roll(at, "it took too long");
                }
                return;
            }
            let slot = &mut self.places[at].slot;
            let is_old = |run| self.children.get(&(at, run)).is_some_and(|child| child.inherited);
            match slot.current() {
                // A start or a restart is of the new program anyway.
                None => roll.current = None,
                Some(run) if !is_old(run) && slot.serving().is_some() && !slot.is_changing() => {
                    roll.replaced += 1;
                    roll.current = None;
                }
                Some(_) => {
                    let (started, effects) = slot.replace(now);
                    if started {
                        step.started = true;
                        step.deadline = now + within;
                        let line = format!("replacing {}", self.places[at].kind.name(NameSide::A));
                        self.progress(&line);
                        self.apply(at, effects);
                    } else if now >= step.deadline {
                        self.fail_roll(at, "it does not serve");
                    }
                    return;
                }
            }
        }
    }

    /// The replacement of a place serves, and what it replaced has ended.
    pub(super) fn replaced(&mut self, at: usize) {
        let name = self.places[at].kind.name(NameSide::A);
        match &mut self.roll {
            Some(roll) if roll.current.as_ref().is_some_and(|step| step.at == at) => {
                roll.current = None;
                roll.replaced += 1;
                self.progress(&format!("{name} replaced"));
            }
            _ => tracing::info!(program = name, "program replaced"),
        }
    }

    /// The replacement of a place ended before it was complete.
    pub(super) fn replacement_failed(&mut self, at: usize, reason: &str) {
        let name = self.places[at].kind.name(NameSide::A);
        tracing::error!(program = name, reason, "replacement did not come up");
        if self.roll.as_ref().and_then(|roll| roll.current.as_ref()).is_some_and(|step| step.at == at) {
            self.fail_roll(at, reason);
        }
    }

    fn fail_roll(&mut self, at: usize, reason: &str) {
        let Some(roll) = self.roll.take() else { return };
        let name = self.places[at].kind.name(NameSide::A);
        let left = roll.waiting.len() + 1;
        let line = format!(
            "the replacement of {name} did not come up ({reason}): {} replaced, {left} still run the old program; see the log, then replace again",
            roll.replaced
        );
        tracing::error!("{line}");
        if let Some(client) = self.client.take() {
            client.done(1, &line);
        }
        self.rolled();
    }

    fn end_roll(&mut self) {
        let Some(roll) = self.roll.take() else { return };
        let line = format!("{} programs replaced in {} s", roll.replaced, roll.began.elapsed().as_secs());
        tracing::info!("{line}");
        if let Some(client) = self.client.take() {
            client.done(0, &line);
        }
        self.rolled();
    }

    fn rolled(&mut self) {
        for child in self.children.values_mut() {
            child.inherited = false;
        }
        // `note_ready` tells the service manager.
        self.is_ready = false;
    }
}
