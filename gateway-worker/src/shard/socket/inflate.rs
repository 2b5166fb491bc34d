//! Transport compression (zstd-stream): one stream for each connection, with a bound on each message.

/// The largest accepted window as a power of two: 8 MiB. Discord uses at most 2 MiB.
#[cfg(feature = "zstd")]
const WINDOW: u32 = 23;
/// Bytes decompressed in one step.
#[cfg(feature = "zstd")]
const STEP: usize = 32 * 1024;

#[cfg(feature = "zstd")]
pub(super) struct Inflate {
    context: zstd_safe::DCtx<'static>,
    buffer: Box<[u8]>,
}

#[cfg(feature = "zstd")]
impl Inflate {
    pub(super) fn new() -> Result<Self, String> {
        let mut context = zstd_safe::DCtx::try_create().ok_or("no memory for decompression")?;
        context
            .set_parameter(zstd_safe::DParameter::WindowLogMax(WINDOW))
            .map_err(|code| zstd_safe::get_error_name(code).to_owned())?;
        Ok(Self { context, buffer: vec![0; STEP].into_boxed_slice() })
    }

    /// Decompresses a message.
    ///
    /// # Errors
    /// The stream is broken; the connection cannot be used any more.
    pub(super) fn message(&mut self, compressed: &[u8]) -> Result<String, &'static str> {
        let mut input = zstd_safe::InBuffer::around(compressed);
        let mut text = Vec::new();
        loop {
            let mut output = zstd_safe::OutBuffer::around(self.buffer.as_mut());
            self.context
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| "cannot decompress a message")?;
            let is_full = output.pos() == output.capacity();
            text.extend_from_slice(output.as_slice());
            if text.len() > super::LARGEST {
                return Err("a message is larger than 32 MiB");
            }
            if input.pos == input.src.len() && !is_full {
                // Frees the spare capacity of a long message's buffer, because the event keeps the buffer.
                text.shrink_to_fit();
                return String::from_utf8(text).map_err(|_| "a message is not UTF-8");
            }
        }
    }
}

#[cfg(not(feature = "zstd"))]
pub(super) struct Inflate;

#[cfg(not(feature = "zstd"))]
impl Inflate {
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self)
    }

    pub(super) fn message(&mut self, _: &[u8]) -> Result<String, &'static str> {
        Err("a message is compressed, which this build does not support")
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
        zstd_safe::compress(&mut compressed, bytes, 3).expect("the buffer has the bound's size");
        compressed
    }

    #[test]
    fn decompressed_size_is_bounded() {
        let bomb = compressed(&vec![b' '; super::super::LARGEST + 1]);
        assert!(bomb.len() < 64 * 1024, "{}", bomb.len());
        assert_eq!(Inflate::new().unwrap().message(&bomb), Err("a message is larger than 32 MiB"));
        let large = compressed(&vec![b' '; super::super::LARGEST]);
        assert_eq!(Inflate::new().unwrap().message(&large).map(|text| text.len()), Ok(super::super::LARGEST));
        let two_steps = compressed(&vec![b' '; STEP + 1]);
        let text = Inflate::new().unwrap().message(&two_steps).unwrap();
        assert_eq!((text.len(), text.capacity()), (STEP + 1, STEP + 1));
    }

    #[test]
    fn messages_that_are_not_text_are_rejected() {
        for bytes in [b"not zstd at all".to_vec(), vec![0; 64], compressed(&[0xff, 0xfe])] {
            assert!(Inflate::new().unwrap().message(&bytes).is_err(), "{bytes:?}");
        }
    }
}
