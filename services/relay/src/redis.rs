//! The streams that several processes and bots share.
//!
//! Appending is one script over the fence of the shard, the streams and what all of them have in common, so in a Cluster all of it is in one
//! slot: there the prefix must hold a hash tag. Redis's clock is the only one. Entries get ids of our own making, which grow over all
//! streams together: one id says how far a reader has come in all of them.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    str::FromStr,
    sync::{Arc, LazyLock, Mutex, PoisonError, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use fleet_model::{Epoch, Mark, ShardKey, ShardSlot};
use redis_link::{LinkError, LinkOptions, RedisLink, Script};

use crate::{
    Appended, Caps, Entry, EntryId, EventNames, NewEntry, Page, Position, RelayError, RelayStore,
    entry::{mark_field, mark_from_field},
    names::{MOST_NAMES, UNKNOWN, is_known, is_name},
};

mod average;
pub(crate) mod groups;
mod one_run;
mod reading;
pub(crate) mod scripts;

use average::Averages;
pub use one_run::RunClaim;

/// Entries of one page, for each stream.
const PAGE: usize = 128;

/// Between two words on a key that is somebody else's.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// How long a read waits in Redis at most before it looks at the names again.
const BLOCK: Duration = Duration::from_secs(1);

static UNKNOWN_STREAM: LazyLock<Arc<str>> = LazyLock::new(|| UNKNOWN.into());

/// What the names of the streams begin with: nothing, or 1 to 64 characters out of `a-z A-Z 0-9 . _ : -`, and `{` `}` once around some
/// of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPrefix(String);

/// A text that can't be a prefix of streams.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no prefix of streams: it takes at most 64 characters out of a-z A-Z 0-9 . _ : - and one hash tag, like {{bot}}:"
)]
pub struct InvalidStreamPrefix(String);

impl StreamPrefix {
    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It has a hash tag, so all streams are in one slot of a Cluster.
    pub fn has_hash_tag(&self) -> bool {
        self.0.contains('{')
    }
}

impl FromStr for StreamPrefix {
    type Err = InvalidStreamPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidStreamPrefix> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        let (before, rest) = text.split_once('{').unwrap_or((text, "a}"));
        let (tag, after) = rest.split_once('}').unwrap_or(("", ""));
        let well_formed =
            !tag.is_empty() && [before, tag, after].iter().all(|part| part.chars().all(allowed));
        if well_formed && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidStreamPrefix(text.chars().take(64).collect()))
        }
    }
}

/// The streams over Redis: single, Sentinel or Cluster, from 6.2 on. Clones share their connections.
#[derive(Clone)]
pub struct RedisRelay {
    link: RedisLink,
    prefix: StreamPrefix,
    caps: Caps,
    averages: Arc<Mutex<Averages>>,
    /// Entries of the next page, for each stream: fewer after one that was too large.
    page: Arc<AtomicUsize>,
    /// When a foreign key was last reported.
    foreign_key_logged: Arc<Mutex<Option<Instant>>>,
    /// The streams are claimed for one run.
    one_run: bool,
}

impl fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRelay").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisRelay {
    /// Streams over this link.
    pub fn new(link: RedisLink, prefix: StreamPrefix, caps: Caps) -> Self {
        let (averages, foreign_key_logged) = (Arc::default(), Arc::default());
        let page = Arc::new(AtomicUsize::new(PAGE));
        Self { link, prefix, caps, averages, page, foreign_key_logged, one_run: false }
    }

    /// The same streams over a connection of its own: a read that waits holds up what else goes over its connection.
    pub fn apart(&self) -> Self {
        let link = RedisLink::new(self.link.url().clone(), LinkOptions::default());
        Self { link, page: Arc::new(AtomicUsize::new(PAGE)), ..self.clone() }
    }

    pub(crate) fn link(&self) -> &RedisLink {
        &self.link
    }

    /// The key of a stream.
    pub(crate) fn stream(&self, name: &str) -> String {
        format!("{}{name}", self.prefix.0)
    }

    /// What all streams have in common: the last id.
    fn common(&self) -> String {
        format!("{}altergolden:relay", self.prefix.0)
    }

    /// The streams that there are, and how far each was cut.
    fn streams(&self) -> String {
        format!("{}altergolden:relay:streams", self.prefix.0)
    }

    /// Numbers of some entries -> their ids.
    fn index(&self) -> String {
        format!("{}altergolden:relay:index", self.prefix.0)
    }

    fn fence(&self, shard: impl Into<ShardSlot>) -> String {
        format!("{}altergolden:relay:{}", self.prefix.0, shard.into())
    }

    /// The newest entry's id, and the generation of the numbers.
    pub(crate) async fn newest_of_generation(&self) -> Result<(EntryId, u64), RelayError> {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(self.common()).arg("ms").arg("number").arg("generation");
        let (ms, number, generation): (Option<u64>, Option<u64>, Option<u64>) =
            self.link.command(&cmd).await.map_err(failed)?;
        let newest = EntryId { ms: ms.unwrap_or_default(), number: number.unwrap_or_default() };
        Ok((newest, generation.unwrap_or_default()))
    }

    pub(crate) async fn script<A: redis::ToRedisArgs + Sync>(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[A],
    ) -> Result<Vec<Vec<u8>>, RelayError> {
        self.link.script(script, keys, args).await.map_err(failed)
    }

    /// Logs, at most once a minute, that events are not in the stream of their name.
    fn log_foreign_key(&self) {
        let mut logged = self.foreign_key_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= SAY_AGAIN) {
            *logged = Some(Instant::now());
            tracing::error!(
                prefix = self.prefix.as_str(),
                stream = UNKNOWN,
                "key with the name of an event is not a stream; its events go to another one (RELAY_PREFIX)"
            );
        }
    }

    /// How long a stream may become, so that its entries' average keeps it within its bytes.
    fn lengths(&self, names: &[&Arc<str>], entries: &[NewEntry]) -> Vec<u64> {
        let mut averages = self.averages.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            averages.add(&entry.name, entry.data.len());
            if !is_known(&entry.name) {
                averages.add(&UNKNOWN_STREAM, entry.data.len());
            }
        }
        names.iter().map(|name| averages.length(name, &self.caps)).collect()
    }
}

