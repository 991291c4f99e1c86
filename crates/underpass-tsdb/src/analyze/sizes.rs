//! How many bytes chunks and index entries take, told from the index alone.
//!
//! Chunks are written one after the other in the order of the series, so a chunk ends where the
//! next one begins and the last of a segment ends with its file: no chunk is read for it. A gap
//! between chunks that no series refers to counts as part of the chunk before it.
//!
//! Source: Prometheus tsdb/docs/format/index.md (Series), chunks.md (a chunk in a segment).

/// Where the next chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At this reference.
    At(u64),
    /// There is none.
    End,
    /// That cannot be told.
    Unknown,
}

/// Lengths of a block's segments, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Segments(pub(super) Vec<u64>);

impl Segments {
    /// Bytes of the chunk at `reference`, when the next one is at `next`.
    ///
    /// `None` where that cannot be told: a segment is missing, or the next chunk comes earlier.
    pub(super) fn chunk_bytes(&self, reference: u64, next: Next) -> Option<u64> {
        let segment = reference >> 32;
        match next {
            Next::Unknown => None,
            Next::At(next) if next <= reference => None,
            Next::At(next) if next >> 32 == segment => Some(next - reference),
            Next::At(_) | Next::End => {
                let len = self.0.get(usize::try_from(segment).ok()?)?;
                len.checked_sub(reference & 0xffff_ffff)
            }
        }
    }
}

/// Bytes of a postings list's place for one series.
const POSTING: u64 = 4;

/// What the entries of series start at multiples of.
pub(super) const fn alignment(version: u8) -> u64 {
    if version == 1 { 1 } else { 16 }
}

/// Bytes of the index for a series whose entry takes `len` bytes, its padding included, and its
/// places in postings lists: one in that of each label, and one in that of all series.
pub(super) const fn index_bytes(len: u64, labels: usize, alignment: u64) -> u64 {
    len.next_multiple_of(alignment) + POSTING * (labels as u64 + 1)
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
        assert_eq!(segments.chunk_bytes(at(0, 8), Next::At(at(0, 108))), Some(100));
        assert_eq!(segments.chunk_bytes(at(0, 900), Next::At(at(1, 8))), Some(100));
        assert_eq!(segments.chunk_bytes(at(1, 8), Next::End), Some(592));
    }

    #[test]
    fn a_chunk_that_cannot_be_measured_has_no_size() {
        let segments = Segments(vec![1_000]);
        assert_eq!(segments.chunk_bytes(at(0, 108), Next::At(at(0, 8))), None, "out of order");
        assert_eq!(segments.chunk_bytes(at(0, 8), Next::At(at(0, 8))), None, "the same chunk");
        assert_eq!(segments.chunk_bytes(at(7, 8), Next::End), None, "no such segment");
        assert_eq!(segments.chunk_bytes(at(0, 1_001), Next::End), None, "past the end");
        assert_eq!(segments.chunk_bytes(at(0, 8), Next::Unknown), None);
    }

    #[test]
    fn an_entry_is_counted_with_its_padding_and_postings() {
        assert_eq!(index_bytes(64, 3, alignment(2)), 64 + 16);
        assert_eq!(index_bytes(65, 0, alignment(3)), 80 + 4);
        assert_eq!(index_bytes(65, 0, alignment(1)), 65 + 4);
    }
}
