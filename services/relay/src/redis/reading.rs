//! Reading on in all streams at once.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{BLOCK, PAGE, RedisRelay, failed};
use crate::{Entry, EntryId, EventNames, Page, RelayError, names::is_name};

/// Streams with their entries, as XREAD answers.
type Read = Vec<(String, Vec<(String, HashMap<String, Bytes>)>)>;

/// What comes after an id, in order.
pub(super) async fn read(
    relay: &RedisRelay,
    names: &EventNames,
    after: EntryId,
    wait: Duration,
) -> Result<Page, RelayError> {
    let read = read_in_pages(relay, names, after, wait).await;
    // A page that is too large for the time that there is must not come again and again.
    let size = relay.page.load(Ordering::Relaxed);
    let next_size = match &read {
        Ok(_) => (size * 2).min(PAGE),
        Err(_) => (size / 2).max(1),
    };
    relay.page.store(next_size, Ordering::Relaxed);
    read
}

async fn read_in_pages(
    relay: &RedisRelay,
    names: &EventNames,
    mut after: EntryId,
    wait: Duration,
) -> Result<Page, RelayError> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Entries up to this id are there before the streams are read.
        let (newest, generation) = relay.newest_of_generation().await?;
        let known = streams(relay, names).await?;
        if newest < after && is_lost(relay, &known, after).await? {
            return Ok(Page { next: newest, cut: true, generation, entries: Vec::new() });
        }
        let read = if known.is_empty() {
            // No stream has begun yet: they are looked for again.
            tokio::time::sleep(left.min(BLOCK / 4)).await;
            Read::new()
        } else {
            read_streams(relay, &known, after, left.min(BLOCK)).await?
        };
        // Looked at again: a stream that began meanwhile may have had an entry before those that were read, and what was cut meanwhile is
        // not among them.
        let now = streams(relay, names).await?;
        if now.keys().all(|name| known.contains_key(name)) {
            let cut = now.values().any(|cut| after < *cut);
            let (entries, next) = in_order(relay, read);
            after = next.unwrap_or(newest).max(after);
            if cut || !entries.is_empty() || left.is_zero() {
                return Ok(Page { entries, next: after, cut, generation });
            }
        } else if left.is_zero() {
            return Ok(Page { next: after, generation, ..Page::default() });
        }
    }
}

/// The wanted streams that there are, and how far each was cut.
async fn streams(relay: &RedisRelay, names: &EventNames) -> Result<HashMap<String, EntryId>, RelayError> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(relay.streams());
    let streams: HashMap<String, String> = relay.link().command(&cmd).await.map_err(failed)?;
    let wanted = streams.into_iter().filter(|(name, _)| is_name(name) && names.has(name));
    Ok(wanted.map(|(name, cut)| (name, cut.parse().unwrap_or_default())).collect())
}

/// Whether the streams have nothing as late as this id: its entry was lost with Redis's last writes, or the Redis is another one.
/// With a clock that is behind, later entries would have earlier ids and never be read. Other streams' entries can be later than
/// all of ours.
async fn is_lost(
    relay: &RedisRelay,
    streams: &HashMap<String, EntryId>,
    after: EntryId,
) -> Result<bool, RelayError> {
    for name in streams.keys() {
        let mut cmd = redis::cmd("XREVRANGE");
        cmd.arg(relay.stream(name)).arg("+").arg(after.to_string()).arg("COUNT").arg(1);
        let later: Vec<redis::Value> = relay.link().command(&cmd).await.map_err(failed)?;
        if !later.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn read_streams(
    relay: &RedisRelay,
    streams: &HashMap<String, EntryId>,
    after: EntryId,
    block: Duration,
) -> Result<Read, RelayError> {
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(relay.page.load(Ordering::Relaxed));
    if !block.is_zero() {
        cmd.arg("BLOCK").arg(block.as_millis().max(1) as u64);
    }
    cmd.arg("STREAMS").arg(streams.keys().map(|name| relay.stream(name)).collect::<Vec<_>>());
    cmd.arg(vec![after.to_string(); streams.len()]);
    let read: Option<Read> = relay.link().command(&cmd).await.map_err(failed)?;
    Ok(read.unwrap_or_default())
}

/// Entries of several streams in one order, and up to where nothing is missing; `None` when nothing was read. Where one stream has more than
/// was read of it, nothing behind that is shown yet.
fn in_order(relay: &RedisRelay, read: Read) -> (Vec<Entry>, Option<EntryId>) {
    let prefix = relay.prefix.as_str();
    let size = relay.page.load(Ordering::Relaxed);
    let (mut horizon, mut last_of_all) = (None::<EntryId>, None::<EntryId>);
    let mut entries = Vec::new();
    for (key, of_stream) in read {
        let name = key.strip_prefix(prefix).unwrap_or(&key);
        let full = of_stream.len() >= size;
        let mut last = None;
        for (id, fields) in of_stream {
            let Ok(id) = id.parse() else { continue };
            last = Some(id);
            // Somebody else's are passed over.
            entries.extend(Entry::from_fields(id, name, &fields));
        }
        last_of_all = last_of_all.max(last);
        if let Some(last) = last.filter(|_| full) {
            horizon = Some(horizon.map_or(last, |horizon| horizon.min(last)));
        }
    }
    let next = horizon.or(last_of_all);
    entries.retain(|entry| Some(entry.id) <= next);
    entries.sort_by_key(|entry| entry.id);
    (entries, next)
}
