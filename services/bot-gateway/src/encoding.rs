//! How payloads go over the wire: as text, compressed together (`zlib-stream`), or compressed one by one. Pure.
//! [Source](https://docs.discord.com/developers/events/gateway#encoding-and-compression).

use flate2::{Compress, Compression, FlushCompress, Status};
use tokio_websockets::Message;

/// Smaller payloads are not compressed one by one.
const WORTH_IT: usize = 1024;

/// What a client asked for in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    ZlibStream,
}

/// Why the URL is refused: the close code, and for people why.
pub(crate) type Refused = (u16, &'static str);

/// Reads the query of the URL, as `v=10&encoding=json&compress=zlib-stream`.
pub(crate) fn transport(query: &str) -> Result<Transport, Refused> {
    use crate::message::close::INVALID_VERSION;
    let mut transport = Transport::Plain;
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (&*key, &*value) {
            ("v", "9" | "10") | ("encoding", "json") | ("compress", "") => {}
            ("v", _) => return Err((INVALID_VERSION, "this gateway has version 10")),
            ("encoding", _) => return Err((INVALID_VERSION, "this gateway has encoding=json only")),
            ("compress", "zlib-stream") => transport = Transport::ZlibStream,
            ("compress", _) => return Err((INVALID_VERSION, "this gateway has compress=zlib-stream only")),
            _ => {}
        }
    }
    Ok(transport)
}

/// Encodes the payloads of one connection, in order.
pub(crate) enum Encoder {
    Plain,
    /// One stream for the whole connection.
    Stream(Box<Compress>),
    /// Each large payload by itself: `compress` of IDENTIFY.
    Each,
}

impl Encoder {
    pub(crate) fn new(transport: Transport) -> Self {
        match transport {
            Transport::Plain => Self::Plain,
            Transport::ZlibStream => Self::Stream(Box::new(Compress::new(Compression::fast(), true))),
        }
    }

    /// From here on large payloads are compressed one by one, unless all are.
    pub(crate) fn compress_each(&mut self) {
        if matches!(self, Self::Plain) {
            *self = Self::Each;
        }
    }

    /// The next payload as a message.
    pub(crate) fn encode(&mut self, payload: String) -> Message {
        match self {
            Self::Stream(compress) => {
                Message::binary(flushed(compress, payload.as_bytes(), FlushCompress::Sync))
            }
            Self::Each if payload.len() >= WORTH_IT => {
                let mut compress = Compress::new(Compression::fast(), true);
                Message::binary(flushed(&mut compress, payload.as_bytes(), FlushCompress::Finish))
            }
            Self::Plain | Self::Each => Message::text(payload),
        }
    }
}

/// Compresses all of `input` and flushes. In a stream each message ends with `00 00 ff ff`.
fn flushed(compress: &mut Compress, input: &[u8], flush: FlushCompress) -> Vec<u8> {
    let (before_in, mut out) = (compress.total_in(), Vec::with_capacity(input.len() / 3 + 64));
    loop {
        let taken = (compress.total_in() - before_in) as usize;
        let space = out.capacity() - out.len();
        // Compressing to memory fails only if it is used wrongly.
        let status = compress.compress_vec(&input[taken..], &mut out, flush).expect("the state is valid");
        let is_all = (compress.total_in() - before_in) as usize == input.len();
        // Room that is left means that everything was flushed.
        if status == Status::StreamEnd || is_all && space > 0 && out.len() < out.capacity() {
            return out;
        }
        out.reserve(out.capacity().max(64));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::{Decompress, FlushDecompress, read::ZlibDecoder};
    use proptest::prelude::*;

    use super::*;

    fn bytes(message: &Message) -> Vec<u8> {
        assert!(message.is_binary());
        message.as_payload().to_vec()
    }

    proptest! {
        #[test]
        fn compressed_payloads_come_out_again(payloads in prop::collection::vec(".{0,3000}", 1..20)) {
            let mut stream = Encoder::new(Transport::ZlibStream);
            let mut inflate = Decompress::new(true);
            let mut each = Encoder::new(Transport::Plain);
            each.compress_each();
            for payload in payloads {
                let message = bytes(&stream.encode(payload.clone()));
                prop_assert!(message.ends_with(&[0, 0, 0xff, 0xff]));
                let mut out = Vec::with_capacity(payload.len() + 64);
                inflate.decompress_vec(&message, &mut out, FlushDecompress::Sync).unwrap();
                prop_assert_eq!(&out, payload.as_bytes());

                let message = each.encode(payload.clone());
                let mut text = String::new();
                if message.is_binary() {
                    ZlibDecoder::new(&bytes(&message)[..]).read_to_string(&mut text).unwrap();
                } else {
                    text = message.as_text().unwrap().to_owned();
                }
                prop_assert_eq!(text, payload);
            }
        }
    }

    #[test]
    fn urls_of_the_libraries_are_taken() {
        assert_eq!(transport("v=10&encoding=json"), Ok(Transport::Plain));
        assert_eq!(transport("encoding=json&v=10&compress=zlib-stream"), Ok(Transport::ZlibStream));
        assert_eq!(transport(""), Ok(Transport::Plain));
        for refused in ["v=6", "v=10&encoding=etf", "v=10&compress=zstd-stream"] {
            assert_eq!(transport(refused).unwrap_err().0, 4012, "{refused}");
        }
    }
}
