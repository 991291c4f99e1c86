//! Integers of histograms: the more ones before the first zero, the more bits follow.
//!
//! Source: tsdb/chunkenc/varbit.go.

use super::bits::{Bits, top_signed};

/// Bits of a number after 0, 1, ... 8 ones. Eight are not followed by a zero.
const LENS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

pub(super) fn unsigned(bits: &mut Bits<'_>) -> u64 {
    let len = len(bits);
    bits.read(len)
}

/// 1 to 63 bits are signed as [`top_signed`] has it.
pub(super) fn signed(bits: &mut Bits<'_>) -> i64 {
    match len(bits) {
        0 => 0,
        64 => bits.read(64).cast_signed(),
        len => {
            let word = bits.word();
            bits.skip(len);
            top_signed(word, len)
        }
    }
}

fn len(bits: &mut Bits<'_>) -> u32 {
    let ones = bits.word().leading_ones().min(8);
    bits.skip(8.min(ones + 1));
    LENS[ones as usize]
}
