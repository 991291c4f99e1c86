//! Start timestamps, which are read over: when what a sample counts began.
//!
//! A byte says whether the first sample has one, in its highest bit, and in the others from which
//! sample on each has one, where 0 means that no other has. The first is a varint, the others are
//! varbits: differences, which need not be added up to be read over.
//!
//! Source: tsdb/chunkenc/st.go; xor2.go.

use super::bits::Bits;
use super::varbit;
use crate::damage::Malformed;

#[derive(Debug, Clone, Copy)]
pub(super) struct StartTimes {
    is_first_known: bool,
    changes_from: u16,
}

impl StartTimes {
    pub(super) const NONE: Self = Self { is_first_known: false, changes_from: 0 };

    pub(super) fn from_byte(byte: u8) -> Self {
        Self { is_first_known: byte & 0x80 != 0, changes_from: u16::from(byte & 0x7f) }
    }

    /// Reads over that of sample `index`, if it has one.
    pub(super) fn skip(self, bits: &mut Bits<'_>, index: u16) -> Result<(), Malformed> {
        if index == 0 {
            if self.is_first_known {
                bits.varint()?;
            }
        } else if self.changes_from > 0 && index >= self.changes_from {
            varbit::signed(bits);
        }
        Ok(())
    }
}
