//! Fields of Protocol Buffers messages, read off a slice and put at the end of a buffer.
//!
//! Reading copies nothing and keeps nothing, so a message can be refused at its first field too
//! many. A generated parser fills lists first, where two bytes of input make an empty message of a
//! hundred bytes.
//!
//! Source: protobuf.dev, "Encoding".

use crate::cursor::Cursor;
use crate::damage::{Fault, Malformed};

/// The content of a field, as its wire type has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5, in as many bytes as they have; no field of a request is one.
    Fixed,
    /// Wire type 2: a message, text, bytes, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    /// An `int64`.
    pub(super) const fn int64(self) -> Option<i64> {
        match self {
            Self::Varint(value) => Some(value.cast_signed()),
            Self::Fixed | Self::Bytes(_) => None,
        }
    }

    /// An enumeration: its lower 32 bits count.
    pub(super) fn enumeration(self) -> Option<i32> {
        match self {
            Self::Varint(value) => Some(low(value)),
            Self::Fixed | Self::Bytes(_) => None,
        }
    }

    pub(super) const fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Varint(_) | Self::Fixed => None,
        }
    }
}

/// The lower 32 bits, as every parser takes them for an enumeration.
pub(super) fn low(value: u64) -> i32 {
    let bytes = value.to_le_bytes();
    bytes.first_chunk().map_or(0, |low| i32::from_le_bytes(*low))
}

/// The fields of a message, in the order in which they come.
pub(super) struct Fields<'a>(Cursor<'a>);

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self(Cursor::new(message))
    }

    fn field(&mut self) -> Result<(u64, Content<'a>), Malformed> {
        let cursor = &mut self.0;
        let before = cursor.at();
        let key = cursor.uvarint()?;
        let number = key >> 3;
        // The number of a field has 29 bits, and is not 0.
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(value(before, "field number", number, "not one from 1 to 536870911"));
        }
        let content = match key & 7 {
            0 => Content::Varint(cursor.uvarint()?),
            1 => cursor.take(8).map(|_| Content::Fixed)?,
            2 => Content::Bytes(cursor.counted()?),
            5 => cursor.take(4).map(|_| Content::Fixed)?,
            // 3 and 4 are groups, which proto3 does not have.
            other => return Err(value(before, "wire type", other, "not one of 0, 1, 2 and 5")),
        };
        Ok((number, content))
    }
}

fn value(at: usize, what: &'static str, found: u64, wanted: &'static str) -> Malformed {
    Malformed { at, fault: Fault::Value { what, found: found.into(), wanted } }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), Malformed>;

    /// What follows a malformed field is not read.
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = Cursor::new(&[]);
        }
        Some(field)
    }
}

/// Bytes that a number takes.
pub(super) const fn varint_len(value: u64) -> usize {
    // Seven bits a byte, and one byte for 0.
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Bytes of a field that holds this many, its key and length included.
pub(super) const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(super) fn put_varint(mut value: u64, into: &mut Vec<u8>) {
    while value >= 0x80 {
        into.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    into.push(value.to_le_bytes()[0]);
}

fn put_key(number: u8, wire_type: u8, into: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire_type), into);
}

/// `int64`, `uint64` or an enumeration. The default is left out.
pub(super) fn put_int64(number: u8, value: i64, into: &mut Vec<u8>) {
    if value != 0 {
        put_key(number, 0, into);
        put_varint(value.cast_unsigned(), into);
    }
}

/// `uint64` of a `oneof`, which is there even as 0.
pub(super) fn put_uint64(number: u8, value: u64, into: &mut Vec<u8>) {
    put_key(number, 0, into);
    put_varint(value, into);
}

/// `sint32` and `sint64`: zig-zag.
pub(super) const fn zig_zag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// `double`. The default is left out; -0 is not the default.
pub(super) fn put_double(number: u8, value: f64, into: &mut Vec<u8>) {
    if value.to_bits() != 0 {
        put_some_double(number, value, into);
    }
}

/// `double` of a `oneof`.
pub(super) fn put_some_double(number: u8, value: f64, into: &mut Vec<u8>) {
    put_key(number, 1, into);
    into.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// What goes before a field of `len` bytes.
pub(super) fn put_head(number: u8, len: usize, into: &mut Vec<u8>) {
    put_key(number, 2, into);
    put_varint(len as u64, into);
}

pub(super) fn put_bytes(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
    put_head(number, bytes.len(), into);
    into.extend_from_slice(bytes);
}

/// A message that `put` writes: its length goes in front of it afterwards.
pub(super) fn put_message(number: u8, into: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    put(into);
    let len = into.len() - start;
    put_head(number, len, into);
    let head_len = into.len() - start - len;
    into.get_mut(start..).unwrap_or_default().rotate_right(head_len);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> Vec<(u64, Content<'_>)> {
        Fields::of(message).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn fields_are_those_of_the_documentation() {
        // "Encoding": 150 in field 1, "testing" in field 2, an embedded message in field 3.
        assert_eq!(read(&[0x08, 0x96, 0x01]), [(1, Content::Varint(150))]);
        assert_eq!(read(b"\x12\x07testing"), [(2, Content::Bytes(b"testing"))]);
        assert_eq!(read(b"\x1a\x03\x08\x96\x01"), [(3, Content::Bytes(&[0x08, 0x96, 0x01]))]);
        assert_eq!(read(&[0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8]).len(), 2);
        assert_eq!(read(&[0x80, 0x01, 5]), [(16, Content::Varint(5))]);
    }

    #[test]
    fn what_is_malformed_is_told_with_its_place_and_ends_the_message() {
        for (message, at) in [
            (&[0x08, 1, 0x08][..], 3),
            (&[0x08, 1, 0x0b], 2),
            (&[0x00, 1], 0),
            (b"\x12\x07testin", 1),
            (&[0x0d, 1, 2, 3], 1),
            (&[0xf8, 0xff, 0xff, 0xff, 0x1f, 0], 0),
        ] {
            let read: Vec<_> = Fields::of(message).collect();
            assert_eq!(read.last().unwrap().as_ref().unwrap_err().at, at, "{message:?}");
            assert_eq!(read.iter().filter(|field| field.is_err()).count(), 1);
        }
    }

    #[test]
    fn what_is_written_is_as_the_documentation_has_it() {
        let mut bytes = Vec::new();
        put_int64(1, 150, &mut bytes);
        put_bytes(2, b"testing", &mut bytes);
        put_int64(3, 0, &mut bytes);
        put_int64(3, -2, &mut bytes);
        put_double(4, 0.0, &mut bytes);
        put_double(4, -0.0, &mut bytes);
        put_message(5, &mut bytes, |message| put_int64(1, 150, message));
        let by_hand = b"\x08\x96\x01\x12\x07testing\x18\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\
            \x21\0\0\0\0\0\0\0\x80\x2a\x03\x08\x96\x01";
        assert_eq!(bytes, by_hand);
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zig_zag), [0, 1, 2, 3, u64::MAX]);
    }

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for value in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(varint_len(value), bytes.len(), "{value}");
        }
        assert_eq!([field_len(0), field_len(127), field_len(128)], [2, 129, 131]);
    }
}
