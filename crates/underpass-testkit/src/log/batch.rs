//! Record batches, version 2, of plain records without keys: made and read by hand.
//!
//! Source: Kafka's documentation, "Message format".

use std::io;

use super::answer::{Answer, invalid};

/// Bytes before the first record.
const HEADER_BYTES: usize = 61;

/// Bytes before the part that the length counts.
const BEFORE_LENGTH: usize = 12;

/// The number by which an idempotent producer's batches are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The number of the first record.
    pub base: i32,
}

impl Sequence {
    /// No idempotence.
    pub const NONE: Self = Self { producer_id: -1, producer_epoch: -1, base: -1 };
}

/// A record as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its offset.
    pub offset: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
    /// Its value.
    pub value: Vec<u8>,
}

/// A batch of these values, as a producer sends it.
#[must_use]
pub fn of<V: AsRef<[u8]>>(values: &[V], timestamp_ms: i64, sequence: Sequence) -> Vec<u8> {
    let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let mut covered = Vec::new();
    covered.extend(0_i16.to_be_bytes());
    covered.extend((count - 1).to_be_bytes());
    covered.extend(timestamp_ms.to_be_bytes());
    covered.extend(timestamp_ms.to_be_bytes());
    covered.extend(sequence.producer_id.to_be_bytes());
    covered.extend(sequence.producer_epoch.to_be_bytes());
    covered.extend(sequence.base.to_be_bytes());
    covered.extend(count.to_be_bytes());
    for (nth, value) in (0..).zip(values) {
        put_record(&mut covered, nth, value.as_ref());
    }
    let length = i32::try_from(9 + covered.len()).unwrap_or(i32::MAX);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend(length.to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&covered).to_be_bytes());
    batch.extend(covered);
    batch
}

/// The records of the batches that `bytes` are, whole ones all of them, with offsets that rise.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] for anything that is not such a batch.
pub fn read(mut bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let batch = first(bytes)?;
        records.extend(records_of(batch)?);
        bytes = &bytes[batch.len()..];
    }
    match records.windows(2).find(|pair| pair[0].offset >= pair[1].offset) {
        Some(pair) => Err(invalid(format!("offset {} before {}", pair[0].offset, pair[1].offset))),
        None => Ok(records),
    }
}

/// The records of an answer of at most `max_bytes`. Where it has as many, its last batch may be cut
/// off, and is asked for again; Kafka does that.
///
/// # Errors
///
/// As those of [`read`].
pub fn read_up_to(max_bytes: usize, bytes: &[u8]) -> io::Result<Vec<Record>> {
    if bytes.len() != max_bytes {
        return read(bytes);
    }
    let mut whole = 0;
    while let Ok(batch) = first(&bytes[whole..]) {
        whole += batch.len();
    }
    read(&bytes[..whole])
}

fn first(bytes: &[u8]) -> io::Result<&[u8]> {
    let length = bytes.get(8..BEFORE_LENGTH).and_then(|field| field.try_into().ok());
    let length = length.map_or(-1, i32::from_be_bytes);
    let whole = usize::try_from(length).ok().map(|length| BEFORE_LENGTH + length);
    let batch = whole.filter(|whole| *whole >= HEADER_BYTES).and_then(|whole| bytes.get(..whole));
    batch.ok_or_else(|| invalid(format!("{} bytes, length {length}: no batch", bytes.len())))
}

fn records_of(batch: &[u8]) -> io::Result<Vec<Record>> {
    let mut head = Answer::new(batch[..HEADER_BYTES].to_vec());
    let (base_offset, _length) = (head.i64()?, head.i32()?);
    let (leader_epoch, magic, crc) = (head.i32()?, head.i8()?, head.i32()?);
    let (attributes, last_delta) = (head.i16()?, head.i32()?);
    let computed = crc32c(&batch[21..]);
    if magic != 2 || crc.to_be_bytes() != computed.to_be_bytes() || attributes & 7 != 0 {
        let what = format!("magic {magic}, attributes {attributes}, crc {crc:x}, not {computed:x}");
        return Err(invalid(format!("the batch at offset {base_offset} has {what}")));
    }
    let mut rest = &batch[HEADER_BYTES..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (delta, value) = take_record(&mut rest)
            .ok_or_else(|| invalid(format!("a torn record behind offset {base_offset}")))?;
        records.push(Record { offset: base_offset + delta, leader_epoch, value });
    }
    match records.last() {
        Some(last) if last.offset == base_offset + i64::from(last_delta) => Ok(records),
        _ => Err(invalid(format!("{} records, last delta {last_delta}", records.len()))),
    }
}

