//! One file of a log, and what memory knows of it.

use std::path::{Path, PathBuf};

use super::config::LogConfig;
use super::index::{self, Index};
use super::names::Kind;
use super::times::Times;
use crate::batch::BatchHeader;
use crate::open_files::FileKey;

/// The largest distance of two offsets in a segment: entries hold 31 bits of it.
pub(super) const SPAN_MAX: i64 = i32::MAX as i64;

/// The largest segment: positions are signed in Kafka's indexes.
pub(super) const SIZE_MAX: u64 = i32::MAX as u64;

/// A segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// No offset in it is lower.
    pub(crate) base: i64,
    pub(crate) key: FileKey,
    /// Bytes of whole batches.
    pub(crate) size: u32,
    /// `None` for a closed segment: its index is with the open files, or in its file.
    pub(crate) index: Option<Index>,
    pub(crate) times: Times,
    /// The latest time of its first batch, from which its age counts.
    pub(crate) first_time: Option<i64>,
}

impl Segment {
    /// One without batches.
    pub(crate) fn new(base: i64) -> Self {
        Self {
            base,
            key: FileKey::unique(),
            size: 0,
            index: Some(Index::default()),
            times: Times::default(),
            first_time: None,
        }
    }

    /// Notes a batch behind all others. It must fit: [`Self::has_room`].
    pub(crate) fn push(&mut self, batch: &BatchHeader) {
        let size = u32::try_from(batch.size()).unwrap_or(u32::MAX);
        let (first, last) = (self.relative(batch.base_offset), self.relative(batch.last_offset()));
        self.times.push(batch.max_timestamp, last);
        let entry = index::Entry { first, last, position: self.size };
        if self.index.as_mut().is_some_and(|index| index.push(entry, size)) {
            self.times.enter();
        }
        self.first_time.get_or_insert(batch.max_timestamp);
        self.size = self.size.saturating_add(size);
    }

    /// Whether a batch of `bytes` with offsets up to `last` belongs behind `size` bytes of this
    /// segment, and not into another.
    ///
    /// As in Kafka the age of a segment is a distance between its batches' own times, so that a
    /// log that is written from old records has segments of the same spans.
    pub(crate) fn takes(&self, size: u64, bytes: usize, last: i64, config: &LogConfig) -> bool {
        let grown = size.saturating_add(bytes as u64);
        size == 0 || (grown <= config.segment_bytes.min(SIZE_MAX) && last - self.base <= SPAN_MAX)
    }

    /// Whether a batch of `time` is too late for a segment with such a first batch.
    pub(crate) fn is_too_old(&self, time: i64, config: &LogConfig) -> bool {
        let age = config.segment_age.as_millis();
        self.first_time
            .is_some_and(|first| u128::from(time.saturating_sub(first).max(0).unsigned_abs()) > age)
    }

    /// Notes that what follows has offset `end` or a higher one.
    pub(crate) fn note_end(&mut self, end: i64) {
        let (offset, position) = (self.relative(end), self.size);
        if let Some(index) = &mut self.index {
            index.note_end(offset, position);
        }
    }

    /// An offset counted from the base.
    pub(crate) fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset.saturating_sub(self.base).max(0)).unwrap_or(u32::MAX)
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        Kind::Log.path(dir, self.base)
    }
}
