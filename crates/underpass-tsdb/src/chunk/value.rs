//! A float that is written as its difference to the one before: the xor of their bits, of which the
//! leading and trailing zeros are left out.
//!
//! `0` the same; `10` as many zeros left out as the last time; `11` with 5 bits of how many lead,
//! and 6 of how many bits follow, where 0 means 64.
//!
//! Source: tsdb/chunkenc/xor.go, `xorRead`; Pelkonen et al., "Gorilla", VLDB 2015, §4.1.2.

use super::bits::{Bits, WORD_BITS, top};
use crate::damage::{Fault, Malformed};

/// Bits of a word that are still there after one was taken.
const LEFT_BITS: u32 = WORD_BITS - 1;

/// What a difference has between the zeros that are left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Significant {
    trailing: u32,
    len: u32,
}

impl Significant {
    /// Before the first difference nothing is left out. A writer that was started again in the
    /// middle of a chunk relies on it.
    pub(super) const ALL: Self = Self { trailing: 0, len: 64 };

    /// From the 11 bits on top of a word.
    #[inline(always)]
    pub(super) fn from_top(word: u64, bits: &Bits<'_>) -> Result<Self, Malformed> {
        let leading = (word >> 59) as u32;
        let len = match (word >> 53) as u32 & 0x3f {
            0 => 64,
            len => len,
        };
        match 64_u32.checked_sub(leading + len) {
            Some(trailing) => Ok(Self { trailing, len }),
            None => Err(too_wide(leading + len, bits)),
        }
    }
}

#[cold]
fn too_wide(found: u32, bits: &Bits<'_>) -> Malformed {
    let (what, wanted) = ("width of a difference in bits", "more than 64");
    bits.malformed(Fault::Value { what, found: found.into(), wanted })
}

/// The bits of a float, and what the differences leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub(super) bits: u64,
    pub(super) significant: Significant,
}

impl Value {
    pub(super) const fn new(bits: u64) -> Self {
        Self { bits, significant: Significant::ALL }
    }

    pub(super) const fn get(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// The first of a chunk, as it is.
    pub(super) fn first(bits: &mut Bits<'_>) -> Self {
        Self::new(bits.read(64))
    }

    pub(super) fn advance(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        let word = bits.word();
        self.advance_by(bits, word)
    }

    /// `word` has the next bits on top, at least [`LEFT_BITS`] of them.
    #[inline(always)]
    pub(super) fn advance_by(&mut self, bits: &mut Bits<'_>, word: u64) -> Result<(), Malformed> {
        match word >> 62 {
            0 | 1 => {
                bits.skip(1);
                Ok(())
            }
            2 => {
                self.change(bits, word, 2);
                Ok(())
            }
            _ => {
                self.significant = Significant::from_top(word << 2, bits)?;
                self.change(bits, word, 13);
                Ok(())
            }
        }
    }

    /// Changes by the difference that follows `before` bits of a word with [`LEFT_BITS`].
    #[inline(always)]
    pub(super) fn change(&mut self, bits: &mut Bits<'_>, word: u64, before: u32) {
        let Significant { trailing, len } = self.significant;
        let difference = if before + len <= LEFT_BITS {
            bits.skip(before + len);
            top(word << before, len)
        } else {
            bits.skip(before);
            bits.read(len)
        };
        self.bits ^= difference << trailing;
    }
}
