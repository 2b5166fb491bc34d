//! How far the consumer groups of a stream have come.

use std::collections::HashMap;

use redis::Value;

use super::{RedisRelay, failed};
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
    /// Entries that were cut off before it had read them, ever; `None` when Redis can't tell.
    pub(crate) cut: Option<u64>,
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
        super::number(answer.first())
    }

    /// The consumer groups of a stream.
    pub(crate) async fn groups(&self, name: &str) -> Result<Vec<GroupState>, RelayError> {
        let ask = |what: &str| {
            let mut cmd = redis::cmd("XINFO");
            cmd.arg(what).arg(self.stream(name));
            cmd
        };
        let groups: Vec<HashMap<String, Value>> = self.link.command(&ask("GROUPS")).await.map_err(failed)?;
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let stream: HashMap<String, Value> = self.link.command(&ask("STREAM")).await.map_err(failed)?;
        let trimmed = count(&stream, "entries-added")
            .zip(count(&stream, "length"))
            .map(|(added, length)| added.saturating_sub(length));
        let state = |group: HashMap<String, Value>| {
            let read = count(&group, "entries-read");
            // What was cut unread never counts as read: it is in the lag for good.
            let cut = trimmed.zip(read).map(|(trimmed, read)| trimmed.saturating_sub(read));
            let lag = count(&group, "lag").map(|lag| lag.saturating_sub(cut.unwrap_or_default()));
            GroupState {
                stream: name.to_owned(),
                group: word(&group, "name"),
                lag,
                unacknowledged: count(&group, "pending").unwrap_or_default(),
                cut,
            }
        };
        Ok(groups.into_iter().map(state).collect())
    }
}

fn count(fields: &HashMap<String, Value>, name: &str) -> Option<u64> {
    match fields.get(name)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn word(fields: &HashMap<String, Value>, name: &str) -> String {
    match fields.get(name) {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).chars().take(128).collect(),
        Some(Value::SimpleString(text)) => text.chars().take(128).collect(),
        _ => String::new(),
    }
}
