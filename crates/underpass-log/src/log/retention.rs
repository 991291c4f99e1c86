//! What is deleted from the front of a log: whole segments, by their age, by the size of all, and
//! by the request of a user.
//!
//! Files are unlinked. A send that is under way holds its file open, and is not disturbed.
//!
//! Source: `UnifiedLog.deleteOldSegments`; KIP-107.

use std::fs;
use std::io;
use std::time::UNIX_EPOCH;

use super::error::{ReadError, StorageError};
use super::index_file::{self, TIME_ENTRY_BYTES};
use super::names::Kind;
use super::open::START_FILE;
use super::segment::Segment;
use super::{Log, LogConfig};
use crate::whole_file;

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Segments.
    pub(crate) segments: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Log {
    /// Deletes segments that are too old at `now`, in ms since 1970, or too many, as far as they
    /// end before offset `visible` or there: what consumers have not seen is not deleted.
    ///
    /// # Errors
    ///
    /// If a file cannot be unlinked, or no new one be made where all are too old.
    pub(crate) fn retain(&mut self, now: i64, visible: i64) -> Result<Retained, StorageError> {
        self.learn_times()?;
        let expired = self.expired(now);
        let segments = self.shared.segments().len();
        if expired == segments && self.active_size() > 0 && self.shared.end() <= visible {
            self.roll()?;
        }
        let many = self.too_many();
        let count = expired.max(many).min(self.deletable(visible));
        let start = self.shared.segments().get(count).map_or(0, |segment| segment.base);
        self.shared.set_start(start.max(self.shared.start()));
        self.delete(count)
    }

    /// Deletes records before offset `before`: they cannot be read from now on, and segments that
    /// hold nothing else are unlinked. The offset at which the log starts by then.
    ///
    /// # Errors
    ///
    /// If there is no such offset, or the new start cannot be made durable.
    pub(crate) fn delete_records(&mut self, before: i64) -> Result<i64, ReadError> {
        let (start, end) = (self.shared.start(), self.shared.end());
        if before < 0 || before > end {
            return Err(ReadError::OutOfRange { offset: before, start, end });
        }
        if before <= start {
            return Ok(start);
        }
        let path = self.shared.dir.join(START_FILE);
        whole_file::replace(&path, format!("{before}\n").as_bytes())
            .map_err(|error| StorageError::new("write", &path, error))?;
        self.shared.set_start(before);
        self.delete(self.deletable(before))?;
        Ok(before)
    }

    /// Segments that end before `offset` or there; never the last.
    fn deletable(&self, offset: i64) -> usize {
        let segments = self.shared.segments();
        segments.iter().skip(1).take_while(|next| next.base <= offset).count()
    }

    /// How many segments from the first on have only records that are too old.
    fn expired(&self, now: i64) -> usize {
        let Some(age) = self.config.retention_age else { return 0 };
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let is_old = |segment: &&Segment| {
            segment.times.latest().is_some_and(|latest| now.saturating_sub(latest.time) > age)
        };
        self.shared.segments().iter().take_while(is_old).count()
    }

    /// How many segments from the first on can be missed.
    fn too_many(&self) -> usize {
        let LogConfig { retention_bytes: Some(most), .. } = *self.config else { return 0 };
        let segments = self.shared.segments();
        let mut left: u64 = segments.iter().map(|segment| u64::from(segment.size)).sum();
        let is_over = |segment: &&Segment| {
            left = left.saturating_sub(segment.size.into());
            left >= most
        };
        segments.iter().take_while(is_over).count()
    }

    /// Finds out how old segments are that were closed by an earlier process.
    fn learn_times(&self) -> Result<(), StorageError> {
        if self.config.retention_age.is_none() {
            return Ok(());
        }
        let unknown: Vec<i64> = {
            let segments = self.shared.segments();
            let is_unknown = |segment: &&Segment| segment.times.latest().is_none();
            let closed = segments.iter().rev().skip(1);
            closed.filter(is_unknown).map(|segment| segment.base).collect()
        };
        for base in unknown {
            let time = self.saved_time(base)?;
            let mut segments = self.shared.segments_mut();
            if let Ok(at) = segments.binary_search_by_key(&base, |segment| segment.base) {
                segments[at].times.push(time, 0);
            }
        }
        Ok(())
    }

    /// The latest time of a closed segment, as its time index says, or else when it was written.
    fn saved_time(&self, base: i64) -> Result<i64, StorageError> {
        let bytes = fs::read(Kind::TimeIndex.path(&self.shared.dir, base)).unwrap_or_default();
        let last = bytes.last_chunk::<TIME_ENTRY_BYTES>();
        let entry = last.and_then(|last| index_file::decode_times(last).ok()?.first().copied());
        if let Some(entry) = entry.filter(|entry| entry.time > 0) {
            return Ok(entry.time);
        }
        let path = Kind::Log.path(&self.shared.dir, base);
        let failed = |error| StorageError::new("look at", &path, error);
        let modified =
            fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(failed)?;
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
    }

    /// Deletes the first `count` segments.
    fn delete(&mut self, count: usize) -> Result<Retained, StorageError> {
        let deleted: Vec<Segment> = self.shared.segments_mut().drain(..count).collect();
        for segment in &deleted {
            self.shared.files.forget(segment.key);
            for kind in Kind::ALL {
                let path = kind.path(&self.shared.dir, segment.base);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(StorageError::new("delete", &path, error));
                    }
                    _ => {}
                }
            }
        }
        let bytes = deleted.iter().map(|segment| u64::from(segment.size)).sum();
        Ok(Retained { segments: deleted.len(), bytes })
    }
}
