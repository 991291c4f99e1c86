//! How many bytes chunks and index entries take, told from the index alone.
//!
//! Chunks are written one after the other in the order of the series, so a chunk ends where the
//! next one begins and the last of a segment ends with its file: no chunk is read for it. A gap
//! between chunks that no series refers to counts as part of the chunk before it.
//!
//! Source: Prometheus tsdb/docs/format/index.md (Series), chunks.md (a chunk in a segment).

/// Lengths of a block's segments, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Segments(pub(super) Vec<u64>);

impl Segments {
    /// Bytes of the chunk at `reference`, when the next one is at `next`.
    ///
    /// `None` where that cannot be told: a segment is missing, or the next chunk comes earlier.
    pub(super) fn chunk_bytes(&self, reference: u64, next: Option<u64>) -> Option<u64> {
        let segment = reference >> 32;
        match next {
            Some(next) if next <= reference => None,
            Some(next) if next >> 32 == segment => Some(next - reference),
            Some(_) | None => {
                let len = self.0.get(usize::try_from(segment).ok()?)?;
                len.checked_sub(reference & 0xffff_ffff)
            }
        }
    }
}

/// Bytes of a postings list's place for one series.
const POSTING: u64 = 4;

/// Bytes of an entry's checksum.
const CRC: u64 = 4;

/// Every entry starts at a multiple of this.
const ALIGNMENT: u64 = 16;

/// Bytes of a series' entry in the index with its padding.
///
/// `chunks` are first time, last time and reference of each.
pub(super) fn entry_bytes(labels: &[(u32, u32)], chunks: &[(i64, i64, u64)]) -> u64 {
    let labels_bytes: u64 = labels
        .iter()
        .map(|(name, value)| uvarint(u64::from(*name)) + uvarint(u64::from(*value)))
        .sum();
    let mut body = uvarint(labels.len() as u64) + labels_bytes + uvarint(chunks.len() as u64);
    let mut before = None;
    for (first, last, reference) in chunks {
        body += match before {
            None => varint(*first) + uvarint(*reference),
            Some((end, previous)) => {
                uvarint(first.wrapping_sub(end).cast_unsigned())
                    + varint(reference.wrapping_sub(previous).cast_signed())
            }
        };
        body += uvarint(last.wrapping_sub(*first).cast_unsigned());
        before = Some((*last, *reference));
    }
    (uvarint(body) + body + CRC).next_multiple_of(ALIGNMENT)
}

/// Bytes of a series' places in postings lists: one in that of each label, one in that of all.
pub(super) const fn posting_bytes(labels: usize) -> u64 {
    POSTING * (labels as u64 + 1)
}

/// Bytes of an unsigned integer, seven bits each.
const fn uvarint(value: u64) -> u64 {
    match value.checked_ilog2() {
        None => 1,
        Some(top) => top as u64 / 7 + 1,
    }
}

/// Bytes of a signed integer, whose sign is its lowest bit.
const fn varint(value: i64) -> u64 {
    uvarint(((value << 1) ^ (value >> 63)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(segment: u64, offset: u64) -> u64 {
        segment << 32 | offset
    }

    #[test]
    fn a_chunk_ends_where_the_next_begins_or_with_its_segment() {
        let segments = Segments(vec![1_000, 600]);
        assert_eq!(segments.chunk_bytes(at(0, 8), Some(at(0, 108))), Some(100));
        assert_eq!(segments.chunk_bytes(at(0, 900), Some(at(1, 8))), Some(100));
        assert_eq!(segments.chunk_bytes(at(1, 8), None), Some(592));
    }

    #[test]
    fn a_chunk_that_cannot_be_measured_has_no_size() {
        let segments = Segments(vec![1_000]);
        assert_eq!(segments.chunk_bytes(at(0, 108), Some(at(0, 8))), None, "out of order");
        assert_eq!(segments.chunk_bytes(at(0, 8), Some(at(0, 8))), None, "the same chunk");
        assert_eq!(segments.chunk_bytes(at(7, 8), None), None, "no such segment");
        assert_eq!(segments.chunk_bytes(at(0, 1_001), None), None, "past the end");
    }

    #[test]
    fn integers_take_as_many_bytes_as_their_bits_need() {
        for (value, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)] {
            assert_eq!(uvarint(value), bytes, "{value}");
        }
        assert_eq!(uvarint(u64::MAX), 10);
        for (value, bytes) in [(0, 1), (-64, 1), (63, 1), (64, 2), (-65, 2), (i64::MIN, 10)] {
            assert_eq!(varint(value), bytes, "{value}");
        }
    }

    #[test]
    fn an_entry_is_counted_with_its_length_checksum_and_padding() {
        // 1 label count, 2 + 3 label, 1 chunk count; 6 time, 2 length, 5 reference; then 2 gap,
        // 2 length, 2 reference: 26, with its length and checksum 31, and one of padding.
        let labels = [(200, 20_000)];
        let chunks = [
            (1_700_000_000_000, 1_700_000_001_000, at(1, 8)),
            (1_700_000_002_000, 1_700_000_003_000, at(1, 200)),
        ];
        assert_eq!(entry_bytes(&labels, &chunks), 32);
        let longer = [(200, 20_000), (1, 1)];
        assert_eq!(entry_bytes(&longer, &chunks), 48, "33 bytes");
        assert_eq!(entry_bytes(&[], &[]), 16);
        assert_eq!((posting_bytes(0), posting_bytes(3)), (4, 16));
    }
}
