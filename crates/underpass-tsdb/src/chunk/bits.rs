//! Reads bits, the highest of a byte first.
//!
//! A read looks at a whole word that begins at the byte of the next bit, so nothing loops over bits
//! and nothing needs refilling. Past the end the bits are zeros: a decoder asks
//! [`Bits::is_past_end`] once a sample, and drops a sample that needed them.

use crate::damage::{Fault, Malformed};

/// Of the 64 bits of a word, those before the next bit in its first byte may be lost.
pub(super) const WORD_BITS: u32 = 57;

#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// Bits read so far.
    at: u64,
}

impl<'a> Bits<'a> {
    /// From byte `start` on.
    pub(super) const fn new(data: &'a [u8], start: u64) -> Self {
        Self { data, at: 8 * start }
    }

    /// The next bits, the first on top: at least [`WORD_BITS`] of them.
    #[inline(always)]
    pub(super) fn word(&self) -> u64 {
        let byte = self.byte();
        let word = match self.data.get(byte..).and_then(<[u8]>::first_chunk) {
            Some(&bytes) => u64::from_be_bytes(bytes),
            None => self.last_word(byte),
        };
        word << (self.at % 8)
    }

    #[cold]
    #[inline(never)]
    fn last_word(&self, byte: usize) -> u64 {
        let mut bytes = [0; 8];
        let left = self.data.get(byte..).unwrap_or_default();
        for (to, from) in bytes.iter_mut().zip(left) {
            *to = *from;
        }
        u64::from_be_bytes(bytes)
    }

    #[inline(always)]
    pub(super) const fn skip(&mut self, count: u32) {
        self.at += count as u64;
    }

    /// The next 0 to 64 bits, as a number.
    #[inline(always)]
    pub(super) fn read(&mut self, count: u32) -> u64 {
        if count > WORD_BITS {
            let upper = self.read_short(32);
            return upper << (count - 32) | self.read_short(count - 32);
        }
        self.read_short(count)
    }

    #[inline(always)]
    fn read_short(&mut self, count: u32) -> u64 {
        let word = self.word();
        self.skip(count);
        top(word, count)
    }

    /// As encoding/binary of Go has it, though it need not begin at a byte.
    pub(super) fn uvarint(&mut self) -> Result<u64, Malformed> {
        let before = *self;
        let mut value = 0;
        for place in 0..10 {
            let byte = self.read(8);
            // Ten bytes hold 70 bits, of which the last byte may use one.
            if place == 9 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(before.malformed(Fault::Integer))
    }

    /// Zig-zag.
    pub(super) fn varint(&mut self) -> Result<i64, Malformed> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Bits that were not read yet.
    pub(super) const fn left(&self) -> u64 {
        (8 * self.data.len() as u64).saturating_sub(self.at)
    }

    #[inline(always)]
    pub(super) const fn is_past_end(&self) -> bool {
        self.at > 8 * self.data.len() as u64
    }

    /// A fault at the byte of the next bit, or at the end.
    pub(super) fn malformed(&self, fault: Fault) -> Malformed {
        Malformed { at: self.byte().min(self.data.len()), fault }
    }

    #[inline(always)]
    fn byte(&self) -> usize {
        usize::try_from(self.at / 8).unwrap_or(usize::MAX)
    }
}

/// The first bits of a word, at most 63, as a number.
#[inline(always)]
pub(super) const fn top(word: u64, count: u32) -> u64 {
    // In two steps: a shift by 64, which none would be, is not defined.
    word >> 1 >> (63 - count)
}

/// The first bits of a word, 1 to 63, as most encodings of Prometheus sign a number.
///
/// Not two's complement: the range is -(2^(n-1)-1) to 2^(n-1).
///
/// Source: tsdb/chunkenc/xor.go, `bitRange`.
#[inline(always)]
pub(super) const fn top_signed(word: u64, count: u32) -> i64 {
    let raw = top(word, count);
    let is_negative = raw > 1 << (count - 1);
    if is_negative { raw.wrapping_sub(1 << count).cast_signed() } else { raw.cast_signed() }
}
