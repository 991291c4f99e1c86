//! The header of a record batch, version 2: the 61 bytes that a log looks at.
//!
//! The checksum covers what follows it, from the attributes on. So the offset and the leader epoch,
//! which a broker assigns, stand before it, and assigning them does not touch the rest.
//!
//! Source: Kafka's documentation, "Message format", "Record Batch".

use std::ops::Range;

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;

/// Bytes of the offset and the length, which the length does not count.
pub const OVERHEAD_BYTES: usize = 12;

/// The only version of the format that is appended.
const MAGIC: i8 = 2;

/// Where the checksum starts to cover.
pub const CRC_FROM: usize = 21;

const CRC: Range<usize> = 17..21;
const ATTRIBUTES: Range<usize> = 21..23;
const MAX_TIMESTAMP: Range<usize> = 35..43;

/// Attributes: the codec, who set the timestamps, and what kind of batch it is.
const CODEC_MASK: i16 = 0x07;
const APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fields of a batch's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Bytes of the batch behind this field.
    pub length: i32,
    /// The epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// Version of the format.
    pub magic: i8,
    /// CRC-32C of everything behind it.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control.
    pub attributes: i16,
    /// Offset of the last record, counted from the first.
    pub last_offset_delta: i32,
    /// Time of the first record, in ms since 1970.
    pub base_timestamp: i64,
    /// The latest time of its records, in ms since 1970.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Records, as the producer counted them.
    pub count: i32,
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchFault {
    /// There are fewer bytes than the header or the length asks for.
    #[error("a batch of {wanted} bytes has only {there}")]
    Short {
        /// Bytes that there should be.
        wanted: usize,
        /// Bytes that there are.
        there: usize,
    },
    /// More bytes follow.
    #[error("{0} bytes follow the batch")]
    Trailing(usize),
    /// The length cannot be that of a batch.
    #[error("a batch cannot have a length of {0}")]
    Length(i32),
    /// Another version of the format.
    #[error("the batch has format version {0}, and only 2 is known")]
    Magic(i8),
    /// Offsets and number of records do not agree, or a number is negative that cannot be.
    #[error("the batch has {count} records and a last offset delta of {last_offset_delta}")]
    Count {
        /// Records, as the header says.
        count: i32,
        /// Offset of the last, counted from the first.
        last_offset_delta: i32,
    },
    /// The bytes are not those that were written.
    #[error("the batch has the checksum {computed:08x}, and its header says {stored:08x}")]
    Crc {
        /// As the header says.
        stored: u32,
        /// Of the bytes that are there.
        computed: u32,
    },
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, however many follow. Its checksum is not compared.
    ///
    /// # Errors
    ///
    /// [`BatchFault::Short`] for fewer than [`HEADER_BYTES`], [`BatchFault::Length`] for a length
    /// that leaves no room for the header, [`BatchFault::Magic`] for another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchFault> {
        let short = BatchFault::Short { wanted: HEADER_BYTES, there: bytes.len() };
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let header = Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            length: i32::from_be_bytes(field(head, 8)),
            leader_epoch: i32::from_be_bytes(field(head, 12)),
            magic: i8::from_be_bytes(field(head, 16)),
            crc: u32::from_be_bytes(field(head, CRC.start)),
            attributes: i16::from_be_bytes(field(head, ATTRIBUTES.start)),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, MAX_TIMESTAMP.start)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            count: i32::from_be_bytes(field(head, 57)),
        };
        if header.magic != MAGIC {
            return Err(BatchFault::Magic(header.magic));
        }
        let least = HEADER_BYTES - OVERHEAD_BYTES;
        match usize::try_from(header.length) {
            Ok(length) if length >= least => Ok(header),
            _ => Err(BatchFault::Length(header.length)),
        }
    }

    /// Bytes of the whole batch.
    #[must_use]
    pub fn size(&self) -> usize {
        OVERHEAD_BYTES + usize::try_from(self.length).unwrap_or(0)
    }

    /// Offset of the last record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta as i64)
    }

    /// The number of its codec: 0 for none.
    #[must_use]
    pub const fn codec(&self) -> i16 {
        self.attributes & CODEC_MASK
    }

    /// Whether its timestamps are the time at which it was appended.
    #[must_use]
    pub const fn has_append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// Has its records carry the time of their appending.
    pub const fn set_append_time(&mut self, now: i64) {
        self.attributes |= APPEND_TIME;
        self.max_timestamp = now;
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it marks the end of a transaction, and has no records of users.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Reads the header of the batch that `bytes` is, and compares its checksum.
///
/// # Errors
///
/// [`BatchFault`].
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchFault> {
    let header = BatchHeader::parse(bytes)?;
    let (wanted, there) = (header.size(), bytes.len());
    if there < wanted {
        return Err(BatchFault::Short { wanted, there });
    }
    if there > wanted {
        return Err(BatchFault::Trailing(there - wanted));
    }
    check_count(&header)?;
    let computed = crc32c::crc32c(&bytes[CRC_FROM..]);
    if computed != header.crc {
        return Err(BatchFault::Crc { stored: header.crc, computed });
    }
    Ok(header)
}

/// Refuses numbers of records that no batch in a log has. After compaction a batch may have fewer
/// records than offsets.
///
/// # Errors
///
/// [`BatchFault::Count`].
pub const fn check_count(header: &BatchHeader) -> Result<(), BatchFault> {
    let BatchHeader { count, last_offset_delta, .. } = *header;
    if last_offset_delta < 0 || count < 0 {
        return Err(BatchFault::Count { count, last_offset_delta });
    }
    Ok(())
}

/// Writes what the leader assigns.
///
/// # Panics
///
/// If `batch` has no whole header.
pub fn assign(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Writes that all records carry the time of their appending, as `header` says by now, and the
/// checksum that covers it. `records` is what follows `head`.
pub fn write_append_time(head: &mut [u8; HEADER_BYTES], header: &mut BatchHeader, records: &[u8]) {
    head[ATTRIBUTES].copy_from_slice(&header.attributes.to_be_bytes());
    head[MAX_TIMESTAMP].copy_from_slice(&header.max_timestamp.to_be_bytes());
    header.crc = crc32c::crc32c_append(crc32c::crc32c(&head[CRC_FROM..]), records);
    head[CRC].copy_from_slice(&header.crc.to_be_bytes());
}

/// The bytes of a field that lies within the header.
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&head[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two records, `hello` and, 5 ms later, `k` with `world`; the checksum is of another program.
    const BATCH: [u8; 86] = *b"\
        \0\0\0\0\0\0\0\0\0\0\0\x4a\xff\xff\xff\xff\x02\x37\xb9\xc2\xaa\0\0\0\0\0\x01\
        \0\0\x01\x8b\xcf\xe5\x68\0\0\0\x01\x8b\xcf\xe5\x68\x05\
        \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x02\
        \x16\0\0\0\x01\x0ahello\0\x18\0\x0a\x02\x02k\x0aworld\0";

    #[test]
    fn a_header_is_read_field_by_field() {
        let header = check(&BATCH).unwrap();
        let wanted = BatchHeader {
            base_offset: 0,
            length: 74,
            leader_epoch: -1,
            magic: 2,
            crc: 0x37b9_c2aa,
            attributes: 0,
            last_offset_delta: 1,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_005,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 2,
        };
        assert_eq!(header, wanted);
        assert_eq!((header.size(), header.last_offset()), (86, 1));
    }

    #[test]
    fn what_a_leader_assigns_is_not_covered_by_the_checksum() {
        let mut batch = BATCH;
        assign(&mut batch, 0x0102_0304_0506_0708, 9);
        assert_eq!(batch[..16], *b"\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x4a\0\0\0\x09");
        let header = check(&batch).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (0x0102_0304_0506_0708, 9));
    }

    #[test]
    fn the_time_of_appending_is_covered() {
        let (mut batch, mut header) = (BATCH, check(&BATCH).unwrap());
        header.set_append_time(0x0a0b);
        let (head, records) = batch.split_first_chunk_mut().unwrap();
        write_append_time(head, &mut header, records);
        assert_eq!(batch[21..23], [0, 8]);
        assert_eq!(batch[35..43], [0, 0, 0, 0, 0, 0, 0x0a, 0x0b]);
        assert_eq!(check(&batch).unwrap(), header);
        assert!(header.has_append_time());
    }

    #[test]
    fn every_flipped_bit_that_a_checksum_covers_is_found() {
        for at in CRC.start..BATCH.len() {
            for bit in 0..8 {
                let mut batch = BATCH;
                batch[at] ^= 1 << bit;
                assert!(check(&batch).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_batch_is_whole_and_alone() {
        for end in 0..BATCH.len() {
            let fault = check(&BATCH[..end]).unwrap_err();
            assert!(matches!(fault, BatchFault::Short { there, .. } if there == end), "{end}");
        }
        let two = [BATCH, BATCH].concat();
        assert_eq!(check(&two), Err(BatchFault::Trailing(86)));
    }

    #[test]
    fn lengths_and_versions_that_cannot_be_are_refused() {
        for length in [-1_i32, 0, 48, i32::MIN] {
            let mut batch = BATCH;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
            assert_eq!(BatchHeader::parse(&batch), Err(BatchFault::Length(length)));
        }
        for magic in [0, 1, 3] {
            let mut batch = BATCH;
            batch[16] = magic;
            assert_eq!(check(&batch), Err(BatchFault::Magic(magic.cast_signed())));
        }
        let mut batch = BATCH;
        batch[23..27].copy_from_slice(&(-1_i32).to_be_bytes());
        let fault = BatchFault::Count { count: 2, last_offset_delta: -1 };
        assert_eq!(check(&batch), Err(fault));
    }
}
