//! `altergolden status --watch`: the fleet on a live screen.
//!
//! [`feed`] follows the coordinator, [`state`] is the model of the screen (pure), [`view`] makes lines of it (pure), and
//! [`terminal`] owns the terminal. This module connects them: news, keys and the time go into the model, and the model is drawn.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use self::{
    state::{Now, State},
    terminal::{Input, Terminal},
    text::Palette,
};
use crate::{ask::ServerArgs, exit::CommandOutcome, screen::is_colour_wanted};

mod feed;
mod filter;
mod layout;
mod problems;
mod rates;
mod state;
mod terminal;
mod text;
mod view;

/// How often ages are drawn again.
const TICK: Duration = Duration::from_millis(250);

/// News that wait to be drawn. The feed waits when there are more.
const NEWS: usize = 16;

/// Shows the fleet until the operator leaves.
pub(crate) async fn run(server: &ServerArgs) -> CommandOutcome {
    if server.is_json() {
        return CommandOutcome::wrong_setting(
            "--watch shows a screen for people: without --json, or `altergolden status --json`",
        );
    }
    if !terminal::is_terminal() {
        return CommandOutcome::wrong_setting(
            "--watch needs a terminal for standard input and output: use `altergolden status`, which prints once",
        );
    }
    let stream = match feed::connect(server).await {
        Ok(stream) => stream,
        Err(error) => return server.failure(error).await,
    };
    let Ok(ended) = Signals::listen() else {
        return CommandOutcome::failed("cannot listen for signals");
    };
    let started = Instant::now();
    let (news_sender, news) = mpsc::channel(NEWS);
    let feed = feed::follow(server.clone(), stream, news_sender, started);
    match Terminal::open() {
        Ok(terminal) => {
            tokio::select! {
                outcome = show(terminal, news, server.full_url(), started) => outcome,
                () = feed => CommandOutcome::failed("the connection to the coordinator ended unexpectedly"),
                () = ended.any() => CommandOutcome::success(),
            }
        }
        Err(error) => CommandOutcome::failed(format!("cannot open the terminal: {error}")),
    }
}

/// Draws until the operator leaves or the terminal is gone. The terminal is restored when this ends or is dropped.
async fn show(
    mut terminal: Terminal,
    mut news: mpsc::Receiver<state::News>,
    url: String,
    started: Instant,
) -> CommandOutcome {
    let palette = Palette { colour: is_colour_wanted() };
    let mut state = State::new(&url, terminal.size());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = now(started);
        state.resize(terminal.size());
        if let Err(error) = terminal.draw(|buffer| view::draw(&state, now, palette, buffer)) {
            return CommandOutcome::failed(format!("cannot draw on the terminal: {error}"));
        }
        // Keys are drawn at once, news with the next tick: a busy fleet changes many times a second.
        loop {
            tokio::select! {
                input = terminal.input() => match input {
                    Input::Key(key) => {
                        state.press(key);
                        break;
                    }
                    Input::Resized => break,
                    Input::Redraw => {
                        if let Err(error) = terminal.clear() {
                            return CommandOutcome::failed(format!("cannot clear the terminal: {error}"));
                        }
                        break;
                    }
                    Input::Gone(error) => {
                        return CommandOutcome::failed(format!("cannot read from the terminal: {error}"));
                    }
                },
                Some(item) = news.recv() => {
                    let is_first = state.received.is_none();
                    state.apply(item, started.elapsed());
                    if is_first {
                        break;
                    }
                }
                _ = tick.tick() => break,
            }
        }
        if state.quits {
            return CommandOutcome::success();
        }
    }
}

fn now(started: Instant) -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: started.elapsed(), unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX) }
}

/// The signals that end the screen.
struct Signals(Vec<tokio::signal::unix::Signal>);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let kinds =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        Ok(Self(kinds.into_iter().map(signal).collect::<Result<_, _>>()?))
    }

    /// Waits for the first of them.
    async fn any(mut self) {
        std::future::poll_fn(|context| {
            if self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}
