//! Finds and removes what no program of the fleet can have written to a record.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use outside_text::printable_within;

use crate::{LinkError, RedisLink, Script};

/// Characters of an invalid value that are shown.
const SHOWN: usize = 64;

static REPAIR: LazyLock<Script> =
    LazyLock::new(|| Script::over_record(&[include_str!("script/repair.lua")], None));

/// What a record must be.
#[derive(Clone, Copy, Debug)]
pub struct RecordRule {
    /// Its type in Redis: `hash`, `set` or `stream`.
    pub kind: &'static str,
    /// The fields of a hash that are checked.
    pub fields: &'static [FieldRule],
    /// An invalid field makes the whole record useless.
    pub whole: bool,
}

/// What a field of a hash must be.
#[derive(Clone, Copy, Debug)]
pub struct FieldRule {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: FieldValue,
    /// Fields of one group are there together, and removed together; empty for a field of its own.
    pub group: &'static str,
}

/// What the value of a field must be.
#[derive(Clone, Copy, Debug)]
pub enum FieldValue {
    /// A term or an epoch: at most a day ahead of the clocks.
    ClockMade,
    /// A number of at most this many digits.
    Number(u8),
    /// A time of at most a day, in milliseconds.
    UpToDay,
    /// A number of shards.
    Shards,
    /// A name of a worker or of its incarnation.
    Name,
    /// The id of a key, or nothing.
    KeyId,
}

/// A part of a record that no program of the fleet can have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidPart {
    /// The key has this type.
    Type(String),
    /// These fields, with the beginnings of their values.
    Fields(Vec<(String, String)>),
}

impl FieldRule {
    /// A field of its own.
    pub const fn alone(name: &'static str, value: FieldValue) -> Self {
        Self { name, value, group: "" }
    }
}

impl FieldValue {
    fn word(self) -> String {
        match self {
            Self::ClockMade => "clock".to_owned(),
            Self::Number(digits) => digits.to_string(),
            Self::UpToDay => "day".to_owned(),
            Self::Shards => "shards".to_owned(),
            Self::Name => "name".to_owned(),
            Self::KeyId => "key".to_owned(),
        }
    }
}

impl RedisLink {
    /// Looks for invalid parts of the record at `key`; `None` when there are none. With `remove` they are removed in the same
    /// step: a record that is valid when it is read stays as it is.
    ///
    /// # Errors
    /// As for [`script`](Self::script).
    pub async fn repair_record(
        &self,
        key: &str,
        rule: RecordRule,
        remove: bool,
    ) -> Result<Option<InvalidPart>, LinkError> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let flag = |set| if set { "1" } else { "0" }.to_owned();
        let mut args = vec![flag(remove), clock.to_string(), rule.kind.to_owned(), flag(rule.whole)];
        for FieldRule { name, value, group } in rule.fields {
            args.extend([(*name).to_owned(), value.word(), (*group).to_owned()]);
        }
        let answer: Vec<Vec<u8>> = self.script(&REPAIR, &[key], &args).await?;
        let mut words =
            answer.iter().map(|word| printable_within(&String::from_utf8_lossy(word), SHOWN).to_string());
        match words.next().as_deref() {
            Some("VALID") => Ok(None),
            Some("TYPE") => Ok(Some(InvalidPart::Type(words.next().unwrap_or_default()))),
            Some("FIELDS") => {
                let mut fields = Vec::new();
                while let (Some(name), Some(value)) = (words.next(), words.next()) {
                    fields.push((name, value));
                }
                Ok(Some(InvalidPart::Fields(fields)))
            }
            _ => Err(LinkError::Unexpected("unknown answer of a script".to_owned())),
        }
    }
}
