//! The bytes of a record in format 3: an uncompressed header, then the block as it is in memory.
//!
//! All numbers are little-endian.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..2 | the magic number of all formats |
//! | 2..4 | the format |
//! | 4 | the kind |
//! | 5 | bytes of the MAC, at most 64; this version writes none and checks none |
//! | 6..8 | 0 |
//! | 8..16 | the guild |
//! | 16..24 | the stamp: sequence of the last event that the record holds |
//! | 24..40 | the ids that the record may hold: the first, and the one after the last (`u64::MAX`: no end) |
//! | 40..44 | number of objects |
//! | 44..48 | bytes of their text; checked before memory is allocated for the text |
//! | 48..52 | bytes of the facts; only a core has facts |
//! | 52..56 | bytes of the ids and the frame |
//! | 56..60 | CRC-32 of everything but these four bytes and the MAC |
//! | 60.. | the MAC, the facts, the ids of 8 bytes each, the frame |
//!
//! The frame is zstd with the dictionary of format 3, or the text itself if that is smaller: objects in the order of their ids with 0x1E
//! between them, and 0x1F in place of an object's own id in quotes.

use crate::{
    block::Packed,
    doubt::Doubt,
    key::{Kind, RecordKey},
    rules::{LARGEST_GUILD, LARGEST_OBJECT, MOST_MEMBERS, most},
};

const MAGIC: [u8; 2] = [0xa1, 0xc9];
/// The format that is written and read here.
pub const FORMAT: u16 = 3;
const HEADER: usize = 60;
const CRC: std::ops::Range<usize> = 56..60;
const LONGEST_MAC: usize = 64;

/// Why bytes are not the record that their key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early, or do not begin like a record.
    #[error("the record is truncated, or is not a record")]
    Truncated,
    /// The record has another format.
    #[error("the record has format {0}, not {FORMAT}")]
    Format(u16),
    /// The content is invalid.
    #[error("the record is damaged: {0}")]
    Damaged(&'static str),
    /// The record belongs to another key.
    #[error("the record's guild, kind or ids differ from its key")]
    Misplaced,
    /// The record holds more than the bounds allow.
    #[error("the record is too large")]
    TooLarge,
}

/// A record in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: RecordKey,
    pub(crate) stamp: u64,
    pub(crate) high: u64,
    pub(crate) count: u32,
    pub(crate) size: u32,
    pub(crate) facts: &'a [u8],
    /// The ids, then the frame.
    pub(crate) block: &'a [u8],
}

impl<'a> Record<'a> {
    /// The block in the record.
    pub(crate) fn packed(&self) -> Packed<'a> {
        Packed { count: self.count, size: self.size, bytes: self.block }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.facts.len() + self.block.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[self.key.kind as u8, 0, 0, 0]);
        for number in [self.key.guild, self.stamp, self.key.low, self.high] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.count, self.size, self.facts.len() as u32, self.block.len() as u32, 0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.facts);
        bytes.extend_from_slice(self.block);
        let checksum = checksum(&bytes, 0);
        bytes[CRC].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Splits a record into its parts. Does not check the frame.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        if bytes.len() < HEADER || bytes[..2] != MAGIC {
            return Err(RecordError::Truncated);
        }
        let format = u16::from_le_bytes([bytes[2], bytes[3]]);
        if format != FORMAT {
            return Err(RecordError::Format(format));
        }
        let mac = usize::from(bytes[5]);
        let (facts, block) = (number(bytes, 48) as usize, number(bytes, 52) as usize);
        let whole = [HEADER, mac, facts, block].into_iter().try_fold(0_usize, usize::checked_add);
        if mac > LONGEST_MAC || whole != Some(bytes.len()) {
            return Err(RecordError::Truncated);
        }
        if number(bytes, CRC.start) != checksum(bytes, mac) {
            return Err(RecordError::Damaged("its checksum differs"));
        }
        let kind = Kind::from_byte(bytes[4]).ok_or(RecordError::Damaged("its kind is unknown"))?;
        let key = RecordKey { guild: long(bytes, 8), kind, low: long(bytes, 24) };
        let (count, size) = (number(bytes, 40), number(bytes, 44));
        let largest = if kind.is_list() { LARGEST_OBJECT * 2 } else { LARGEST_GUILD * 4 };
        if size as usize > largest || block > largest * 2 || count as usize > most(kind) {
            return Err(RecordError::TooLarge);
        }
        let facts_at = HEADER + mac;
        Ok(Self {
            key,
            stamp: long(bytes, 16),
            high: long(bytes, 32),
            count,
            size,
            facts: &bytes[facts_at..facts_at + facts],
            block: &bytes[facts_at + facts..],
        })
    }
}

fn checksum(bytes: &[u8], mac: usize) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[..CRC.start]);
    checksum.update(bytes.get(CRC.end + mac..).unwrap_or_default());
    checksum.finalize()
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// The part of a core's record that is not in the guild's own fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) members: Option<u64>,
    pub(crate) is_unavailable: bool,
    pub(crate) had_lists: u8,
    pub(crate) doubt: Doubt,
    /// Ids of channels, if the cache keeps channels without texts.
    pub(crate) channels: Vec<u64>,
    /// Connected users and their channels, if the cache keeps voice states without texts.
    pub(crate) voice: Vec<(u64, u64)>,
}

const FACTS: usize = 24;

impl Facts {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FACTS + self.channels.len() * 8 + self.voice.len() * 16);
        bytes.extend_from_slice(&[
            u8::from(self.members.is_some()),
            self.is_unavailable.into(),
            self.had_lists,
            0,
        ]);
        bytes.extend_from_slice(&self.doubt.bits().to_le_bytes());
        bytes.extend_from_slice(&self.members.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&(self.channels.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.voice.len() as u32).to_le_bytes());
        let pairs = self.voice.iter().flat_map(|(user, channel)| [*user, *channel]);
        for id in self.channels.iter().copied().chain(pairs) {
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (channels, voice) = (number(bytes, 16) as usize, number(bytes, 20) as usize);
        if channels > most(Kind::Channels) || voice > most(Kind::Voice) {
            return Err(RecordError::TooLarge);
        }
        if bytes.len() != FACTS + channels * 8 + voice * 16 {
            return Err(RecordError::Damaged("its facts cannot be read"));
        }
        let ids: Vec<u64> = (0..channels + voice * 2).map(|place| long(bytes, FACTS + place * 8)).collect();
        let (channels, pairs) = ids.split_at(channels);
        let voice: Vec<(u64, u64)> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let is_sorted =
            channels.is_sorted_by(|one, next| one < next) && voice.is_sorted_by(|one, next| one.0 < next.0);
        let members = (bytes[0] != 0).then(|| long(bytes, 8));
        if !is_sorted || members.is_some_and(|members| members > MOST_MEMBERS) {
            return Err(RecordError::Damaged("its facts are invalid"));
        }
        Ok(Self {
            members,
            is_unavailable: bytes[1] != 0,
            had_lists: bytes[2],
            doubt: Doubt::of_bits(number(bytes, 4)),
            channels: channels.to_vec(),
            voice,
        })
    }
}

impl Kind {
    pub(crate) const fn is_list(self) -> bool {
        !matches!(self, Self::Core | Self::Extras)
    }
}

#[cfg(test)]
mod tests;
