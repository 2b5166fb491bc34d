//! Repeated log lines folded into one: "..., and 412 more in 10 s".
//!
//! What Discord, a worker or a client repeats must not fill a disk or hide other lines. Lines of our own crates from the same
//! place in the code, about the same shard and worker, are counted together: in each [`WINDOW`] the first [`SHOWN`] are written,
//! the rest become one line at its end. A bot's own lines are never folded. Events of a [batch](super::batch) become one line.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use fleet_model::ShardSlot;
use outside_text::printable_within;
use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{
    LONGEST_VALUE,
    batch::{self, BatchGroup, Batches},
};

/// How long lines are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines of one kind that are written in a window.
const SHOWN: u32 = 5;
/// The most kinds that are counted apart. Further ones differ only by their place in the code.
const KINDS: usize = 4_096;
/// The target of the lines that count folded lines.
pub(super) const TARGET: &str = "log_folding";
/// How often ended windows and batches are written.
const LOOK: Duration = Duration::from_millis(250);

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
pub(crate) struct Folding(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    kinds: Kinds,
    batches: Batches,
}

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
    /// Starts the thread that writes folded counts and ended batches. The thread ends when the last clone of this layer is dropped.
    pub(crate) fn write_in_background(&self) -> std::io::Result<()> {
        let collected = Arc::downgrade(&self.0);
        thread::Builder::new()
            .name("log-folding".to_owned())
            .spawn(move || write_until_gone(&collected))
            .map(drop)
    }

    /// Writes all collected batches when the process stops.
    pub(crate) fn write_batches(&self) {
        write_ended(&self.0, Instant::now() + batch::WINDOW);
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
        let Collected { kinds, batches } = &mut *lock(&self.0);
        if line.in_batch
            && *metadata.level() == Level::INFO
            && let Some(shard) = line.shard
            && batches.add(metadata.callsite(), &line.group, shard, &line.message, now)
        {
            return false;
        }
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

fn lock(collected: &Mutex<Collected>) -> MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes ended windows, and returns those with folded lines.
fn take_ended(kinds: &mut Kinds, now: Instant) -> Vec<Folded> {
    let ended = kinds.extract_if(|_, window| now.saturating_duration_since(window.began) >= WINDOW);
    ended
        .filter(|(_, window)| window.folded > 0)
        .map(|(_, window)| Folded { level: window.level, message: window.message, lines: window.folded })
        .collect()
}

fn write_until_gone(collected: &Weak<Mutex<Collected>>) {
    loop {
        thread::sleep(LOOK);
        let Some(collected) = collected.upgrade() else { return };
        write_ended(&collected, Instant::now());
    }
}

fn write_ended(collected: &Mutex<Collected>, now: Instant) {
    let (folded, batches) = {
        let Collected { kinds, batches } = &mut *lock(collected);
        (take_ended(kinds, now), batches.take_ended(now))
    };
    for batch in batches {
        batch.write();
    }
    let seconds = WINDOW.as_secs();
    for Folded { level, message, lines } in folded {
        match level {
            Level::ERROR => {
                tracing::error!(target: TARGET, lines, "{message}: and {lines} more in {seconds} s");
            }
            Level::WARN => {
                tracing::warn!(target: TARGET, lines, "{message}: and {lines} more in {seconds} s");
            }
            _ => tracing::info!(target: TARGET, lines, "{message}: and {lines} more in {seconds} s"),
        }
    }
}

impl<S: Subscriber> Layer<S> for Folding {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event, Instant::now())
    }
}

/// A line's subject and message, and what its batch has in common.
#[derive(Default)]
struct Line {
    subject: DefaultHasher,
    message: String,
    in_batch: bool,
    shard: Option<ShardSlot>,
    group: BatchGroup,
}

