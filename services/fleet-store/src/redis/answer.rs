//! Reads the answers of scripts. Any program may have written to Redis, so no value is trusted.

use std::{str::FromStr, time::Duration};

use redis_link::LinkError;

use crate::FleetStoreError;

/// A script's answer: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    key: &'a str,
    words: Vec<String>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(key: &'a str, words: Vec<String>) -> Self {
        Self { key, words }
    }

    /// What the script decided.
    pub(super) fn verdict(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The text at a place after the verdict.
    pub(super) fn text(&self, place: usize) -> Result<&str, FleetStoreError> {
        self.words.get(place).map(String::as_str).ok_or_else(|| self.alien())
    }

    /// What a text means: a number or a name.
    pub(super) fn parse<T: FromStr>(&self, place: usize) -> Result<T, FleetStoreError> {
        self.text(place)?.parse().map_err(|_| self.alien())
    }

    pub(super) fn millis(&self, place: usize) -> Result<Duration, FleetStoreError> {
        self.parse(place).map(Duration::from_millis)
    }

    /// The record is invalid.
    pub(super) fn alien(&self) -> FleetStoreError {
        FleetStoreError::InvalidRecord(self.key.to_owned())
    }
}

/// What an error of the link means for the record at a key.
pub(super) fn failed(key: &str, error: LinkError) -> FleetStoreError {
    match error {
        LinkError::Refused(words) if words.contains("WRONGTYPE") => {
            FleetStoreError::InvalidRecord(key.to_owned())
        }
        LinkError::Unexpected(_) => FleetStoreError::InvalidRecord(key.to_owned()),
        error => FleetStoreError::Away(error.to_string()),
    }
}

/// A field of a hash that holds a number or a name.
pub(super) fn field<T: FromStr>(key: &str, value: &str) -> Result<T, FleetStoreError> {
    value.parse().map_err(|_| FleetStoreError::InvalidRecord(key.to_owned()))
}
