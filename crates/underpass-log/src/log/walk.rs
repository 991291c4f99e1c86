//! Walking over the batches of a segment file, one after the other.
//!
//! Memory does not depend on what a header says: a checksum is computed a buffer at a time.

use std::fs::File;

use rustix::io::Errno;

use super::look::read_all;
use super::segment::SPAN_MAX;
use crate::batch::{self, BatchFault, BatchHeader, HEADER_BYTES};

/// Bytes read by one call.
const BUFFER_BYTES: usize = 1 << 18;

/// A walk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    /// Bytes of the file that are walked over.
    size: u64,
    /// Where the next batch starts.
    position: u64,
    /// The lowest offset that the next batch may have.
    offset: i64,
    /// The highest.
    most: i64,
    buffer: Vec<u8>,
    /// Where in the file `buffer` starts.
    at: u64,
}

/// What is done about checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    Compare,
    Trust,
}

/// Where a walk ended before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WalkFault {
    #[error(transparent)]
    Read(#[from] Errno),
    #[error(transparent)]
    Batch(#[from] BatchFault),
    #[error("the batch has offsets {first} to {last}, where {least} to {most} can be")]
    Offset { first: i64, last: i64, least: i64, most: i64 },
    #[error("the batch has leader epoch {found}, where {least} to {most} can be")]
    Epoch { found: i32, least: i32, most: i32 },
    #[error("the segment starts with offset {found}, and {first} is missing before it")]
    Missing { first: i64, found: i64 },
}

impl<'a> Walk<'a> {
    /// Over the first `size` bytes of `file` from `position` on, whose offsets count from `base`.
    pub(super) fn new(file: &'a File, size: u64, position: u64, base: i64) -> Self {
        let most = base.saturating_add(SPAN_MAX);
        Self { file, size, position, offset: base, most, buffer: Vec::new(), at: position }
    }

    /// Where the next batch starts: behind all that were walked over.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// The offset behind the last batch that was walked over.
    pub(super) const fn offset(&self) -> i64 {
        self.offset
    }

    /// The next batch and where it starts; `None` at the end.
    pub(super) fn next(
        &mut self,
        checksums: Checksums,
    ) -> Result<Option<(u64, BatchHeader)>, WalkFault> {
        let position = self.position;
        if position >= self.size {
            return Ok(None);
        }
        let header = BatchHeader::parse(self.bytes(position, HEADER_BYTES)?)?;
        let (wanted, there) = (header.size(), self.size - position);
        if wanted as u64 > there {
            let there = usize::try_from(there).unwrap_or(usize::MAX);
            return Err(BatchFault::Short { wanted, there }.into());
        }
        batch::check_count(&header)?;
        let (first, last) = (header.base_offset, header.last_offset());
        let (least, most) = (self.offset, self.most);
        if first < least || last > most {
            return Err(WalkFault::Offset { first, last, least, most });
        }
        if checksums == Checksums::Compare {
            self.compare(position, &header)?;
        }
        self.position = position + wanted as u64;
        self.offset = header.last_offset().saturating_add(1);
        Ok(Some((position, header)))
    }

    /// Has the batch at `position` come next again.
    pub(super) const fn step_back(&mut self, position: u64, offset: i64) {
        (self.position, self.offset) = (position, offset);
    }

    /// Computes the checksum of the batch at `position`.
    fn compare(&mut self, position: u64, header: &BatchHeader) -> Result<(), WalkFault> {
        let end = position + header.size() as u64;
        let mut at = position + batch::CRC_FROM as u64;
        let mut computed = 0;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = self.bytes(at, left.min(BUFFER_BYTES))?;
            if bytes.is_empty() {
                return Err(BatchFault::Short { wanted: header.size(), there: 0 }.into());
            }
            computed = crc32c::crc32c_append(computed, bytes);
            at += bytes.len() as u64;
        }
        let stored = header.crc;
        if computed == stored { Ok(()) } else { Err(BatchFault::Crc { stored, computed }.into()) }
    }

    /// Up to `len` bytes of the file from `at` on; fewer only at its end.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], Errno> {
        let end = self.at + self.buffer.len() as u64;
        if at < self.at || at + len as u64 > end {
            let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
            self.buffer.resize(left.min(BUFFER_BYTES), 0);
            let read = read_all(self.file, &mut self.buffer, at)?;
            self.buffer.truncate(read);
            self.at = at;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(from..).unwrap_or_default();
        Ok(&bytes[..bytes.len().min(len)])
    }
}