impl Visit for Line {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.in_batch |= value && field.name() == "batch";
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = || format!("{value:?}");
        match field.name() {
            "message" => self.message = printable_within(&text(), LONGEST_VALUE).to_string(),
            "shard.id" => {
                text().hash(&mut self.subject);
                self.shard = text().parse().ok().map(ShardSlot);
            }
            "worker.id" => {
                text().hash(&mut self.subject);
                self.group.worker = Some(text());
            }
            "to.id" => self.group.to = Some(text()),
            "kind" => self.group.kind = Some(text()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt as _, registry};

    use super::{
        super::subscriber::{filter_of, tests::Lines},
        *,
    };

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

    fn ended(folding: &Folding, now: Instant) -> Vec<Folded> {
        take_ended(&mut lock(&folding.0).kinds, now)
    }

    #[test]
    fn repeated_lines_are_folded_with_their_number() {
        let (lines, folding) = written(|| {
            for n in 0..61_000 {
                tracing::warn!(shard.id = 3, n, "malformed message");
            }
        });
        assert_eq!(lines, u64::from(SHOWN));
        assert!(ended(&folding, Instant::now()).is_empty(), "the window has not ended");
        let folded = ended(&folding, Instant::now() + WINDOW);
        assert_eq!(folded.len(), 1);
        assert_eq!(
            (folded[0].message.as_str(), folded[0].lines),
            ("malformed message", 61_000 - u64::from(SHOWN))
        );
        assert!(ended(&folding, Instant::now() + WINDOW).is_empty(), "each window is reported once");
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
        assert!(lock(&folding.0).kinds.len() <= KINDS + 1);
        assert!(lines <= KINDS as u64 + u64::from(SHOWN));
    }

    #[test]
    fn joined_lines_pass_a_filter_that_names_only_our_crates() {
        let lines = Lines::default();
        let (folding, written) = (Folding::default(), lines.clone());
        let people = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || written.clone());
        let subscriber =
            registry().with(filter_of("off,coordinator=info").unwrap()).with(folding.clone()).with(people);
        tracing::subscriber::with_default(subscriber, || {
            start_64_shards();
            tracing::info!(target: "gateway_worker", batch = true, shard.id = %ShardSlot(1), "filtered");
            for _ in 0..=SHOWN {
                tracing::error!(target: "coordinator", "repeated");
            }
            write_ended(&folding.0, Instant::now() + WINDOW);
        });
        let text = lines.text();
        assert!(
            text.contains("shards assigned worker.id=a") && text.contains("repeated: and 1 more"),
            "{text}"
        );
        assert!(!text.contains("filtered"), "{text}");
    }

    /// Logs what 64 shards of two workers do at a start.
    fn start_64_shards() {
        for shard in 0..64 {
            let worker = if shard < 32 { "a" } else { "b" };
            tracing::info!(target: "coordinator::driver", batch = true, shard.id = %ShardSlot(shard), worker.id = %worker, "shards assigned");
            tracing::info!(target: "coordinator::driver", batch = true, shard.id = %ShardSlot(shard), kind = %"resumed", "shards started");
        }
    }

    #[test]
    fn a_batch_is_one_line_for_each_worker() {
        let lines = Lines::default();
        let (folding, written) = (Folding::default(), lines.clone());
        let people = tracing_subscriber::fmt::layer().without_time().with_ansi(false);
        let subscriber = registry().with(folding.clone()).with(people.with_writer(move || written.clone()));
        tracing::subscriber::with_default(subscriber, || {
            start_64_shards();
            write_ended(&folding.0, Instant::now());
            assert_eq!(lines.text(), "", "the batches are still being collected");
            folding.write_batches();
            folding.write_batches();
        });
        let text = lines.text();
        let mut said: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("log_batches: ")).map(|(_, said)| said).collect();
        said.sort_unstable();
        assert_eq!(
            said,
            [
                "shards assigned worker.id=a count=32 shards=0-31",
                "shards assigned worker.id=b count=32 shards=32-63",
                "shards started kind=resumed count=64 shards=0-63",
            ]
        );
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn without_the_layer_each_event_of_a_batch_is_a_line() {
        let written = Written::default();
        tracing::subscriber::with_default(registry().with(written.clone()), start_64_shards);
        assert_eq!(*written.0.lock().unwrap(), 128);
    }
}
