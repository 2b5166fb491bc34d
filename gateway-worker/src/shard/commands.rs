//! Commands of bots to Discord through a shard: they wait here until the shard's connection can send them.
//!
//! Owns the waiting commands, their order, and the presence that outlives a session. Sends nothing itself: the shard's task asks
//! which command is [due](Commands::due), and reports what became of it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use shard_bridge::{CommandKind, CommandRefused, GatewayCommand};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use self::queue::{CommandClass, Displaced, NextSend, Queue};
use crate::shard_state::ShardState;

mod queue;

/// How often free sends are checked when some are needed.
const LOOK: Duration = Duration::from_millis(100);

/// What a connection can send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendRoom {
    /// How many sends are free.
    pub(super) free: u8,
    /// From then on.
    pub(super) from: Instant,
}

/// A command that is due.
pub(super) struct DueCommand {
    class: CommandClass,
    text: String,
    /// The caller's end; `None` for a presence that the shard sends again itself.
    answer: Option<CommandAnswer>,
}

type CommandAnswer = oneshot::Sender<Result<(), CommandRefused>>;

struct QueuedCommand {
    text: String,
    answer: Option<CommandAnswer>,
}

#[derive(Default)]
struct State {
    queue: Queue<QueuedCommand>,
    /// Why nothing will be sent any more.
    closed: Option<CommandRefused>,
    /// The session has not been given the last presence.
    owed: bool,
}

