//! Answers of scripts about one record. Any program may have written to Redis, so no value is trusted.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use redis::ToRedisArgs;

use crate::{LinkError, RedisLink, Script};

/// Why there is no answer about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// The record at this key is in an unexpected format.
    Unexpected(String),
    /// Redis cannot be reached, or it refused the call.
    Away(String),
}

impl RecordError {
    /// Converts an error of the link to the error for the record at `key`.
    pub fn of(key: &str, error: LinkError) -> Self {
        match error {
            LinkError::Refused(words) if words.contains("WRONGTYPE") => Self::Unexpected(key.to_owned()),
            LinkError::Unexpected(_) => Self::Unexpected(key.to_owned()),
            error => Self::Away(error.to_string()),
        }
    }
}

/// A script's answer about a record: a verdict, then values. The verdict has place 0.
#[derive(Debug)]
pub struct ScriptAnswer<'a> {
    key: &'a str,
    words: Vec<Vec<u8>>,
}

impl ScriptAnswer<'_> {
    /// What the script decided.
    pub fn verdict(&self) -> &str {
        self.text(0).unwrap_or_default()
    }

    /// Returns whether the value at a place is present and not empty.
    pub fn is_given(&self, place: usize) -> bool {
        self.words.get(place).is_some_and(|word| !word.is_empty())
    }

    /// The text at a place.
    ///
    /// # Errors
    /// When it is missing or not UTF-8.
    pub fn text(&self, place: usize) -> Result<&str, RecordError> {
        let word = self.words.get(place).and_then(|word| std::str::from_utf8(word).ok());
        word.ok_or_else(|| self.unexpected())
    }

    /// The number or name at a place.
    ///
    /// # Errors
    /// When it is missing or malformed.
    pub fn parse<T: FromStr>(&self, place: usize) -> Result<T, RecordError> {
        self.text(place)?.parse().map_err(|_| self.unexpected())
    }

    /// The milliseconds at a place.
    ///
    /// # Errors
    /// When they are missing or malformed.
    pub fn millis(&self, place: usize) -> Result<Duration, RecordError> {
        self.parse(place).map(Duration::from_millis)
    }

    /// Takes the bytes at a place; `None` past the end of the answer.
    pub fn take_bytes(&mut self, place: usize) -> Option<Bytes> {
        self.words.get_mut(place).map(|word| Bytes::from(std::mem::take(word)))
    }

    /// The fields and values from a place on.
    pub fn pairs(self, place: usize) -> Vec<(String, Bytes)> {
        let mut words = self.words.into_iter().skip(place);
        let mut pairs = Vec::new();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            pairs.push((String::from_utf8_lossy(&field).into_owned(), Bytes::from(value)));
        }
        pairs
    }

    /// The error for a record in an unexpected format.
    pub fn unexpected<E: From<RecordError>>(&self) -> E {
        RecordError::Unexpected(self.key.to_owned()).into()
    }
}

impl RedisLink {
    /// Runs a script and returns its answer about the record at `key`, which is one of `keys`.
    ///
    /// # Errors
    /// As for [`script`](Self::script).
    pub async fn record_script<'a, A: ToRedisArgs + Sync>(
        &self,
        script: &Script,
        key: &'a str,
        keys: &[&str],
        args: &[A],
    ) -> Result<ScriptAnswer<'a>, RecordError> {
        let words = self.script(script, keys, args).await.map_err(|error| RecordError::of(key, error))?;
        Ok(ScriptAnswer { key, words })
    }
}
