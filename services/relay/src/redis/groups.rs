//! How far the consumer groups of a stream have come.

use super::{RedisRelay, failed, number};
use crate::{RelayError, names::is_name, redis::scripts};

/// One consumer group of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) stream: String,
    pub(crate) group: String,
    /// Entries that it has not read; `None` when Redis can't tell, as before 7.0.
    pub(crate) lag: Option<u64>,
    /// Entries that it has read and not acknowledged.
    pub(crate) unacknowledged: u64,
    /// Entries that were cut off before it had read them, since the last look.
    pub(crate) cut: u64,
}

impl RedisRelay {
    /// The names of the streams that there are.
    pub(crate) async fn names(&self) -> Result<Vec<String>, RelayError> {
        let mut cmd = redis::cmd("HKEYS");
        cmd.arg(self.streams());
        let names: Vec<String> = self.link.command(&cmd).await.map_err(failed)?;
        Ok(names.into_iter().filter(|name| is_name(name)).collect())
    }

    /// Cuts what is too old. How many entries that were.
    pub(crate) async fn cut_old(&self, name: &str) -> Result<u64, RelayError> {
        let (streams, stream) = (self.streams(), self.stream(name));
        let age = self.caps.age.as_millis().to_string();
        let answer = self.script(&scripts::CUT, &[&streams, &stream], &[name, &age]).await?;
        number(answer.first())
    }

    /// The consumer groups of a stream.
    pub(crate) async fn groups(&self, name: &str) -> Result<Vec<GroupState>, RelayError> {
        let stream = self.stream(name);
        let words = self.script::<&str>(&scripts::GROUPS, &[&stream], &[]).await?;
        let state = |words: &[Vec<u8>]| {
            Ok(GroupState {
                stream: name.to_owned(),
                group: String::from_utf8_lossy(words.first().map_or(&[][..], Vec::as_slice))
                    .chars()
                    .take(128)
                    .collect(),
                lag: words.get(1).filter(|lag| !lag.is_empty()).map(|lag| number(Some(lag))).transpose()?,
                unacknowledged: number(words.get(2))?,
                cut: number(words.get(3))?,
            })
        };
        words.chunks(4).map(state).collect()
    }
}
