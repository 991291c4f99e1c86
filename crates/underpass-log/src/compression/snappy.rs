//! Snappy, bare as librdkafka sends it or in the frames of snappy-java.
//!
//! ```text
//! 82 "SNAPPY" 00  version:i32 compatible:i32
//! then each: length:i32 and a bare block of that length
//! ```
//! Source: snappy-java's SnappyCodec and SnappyInputStream; google/snappy, format_description.txt.

use std::io::{self, Read};

use snap::raw::{Decoder, decompress_len};

use super::{Fault, KEPT_BYTES_MAX, fault};

const MAGIC: &[u8] = b"\x82SNAPPY\0";
const HEAD_BYTES: usize = 8 + 4 + 4;

/// The most a byte unpacks to: three bytes copy 64 (format_description.txt, 2.2.2).
const EXPANSION_MAX: usize = 22;

pub(super) struct Snappy<'a> {
    packed: &'a [u8],
    is_framed: bool,
    /// The block that is being read, and how much of it was.
    block: Vec<u8>,
    read: usize,
}

impl<'a> Snappy<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Self {
        let framed = packed.get(HEAD_BYTES..).filter(|_| packed.starts_with(MAGIC));
        let is_framed = framed.is_some();
        Self { packed: framed.unwrap_or(packed), is_framed, block: Vec::new(), read: 0 }
    }

    /// Unpacks the next block.
    fn advance(&mut self) -> io::Result<()> {
        let packed = if self.is_framed { self.framed()? } else { std::mem::take(&mut self.packed) };
        let claimed = decompress_len(packed)?;
        let most = packed.len().saturating_mul(EXPANSION_MAX).min(KEPT_BYTES_MAX as usize);
        if claimed > most {
            return Err(fault(Fault::Claim { packed: packed.len(), claimed }));
        }
        self.block.resize(claimed, 0);
        self.read = 0;
        let count = Decoder::new().decompress(packed, &mut self.block)?;
        self.block.truncate(count);
        Ok(())
    }

    /// The next block of a frame.
    fn framed(&mut self) -> io::Result<&'a [u8]> {
        let short = |claimed, there| fault(Fault::Block { claimed, there });
        let there = self.packed.len();
        let (length, rest) = self.packed.split_first_chunk().ok_or_else(|| short(4, there))?;
        let claimed = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, rest) =
            rest.split_at_checked(claimed).ok_or_else(|| short(claimed, rest.len()))?;
        self.packed = rest;
        Ok(block)
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.block.len() {
            if self.packed.is_empty() {
                return Ok(0);
            }
            self.advance()?;
        }
        let count = (&self.block[self.read..]).read(buffer)?;
        self.read += count;
        Ok(count)
    }
}