/// The commands of one shard.
pub(crate) struct Commands {
    shard: Arc<ShardState>,
    state: Mutex<State>,
    /// Notified when something is to be sent. One task waits for it.
    news: Notify,
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl DueCommand {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Commands {
    pub(crate) fn new(shard: Arc<ShardState>) -> Self {
        Self { shard, state: Mutex::default(), news: Notify::default() }
    }

    /// Waits until a command has gone out. When the future is dropped, or the time is over, it is not sent any more.
    ///
    /// # Errors
    /// It did not go out. `too_late` says why not by the deadline.
    pub(crate) async fn send(
        &self,
        command: GatewayCommand,
        until: Instant,
        too_late: impl FnOnce(usize) -> CommandRefused,
    ) -> Result<(), CommandRefused> {
        if Instant::now() >= until {
            return Err(too_late(self.waiting()));
        }
        let class = match command.kind() {
            CommandKind::Presence => CommandClass::Presence,
            CommandKind::Voice { guild, .. } => CommandClass::Voice(guild),
            // The others are as rare as members are plenty.
            CommandKind::Members { guild, .. }
            | CommandKind::Sounds { first: guild }
            | CommandKind::ChannelInfo { guild } => CommandClass::Members(guild),
        };
        let (answer, answered) = oneshot::channel();
        let item = QueuedCommand { text: command.into_text(), answer: Some(answer) };
        let ticket = self.push(class, item)?;
        // Dropped however this ends: no caller waits for it then.
        let _waits = WithdrawOnDrop { commands: self, class, ticket };
        match tokio::time::timeout_at(until, answered).await {
            Ok(Ok(outcome)) => outcome,
            Err(_) if self.take_back(class, ticket) => Err(too_late(self.waiting())),
            // It is being sent, or the connection that was sending it is gone.
            Ok(Err(_)) | Err(_) => Err(CommandRefused::Lost),
        }
    }

    fn push(&self, class: CommandClass, item: QueuedCommand) -> Result<u64, CommandRefused> {
        let mut state = self.lock();
        if let Some(why) = &state.closed {
            return Err(why.clone());
        }
        let Ok((ticket, displaced)) = state.queue.push(class, item) else {
            let waiting = state.queue.len();
            return Err(CommandRefused::TooMany(format!("{waiting} commands wait on the shard already")));
        };
        drop(state);
        self.news.notify_one();
        match displaced {
            Some(Displaced::Older(item)) => item.end(Err(CommandRefused::Replaced)),
            Some(Displaced::Last(item)) => item.end(Err(CommandRefused::TooMany(
                "too many commands wait on the shard, most of them of this guild".to_owned(),
            ))),
            None => {}
        }
        Ok(ticket)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().queue.len()
    }

    /// Waits until a command may be due; for ever without room. Nothing is lost when the future is dropped.
    pub(super) async fn due(&self, room: Option<SendRoom>) {
        let Some(SendRoom { free, from }) = room else { return std::future::pending().await };
        loop {
            let next = self.lock().queue.next(Instant::now(), free);
            let at = match next {
                NextSend::Now => return tokio::time::sleep_until(from).await,
                NextSend::At(at) => at.max(from),
                // More may be free than there were: to be counted again.
                NextSend::WhenFree => {
                    tokio::select! {
                        () = tokio::time::sleep_until(from.max(Instant::now() + LOOK)) => return,
                        () = self.news.notified() => continue,
                    }
                }
                NextSend::Nothing => {
                    self.news.notified().await;
                    continue;
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.news.notified() => {}
            }
        }
    }

    /// Takes the next command.
    pub(super) fn take(&self, free: u8) -> Option<DueCommand> {
        let (class, QueuedCommand { text, answer }) = self.lock().queue.take(Instant::now(), free)?;
        Some(DueCommand { class, text, answer })
    }

    /// Notes that a command has gone out, and answers its caller.
    pub(super) fn went_out(&self, due: DueCommand) {
        let DueCommand { class, text, answer } = due;
        if class == CommandClass::Presence {
            let mut state = self.lock();
            self.shard.set_presence(text);
            state.owed = false;
        }
        if let Some(answer) = answer {
            // The caller may have gone.
            let _ = answer.send(Ok(()));
        }
    }

    /// Notes that the connection was lost while a command was being sent.
    pub(super) fn was_lost(&self, due: DueCommand) {
        if let Some(answer) = due.answer {
            // The caller may have gone.
            let _ = answer.send(Err(CommandRefused::Lost));
            return;
        }
        // Our own goes out again with the next connection.
        self.lock().owed = true;
        self.send_presence_again();
    }

    /// Queues the last presence for a new session, which begins without one.
    pub(super) fn session_began(&self) {
        self.lock().owed = true;
        self.send_presence_again();
    }

    /// Withdraws a command whose caller has gone. Returns whether it was still there.
    fn take_back(&self, class: CommandClass, ticket: u64) -> bool {
        let was_there = self.lock().queue.remove(class, ticket).is_some();
        // It had taken the place of the one that the session is still without.
        if was_there && class == CommandClass::Presence {
            self.send_presence_again();
        }
        was_there
    }

    fn send_presence_again(&self) {
        let text = {
            let state = self.lock();
            // A newer one is on its way, or this one has been sent.
            if state.queue.has_presence() || !state.owed { None } else { self.shard.presence() }
        };
        if let Some(text) = text {
            // Closed: nothing begins here any more.
            let _ = self.push(CommandClass::Presence, QueuedCommand { text, answer: None });
        }
    }

    /// Refuses waiting and later commands with `why`.
    pub(super) fn close(&self, why: CommandRefused) {
        let waiting = {
            let mut state = self.lock();
            state.closed = Some(why.clone());
            state.queue.drain()
        };
        for item in waiting {
            item.end(Err(why.clone()));
        }
    }

    /// Accepts commands again.
    pub(super) fn open(&self) {
        self.lock().closed = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes over the presence of the previous owner, unless one has gone out here.
pub(super) fn inherit_presence(shard: &ShardState, text: &str) {
    match GatewayCommand::from_text(text) {
        Ok(command) if command.kind() == CommandKind::Presence => {
            shard.inherit_presence(command.into_text());
        }
        Ok(_) => tracing::warn!("previous owner left an invalid presence"),
        Err(error) => tracing::warn!(%error, "previous owner left an invalid presence"),
    }
}

impl QueuedCommand {
    fn end(self, outcome: Result<(), CommandRefused>) {
        if let Some(answer) = self.answer {
            // The caller may have gone.
            let _ = answer.send(outcome);
        }
    }
}

/// Withdraws a command when its caller has gone.
struct WithdrawOnDrop<'a> {
    commands: &'a Commands,
    class: CommandClass,
    ticket: u64,
}

impl Drop for WithdrawOnDrop<'_> {
    fn drop(&mut self) {
        self.commands.take_back(self.class, self.ticket);
    }
}

#[cfg(test)]
mod tests;
