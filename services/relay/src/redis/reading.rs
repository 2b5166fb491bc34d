//! Reading on in all streams at once.

use std::{collections::HashMap, time::Duration};

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
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let streams = streams(relay, names).await?;
        let cut = streams.values().any(|cut| after < *cut);
        if streams.is_empty() {
            // No stream has begun yet: they are looked for again.
            tokio::time::sleep(left.min(BLOCK / 4)).await;
        } else {
            let block = if cut { Duration::ZERO } else { left.min(BLOCK) };
            let read = read_streams(relay, &streams, after, block).await?;
            let page = Page { entries: in_order(relay, read), cut };
            if !page.entries.is_empty() || cut {
                return Ok(page);
            }
        }
        if left.is_zero() {
            return Ok(Page::default());
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

async fn read_streams(
    relay: &RedisRelay,
    streams: &HashMap<String, EntryId>,
    after: EntryId,
    block: Duration,
) -> Result<Read, RelayError> {
    let mut cmd = redis::cmd("XREAD");
    cmd.arg("COUNT").arg(PAGE);
    if !block.is_zero() {
        cmd.arg("BLOCK").arg(block.as_millis().max(1) as u64);
    }
    cmd.arg("STREAMS").arg(streams.keys().map(|name| relay.stream(name)).collect::<Vec<_>>());
    cmd.arg(vec![after.to_string(); streams.len()]);
    let read: Option<Read> = relay.link().command(&cmd).await.map_err(failed)?;
    Ok(read.unwrap_or_default())
}

/// Entries of several streams in one order. Where one stream has more than was read of it, nothing behind that is shown yet.
fn in_order(relay: &RedisRelay, read: Read) -> Vec<Entry> {
    let prefix = relay.prefix.as_str();
    let mut horizon = EntryId { ms: u64::MAX, number: u64::MAX };
    let mut entries = Vec::new();
    for (key, of_stream) in read {
        let name = key.strip_prefix(prefix).unwrap_or(&key);
        let full = of_stream.len() >= PAGE;
        let mut last = EntryId::default();
        for (id, fields) in of_stream {
            let Ok(id) = id.parse() else { continue };
            last = id;
            // Somebody else's are passed over.
            entries.extend(Entry::from_fields(id, name, &fields));
        }
        if full {
            horizon = horizon.min(last);
        }
    }
    entries.retain(|entry| entry.id <= horizon);
    entries.sort_by_key(|entry| entry.id);
    entries
}
