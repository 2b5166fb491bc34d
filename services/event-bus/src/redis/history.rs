//! Reading the stream and its state.

use redis::{cmd, streams::StreamRangeReply};
use redis_link::{LinkError, RedisLink};

use super::{
    position::{Stamp, StreamId},
    wire::{self, Names},
};

/// Entries read at once: at most 64 times the longest message.
const PAGE: usize = 64;

/// An entry of the stream.
pub(super) struct Entry {
    pub(super) id: String,
    /// `None` when the entry has an unexpected format.
    pub(super) content: Option<(Stamp, String)>,
}

/// The stream's newest entry, as its state tells; all empty when there was none ever.
pub(super) async fn newest(link: &RedisLink, names: &Names) -> Result<Stamp, LinkError> {
    let fields = ["generation", "sequence", "last_id"];
    let state: [Option<String>; 3] = link.command(cmd("HMGET").arg(&names.state).arg(&fields)).await?;
    match state {
        [Some(generation), Some(sequence), Some(id)] => wire::stamp(&id, &sequence, &generation)
            .ok_or_else(|| LinkError::Unexpected(format!("unexpected format of {}", names.state))),
        _ => Ok(Stamp::default()),
    }
}

/// Whether the stream has an entry of this id.
pub(super) async fn has(link: &RedisLink, names: &Names, id: StreamId) -> Result<bool, LinkError> {
    let mut range = cmd("XRANGE");
    range.arg(&names.stream).arg(id.to_string()).arg(id.to_string());
    let reply: StreamRangeReply = link.command(&range).await?;
    Ok(!reply.ids.is_empty())
}

/// The next entries after an id; none when it is the newest.
pub(super) async fn page(link: &RedisLink, names: &Names, after: StreamId) -> Result<Vec<Entry>, LinkError> {
    let mut range = cmd("XRANGE");
    range.arg(&names.stream).arg(format!("({after}")).arg("+").arg("COUNT").arg(PAGE);
    let reply: StreamRangeReply = link.command(&range).await?;
    let entries = reply.ids.into_iter().map(|entry| {
        let content = (|| {
            let stamp = wire::stamp(
                &entry.id,
                &entry.get::<String>("sequence")?,
                &entry.get::<String>("generation")?,
            )?;
            Some((stamp, entry.get::<String>("message")?))
        })();
        Entry { id: entry.id, content }
    });
    Ok(entries.collect())
}
