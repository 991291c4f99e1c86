//! Values of every message, drawn at random.

use bytes::Bytes;

use super::{ErrorCode, Records};
use crate::uuid::Uuid;

/// Random numbers, the same for the same seed.
pub(crate) struct Source(u64);

impl Source {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    fn below(&mut self, end: u8) -> u8 {
        (self.next() % u64::from(end)).to_le_bytes()[0]
    }

    /// Some letters, in some cases more than one byte of a varint can say.
    fn letters(&mut self) -> String {
        let count = if self.below(20) == 0 { 200 } else { self.below(8) };
        (0..count).map(|_| char::from(b'a' + self.below(26))).collect()
    }
}

/// Can be drawn.
pub(crate) trait Filled {
    fn filled(source: &mut Source) -> Self;
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Filled for $type {
            fn filled(source: &mut Source) -> Self {
                let bytes = source.next().to_le_bytes();
                Self::from_le_bytes(*bytes.first_chunk().expect("eight bytes"))
            }
        }
    )+};
}

numbers!(i8, i16, i32, i64);

impl Filled for bool {
    fn filled(source: &mut Source) -> Self {
        source.below(2) == 0
    }
}

impl Filled for String {
    fn filled(source: &mut Source) -> Self {
        source.letters()
    }
}

impl Filled for Bytes {
    fn filled(source: &mut Source) -> Self {
        source.letters().into()
    }
}

impl Filled for Uuid {
    fn filled(source: &mut Source) -> Self {
        Self(u128::from(source.next()).to_be_bytes())
    }
}

impl Filled for ErrorCode {
    fn filled(source: &mut Source) -> Self {
        Self::ALL[usize::from(source.below(134))]
    }
}

impl Filled for Records {
    fn filled(source: &mut Source) -> Self {
        let bytes = Bytes::filled(source);
        if bytes.is_empty() { Self::None } else { Self::Memory(bytes) }
    }
}

impl<T: Filled> Filled for Option<T> {
    fn filled(source: &mut Source) -> Self {
        (source.below(4) > 0).then(|| T::filled(source))
    }
}

impl<T: Filled> Filled for Vec<T> {
    fn filled(source: &mut Source) -> Self {
        (0..source.below(4)).map(|_| T::filled(source)).collect()
    }
}
