//! How a record becomes bytes, and whether bytes are a record.
//!
//! Owns the formats: which there are, what each byte means, and that anything but a whole record of a known format is an error,
//! never a panic or a wrong record. Writes nothing anywhere.
//!
//! A format's number is raised when a reader of the old one would misunderstand; fields that it may ignore are added without that.
//! Workers of several versions share a checkpoint, so a writer takes the newest format that all of them read.

use bytes::Bytes;

use crate::{Head, Record, RecordKey};

mod envelope;
mod wire;

#[cfg(test)]
pub(crate) use envelope::repair;

pub(crate) use wire::SignedHead;

/// The oldest format that this version reads and writes.
pub const FORMAT_MIN: u16 = 1;

/// The newest format that this version reads and writes.
///
/// Format 2 is format 1 compressed with a dictionary of typical JSON of Discord, so that small records compress well too. In format 3
/// guilds are blocks of the cache, with other [keys](RecordKey::Block) and other bytes; heads and events are as in format 2.
pub const FORMAT_MAX: u16 = 3;

/// The first format in which guilds are blocks of the cache.
pub const FORMAT_OF_BLOCKS: u16 = 3;

/// The most bytes that a record may have before compression.
pub(crate) const LARGEST: usize = 64 * 1024 * 1024;

/// Bytes that can't be read as a record, or a record that can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The end is missing.
    #[error("the record is truncated: {have} bytes of {need}")]
    Truncated {
        /// Bytes that there are.
        have: usize,
        /// Bytes that there should be, as far as can be told.
        need: usize,
    },
    /// Bytes that do not begin like a record.
    #[error("unexpected record format")]
    Unexpected,
    /// Written by a newer version.
    #[error(
        "the record has format {format}, this version reads {FORMAT_MIN} to {FORMAT_MAX}: a newer version wrote it"
    )]
    Newer {
        /// Its format.
        format: u16,
    },
    /// Written by a version so old that its format is no longer read, or asked for in such a format.
    #[error("the record has format {format}, this version reads {FORMAT_MIN} to {FORMAT_MAX}: it is too old")]
    Older {
        /// Its format.
        format: u16,
    },
    /// Its bytes were changed.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
    /// A record, but not of what its key says.
    #[error("the record is of another kind than its key says")]
    Misplaced,
    /// More than 64 MiB.
    #[error("the record is too large: {bytes} bytes of at most {LARGEST}")]
    TooLarge {
        /// Its size before compression.
        bytes: usize,
    },
}

/// The bytes of a head in a format, without a signature: a worker sends them to another one. Heads for the store are
/// [signed](crate::HeadKeys).
///
/// # Errors
/// [`FormatError::Newer`] or [`FormatError::Older`] for a format that this version does not write, [`FormatError::TooLarge`] for what
/// could not be read again.
pub fn encode_head(head: &Head, format: u16) -> Result<Bytes, FormatError> {
    SignedHead::unsigned(head).seal(format)
}

/// The bytes of a record in a format.
///
/// # Errors
/// As for [`encode_head`].
pub fn encode_record(record: &Record, format: u16) -> Result<Bytes, FormatError> {
    envelope::seal(&wire::from_record(record), format)
}

/// Reads a head that came from another worker; [`HeadKeys::decode_head`](crate::HeadKeys::decode_head) reads one from a store.
///
/// # Errors
/// [`FormatError`] for anything but a whole head in a format that this version reads.
pub fn decode_head(bytes: &[u8]) -> Result<Head, FormatError> {
    SignedHead::open(bytes)?.read_head()
}

/// Reads the record that is kept under a key.
///
/// # Errors
/// [`FormatError`] for anything but a whole record of the key's kind in a format that this version reads. The cache reads blocks, not this function.
pub fn decode_record(key: RecordKey, bytes: &[u8]) -> Result<Record, FormatError> {
    wire::to_record(key, envelope::open(bytes)?)
}

/// The format of bytes that begin as a record of ours does, whether this version reads it or not.
pub fn format_of(bytes: &[u8]) -> Option<u16> {
    envelope::format(bytes)
}

#[cfg(test)]
mod tests;
