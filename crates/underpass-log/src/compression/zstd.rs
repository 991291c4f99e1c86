//! Zstandard: one frame after another, as zstd-jni reads them.

use std::io::{self, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::KEPT_BYTES_MAX;

pub(super) struct Zstd<'a> {
    decoder: FrameDecoder,
    packed: &'a [u8],
}

impl<'a> Zstd<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(KEPT_BYTES_MAX.into());
        Self { decoder, packed }
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.packed, one).map_err(io::Error::other)?;
            } else if self.packed.is_empty() {
                return Ok(0);
            } else {
                self.decoder.init(&mut self.packed).map_err(io::Error::other)?;
            }
        }
        self.decoder.read(buffer)
    }
}