fn failed(error: LinkError) -> RelayError {
    match error {
        LinkError::Refused(words) if words.contains("WRONGTYPE") => RelayError::Unexpected(words),
        LinkError::Unexpected(words) => RelayError::Unexpected(words),
        error => RelayError::Away(error.to_string()),
    }
}

fn text(word: Option<&Vec<u8>>) -> &str {
    word.and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
}

fn number(word: Option<&Vec<u8>>) -> Result<u64, RelayError> {
    text(word).parse().map_err(|_| RelayError::Unexpected(format!("not a number: {:?}", text(word))))
}

/// A position in two words; none when they are empty.
fn position(words: &[Vec<u8>], place: usize) -> Result<Option<Position>, RelayError> {
    if words.get(place).is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    Ok(Some(Position { session: number(words.get(place))?, sequence: number(words.get(place + 1))? }))
}

/// Reads the answer of a script that moves a fence.
fn appended(answer: &[Vec<u8>]) -> Result<Appended, RelayError> {
    match text(answer.first()) {
        "DONE" => Ok(Appended::Done {
            reached: position(answer, 1)?,
            appended: number(answer.get(3))?,
            cut: number(answer.get(4))?,
        }),
        "LOST" => Ok(Appended::Lost { reached: position(answer, 1)? }),
        "OUTRANKED" => Ok(Appended::Outranked(Epoch(number(answer.get(1))?))),
        _ => Err(RelayError::Unexpected("unknown answer of a script".to_owned())),
    }
}

#[async_trait]
impl RelayStore for RedisRelay {
    async fn append(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        believed: Option<Position>,
        entries: &[NewEntry],
    ) -> Result<Appended, RelayError> {
        let mut names: Vec<&Arc<str>> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for entry in entries.iter().filter(|entry| is_name(&entry.name)) {
            places.entry(&entry.name).or_insert_with(|| {
                names.push(&entry.name);
                names.len()
            });
        }
        if !names.is_empty() {
            names.push(&UNKNOWN_STREAM);
        }
        let mut keys = vec![self.common(), self.streams(), self.fence(shard), self.index()];
        keys.extend(names.iter().map(|name| self.stream(name)));
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

        let (session, sequence) =
            believed.map_or_else(Default::default, |at| (at.session.to_string(), at.sequence.to_string()));
        let (streams, most) = (names.len().to_string(), MOST_NAMES.to_string());
        let mut words = vec![epoch.to_string(), session, sequence, shard.to_string(), streams, most];
        for (name, length) in names.iter().zip(self.lengths(&names, entries)) {
            words.extend([name.to_string(), length.to_string(), u8::from(is_known(name)).to_string()]);
        }
        let mut args: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        // The numbers of all entries are written into one string.
        let (mut numbers, mut ends) = (String::with_capacity(entries.len() * 64), Vec::new());
        for entry in entries {
            // A stream cannot have such a name: the outbox sends a gap in its place.
            let place = places.get(&*entry.name).copied().unwrap_or_default();
            let Position { session, sequence } = entry.position;
            let guild = entry.guild.unwrap_or_default();
            for number in [place as u64, session, sequence, guild, entry.received_at_unix_ms] {
                // Writing to a string cannot fail.
                let _ = write!(numbers, "{number}");
                ends.push(numbers.len());
            }
        }
        let mut from = 0;
        let mut number_words =
            ends.iter().map(|end| &numbers.as_bytes()[std::mem::replace(&mut from, *end)..*end]);
        for entry in entries {
            args.extend(number_words.by_ref().take(5));
            args.extend([
                mark_field(entry.mark).as_bytes(),
                entry.traceparent.as_deref().unwrap_or_default().as_bytes(),
                &entry.data,
            ]);
        }
        let answer = self.script(&scripts::APPEND, &keys, &args).await?;
        if answer.get(5).is_some_and(|foreign| foreign != b"0") {
            self.log_foreign_key();
        }
        appended(&answer)
    }