fn put_record(out: &mut Vec<u8>, nth: i64, value: &[u8]) {
    let mut record = vec![0];
    put_varint(&mut record, 0);
    put_varint(&mut record, nth);
    put_varint(&mut record, -1);
    put_varint(&mut record, i64::try_from(value.len()).unwrap_or(i64::MAX));
    record.extend(value);
    put_varint(&mut record, 0);
    put_varint(out, i64::try_from(record.len()).unwrap_or(i64::MAX));
    out.extend(record);
}

/// The offset delta and the value of a record without key and headers.
fn take_record(rest: &mut &[u8]) -> Option<(i64, Vec<u8>)> {
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let (mut record, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    record = record.get(1..)?;
    let (_time, delta) = (take_varint(&mut record)?, take_varint(&mut record)?);
    let key = take_varint(&mut record)?;
    let len = usize::try_from(take_varint(&mut record)?).ok()?;
    let (value, mut end) = record.split_at_checked(len)?;
    let headers = take_varint(&mut end)?;
    (key == -1 && headers == 0 && end.is_empty()).then(|| (delta, value.to_vec()))
}

/// Zigzag, then seven bits a byte, the lowest first.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.push((left & 0x7f) as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    None
}

/// CRC-32C (RFC 3720 B.4): bit by bit into a table, so that nothing is shared with a server.
fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[usize::from(byte ^ crc.to_le_bytes()[0])])
}

const fn table() -> [u32; 256] {
    let (mut table, mut byte) = ([0; 256], 0_u32);
    while byte < 256 {
        let (mut crc, mut bit) = (byte, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720 B.4: 32 bytes of zeros, 32 of ones; and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_last_batch_may_be_cut_off_where_the_answer_is_full() {
        let mut other = of(&[b"c"], 1, Sequence::NONE);
        other[..8].copy_from_slice(&1_i64.to_be_bytes());
        let (one, two) = (of(&[b"a"], 1, Sequence::NONE), [of(&[b"a"], 1, Sequence::NONE), other]);
        let two = two.concat();
        for len in one.len()..two.len() {
            assert_eq!(read_up_to(len, &two[..len]).unwrap().len(), 1, "{len} bytes");
            assert!(len == one.len() || read_up_to(len + 1, &two[..len]).is_err(), "{len} bytes");
        }
        assert_eq!(read_up_to(two.len(), &two).unwrap().len(), 2);
    }

    #[test]
    fn what_is_made_is_read_again_and_no_damage_passes() {
        let sequence = Sequence { producer_id: 7, producer_epoch: 1, base: 5 };
        let values = [b"a".to_vec(), vec![9; 300]];
        let one = of(&values, 1_700_000_000_000, sequence);
        let mut other = of(&[b"c"], 1, Sequence::NONE);
        other[..8].copy_from_slice(&2_i64.to_be_bytes());
        let whole = [0, one.len()];
        let two = [one, other].concat();
        let records = read(&two).unwrap();
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [0, 1, 2]);
        assert_eq!(records[1].value, values[1]);
        for at in 0..two.len() {
            assert!(whole.contains(&at) || read(&two[..at]).is_err(), "cut at {at}");
            let mut damaged = two.clone();
            damaged[at] ^= 1;
            // The offset and the leader epoch stand before what the checksum covers.
            let within = whole.iter().rev().find_map(|start| at.checked_sub(*start)).unwrap();
            let is_free = within < 8 || (12..16).contains(&within);
            assert!(is_free || read(&damaged).is_err(), "flipped at {at}");
        }
    }
}
