//! Repeated log lines folded into one: "..., and 412 more in 10 s".
//!
//! What Discord, a worker or a client repeats must not fill a disk or hide other lines. Lines of our own crates from the same
//! place in the code, about the same shard and worker, are counted together: in each [`WINDOW`] the first [`SHOWN`] are written,
//! the rest become one line at its end. A bot's own lines are never folded.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use outside_text::printable_within;
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::LONGEST_VALUE;

/// How long lines are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one kind that are written in a window.
const SHOWN: u32 = 5;
/// The most kinds that are counted apart. Further ones differ only by their place in the code.
const KINDS: usize = 4_096;
/// How often ended windows are collected.
const LOOK: Duration = Duration::from_secs(1);

/// Crates whose lines are folded: ours, and libraries that log what peers do.
const FOLDED: &[&str] = &[
    "checkpoint",
    "coordinator",
    "discord_rest",
    "dispatch",
    "event_bus",
    "fleet_store",
    "gateway_worker",
    "h2",
    "hyper",
    "process",
    "redis_link",
    "relay",
    "shard_bridge",
    "tonic",
    "twilight_http",
];

/// A layer that passes a line or counts it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folding(Arc<Mutex<Kinds>>);

type Kinds = HashMap<Kind, Window>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    place: Identifier,
    /// A hash of the line's shard and worker; 0 when there are too many kinds.
    subject: u64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    shown: u32,
    folded: u64,
    level: Level,
    message: String,
}

/// An ended window with folded lines.
struct Folded {
    level: Level,
    message: String,
    lines: u64,
}

impl Folding {
    /// Starts the thread that writes the folded counts. It ends with the last clone of this layer.
    pub(crate) fn write_in_background(&self) -> std::io::Result<()> {
        let kinds = Arc::downgrade(&self.0);
        thread::Builder::new()
            .name("log-folding".to_owned())
            .spawn(move || write_until_gone(&kinds))
            .map(drop)
    }

    /// Whether to write a line; otherwise counts it.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let metadata = event.metadata();
        let of = metadata.target().split("::").next().unwrap_or_default();
        if *metadata.level() > Level::INFO || !FOLDED.contains(&of) {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut kinds = lock(&self.0);
        let mut kind = Kind { place: metadata.callsite(), subject: line.subject.finish() };
        if kinds.len() >= KINDS && !kinds.contains_key(&kind) {
            kind.subject = 0;
        }
        let window = kinds.entry(kind).or_insert_with(|| Window {
            began: now,
            shown: 0,
            folded: 0,
            level: *metadata.level(),
            message: line.message,
        });
        if window.shown < SHOWN {
            window.shown += 1;
            return true;
        }
        window.folded += 1;
        false
    }
}

fn lock(kinds: &Mutex<Kinds>) -> MutexGuard<'_, Kinds> {
    kinds.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes ended windows, and returns those with folded lines.
fn take_ended(kinds: &Mutex<Kinds>, now: Instant) -> Vec<Folded> {
    let mut kinds = lock(kinds);
    let ended = kinds.extract_if(|_, window| now.saturating_duration_since(window.began) >= WINDOW);
    ended
        .filter(|(_, window)| window.folded > 0)
        .map(|(_, window)| Folded { level: window.level, message: window.message, lines: window.folded })
        .collect()
}

fn write_until_gone(kinds: &Weak<Mutex<Kinds>>) {
    loop {
        thread::sleep(LOOK);
        let Some(kinds) = kinds.upgrade() else { return };
        for Folded { level, message, lines } in take_ended(&kinds, Instant::now()) {
            let seconds = WINDOW.as_secs();
            match level {
                Level::ERROR => {
                    tracing::error!(target: "log_folding", lines, "{message}: and {lines} more in {seconds} s");
                }
                Level::WARN => {
                    tracing::warn!(target: "log_folding", lines, "{message}: and {lines} more in {seconds} s");
                }
                _ => {
                    tracing::info!(target: "log_folding", lines, "{message}: and {lines} more in {seconds} s");
                }
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Folding {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

/// A line's subject and message.
#[derive(Default)]
struct Line {
    subject: DefaultHasher,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => {
                self.message = printable_within(&format!("{value:?}"), LONGEST_VALUE).to_string();
            }
            "shard.id" | "worker.id" => format!("{value:?}").hash(&mut self.subject),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::*;

    /// Counts the lines that reach it.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<u64>>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap() += 1;
        }
    }

    fn written(write: impl FnOnce()) -> (u64, Folding) {
        let (folding, written) = (Folding::default(), Written::default());
        let subscriber = registry().with(folding.clone()).with(written.clone());
        tracing::subscriber::with_default(subscriber, write);
        let lines = *written.0.lock().unwrap();
        (lines, folding)
    }

    #[test]
    fn repeated_lines_are_folded_with_their_number() {
        let (lines, folding) = written(|| {
            for n in 0..61_000 {
                tracing::warn!(shard.id = 3, n, "malformed message");
            }
        });
        assert_eq!(lines, u64::from(SHOWN));
        assert!(take_ended(&folding.0, Instant::now()).is_empty(), "the window has not ended");
        let ended = take_ended(&folding.0, Instant::now() + WINDOW);
        assert_eq!(ended.len(), 1);
        assert_eq!(
            (ended[0].message.as_str(), ended[0].lines),
            ("malformed message", 61_000 - u64::from(SHOWN))
        );
        assert!(take_ended(&folding.0, Instant::now() + WINDOW).is_empty(), "each window is reported once");
    }

    #[test]
    fn lines_of_other_shards_places_and_levels_are_counted_apart() {
        let (lines, _) = written(|| {
            for shard in 0..20 {
                for _ in 0..20 {
                    tracing::warn!(shard.id = shard, "connection closed");
                }
            }
            for _ in 0..20 {
                tracing::debug!("a detail");
                tracing::warn!(target: "my_bot", "a bot's own line");
            }
        });
        assert_eq!(lines, 20 * u64::from(SHOWN) + 40);
    }

    #[test]
    fn kinds_are_bounded() {
        let (lines, folding) = written(|| {
            for worker in 0..3 * KINDS {
                tracing::info!(worker.id = worker, "refused");
            }
        });
        assert!(lock(&folding.0).len() <= KINDS + 1);
        assert!(lines <= KINDS as u64 + u64::from(SHOWN));
    }
}
