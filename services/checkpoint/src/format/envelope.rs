//! The envelope around a record: what it is, whether it is whole, and its compression.
//!
//! All numbers are little-endian:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..2 | the magic number |
//! | 2..4 | the format; only these first four bytes are the same in every format |
//! | 4 | 0: the payload is plain; 1: the payload is a zstd frame, from format 2 on with a dictionary |
//! | 5..9 | the payload's size |
//! | 9..13 | its size once decompressed |
//! | 13..17 | the CRC-32 of everything but these four bytes |
//! | 17.. | the payload: protobuf |
//!
//! The dictionary of format 2 is `dictionary-2.txt`, as raw content: typical objects of Discord's, those that are seen most last, where
//! they are found most cheaply. It is a part of the format, so not a byte of it may change.

use std::cell::RefCell;

use bytes::Bytes;
use prost::Message;
use zstd::bulk::{Compressor, Decompressor};

use super::{FORMAT_MAX, FORMAT_MIN, FormatError, LARGEST};

/// No text begins like this.
const MAGIC: [u8; 2] = [0xa1, 0xc9];
const HEADER: usize = 17;
const CRC: std::ops::Range<usize> = 13..17;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// What format 2 begins to compress from.
const DICTIONARY_2: &[u8] = include_bytes!("dictionary-2.txt");

/// zstd's fastest level of the common ones: a checkpoint is written each second and read once in a blue moon.
const LEVEL: i32 = 1;

thread_local! {
    // One context without and one with the dictionary. Making a context costs more than compressing a small record.
    static COMPRESSORS: RefCell<[Option<Compressor<'static>>; 2]> = const { RefCell::new([None, None]) };
    static DECOMPRESSORS: RefCell<[Option<Decompressor<'static>>; 2]> = const { RefCell::new([None, None]) };
}

/// A format that this version knows.
#[derive(Clone, Copy)]
struct Known(u16);

impl Known {
    fn index(self) -> usize {
        usize::from(self.0 >= 2)
    }

    /// Empty: none.
    fn dictionary(self) -> &'static [u8] {
        if self.0 < 2 { &[] } else { DICTIONARY_2 }
    }

    /// Below this size compression gains too little.
    fn compressed_from(self) -> usize {
        if self.0 < 2 { 256 } else { 48 }
    }
}

/// Puts a message into an envelope.
pub(super) fn seal(message: &impl Message, format: u16) -> Result<Bytes, FormatError> {
    let format = known(format)?;
    let size = message.encoded_len();
    if size > LARGEST {
        return Err(FormatError::TooLarge { bytes: size });
    }
    let mut sealed = vec![0; HEADER];
    sealed.reserve_exact(size);
    message.encode(&mut sealed).expect("a vector takes any message");
    let compressed =
        if size >= format.compressed_from() { compress(&sealed[HEADER..], format) } else { None };
    let flags = match compressed {
        Some(payload) => {
            sealed.truncate(HEADER);
            sealed.extend_from_slice(&payload);
            ZSTD
        }
        None => PLAIN,
    };
    // Both sizes are at most LARGEST.
    let stored = (sealed.len() - HEADER) as u32;
    sealed[0..2].copy_from_slice(&MAGIC);
    sealed[2..4].copy_from_slice(&format.0.to_le_bytes());
    sealed[4] = flags;
    sealed[5..9].copy_from_slice(&stored.to_le_bytes());
    sealed[9..13].copy_from_slice(&(size as u32).to_le_bytes());
    let checksum = checksum(&sealed);
    sealed[CRC].copy_from_slice(&checksum.to_le_bytes());
    sealed.shrink_to_fit();
    Ok(Bytes::from(sealed))
}

/// Takes a message out of its envelope.
pub(super) fn open<M: Message + Default>(bytes: &[u8]) -> Result<M, FormatError> {
    let magic = bytes.len().min(MAGIC.len());
    if bytes[..magic] != MAGIC[..magic] {
        return Err(FormatError::Unexpected);
    }
    let truncated = |need| FormatError::Truncated { have: bytes.len(), need };
    let [_, _, low, high, ..] = *bytes else { return Err(truncated(HEADER)) };
    let format = known(u16::from_le_bytes([low, high]))?;
    if bytes.len() < HEADER {
        return Err(truncated(HEADER));
    }
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (stored, size) = (number(5) as usize, number(9) as usize);
    let payload = &bytes[HEADER..];
    if payload.len() < stored {
        return Err(truncated(HEADER.saturating_add(stored)));
    }
    if payload.len() > stored {
        return Err(FormatError::Damaged("it goes on after its end"));
    }
    if number(CRC.start) != checksum(bytes) {
        return Err(FormatError::Damaged("its checksum differs"));
    }
    if size > LARGEST {
        return Err(FormatError::TooLarge { bytes: size });
    }
    let message = match bytes[4] {
        PLAIN => Bytes::copy_from_slice(payload),
        ZSTD => decompress(payload, size, format).ok_or(FormatError::Damaged("it cannot be decompressed"))?,
        _ => return Err(FormatError::Damaged("its compression is unknown")),
    };
    if message.len() != size {
        return Err(FormatError::Damaged("its size differs"));
    }
    M::decode(message).map_err(|_| FormatError::Damaged("its fields cannot be read"))
}

/// The format that is named in front.
pub(super) fn format(bytes: &[u8]) -> Option<u16> {
    match *bytes {
        [first, second, low, high, ..] if [first, second] == MAGIC => Some(u16::from_le_bytes([low, high])),
        _ => None,
    }
}

fn known(format: u16) -> Result<Known, FormatError> {
    match format {
        ..FORMAT_MIN => Err(FormatError::Older { format }),
        FORMAT_MIN..=FORMAT_MAX => Ok(Known(format)),
        _ => Err(FormatError::Newer { format }),
    }
}

fn checksum(envelope: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&envelope[..CRC.start]);
    checksum.update(&envelope[CRC.end..]);
    checksum.finalize()
}

/// Makes size and checksum right, as somebody does who can write to the store.
#[cfg(test)]
pub(crate) fn repair(envelope: &mut [u8]) {
    if let Some(payload) = envelope.len().checked_sub(HEADER) {
        let stored = u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes();
        envelope[5..9].copy_from_slice(&stored);
        if envelope[4] == PLAIN {
            envelope[9..13].copy_from_slice(&stored);
        }
        let checksum = checksum(envelope).to_le_bytes();
        envelope[CRC].copy_from_slice(&checksum);
    }
}

/// The payload as a zstd frame, if that is smaller.
fn compress(payload: &[u8], format: Known) -> Option<Vec<u8>> {
    let compressed = COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = &mut compressors[format.index()];
        // Without memory for a compressor the record stays plain.
        if compressor.is_none() {
            *compressor = Compressor::with_dictionary(LEVEL, format.dictionary()).ok();
        }
        compressor.as_mut()?.compress(payload).ok()
    });
    compressed.filter(|compressed| compressed.len() < payload.len())
}

/// What is in a zstd frame, if that is of no more than this size.
fn decompress(payload: &[u8], size: usize, format: Known) -> Option<Bytes> {
    DECOMPRESSORS.with_borrow_mut(|decompressors| {
        let decompressor = &mut decompressors[format.index()];
        if decompressor.is_none() {
            *decompressor = Decompressor::with_dictionary(format.dictionary()).ok();
        }
        decompressor.as_mut()?.decompress(payload, size).ok().map(Bytes::from)
    })
}
