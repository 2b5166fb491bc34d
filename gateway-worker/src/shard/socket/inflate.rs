//! Transport compression: one stream for each connection, with a bound on each message.

use std::cell::RefCell;

use flate2::{Decompress, FlushDecompress};

use crate::shard::protocol::GatewayCompression;

/// The largest accepted window of zstd as a power of two: 8 MiB. Discord uses at most 2 MiB.
#[cfg(feature = "zstd")]
const WINDOW: u32 = 23;
/// Bytes decompressed in one step.
const STEP: usize = 32 * 1024;

const BROKEN: &str = "cannot decompress a message";

thread_local! {
    /// The output of one step. One buffer for each thread, because each of a thousand connections needs it only for a moment.
    static STEP_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; STEP].into());
}

/// How zlib ends what is to be read at once. Discord may send a payload as several messages, of which only the last ends so
/// ([Transport Compression](https://docs.discord.com/developers/events/gateway#transport-compression)).
const SYNC_FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];

/// Decompresses the messages of a connection.
pub(super) struct Inflate {
    decoder: Decoder,
    /// The text of a payload so far, whose end is in a later message.
    text: Vec<u8>,
    /// The last compressed bytes.
    tail: [u8; 4],
}

enum Decoder {
    /// Takes about 45 KiB.
    Zlib(Box<Decompress>),
    /// Takes about 100 KiB, and the part of its window that messages have filled.
    #[cfg(feature = "zstd")]
    Zstd(zstd_safe::DCtx<'static>),
    /// No message may be compressed.
    None,
}

impl Inflate {
    pub(super) fn new(compression: GatewayCompression) -> Result<Self, String> {
        let decoder = match compression {
            GatewayCompression::None => Decoder::None,
            GatewayCompression::Zlib => Decoder::Zlib(Box::new(Decompress::new(true))),
            #[cfg(feature = "zstd")]
            GatewayCompression::Zstd => {
                let mut context = zstd_safe::DCtx::try_create().ok_or("no memory for decompression")?;
                context
                    .set_parameter(zstd_safe::DParameter::WindowLogMax(WINDOW))
                    .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
                Decoder::Zstd(context)
            }
        };
        Ok(Self { decoder, text: Vec::new(), tail: [0; 4] })
    }

    /// Decompresses a message. `None` if the payload goes on in the next one.
    ///
    /// # Errors
    /// The stream is broken; the connection cannot be used any more.
    pub(super) fn message(&mut self, compressed: &[u8]) -> Result<Option<String>, &'static str> {
        for byte in compressed.iter().skip(compressed.len().saturating_sub(self.tail.len())) {
            self.tail.rotate_left(1);
            self.tail[3] = *byte;
        }
        let goes_on = matches!(self.decoder, Decoder::Zlib(_)) && self.tail != SYNC_FLUSH;
        STEP_BUFFER.with_borrow_mut(|buffer| {
            let (mut text, mut rest) = (std::mem::take(&mut self.text), compressed);
            loop {
                let (read, written) = self.decoder.step(rest, buffer)?;
                rest = rest.get(read..).unwrap_or_default();
                text.extend_from_slice(buffer.get(..written).unwrap_or_default());
                if text.len() > super::LARGEST {
                    return Err("a message is larger than 32 MiB");
                }
                let is_read = rest.is_empty() && written < buffer.len();
                if is_read && goes_on {
                    self.text = text;
                    return Ok(None);
                }
                if is_read {
                    // Frees the spare capacity of a long message's buffer, because the event keeps the buffer.
                    text.shrink_to_fit();
                    return String::from_utf8(text).map(Some).map_err(|_| "a message is not UTF-8");
                }
                if read == 0 && written == 0 {
                    return Err(BROKEN);
                }
            }
        })
    }
}

