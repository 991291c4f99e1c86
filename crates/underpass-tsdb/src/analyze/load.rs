//! What series take on disk.

use std::ops::AddAssign;

use serde::Serialize;

/// Series, with what they take in the block's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// How many.
    pub series: u64,
    /// Their chunks.
    pub chunks: u64,
    /// Samples of these chunks; 0 where chunks were not read.
    pub samples: u64,
    /// Bytes of the chunks with their lengths, encodings and checksums.
    pub chunk_bytes: u64,
    /// Bytes of their entries in the index and of their places in postings lists. The symbol
    /// table and the postings offset table are shared and belong to no series.
    pub index_bytes: u64,
}

impl Load {
    /// In chunks and index together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.chunk_bytes.saturating_add(self.index_bytes)
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.series += other.series;
        self.chunks += other.chunks;
        self.samples += other.samples;
        self.chunk_bytes = self.chunk_bytes.saturating_add(other.chunk_bytes);
        self.index_bytes = self.index_bytes.saturating_add(other.index_bytes);
    }
}
