//! The relay's streams as one more book: what a bot that reads all of them is given, once each.

use std::time::Duration;

use fleet_model::ShardSlot;
use redis_link::{LinkOptions, RedisLink};
use relay::{Caps, Entry, EntryId, EventNames, RedisRelay, RelayError, RelayStore as _, StreamPrefix};
use serde::Deserialize;

use crate::line::{Book, End, Gap, Line, Place, Start};

/// The name of that book.
const NAME: &str = "the relay";

/// Reads all streams from their beginning.
pub(crate) async fn book(redis: &str) -> Result<Book, RelayError> {
    let url = redis.parse().map_err(|error| RelayError::Unexpected(format!("{error}")))?;
    let link = RedisLink::new(url, LinkOptions::default());
    let relay = RedisRelay::new(link, StreamPrefix::default(), Caps::default());
    let mut book = Book { process: NAME.to_owned(), lines: Vec::new() };
    let mut after = EntryId::default();
    loop {
        let page = relay.read(&EventNames::All, after, Duration::ZERO).await?;
        let Some(last) = page.entries.last() else { return Ok(book) };
        after = last.id;
        for entry in &page.entries {
            write(&mut book.lines, entry);
        }
    }
}

fn write(lines: &mut Vec<Line>, entry: &Entry) {
    let Entry { id, shard: ShardSlot(shard), content } = entry;
    let at_us = id.ms * 1_000;
    if let Some(gap) = content.gap() {
        return lines.push(Line::Gap(Gap {
            at_us,
            shard: *shard,
            epoch: 0,
            last_sequence: gap.last_sequence,
            since_ms: gap.since_unix_ms,
            until_ms: gap.until_unix_ms,
            reason: gap.reason,
        }));
    }
    // Streams know no epochs.
    let place = Place {
        shard: *shard,
        epoch: 0,
        session: content.position.session,
        sequence: content.position.sequence,
    };
    lines.push(Line::Start(Start {
        at_us,
        place,
        name: (*content.name).into(),
        // A second one would be a repeat, even without the flag.
        replayed: false,
        guild: content.guild,
        session_id: session_id(entry),
        message: None,
    }));
    lines.push(Line::End(End { at_us, place }));
}

fn session_id(entry: &Entry) -> Option<String> {
    #[derive(Deserialize)]
    struct Payload {
        d: Ready,
    }
    #[derive(Deserialize)]
    struct Ready {
        session_id: String,
    }
    if &*entry.content.name != "READY" {
        return None;
    }
    let payload: Payload = serde_json::from_str(&entry.content.payload().ok()?).ok()?;
    Some(payload.d.session_id)
}
