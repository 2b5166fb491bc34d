//! Panics of handlers in a process that has the hook: what is logged, and what is left to the hook that was there before.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use async_trait::async_trait;
use dispatch::{Delivery, DispatchMetrics, Dispatcher, Handler, Item, Limits, Setup};
use serde_json::Value;

/// Messages that the former hook was given.
static FORMER: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            FORMER.lock().unwrap().push(info.payload_as_str().unwrap_or_default().to_owned());
        }));
        dispatch::panics::install();
        // A second time it would note each panic twice.
        dispatch::panics::install();
    });
}

fn former_was_given(message: &str) -> usize {
    FORMER.lock().unwrap().iter().filter(|given| *given == message).count()
}

/// What was logged.
#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl io::Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Script = fn();

/// Runs what the event brings.
struct Runs;

#[async_trait]
impl Handler<Script> for Runs {
    async fn handle(&self, event: &Delivery<Script>) {
        tokio::task::yield_now().await;
        (event.payload())();
    }
}

/// Hands a script to a handler on this thread, and returns what was logged.
async fn handled(sequence: u64, script: Script) -> Vec<Value> {
    install();
    let log = Arc::new(Log::default());
    let subscriber = tracing_subscriber::fmt().json().with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let setup = Setup {
        handler: Arc::new(Runs),
        limits: Limits::default(),
        runtime: tokio::runtime::Handle::current(),
        stragglers: tokio_util::task::TaskTracker::new(),
        clock: Arc::new(|| Duration::ZERO),
        metrics: DispatchMetrics::default(),
    };
    let stragglers = setup.stragglers.clone();
    let dispatcher = Dispatcher::start(setup, 3, 70);
    let kind = "MESSAGE_CREATE".into();
    let received_at = Duration::ZERO;
    dispatcher
        .push(Item { sequence, lane: Some(9), suspect: false, kind, bytes: 1, received_at, payload: script })
        .unwrap();
    stragglers.close();
    stragglers.wait().await;
    drop(guard);
    let log = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn panic_is_logged_once_with_location_and_backtrace() {
    fn deep_in_the_bot() {
        panic!("a handler's own");
    }
    let log = handled(42, deep_in_the_bot).await;
    assert_eq!(log.len(), 1, "{log:?}");
    let (line, fields) = (&log[0], &log[0]["fields"]);
    assert_eq!(line["level"], "ERROR");
    assert_eq!(fields["kind"], "MESSAGE_CREATE");
    assert_eq!(fields["sequence"], 42);
    assert_eq!(fields["lane"], 9);
    assert_eq!(fields["panic"], "a handler's own");
    assert!(fields["location"].as_str().unwrap().contains("panics.rs:"), "{fields}");
    assert!(fields["backtrace"].as_str().unwrap().contains("deep_in_the_bot"), "{fields}");
    assert_eq!((&fields["shard"], &fields["epoch"]), (&3.into(), &70.into()));
    assert_eq!(former_was_given("a handler's own"), 0);
}

#[tokio::test]
async fn panics_outside_handlers_go_to_the_previous_hook() {
    let log = handled(1, || {
        // A thread that a handler starts is not covered by the hook.
        let other = std::thread::spawn(|| panic!("a thread's"));
        assert!(other.join().is_err());
    });
    assert!(log.await.is_empty());
    assert_eq!(former_was_given("a thread's"), 1);
    assert!(catch_unwind(|| panic!("a test's")).is_err());
    assert_eq!(former_was_given("a test's"), 1);
}

#[tokio::test]
async fn panic_caught_by_a_handler_is_not_reported() {
    let log = handled(1, || {
        assert!(catch_unwind(|| panic!("caught by the handler")).is_err());
    });
    assert!(log.await.is_empty());
    assert_eq!(former_was_given("caught by the handler"), 0);
}

#[tokio::test]
async fn last_of_two_panics_is_reported() {
    let log = handled(1, || {
        let first = catch_unwind(AssertUnwindSafe(|| panic!("the first of two")));
        assert!(first.is_err());
        panic!("the second of two");
    });
    assert_eq!(log.await[0]["fields"]["panic"], "the second of two");
    // It might have been the process's last word.
    assert_eq!(former_was_given("the second of two"), 1);
}
