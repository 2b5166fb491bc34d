//! Compression of blocks. All shards of a process share one dictionary and a few contexts.
//!
//! The dictionary's text, `dictionary-3.txt`, is typical objects of Discord. The most common ones come last, where references to them are
//! shortest. Before the text come zstd's statistics, `dictionary-3.tables` in hex, so that a small frame needs no tables of its own.
//! `dictionary/make` makes both. They are part of format 3: no byte of them may change.

use std::sync::{Mutex, PoisonError};

use zstd_safe::{CCtx, CDict, DCtx, DDict};

const TEXT: &[u8] = include_bytes!("dictionary-3.txt");
const TABLES: &str = include_str!("dictionary-3.tables");

/// zstd's fastest ordinary level, because a block is compressed again after each change.
const LEVEL: i32 = 1;
/// The most idle contexts of each kind that are kept for later callers.
const MOST_IDLE: usize = 4;
/// A context or buffer that has grown beyond this is freed after use.
const LARGEST_IDLE: usize = 512 * 1024;

/// The first bytes of a zstd frame. No JSON text begins with them.
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses and decompresses blocks. Shared by all shards.
pub struct Codec {
    compress: CDict<'static>,
    decompress: DDict<'static>,
    compressors: Mutex<Vec<Compressor>>,
    decompressors: Mutex<Vec<DCtx<'static>>>,
}

struct Compressor {
    context: CCtx<'static>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

impl Default for Codec {
    fn default() -> Self {
        Self::new()
    }
}

impl Codec {
    /// Prepares the dictionary, which takes about a millisecond.
    pub fn new() -> Self {
        let dictionary = dictionary();
        Self {
            compress: CDict::create(&dictionary, LEVEL),
            decompress: DDict::create(&dictionary),
            compressors: Mutex::default(),
            decompressors: Mutex::default(),
        }
    }

    /// Bytes that the dictionary and the idle contexts take.
    pub fn memory(&self) -> usize {
        let compressors = self.compressors.lock().unwrap_or_else(PoisonError::into_inner);
        let decompressors = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner);
        let idle: usize = compressors.iter().map(|one| one.context.sizeof() + one.buffer.capacity()).sum();
        let more: usize = decompressors.iter().map(DCtx::sizeof).sum();
        self.compress.sizeof() + self.decompress.sizeof() + idle + more
    }

    /// Calls `with` with the frame of a text, or with the text itself if compression does not make it smaller.
    pub(crate) fn pack<T>(&self, text: &str, with: impl FnOnce(&[u8]) -> T) -> T {
        let idle = self.compressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut compressor =
            idle.unwrap_or_else(|| Compressor { context: CCtx::create(), buffer: Vec::new() });
        let Compressor { context, buffer } = &mut compressor;
        buffer.clear();
        buffer.reserve(zstd_safe::compress_bound(text.len()));
        let is_smaller = context
            .compress_using_cdict(buffer, text.as_bytes(), &self.compress)
            .is_ok_and(|size| size < text.len());
        let packed = with(if is_smaller { buffer } else { text.as_bytes() });
        if compressor.context.sizeof() + compressor.buffer.capacity() <= LARGEST_IDLE {
            let mut idle = self.compressors.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MOST_IDLE {
                idle.push(compressor);
            }
        }
        packed
    }

    /// Reverses [`Codec::pack`]. `size`: bytes of the text. `None` when `packed` does not hold a text of this size.
    pub(crate) fn unpack(&self, packed: &[u8], size: usize) -> Option<String> {
        String::from_utf8(self.unpack_bytes(packed, size)?).ok()
    }

    /// Does the same but returns bytes, for a caller that needs only a part of the text.
    pub(crate) fn unpack_bytes(&self, packed: &[u8], size: usize) -> Option<Vec<u8>> {
        if !packed.starts_with(&FRAME) {
            return (packed.len() == size).then(|| packed.to_vec());
        }
        let idle = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut context = idle.unwrap_or_else(DCtx::create);
        let mut text = Vec::with_capacity(size);
        let result = context.decompress_using_ddict(&mut text, packed, &self.decompress);
        let mut idle = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(context);
        }
        drop(idle);
        (result == Ok(size)).then_some(text)
    }
}

/// The dictionary in zstd's format.
fn dictionary() -> Vec<u8> {
    let digits: Vec<u8> =
        TABLES.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).chain(TEXT.iter().copied()).collect()
}

#[cfg(test)]
mod tests;
