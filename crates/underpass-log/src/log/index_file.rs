//! The files `.index` and `.timeindex` of a segment, as Kafka reads and writes them.
//!
//! ```text
//! .index      offset i32 · position i32     the last offset of a batch, and where the batch starts
//! .timeindex  time i64 · offset i32         the latest time so far, and its batch's last offset
//! ```
//!
//! Offsets count from the segment's first; everything is big-endian. Kafka makes the files larger
//! than their entries while it appends, and zeros follow the last one.
//!
//! Source: `OffsetIndex.java`, `TimeIndex.java`, `AbstractIndex.java`.

use super::{index, times};

pub(super) const INDEX_ENTRY_BYTES: usize = 8;
pub(super) const TIME_ENTRY_BYTES: usize = 12;

/// What is wrong with an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IndexFault {
    #[error("{0} bytes are not a number of entries")]
    Length(usize),
    #[error("entry {0} is not behind the one before")]
    Order(usize),
}

/// The bytes of `.index`.
pub(super) fn encode(entries: &[index::Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * INDEX_ENTRY_BYTES);
    for entry in entries {
        bytes.extend(entry.last.to_be_bytes());
        bytes.extend(entry.position.to_be_bytes());
    }
    bytes
}

/// The bytes of `.timeindex`.
pub(super) fn encode_times(entries: &[times::Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * TIME_ENTRY_BYTES);
    for entry in entries {
        bytes.extend(entry.time.to_be_bytes());
        bytes.extend(entry.offset.to_be_bytes());
    }
    bytes
}

/// The entries of an `.index`. The first offsets of its batches are not in it: of each only the
/// last is known to be answered by it.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<index::Entry>, IndexFault> {
    let (chunks, rest) = bytes.as_chunks::<INDEX_ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(IndexFault::Length(bytes.len()));
    }
    let mut entries: Vec<index::Entry> = Vec::with_capacity(chunks.len());
    for (at, chunk) in chunks.iter().enumerate() {
        let (last, position) = (number(chunk, 0), number(chunk, 4));
        if (last, position) == (0, 0) {
            break;
        }
        let is_behind = |before: &index::Entry| last > before.last && position > before.position;
        if !entries.last().is_none_or(is_behind) {
            return Err(IndexFault::Order(at));
        }
        entries.push(index::Entry { first: last, last, position });
    }
    Ok(entries)
}

/// The entries of a `.timeindex`.
pub(super) fn decode_times(bytes: &[u8]) -> Result<Vec<times::Entry>, IndexFault> {
    let (chunks, rest) = bytes.as_chunks::<TIME_ENTRY_BYTES>();
    if !rest.is_empty() {
        return Err(IndexFault::Length(bytes.len()));
    }
    let mut entries: Vec<times::Entry> = Vec::with_capacity(chunks.len());
    for (at, chunk) in chunks.iter().enumerate() {
        let mut time = [0; 8];
        time.copy_from_slice(&chunk[..8]);
        let entry = times::Entry { time: i64::from_be_bytes(time), offset: number(chunk, 8) };
        if (entry.time, entry.offset) == (0, 0) && at > 0 {
            break;
        }
        let is_behind =
            |before: &times::Entry| entry.time > before.time && entry.offset >= before.offset;
        if !entries.last().is_none_or(is_behind) {
            return Err(IndexFault::Order(at));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(number)
}
