//! Blocks that are allocated ahead of what is appended.
//!
//! For each new block of a buffered write ext4 reserves, charges and notes one block ("delayed
//! allocation"). Where an extent is there already it does not: appending takes half the CPU, or
//! less. `FALLOC_FL_KEEP_SIZE` leaves the file's size as it is, and what is over goes back when the
//! segment is closed.
//!
//! Source: fallocate(2); ftruncate(2); Linux, fs/ext4/inode.c, `ext4_da_get_block_prep` and
//! `ext4_setattr`, which frees such blocks at a truncation to the size that the file has.

use std::fs::File;

use rustix::fs::{FallocateFlags, fallocate};

/// A smaller segment gets none: there may be thousands.
const SEGMENT_BYTES_MIN: u64 = 256 << 10;

/// The most that is allocated by one call, hence the most that an open segment has too much.
const AHEAD_MAX: u64 = 16 << 20;

/// What is allocated of the last segment's file.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    end: u64,
}

impl Ahead {
    /// Before a file of `size` bytes is written up to `end`, in a segment of at most `segment_max`:
    /// allocates as much again as it has then, if what there is does not reach.
    ///
    /// A file system that cannot, or is nearly full, is asked again when as much was written: the
    /// write itself says what is wrong.
    pub(super) fn allocate(&mut self, file: &File, size: u64, end: u64, segment_max: u64) {
        if end <= self.end || end < SEGMENT_BYTES_MIN {
            return;
        }
        let start = self.end.max(size);
        self.end = end.saturating_add(end.min(AHEAD_MAX)).min(segment_max.max(end));
        if fallocate(file, FallocateFlags::KEEP_SIZE, start, self.end - start).is_err() {
            // A part of it may have been allocated, which others need now.
            file.set_len(size).unwrap_or_default();
        }
    }

    /// Whether something was allocated.
    pub(super) const fn is_some(&self) -> bool {
        self.end > 0
    }

    /// Gives back what is allocated behind `size`, where the file ends. A failure costs room on the
    /// disk until the file is deleted.
    pub(super) fn give_back(self, file: &File, size: u64) {
        if self.end > size {
            file.set_len(size).unwrap_or_default();
        }
    }
}
