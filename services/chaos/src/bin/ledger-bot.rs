//! A gateway worker whose bot code writes down each event when its handling starts and when it ends, and each gap.
//!
//! For tests alone. Its settings are a worker's and, from the environment:
//!
//! | | |
//! |---|---|
//! | `LEDGER_FILE` | where to; made when it is not there, appended to when it is |
//! | `LEDGER_HANDLE_MS` | how long each event takes; 0 |
//! | `LEDGER_SLOW_EVERY` | `N:MS`: each Nth event takes so much longer |
//! | `LEDGER_PANIC_ON` | a message with this text makes the handler panic |
//! | `LEDGER_ABORT_ON` | a message with this text makes the process abort |
//! | `LEDGER_SINGLETON_BLOCKS_MS` | there is a singleton, which blocks its thread for so long once it is cancelled |
//! | `LEDGER_DIE_AT` | `NAME:TIMES`: the process kills itself when it comes to this failpoint for the TIMES-th time |
//! | `FAILPOINTS` | where the worker fails, for the crate `fail` |

use std::{
    env,
    fs::File,
    io::Write as _,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chaos::line::{Death, End, Gap, Line, Place, Start};
use gateway_worker::{CancellationToken, Context, Event, EventHandler, Position};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The bot.
struct LedgerBot {
    file: Arc<File>,
    takes: Duration,
    /// Every n-th event takes this much longer.
    slow: Option<(u64, Duration)>,
    panic_on: Option<String>,
    abort_on: Option<String>,
    singleton_blocks: Option<Duration>,
    events: AtomicU64,
}

/// The parts of a payload that are written down or acted on.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    d: Body<'a>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    session_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    nonce: Option<std::borrow::Cow<'a, str>>,
}

impl LedgerBot {
    fn from_env() -> Result<Self, String> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = set("LEDGER_FILE")
            .ok_or("LEDGER_FILE: not set: needs the path of the file for handled events")?;
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| format!("LEDGER_FILE: {path}: {error}"))?;
        let millis = |name: &str, text: &str| {
            text.parse().map(Duration::from_millis).map_err(|_| format!("{name}: {text} is no number"))
        };
        let takes =
            set("LEDGER_HANDLE_MS").map_or(Ok(Duration::ZERO), |text| millis("LEDGER_HANDLE_MS", &text))?;
        let slow = match set("LEDGER_SLOW_EVERY") {
            None => None,
            Some(text) => {
                let (every, takes) = text.split_once(':').ok_or("LEDGER_SLOW_EVERY: it takes N:MS")?;
                let every = every.parse().ok().filter(|every| *every > 0);
                let every = every.ok_or_else(|| format!("LEDGER_SLOW_EVERY: {text}: it takes N:MS"))?;
                Some((every, millis("LEDGER_SLOW_EVERY", takes)?))
            }
        };
        let (panic_on, abort_on) = (set("LEDGER_PANIC_ON"), set("LEDGER_ABORT_ON"));
        let singleton_blocks = set("LEDGER_SINGLETON_BLOCKS_MS");
        let singleton_blocks =
            singleton_blocks.map(|text| millis("LEDGER_SINGLETON_BLOCKS_MS", &text)).transpose()?;
        let file = Arc::new(file);
        if let Some(text) = set("LEDGER_DIE_AT") {
            let (point, times) = text.split_once(':').ok_or("LEDGER_DIE_AT: it takes NAME:TIMES")?;
            let times = times.parse().map_err(|_| format!("LEDGER_DIE_AT: {times} is no number"))?;
            die_at(point, times, file.clone())?;
        }
        Ok(Self { file, takes, slow, panic_on, abort_on, singleton_blocks, events: AtomicU64::new(0) })
    }

    /// One line, one `write`: a written line stays in the file even if the process dies.
    fn write(&self, line: &Line) {
        write(&self.file, line);
    }
}

fn write(mut file: &File, line: &Line) {
    file.write_all(line.text().as_bytes()).expect("a ledger that cannot be written proves nothing");
}

/// The process aborts at its `times`-th arrival at a failpoint.
fn die_at(point: &str, times: u64, file: Arc<File>) -> Result<(), String> {
    let (name, passed) = (point.to_owned(), AtomicU64::new(0));
    fail::cfg_callback(point, move || {
        if passed.fetch_add(1, Ordering::Relaxed) + 1 == times {
            write(&file, &Line::Death(Death { at_us: now_us(), point: name.clone() }));
            std::process::abort();
        }
    })
}

/// Writes the end when the handling is over, by a panic too.
struct Ending<'a>(&'a LedgerBot, Place);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.write(&Line::End(End { at_us: now_us(), place: self.1 }));
    }
}

#[gateway_worker::async_trait]
impl EventHandler for LedgerBot {
    async fn handle(&self, context: &Context, event: &Event) {
        // First of all: a process may be stopped while it reads the event.
        let at_us = now_us();
        let Position { session, sequence } = event.position();
        let place = Place { shard: context.shard().slot().0, epoch: context.epoch().0, session, sequence };
        // Other events have none of these fields.
        let body = match event.name() {
            "READY" | "RESUMED" | "MESSAGE_CREATE" => serde_json::from_str::<Payload<'_>>(event.raw()).ok(),
            _ => None,
        };
        let text = |text: Option<std::borrow::Cow<'_, str>>| text.map(std::borrow::Cow::into_owned);
        let (session_id, content, nonce) = body.map_or((None, None, None), |payload| {
            (text(payload.d.session_id), text(payload.d.content), payload.d.nonce)
        });
        self.write(&Line::Start(Start {
            at_us,
            place,
            name: event.name().into(),
            replayed: event.mark().is_late(),
            guild: event.guild(),
            session_id,
            message: nonce.and_then(|nonce| nonce.strip_prefix("sim-")?.parse().ok()),
        }));
        if self.abort_on.is_some() && self.abort_on == content {
            self.write(&Line::Death(Death { at_us: now_us(), point: "LEDGER_ABORT_ON".to_owned() }));
            std::process::abort();
        }
        let _ending = Ending(self, place);
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let number = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((every, takes)) = self.slow
            && number.is_multiple_of(every)
        {
            tokio::time::sleep(takes).await;
        }
        assert!(self.panic_on.is_none() || self.panic_on != content, "told to panic");
    }

    async fn singleton(&self, _: &Context, cancelled: CancellationToken) {
        let Some(blocks) = self.singleton_blocks else { return };
        cancelled.cancelled().await;
        std::thread::sleep(blocks);
    }

    async fn gap(&self, context: &Context, gap: &fleet_model::Gap) {
        self.write(&Line::Gap(Gap {
            at_us: now_us(),
            shard: context.shard().slot().0,
            epoch: context.epoch().0,
            last_sequence: gap.last_sequence,
            since_ms: gap.since_unix_ms,
            until_ms: gap.until_unix_ms,
            reason: gap.reason.clone(),
        }));
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

#[tokio::main]
#[allow(clippy::print_stderr, reason = "the last word of a process that can't start")]
async fn main() -> ExitCode {
    let _failing = fail::FailScenario::setup();
    match LedgerBot::from_env() {
        Ok(bot) => gateway_worker::run(bot).await,
        Err(error) => {
            eprintln!("ledger-bot: {error}");
            ExitCode::from(process::settings::Exit::Settings as u8)
        }
    }
}
