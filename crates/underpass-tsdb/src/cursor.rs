//! Reads integers and slices off the front of a slice. No length is trusted.
//!
//! Fixed integers are big-endian; `uvarint` and `varint` are those of Go's encoding/binary: seven
//! bits a byte, the lowest first, and zig-zag for signed ones.

use crate::damage::{Fault, Malformed};

/// A slice and how far it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// A fault at the present place.
    pub(crate) const fn malformed(&self, fault: Fault) -> Malformed {
        Malformed { at: self.at, fault }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some(taken) = self.rest().get(..count) else {
            let (wanted, left) = (count as u64, self.rest().len() as u64);
            return Err(self.malformed(Fault::Short { wanted, left }));
        };
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(taken.try_into().unwrap_or([0; N]))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(crate) fn uvarint(&mut self) -> Result<u64, Malformed> {
        // Most are one byte long.
        if let Some(&byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_uvarint()
    }

    fn long_uvarint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (place, &byte) in self.rest().iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            // Ten bytes hold 70 bits, of which the last byte may use one.
            if place == 9 && byte > 1 {
                break;
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                self.at += place + 1;
                return Ok(value);
            }
        }
        let left = self.rest().len() as u64;
        let fault =
            if left < 10 { Fault::Short { wanted: left + 1, left } } else { Fault::Integer };
        Err(self.malformed(fault))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, Malformed> {
        let value = self.uvarint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A length and as many bytes.
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let before = self.at;
        let wanted = self.uvarint()?;
        let left = self.rest().len() as u64;
        match usize::try_from(wanted) {
            Ok(count) if wanted <= left => self.take(count),
            Ok(_) | Err(_) => Err(Malformed { at: before, fault: Fault::Short { wanted, left } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_of_go() {
        let bytes = [0, 0x7f, 0x80, 0x01, 0xac, 0x02, 0x01, 0x02, 0xff, 0xff];
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(cursor.uvarint(), Ok(0));
        assert_eq!(cursor.uvarint(), Ok(127));
        assert_eq!(cursor.uvarint(), Ok(128));
        assert_eq!(cursor.uvarint(), Ok(300));
        assert_eq!(cursor.varint(), Ok(-1));
        assert_eq!(cursor.varint(), Ok(1));
        assert_eq!(cursor.take(2), Ok(&[0xff, 0xff][..]));
        assert!(cursor.is_empty());
    }

    #[test]
    fn the_largest_and_smallest_fit_and_more_does_not() {
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&largest).uvarint(), Ok(u64::MAX));
        assert_eq!(Cursor::new(&largest).varint(), Ok(i64::MIN));
        let mut larger = largest;
        larger[9] = 2;
        let error = Cursor::new(&larger).uvarint().unwrap_err();
        assert_eq!(error, Malformed { at: 0, fault: Fault::Integer });
    }

    #[test]
    fn what_is_cut_says_how_much_is_left() {
        let mut cursor = Cursor::new(&[1, 0x80]);
        assert_eq!(cursor.u8(), Ok(1));
        let short = |wanted, left| Malformed { at: 1, fault: Fault::Short { wanted, left } };
        assert_eq!(cursor.uvarint(), Err(short(2, 1)));
        assert_eq!(cursor.u32(), Err(short(4, 1)));
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2];
        let fault = Fault::Short { wanted: 0xffff_ffff, left: 2 };
        assert_eq!(Cursor::new(&huge).counted(), Err(Malformed { at: 0, fault }));
    }
}
