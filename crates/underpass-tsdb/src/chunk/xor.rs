//! XOR chunks: floats, as most series have them.
//!
//! The count in two bytes; the first time as a varint and the first value as it is; the second time
//! as a uvarint of the distance; then for each sample how the distance changed, and its value.
//!
//! Source: tsdb/chunkenc/xor.go.

use super::bits::{Bits, top_signed};
use super::value::Value;
use super::within;
use crate::damage::Malformed;
use crate::sample::Float;

/// Appends the samples of a chunk; those before a fault stay.
pub(super) fn decode(data: &[u8], count: u16, floats: &mut Vec<Float>) -> Result<(), Malformed> {
    let mut bits = Bits::new(data, 2);
    if count == 0 {
        return Ok(());
    }
    let mut time = bits.varint()?;
    let mut value = Value::first(&mut bits);
    within(&bits, 0, count)?;
    reserve(floats, &bits, count);
    floats.push(Float { time, value: value.get() });
    if count == 1 {
        return Ok(());
    }
    let mut distance = bits.uvarint()?.cast_signed();
    time = time.wrapping_add(distance);
    value.advance(&mut bits)?;
    within(&bits, 1, count)?;
    floats.push(Float { time, value: value.get() });
    for read in 2..count {
        let word = bits.word();
        // Most samples are as far apart as the two before: one look at the bits is enough.
        if word >> 63 == 0 {
            bits.skip(1);
            value.advance_by(&mut bits, word << 1)?;
        } else {
            distance = distance.wrapping_add(change_of_distance(&mut bits, word));
            value.advance(&mut bits)?;
        }
        time = time.wrapping_add(distance);
        within(&bits, read, count)?;
        floats.push(Float { time, value: value.get() });
    }
    Ok(())
}

/// Room for what a chunk says it has, as far as its bits, two a sample, can hold that.
pub(super) fn reserve(floats: &mut Vec<Float>, bits: &Bits<'_>, count: u16) {
    let most = usize::try_from(2 + bits.left() / 2).unwrap_or(usize::MAX);
    floats.reserve(most.min(count.into()));
}

#[inline(always)]
fn change_of_distance(bits: &mut Bits<'_>, word: u64) -> i64 {
    match word.leading_ones() {
        0 => 0,
        1 => signed(bits, word, 2, 14),
        2 => signed(bits, word, 3, 17),
        3 => signed(bits, word, 4, 20),
        _ => {
            bits.skip(4);
            bits.read(64).cast_signed()
        }
    }
}

#[inline(always)]
const fn signed(bits: &mut Bits<'_>, word: u64, prefix: u32, len: u32) -> i64 {
    bits.skip(prefix + len);
    top_signed(word << prefix, len)
}
