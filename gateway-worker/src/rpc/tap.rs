//! Shows a sample of the events of this worker's shards to an operator.

use std::{pin::Pin, time::Duration};

use altergolden_proto::{
    convert::{Bounded as _, refusal},
    v1::{self, tap_item::Item},
};
use fleet_model::ErrorClass;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::{
    payload::age_of_creation,
    tap::{MOST_PER_SECOND, OpenTap, TapFilter, TappedEvent, Taps, show::show},
};

/// Items on their way to the caller; about as many events are in memory at once, of about 8 KiB each.
const ITEMS: usize = 64;

/// How long a tap lasts when the request does not say, and at most.
const USUAL: Duration = Duration::from_mins(5);
const LONGEST: Duration = Duration::from_hours(1);

/// How often dropped events are reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

pub(super) type TapStream = Pin<Box<dyn Stream<Item = Result<v1::TapItem, Status>> + Send>>;

/// Opens a tap. Its task ends with the stream.
pub(super) fn open(taps: &Taps, request: v1::TapRequest) -> Result<TapStream, Status> {
    request.check_bounds()?;
    let per_second = match request.max_per_second {
        0 => MOST_PER_SECOND,
        most => most,
    };
    let lasts = match request.duration_ms {
        0 => USUAL,
        ms => Duration::from_millis(ms.into()).min(LONGEST),
    };
    let filter = TapFilter {
        names: request.events.into_iter().collect(),
        guilds: request.guild_ids.into_iter().collect(),
        shards: request.shards.iter().map(|range| (range.first, range.last)).collect(),
        sample: if request.sample == 0.0 { 1.0 } else { request.sample },
    };
    let tap = taps.open(filter, per_second);
    let tap = tap.map_err(|error| refusal(ErrorClass::TooBusy, error.to_string()))?;
    let (items, stream) = mpsc::channel(ITEMS);
    let task =
        AbortOnDropHandle::new(tokio::spawn(send(tap, items, request.content, Instant::now() + lasts)));
    Ok(Box::pin(ReceiverStream::new(stream).map(move |item| {
        // Dropped with the stream.
        let _task = &task;
        Ok(item)
    })))
}

async fn send(mut tap: OpenTap, items: mpsc::Sender<v1::TapItem>, content: bool, until: Instant) {
    let mut report = interval(REPORT_EVERY);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let item = tokio::select! {
            () = sleep_until(until) => return,
            _ = report.tick() => match tap.take_dropped() {
                0 => continue,
                events => Item::Dropped(v1::TapDropped { events, worker_id: String::new() }),
            },
            event = tap.next() => match event {
                Some(event) => Item::Event(message(&event, content)),
                None => return,
            },
        };
        let sent = tokio::time::timeout_at(until, items.send(v1::TapItem { item: Some(item) }));
        if !matches!(sent.await, Ok(Ok(()))) {
            return;
        }
    }
}

fn message(TappedEvent { shard, event }: &TappedEvent, content: bool) -> v1::TapEvent {
    let shown = show(&event.text, content);
    let delay = age_of_creation(&event.name, &event.text, event.received_at_unix_ms);
    v1::TapEvent {
        name: outside_text::printable(&event.name).to_string(),
        shard_id: shard.0,
        guild_id: event.guild.unwrap_or_default(),
        session: event.position.session,
        sequence: event.position.sequence,
        received_at_unix_ms: event.received_at_unix_ms,
        bytes: event.text.len() as u64,
        json: shown.json,
        is_cut: shown.is_cut,
        worker_id: String::new(),
        delay_ms: delay.map(|delay| delay.as_millis() as u64),
    }
}
