//! Reads what a script answered. Values in Redis may have been written by anyone, so none of them is trusted.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use fleet_model::Epoch;
use redis_link::LinkError;

use crate::CheckpointStoreError;

/// A script's answer: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    key: &'a str,
    words: Vec<Vec<u8>>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(key: &'a str, words: Vec<Vec<u8>>) -> Self {
        Self { key, words }
    }

    /// What the script decided.
    pub(super) fn verdict(&self) -> &str {
        self.words.first().map_or("", |word| std::str::from_utf8(word).unwrap_or(""))
    }

    /// Whether there is something at a place: what is not known is an empty word.
    pub(super) fn is_given(&self, place: usize) -> bool {
        self.words.get(place).is_some_and(|word| !word.is_empty())
    }

    /// The number at a place after the verdict.
    pub(super) fn number<T: FromStr>(&self, place: usize) -> Result<T, CheckpointStoreError> {
        let word = self.words.get(place).and_then(|word| std::str::from_utf8(word).ok());
        word.and_then(|word| word.parse().ok()).ok_or_else(|| self.unexpected())
    }

    pub(super) fn epoch(&self, place: usize) -> Result<Epoch, CheckpointStoreError> {
        self.number(place).map(Epoch)
    }

    pub(super) fn millis(&self, place: usize) -> Result<Duration, CheckpointStoreError> {
        self.number(place).map(Duration::from_millis)
    }

    /// The bytes at a place; `None` past the end of the answer.
    pub(super) fn bytes(&mut self, place: usize) -> Option<Bytes> {
        self.words.get_mut(place).map(|word| Bytes::from(std::mem::take(word)))
    }

    /// The fields and values from a place on.
    pub(super) fn pairs(self, place: usize) -> Vec<(String, Bytes)> {
        let mut words = self.words.into_iter().skip(place);
        let mut pairs = Vec::new();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            pairs.push((String::from_utf8_lossy(&field).into_owned(), Bytes::from(value)));
        }
        pairs
    }

    /// The error for a record in an unexpected format.
    pub(super) fn unexpected(&self) -> CheckpointStoreError {
        CheckpointStoreError::Unexpected(self.key.to_owned())
    }
}

/// What an error of the link means for the checkpoint at a key.
pub(super) fn failed(key: &str, error: LinkError) -> CheckpointStoreError {
    match error {
        LinkError::Refused(words) if words.contains("WRONGTYPE") => {
            CheckpointStoreError::Unexpected(key.to_owned())
        }
        LinkError::Unexpected(_) => CheckpointStoreError::Unexpected(key.to_owned()),
        error => CheckpointStoreError::Away(error.to_string()),
    }
}
