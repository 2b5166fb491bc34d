//! Transport compression: one context per connection, flushed after each message and never finished.
//! [Source](https://docs.discord.com/developers/events/gateway#transport-compression).

use axum::extract::ws::Message;
use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, write::ZlibEncoder};
use std::io::Write;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

/// A window of 256 KiB, as in captured frames.
const ZSTD_WINDOW_LOG: u32 = 18;
/// Small hash tables limit the memory of 256 connections.
const ZSTD_HASH_LOG: u32 = 14;
/// Smallest payload that payload compression compresses, in bytes. Discord does not document its own threshold.
const COMPRESSED_FROM: usize = 1_024;
const GROW: usize = 4 * 1024;
/// Unit in which an inflating payload is compressed.
static PIECE: [u8; 1 << 20] = [b'a'; 1 << 20];
/// Largest string of an inflating payload without compression, in bytes.
const INFLATED_PLAIN: u64 = 40 << 20;

/// The compression of a connection's payloads.
pub(crate) enum Codec {
    /// Text frames. Payload compression turns each large payload into a binary frame with its own zlib stream.
    Plain {
        /// IDENTIFY requested payload compression.
        compress: bool,
    },
    /// `compress=zlib-stream`.
    Zlib(Box<Compress>),
    /// `compress=zstd-stream`.
    Zstd(Box<CCtx<'static>>),
}

impl Codec {
    /// Enables payload compression, which is valid only without transport compression.
    /// [Source](https://docs.discord.com/developers/events/gateway#payload-compression).
    pub(crate) fn compress_payloads(&mut self) {
        if let Self::Plain { compress } = self {
            *compress = true;
        }
    }

    /// Starts a zlib stream.
    pub(crate) fn zlib() -> Self {
        Self::Zlib(Box::new(Compress::new(Compression::fast(), true)))
    }

    /// Starts a zstd stream.
    pub(crate) fn zstd() -> Self {
        let mut context = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(1),
            CParameter::WindowLog(ZSTD_WINDOW_LOG),
            CParameter::HashLog(ZSTD_HASH_LOG),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            context.set_parameter(parameter).expect("zstd accepts its documented parameters");
        }
        Self::Zstd(Box::new(context))
    }

    /// Encodes a payload as a WebSocket message.
    pub(crate) fn encode(&mut self, payload: Vec<u8>) -> Message {
        match self {
            Self::Plain { compress: true } if payload.len() >= COMPRESSED_FROM => {
                let mut whole = ZlibEncoder::new(Vec::new(), Compression::fast());
                let written = whole.write_all(&payload).and_then(|()| whole.finish());
                Message::Binary(written.expect("deflate into memory cannot fail").into())
            }
            Self::Plain { .. } => {
                let text = String::from_utf8(payload).expect("payloads are JSON, which is UTF-8");
                Message::Text(text.into())
            }
            Self::Zlib(stream) => Message::Binary(deflate(stream, &payload)),
            Self::Zstd(context) => Message::Binary(zstd(context, &payload)),
        }
    }

    /// Encodes an event with a string of `bytes` bytes, small when compressed.
    pub(crate) async fn encode_inflating(&mut self, bytes: u64) -> Message {
        let (head, tail) = (br#"{"t":"DISCORD_SIM","s":null,"op":0,"d":""#.as_slice(), br#""}"#.as_slice());
        let whole = bytes / PIECE.len() as u64;
        let rest = &PIECE[..(bytes % PIECE.len() as u64) as usize];
        let mut out = Vec::new();
        match self {
            Self::Plain { .. } => {
                let text = [head, &vec![b'a'; bytes.min(INFLATED_PLAIN) as usize], tail].concat();
                return self.encode(text);
            }
            Self::Zlib(stream) => {
                deflate_into(stream, head, FlushCompress::None, &mut out);
                for _ in 0..whole {
                    deflate_into(stream, &PIECE, FlushCompress::None, &mut out);
                    tokio::task::yield_now().await;
                }
                deflate_into(stream, rest, FlushCompress::None, &mut out);
                deflate_into(stream, tail, FlushCompress::Sync, &mut out);
            }
            Self::Zstd(context) => {
                zstd_into(context, head, ZSTD_EndDirective::ZSTD_e_continue, &mut out);
                for _ in 0..whole {
                    zstd_into(context, &PIECE, ZSTD_EndDirective::ZSTD_e_continue, &mut out);
                    tokio::task::yield_now().await;
                }
                zstd_into(context, rest, ZSTD_EndDirective::ZSTD_e_continue, &mut out);
                zstd_into(context, tail, ZSTD_EndDirective::ZSTD_e_flush, &mut out);
            }
        }
        Message::Binary(out.into())
    }
}

fn deflate(stream: &mut Compress, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() / 4 + GROW);
    deflate_into(stream, payload, FlushCompress::Sync, &mut out);
    out.into()
}