    async fn rewind(
        &self,
        shard: ShardKey,
        epoch: Epoch,
        seen: Position,
        to: Position,
    ) -> Result<Appended, RelayError> {
        let numbers = [epoch.0, seen.session, seen.sequence, to.session, to.sequence];
        let args = numbers.map(|number| number.to_string());
        appended(&self.script(&scripts::REWIND, &[&self.fence(shard)], &args).await?)
    }

    fn reader(&self) -> Arc<dyn RelayStore> {
        Arc::new(self.apart())
    }

    async fn newest(&self) -> Result<EntryId, RelayError> {
        Ok(self.newest_of_generation().await?.0)
    }

    async fn generation(&self) -> Result<u64, RelayError> {
        Ok(self.newest_of_generation().await?.1)
    }

    async fn reached(&self, shards: &[ShardSlot]) -> Result<Vec<Option<Position>>, RelayError> {
        let asking = shards.iter().map(async |shard| {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(self.fence(*shard)).arg("session").arg("sequence");
            let (session, sequence): (Option<u64>, Option<u64>) =
                self.link.command(&cmd).await.map_err(failed)?;
            Ok(session.zip(sequence).map(|(session, sequence)| Position { session, sequence }))
        });
        futures_util::future::try_join_all(asking).await
    }

    async fn locate(&self, number: u64) -> Result<EntryId, RelayError> {
        let mut cmd = redis::cmd("ZREVRANGEBYSCORE");
        cmd.arg(self.index()).arg(number).arg("-inf").arg("LIMIT").arg(0).arg(1);
        let found: Vec<String> = self.link.command(&cmd).await.map_err(failed)?;
        Ok(found.first().and_then(|id| id.parse().ok()).unwrap_or_default())
    }

    async fn read(&self, names: &EventNames, after: EntryId, wait: Duration) -> Result<Page, RelayError> {
        reading::read(self, names, after, wait).await
    }
}

impl Entry {
    /// An entry as Redis has it; `None` when somebody else put it there.
    fn from_fields(id: EntryId, name: &str, fields: &HashMap<String, bytes::Bytes>) -> Option<Self> {
        let number = |field: &str| std::str::from_utf8(fields.get(field)?).ok()?.parse::<u64>().ok();
        let position = std::str::from_utf8(fields.get("position")?).ok()?.parse().ok()?;
        let traceparent = fields.get("traceparent").and_then(|text| std::str::from_utf8(text).ok());
        Some(Self {
            id,
            shard: ShardSlot(u32::try_from(number("shard")?).ok()?),
            content: NewEntry {
                position,
                name: name.into(),
                guild: number("guild").filter(|guild| *guild > 0),
                received_at_unix_ms: number("received_at")?,
                mark: fields.get("late").map_or(Mark::Fresh, |text| mark_from_field(text)),
                traceparent: traceparent.filter(|text| !text.is_empty()).map(Into::into),
                data: fields.get("data")?.clone(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fence_of_a_shard_is_under_its_slot() {
        let link = RedisLink::new("redis://127.0.0.1:1".parse().unwrap(), LinkOptions::default());
        let relay = RedisRelay::new(link, "bot:".parse().unwrap(), Caps::default());
        assert_eq!(relay.fence(ShardKey::new(3, 8)), "bot:altergolden:relay:3");
    }

    #[test]
    fn a_prefix_holds_one_hash_tag_at_most() {
        for right in ["", "bot:", "{bot}:", "a.{b}-c_"] {
            right.parse::<StreamPrefix>().unwrap();
        }
        for wrong in ["{", "{}", "}{", "{a}{b}", "a b", "{a", "a}", "*", &"x".repeat(65)] {
            wrong.parse::<StreamPrefix>().unwrap_err();
        }
        assert!("{bot}:".parse::<StreamPrefix>().unwrap().has_hash_tag());
    }
}
