//! The producers of a partition as a file, so that a start need not read the whole log.
//!
//! ```text
//! "UPPR" version:u16 producers:u32
//! then each, the one that wrote the longest ago first:
//!   id:i64 epoch:i16 written_ms:i64 batches:u8
//!   then each, the oldest first:
//!     last_sequence:i32 last_offset_delta:i32 base_offset:i64 append_time:i64
//! crc32c:u32 of all before it
//! ```
//! Numbers are big-endian, as in the log. The file is ours: Kafka's has one batch a producer, and
//! so forgets what it needs to tell duplicates from batches that are out of order.

use bytes::{Buf, BufMut};

use super::window::{Producer, WINDOW, Written};
use super::{PRODUCERS_MAX, Producers};

const MAGIC: u32 = u32::from_be_bytes(*b"UPPR");
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 4 + 2 + 4;
const CRC_BYTES: usize = 4;
const PRODUCER_BYTES: usize = 8 + 2 + 8 + 1;
const BATCH_BYTES: usize = 4 + 4 + 8 + 8;

/// Why a snapshot of producers cannot be used. They are rebuilt from the log then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotFault {
    #[error("a snapshot of producers cannot have {0} bytes")]
    Length(usize),
    #[error("the snapshot of producers has the checksum {computed:08x}, and says {stored:08x}")]
    Crc { stored: u32, computed: u32 },
    #[error("a snapshot of producers does not start with {0:08x}")]
    Magic(u32),
    #[error("the snapshot of producers has format version {0}, and only {VERSION} is known")]
    Version(u16),
    #[error("the snapshot of producers names {0} producers, at most {PRODUCERS_MAX} can be")]
    Count(usize),
    #[error("the snapshot of producers ends or breaks off within producer {0}")]
    Producer(usize),
    #[error("{0} bytes follow the last producer of the snapshot")]
    Trailing(usize),
}

impl Producers {
    /// The bytes of a snapshot.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let each = PRODUCER_BYTES + WINDOW * BATCH_BYTES;
        let mut out = Vec::with_capacity(HEAD_BYTES + self.len() * each + CRC_BYTES);
        out.put_u32(MAGIC);
        out.put_u16(VERSION);
        out.put_u32(u32::try_from(self.len()).unwrap_or(u32::MAX));
        for (id, producer) in self.known.iter().rev() {
            put_producer(&mut out, *id, producer);
        }
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    /// Reads a snapshot.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        let mut rest = checked(bytes)?;
        let magic = rest.get_u32();
        if magic != MAGIC {
            return Err(SnapshotFault::Magic(magic));
        }
        let version = rest.get_u16();
        if version != VERSION {
            return Err(SnapshotFault::Version(version));
        }
        let count = usize::try_from(rest.get_u32()).unwrap_or(usize::MAX);
        if count > PRODUCERS_MAX {
            return Err(SnapshotFault::Count(count));
        }
        let mut producers = Self::new();
        for index in 0..count {
            let (id, producer) = producer(&mut rest).ok_or(SnapshotFault::Producer(index))?;
            producers.known.put(id, producer);
        }
        if rest.is_empty() { Ok(producers) } else { Err(SnapshotFault::Trailing(rest.len())) }
    }
}

