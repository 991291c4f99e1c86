//! The numbers and byte strings that a record consists of, read from a stream.
//!
//! A record says how long it is. What it consists of has to fill that exactly, so each read is
//! counted against it.

use std::io::{self, BufRead, BufReader, Read};

use super::{Contents, Field};
use crate::compression::Unpacked;

/// What is unpacked at a time.
const BUFFER_BYTES: usize = 8 << 10;

/// Bytes of the longest varint, which holds 64 bits.
const VARINT_BYTES_MAX: u64 = 10;

/// Why a field cannot be read.
#[derive(Debug)]
pub(super) enum FieldFault {
    /// The codec finds its bytes broken.
    Read(io::Error),
    /// The batch ends.
    End,
    /// A number is not one, or the record ends.
    Malformed,
}

/// A header's key and value.
type Header = (Field, Option<Field>);

pub(super) struct Fields<'a> {
    stream: BufReader<Unpacked<'a>>,
    /// Bytes of the record that were not read yet.
    left: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(stream: Unpacked<'a>) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream), left: 0 }
    }

    /// Reads the length of the next record.
    pub(super) fn start_record(&mut self) -> Result<(), FieldFault> {
        self.left = VARINT_BYTES_MAX;
        self.left = self.length()?.ok_or(FieldFault::Malformed)?;
        Ok(())
    }

    /// The record must have been read to its end.
    pub(super) fn end_record(&self) -> Result<(), FieldFault> {
        if self.left == 0 { Ok(()) } else { Err(FieldFault::Malformed) }
    }

    pub(super) fn is_at_end(&mut self) -> Result<bool, FieldFault> {
        Ok(self.stream.fill_buf().map_err(FieldFault::Read)?.is_empty())
    }

    pub(super) fn byte(&mut self) -> Result<u8, FieldFault> {
        self.take(1)?;
        let byte = self.stream.fill_buf().map_err(FieldFault::Read)?.first().copied();
        let byte = byte.ok_or(FieldFault::End)?;
        self.stream.consume(1);
        Ok(byte)
    }

    /// A zigzag varint.
    pub(super) fn number(&mut self) -> Result<i64, FieldFault> {
        let mut zigzag = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err(FieldFault::Malformed)
    }

    /// A key or a value, or a null.
    pub(super) fn field(&mut self, contents: Contents) -> Result<Option<Field>, FieldFault> {
        let Some(len_bytes) = self.length()? else { return Ok(None) };
        self.take(len_bytes)?;
        let bytes = match contents {
            Contents::Keep => self.bytes(len_bytes)?,
            Contents::PassOver => self.pass_over(len_bytes)?,
        };
        Ok(Some(Field { len_bytes, bytes }))
    }

    /// The headers; none are kept that are not wanted.
    pub(super) fn headers(&mut self, contents: Contents) -> Result<Vec<Header>, FieldFault> {
        let mut headers = Vec::new();
        for _ in 0..self.length()?.ok_or(FieldFault::Malformed)? {
            let key = self.field(contents)?.ok_or(FieldFault::Malformed)?;
            let value = self.field(contents)?;
            if contents == Contents::Keep {
                headers.push((key, value));
            }
        }
        Ok(headers)
    }

    /// A length that is not negative, or the -1 of a null.
    fn length(&mut self) -> Result<Option<u64>, FieldFault> {
        match self.number()? {
            -1 => Ok(None),
            // Kafka: lengths are 32 bits wide.
            length => match u32::try_from(length) {
                Ok(length) if length <= i32::MAX.unsigned_abs() => Ok(Some(length.into())),
                _ => Err(FieldFault::Malformed),
            },
        }
    }

    fn take(&mut self, count: u64) -> Result<(), FieldFault> {
        self.left = self.left.checked_sub(count).ok_or(FieldFault::Malformed)?;
        Ok(())
    }

    /// As many bytes; memory grows as they come.
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, FieldFault> {
        let mut bytes = Vec::new();
        let read = self.stream.by_ref().take(count).read_to_end(&mut bytes);
        if read.map_err(FieldFault::Read)? as u64 == count {
            Ok(bytes)
        } else {
            Err(FieldFault::End)
        }
    }

    fn pass_over(&mut self, mut count: u64) -> Result<Vec<u8>, FieldFault> {
        while count > 0 {
            let there = self.stream.fill_buf().map_err(FieldFault::Read)?.len();
            let step = usize::try_from(count).map_or(there, |count| count.min(there));
            if step == 0 {
                return Err(FieldFault::End);
            }
            self.stream.consume(step);
            count -= step as u64;
        }
        Ok(Vec::new())
    }
}
