//! The records inside a batch, for the few who must look: validation in full, look-ups by time, and
//! `dump`.
//!
//! ```text
//! length:varint attributes:i8 timestamp_delta:varint offset_delta:varint
//! key_length:varint key value_length:varint value
//! headers:varint, then each: key_length:varint key value_length:varint value
//! ```
//! Numbers are zigzag; a length of -1 is a null. Records are read as a stream: what a length claims
//! is never allocated, and keys and values are passed over where no one wants them.
//!
//! Source: Kafka's documentation, "Message format", "Record"; Kafka's DefaultRecord.

mod fields;

use std::io;

use self::fields::{FieldFault, Fields};
use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::compression::{Codec, Unpacked};

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    /// In ms since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Field>,
    pub(crate) value: Option<Field>,
    pub(crate) headers: Vec<(Field, Option<Field>)>,
}

/// A key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) len_bytes: u64,
    /// Empty if contents are passed over.
    pub(crate) bytes: Vec<u8>,
}

/// Whether keys, values and headers are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Keep,
    PassOver,
}

/// What is wrong with the records of a batch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    #[error("the batch has codec {0}, and only 0 to 4 are known")]
    Codec(i16),
    #[error("the records cannot be unpacked by {codec}", codec = codec.name())]
    Unpack { codec: Codec, source: io::Error },
    #[error("the batch ends within record {record} of {count}")]
    Ends { record: i32, count: i32 },
    #[error("more bytes follow the last of {count} records")]
    Trailing { count: i32 },
    #[error("record {record} of the batch has a length or a number that it cannot have")]
    Malformed { record: i32 },
    #[error("record {record} of the batch has an offset delta of {delta}")]
    Offset { record: i32, delta: i64 },
    #[error("the latest record is of {found}, and the batch says {stated}")]
    MaxTimestamp { found: i64, stated: i64 },
}

/// The records of a batch, one after another; none follows a fault.
pub(crate) struct Records<'a> {
    header: BatchHeader,
    codec: Codec,
    fields: Fields<'a>,
    contents: Contents,
    read: i32,
    ended: bool,
}

impl<'a> Records<'a> {
    /// The records of `batch`, which `header` was read from.
    pub(crate) fn of(
        header: &BatchHeader,
        batch: &'a [u8],
        contents: Contents,
    ) -> Result<Self, RecordFault> {
        let number = header.codec();
        let codec = Codec::of(number).ok_or(RecordFault::Codec(number))?;
        let packed = batch.get(HEADER_BYTES..).unwrap_or_default();
        let fields = Fields::new(Unpacked::new(codec, packed));
        Ok(Self { header: *header, codec, fields, contents, read: 0, ended: false })
    }

    fn record(&mut self) -> Result<Record, FieldFault> {
        let fields = &mut self.fields;
        fields.start_record()?;
        fields.byte()?; // Attributes, of which none is in use.
        let timestamp = self.header.base_timestamp.wrapping_add(fields.number()?);
        let has_append_time = self.header.has_append_time();
        let timestamp = if has_append_time { self.header.max_timestamp } else { timestamp };
        let offset = self.header.base_offset.wrapping_add(fields.number()?);
        let key = fields.field(self.contents)?;
        let value = fields.field(self.contents)?;
        let headers = fields.headers(self.contents)?;
        fields.end_record()?;
        Ok(Record { offset, timestamp, key, value, headers })
    }

    fn fault(&self, fault: FieldFault) -> RecordFault {
        let (record, count) = (self.read, self.header.count);
        match fault {
            FieldFault::Read(source) => RecordFault::Unpack { codec: self.codec, source },
            FieldFault::End => RecordFault::Ends { record, count },
            FieldFault::Malformed => RecordFault::Malformed { record },
        }
    }

    /// The next record, or nothing where the batch ends with its last.
    fn advance(&mut self) -> Result<Option<Record>, RecordFault> {
        if self.read < self.header.count {
            let record = self.record().map_err(|fault| self.fault(fault))?;
            self.read += 1;
            return Ok(Some(record));
        }
        let is_at_end = self.fields.is_at_end().map_err(|fault| self.fault(fault))?;
        if is_at_end { Ok(None) } else { Err(RecordFault::Trailing { count: self.read }) }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Validates a batch that a client sent: its records unpack, are as many as the header says, have
/// offsets without gaps, and the latest is of the time that the header says.
pub(crate) fn validate(header: &BatchHeader, batch: &[u8]) -> Result<(), RecordFault> {
    let mut found = i64::MIN;
    for (record, wanted) in Records::of(header, batch, Contents::PassOver)?.zip(0..) {
        let Record { offset, timestamp, .. } = record?;
        let delta = offset.wrapping_sub(header.base_offset);
        if delta != i64::from(wanted) {
            return Err(RecordFault::Offset { record: wanted, delta });
        }
        found = found.max(timestamp);
    }
    let stated = header.max_timestamp;
    if found == stated { Ok(()) } else { Err(RecordFault::MaxTimestamp { found, stated }) }
}

/// Offset and time of the first record from offset `from` on that is of `timestamp` or later.
pub(crate) fn find_time(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
    from: i64,
) -> Result<Option<(i64, i64)>, RecordFault> {
    for record in Records::of(header, batch, Contents::PassOver)? {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= from {
            return Ok(Some((record.offset, record.timestamp)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