fn deflate_into(stream: &mut Compress, payload: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
    out.reserve(GROW);
    let before = stream.total_in();
    loop {
        let read = (stream.total_in() - before) as usize;
        stream.compress_vec(&payload[read..], out, flush).expect("deflate into memory cannot fail");
        let all_read = (stream.total_in() - before) as usize == payload.len();
        // The flush is complete when the output buffer is not full.
        if all_read && out.len() < out.capacity() {
            return;
        }
        out.reserve(GROW);
    }
}

fn zstd(context: &mut CCtx<'static>, payload: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(payload.len() / 4 + GROW);
    zstd_into(context, payload, ZSTD_EndDirective::ZSTD_e_flush, &mut out);
    out.into()
}

fn zstd_into(context: &mut CCtx<'static>, payload: &[u8], directive: ZSTD_EndDirective, out: &mut Vec<u8>) {
    out.reserve(GROW);
    let mut input = InBuffer::around(payload);
    loop {
        let written = out.len();
        let mut output = OutBuffer::around_pos(out, written);
        let left = context
            .compress_stream2(&mut output, &mut input, directive)
            .expect("zstd into memory cannot fail");
        let done = left == 0 || matches!(directive, ZSTD_EndDirective::ZSTD_e_continue);
        if done && input.pos == payload.len() {
            return;
        }
        out.reserve(left.max(GROW));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads() -> Vec<Vec<u8>> {
        let mut draw = crate::world::Draw::new(1, &[]);
        let large: String = (0..5_000).map(|_| draw.hex()).collect();
        vec![b"{\"a\":1}".to_vec(), large.into_bytes(), vec![b'x'; 300_000], b"{}".to_vec()]
    }

    fn binary(message: Message) -> Bytes {
        match message {
            Message::Binary(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn zlib_messages_are_flushed_and_inflate_one_by_one() {
        let (mut codec, mut inflate) = (Codec::zlib(), flate2::Decompress::new(true));
        for payload in payloads() {
            let bytes = binary(codec.encode(payload.clone()));
            assert_eq!(bytes[bytes.len() - 4..], [0, 0, 0xff, 0xff]);
            let mut out = Vec::with_capacity(payload.len() + 64);
            inflate.decompress_vec(&bytes, &mut out, flate2::FlushDecompress::Sync).unwrap();
            assert_eq!(out, payload);
        }
    }

    #[tokio::test]
    async fn inflating_payloads_are_small_on_the_wire() {
        const BYTES: u64 = 5 << 20 | 3;
        for mut codec in [Codec::zlib(), Codec::zstd()] {
            let bytes = binary(codec.encode_inflating(BYTES).await);
            assert!(bytes.len() < 50_000, "{}", bytes.len());
            let mut out = vec![0; BYTES as usize + 1_000];
            let length = if let Codec::Zlib(_) = codec {
                let mut inflate = flate2::Decompress::new(true);
                inflate.decompress(&bytes, &mut out, flate2::FlushDecompress::Sync).unwrap();
                inflate.total_out() as usize
            } else {
                let mut output = OutBuffer::around(out.as_mut_slice());
                let mut input = InBuffer::around(&bytes);
                let mut decode = zstd_safe::DCtx::create();
                while input.pos < bytes.len() {
                    decode.decompress_stream(&mut output, &mut input).unwrap();
                }
                output.as_slice().len()
            };
            let payload: serde_json::Value = serde_json::from_slice(&out[..length]).unwrap();
            assert_eq!(payload["d"].as_str().unwrap().len() as u64, BYTES);
        }
    }

    #[test]
    fn zstd_messages_have_discords_header_and_decode_one_by_one() {
        let (mut codec, mut decode) = (Codec::zstd(), zstd_safe::DCtx::create());
        for (index, payload) in payloads().into_iter().enumerate() {
            let bytes = binary(codec.encode(payload.clone()));
            if index == 0 {
                assert_eq!(bytes[..6], [40, 181, 47, 253, 0, 64], "magic, no size or checksum, windowLog 18");
            }
            let mut out = vec![0; payload.len() + 64];
            let mut output = OutBuffer::around(out.as_mut_slice());
            let mut input = InBuffer::around(&bytes);
            while input.pos < bytes.len() {
                decode.decompress_stream(&mut output, &mut input).unwrap();
            }
            assert_eq!(output.as_slice(), payload);
        }
    }
}