impl Decoder {
    /// Decompresses input until the input ends or the buffer is full. Returns the bytes read and written.
    fn step(&mut self, input: &[u8], buffer: &mut [u8]) -> Result<(usize, usize), &'static str> {
        match self {
            Self::None => Err("a message is compressed, but the worker asked for no compression"),
            Self::Zlib(stream) => {
                let (read, written) = (stream.total_in(), stream.total_out());
                stream.decompress(input, buffer, FlushDecompress::Sync).map_err(|_| BROKEN)?;
                Ok(((stream.total_in() - read) as usize, (stream.total_out() - written) as usize))
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(context) => {
                let mut input = zstd_safe::InBuffer::around(input);
                let mut output = zstd_safe::OutBuffer::around(buffer);
                context.decompress_stream(&mut output, &mut input).map_err(|_| BROKEN)?;
                Ok((input.pos, output.pos()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{super::LARGEST, *};

    /// Each compression and a message that is compressed with it.
    fn compressed(bytes: &[u8]) -> Vec<(GatewayCompression, Vec<u8>)> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(bytes).and_then(|()| zlib.flush()).unwrap();
        let mut all = vec![(GatewayCompression::Zlib, zlib.get_ref().clone())];
        #[cfg(feature = "zstd")]
        {
            let mut zstd = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
            zstd_safe::compress(&mut zstd, bytes, 3).expect("the buffer has the bound's size");
            all.push((GatewayCompression::Zstd, zstd));
        }
        all
    }

    #[test]
    fn decompressed_size_is_bounded() {
        for (compression, bomb) in compressed(&vec![b' '; LARGEST + 1]) {
            assert!(bomb.len() < 256 * 1024, "{}", bomb.len());
            let inflated = Inflate::new(compression).unwrap().message(&bomb);
            assert_eq!(inflated, Err("a message is larger than 32 MiB"), "{compression:?}");
        }
        for (compression, large) in compressed(&vec![b' '; LARGEST]) {
            let inflated = Inflate::new(compression).unwrap().message(&large);
            assert_eq!(inflated.map(|text| text.unwrap().len()), Ok(LARGEST), "{compression:?}");
        }
        for (compression, two_steps) in compressed(&vec![b' '; STEP + 1]) {
            let text = Inflate::new(compression).unwrap().message(&two_steps).unwrap().unwrap();
            assert_eq!((text.len(), text.capacity()), (STEP + 1, STEP + 1), "{compression:?}");
        }
        for (compression, one_step) in compressed(&vec![b' '; STEP]) {
            let text = Inflate::new(compression).unwrap().message(&one_step).unwrap().unwrap();
            assert_eq!(text.len(), STEP, "{compression:?}");
        }
    }

    #[test]
    fn zlib_payload_may_come_in_several_messages() {
        let text = r#"{"op":11,"d":"éé"}"#;
        let (_, whole) = compressed(text.as_bytes()).swap_remove(0);
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let mut inflate = Inflate::new(GatewayCompression::Zlib).unwrap();
                assert_eq!(inflate.message(&whole[..first]), Ok(None));
                assert_eq!(inflate.message(&whole[first..second]), Ok(None));
                assert_eq!(inflate.message(&whole[second..]), Ok(Some(text.to_owned())));
            }
        }
    }

    #[test]
    fn messages_that_are_not_text_are_rejected() {
        let mut odd = compressed(&[0xff, 0xfe]);
        for (compression, _) in compressed(&[]) {
            odd.extend([b"not compressed at all".to_vec(), vec![0; 64]].map(|bytes| (compression, bytes)));
            odd.push((GatewayCompression::None, b"{}".to_vec()));
        }
        // Nothing may follow the end of a zlib stream.
        let mut ended = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        ended.write_all(b"{}").unwrap();
        odd.push((GatewayCompression::Zlib, [ended.finish().unwrap(), b"{}".to_vec()].concat()));
        for (compression, bytes) in odd {
            assert!(Inflate::new(compression).unwrap().message(&bytes).is_err(), "{compression:?} {bytes:?}");
        }
    }
}
