use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use fleet_model::StartKind;
use tokio_util::sync::CancellationToken;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};

use super::*;
use crate::{shard::Runner, testing};

/// One span, with every record of a field beside those before it, as OpenTelemetry keeps them.
#[derive(Debug)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: Vec<(&'static str, String)>,
    handles: u32,
}

impl Seen {
    fn all(&self, field: &str) -> Vec<&str> {
        self.fields.iter().filter(|(name, _)| *name == field).map(|(_, value)| value.as_str()).collect()
    }
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.push((field.name(), format!("{value:?}")));
    }
}

/// Every span of this thread; a span's id is its place and one.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    fn set() -> (Self, DefaultGuard) {
        let recorder = Self::default();
        (recorder.clone(), tracing::subscriber::set_default(recorder))
    }

    fn with<T>(&self, id: &span::Id, act: impl FnOnce(&mut Seen) -> T) -> T {
        act(&mut self.0.lock().unwrap()[id.into_u64() as usize - 1])
    }

    /// Of each trace of a start that has ended: how, with which outcome, by which steps.
    fn ended(&self) -> Vec<(Vec<String>, Vec<String>, Vec<String>)> {
        let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let spans = self.0.lock().unwrap();
        let starts = (1..).zip(&*spans).filter(|(_, span)| span.name == "shard.start" && span.handles == 0);
        starts
            .map(|(id, start)| {
                let steps = spans.iter().filter(|step| step.parent == Some(id));
                let steps = steps.flat_map(|step| owned(step.all("otel.name"))).collect();
                (owned(start.all("how")), owned(start.all("outcome")), steps)
            })
            .collect()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let parent = attributes.parent().map(span::Id::into_u64);
        let mut seen = Seen { name: attributes.metadata().name(), parent, fields: Vec::new(), handles: 1 };
        attributes.record(&mut seen);
        let mut spans = self.0.lock().unwrap();
        spans.push(seen);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.with(id, |seen| values.record(seen));
    }

    fn clone_span(&self, id: &span::Id) -> span::Id {
        self.with(id, |seen| seen.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(&id, |seen| {
            seen.handles -= 1;
            seen.handles == 0
        })
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

#[test]
fn outcome_and_how_are_recorded_once() {
    let (recorder, _guard) = Recorder::set();
    let shard = testing::shard_at(testing::EPOCH, "none");
    let mut starting = Starting::begin(&shard);
    starting.step("connect");
    starting.step("wait_for_permit");
    starting.greets("identify");
    starting.greets("identify");
    starting.step("receive_guilds");
    let outcome = StartOutcome {
        kind: StartKind::Identified,
        took: Duration::ZERO,
        replayed: 0,
        at_unix_ms: 0,
        gap: None,
    };
    starting.ready(&outcome);
    let mut starting = Starting::begin(&shard);
    starting.greets("resume");
    drop(starting);
    drop(Starting::begin(&shard));
    let steps = strings(&["connect", "wait_for_permit", "identify", "receive_guilds"]);
    assert_eq!(
        recorder.ended(),
        [
            (strings(&["identify"]), strings(&["ready"]), steps),
            (strings(&["resume"]), strings(&["not ready"]), strings(&["connect", "resume"])),
            (Vec::new(), strings(&["not ready"]), strings(&["connect"])),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_failed_attempt_has_its_own_trace() {
    let (recorder, _guard) = Recorder::set();
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Nothing listens there any more.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stop = CancellationToken::new();
    let (parts, _requests) = testing::runner_parts(&format!("ws://{unused}"), stop.clone());
    let running = tokio::spawn(Runner::new(parts).run(None));
    tokio::time::timeout(Duration::from_mins(10), async {
        while recorder.ended().len() < 4 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .unwrap();
    stop.cancel();
    running.await.unwrap();
    for (how, outcome, steps) in recorder.ended() {
        assert_eq!((how, outcome, steps), (Vec::new(), strings(&["not ready"]), strings(&["connect"])));
    }
    let spans = recorder.0.lock().unwrap();
    assert!(spans.iter().all(|span| span.name != "shard.start" || span.handles == 0), "none stays open");
}