/// What the checksum covers, which holds a whole head.
fn checked(bytes: &[u8]) -> Result<&[u8], SnapshotFault> {
    let length = SnapshotFault::Length(bytes.len());
    let (covered, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(length)?;
    if covered.len() < HEAD_BYTES {
        return Err(length);
    }
    let (stored, computed) = (u32::from_be_bytes(*crc), crc32c::crc32c(covered));
    if stored == computed { Ok(covered) } else { Err(SnapshotFault::Crc { stored, computed }) }
}

fn put_producer(out: &mut Vec<u8>, id: i64, producer: &Producer) {
    let batches = producer.batches();
    out.put_i64(id);
    out.put_i16(producer.epoch);
    out.put_i64(producer.written_ms);
    out.put_u8(u8::try_from(batches.len()).unwrap_or(u8::MAX));
    for batch in batches {
        out.put_i32(batch.last_sequence);
        out.put_i32(batch.last_offset_delta);
        out.put_i64(batch.base_offset);
        out.put_i64(batch.append_time);
    }
}

fn producer(rest: &mut &[u8]) -> Option<(i64, Producer)> {
    let id = rest.try_get_i64().ok()?;
    let mut producer = Producer::new(rest.try_get_i16().ok()?);
    producer.written_ms = rest.try_get_i64().ok()?;
    let batches = usize::from(rest.try_get_u8().ok()?);
    if id < 0 || producer.epoch < 0 || batches > WINDOW {
        return None;
    }
    for _ in 0..batches {
        producer.push(batch(rest)?);
    }
    Some((id, producer))
}

fn batch(rest: &mut &[u8]) -> Option<Written> {
    let written = Written {
        last_sequence: rest.try_get_i32().ok()?,
        last_offset_delta: rest.try_get_i32().ok()?,
        base_offset: rest.try_get_i64().ok()?,
        append_time: rest.try_get_i64().ok()?,
    };
    (written.last_sequence >= 0 && written.last_offset_delta >= 0).then_some(written)
}

#[cfg(test)]
mod tests {
    use super::super::batch_of;
    use super::*;

    /// Two producers, of which the second wrote last; written by hand.
    #[rustfmt::skip]
    const BODY: [u8; 10 + 19 + 24 + 19 + 48] = [
        b'U', b'P', b'P', b'R', 0, 1, 0, 0, 0, 2,
        0, 0, 0, 0, 0, 0, 0, 9, 0, 4, 0, 0, 0, 0, 0, 0, 3, 0xe8, 1,
        0, 0, 0, 2, 0, 0, 0, 2,
        0, 0, 0, 0, 0, 0, 0, 50, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0xe9, 2,
        0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 53, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 0, 0, 0, 0, 77,
    ];

    fn sealed(body: &[u8]) -> Vec<u8> {
        [body, &crc32c::crc32c(body).to_be_bytes()].concat()
    }

    fn written() -> Producers {
        let mut producers = Producers::new();
        producers.record(&batch_of(9, 4, 0, 3, 50), 1_000);
        producers.record(&batch_of(1 << 32, 0, i32::MAX, 1, 53), 1_000);
        let mut second = batch_of(1 << 32, 0, 0, 2, 54);
        (second.attributes, second.max_timestamp) = (8, 77);
        producers.record(&second, 1_001);
        producers
    }

    #[test]
    fn a_snapshot_is_these_bytes() {
        assert_eq!(written().encode(), sealed(&BODY));
        assert_eq!(Producers::new().encode(), sealed(b"UPPR\0\x01\0\0\0\0"));
    }

    #[test]
    fn a_snapshot_is_read_in_the_order_in_which_they_wrote() {
        let (read, written) = (Producers::decode(&sealed(&BODY)).unwrap(), written());
        assert!(read.known.iter().eq(written.known.iter()), "{read:?}");
    }

    #[test]
    fn every_cut_and_every_garbled_byte_is_refused() {
        let whole = sealed(&BODY);
        for len in 0..whole.len() {
            assert!(Producers::decode(&whole[..len]).is_err(), "{len} bytes");
            let mut garbled = whole.clone();
            garbled[len] ^= 0x10;
            let fault = Producers::decode(&garbled).unwrap_err();
            assert!(matches!(fault, SnapshotFault::Crc { .. }), "byte {len}: {fault}");
        }
    }

    #[test]
    fn what_no_producer_can_have_is_refused_even_with_the_right_checksum() {
        let with = |at: usize, byte: u8| {
            let mut body = BODY;
            body[at] = byte;
            Producers::decode(&sealed(&body)).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, b'u'), SnapshotFault::Magic(u32::from_be_bytes(*b"uPPR")));
        assert_eq!(with(5, 2), SnapshotFault::Version(2));
        assert_eq!(with(6, 0xff), SnapshotFault::Count(0xff00_0002));
        assert_eq!(with(9, 3), SnapshotFault::Producer(2));
        assert_eq!(with(9, 1), SnapshotFault::Trailing(67));
        // An id and an epoch below 0, numbers of a batch below 0.
        for (at, byte) in [(10, 0x80), (18, 0x80), (29, 0x80), (33, 0x80)] {
            assert_eq!(with(at, byte), SnapshotFault::Producer(0), "byte {at}");
        }
        let six = [&b"UPPR\0\x01\0\0\0\x01"[..], &[0; 18], &[6], &[0; 6 * 24]].concat();
        assert_eq!(Producers::decode(&sealed(&six)).unwrap_err(), SnapshotFault::Producer(0));
    }
}
