//! What is deleted from the front of a log: whole segments, by their age, by the size of all, and
//! by the request of a user.
//!
//! Files are unlinked. A send that is under way holds its file open, and is not disturbed.
//!
//! Source: `UnifiedLog.deleteOldSegments`; KIP-107.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::error::{ReadError, StorageError};
use super::index_file::{self, TIME_ENTRY_BYTES};
use super::names::Kind;
use super::open::START_FILE;
use super::reader::LogReader;
use super::segment::Segment;
use super::state::Shared;
use super::{Log, LogConfig};
use crate::time::millis_of;
use crate::whole_file;

/// How long a producer may be silent until it is forgotten: Kafka's `producer.id.expiration.ms`.
const PRODUCER_AGE: Duration = Duration::from_hours(24);

/// What is not part of a log by now, and whose files are there.
#[derive(Debug)]
#[must_use = "the files have to be unlinked"]
pub(crate) struct Retained {
    /// Segments.
    pub(crate) segments: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    shared: Arc<Shared>,
    bases: Vec<i64>,
}

impl Retained {
    /// Unlinks the files. It can take long: so no lock is to be held.
    ///
    /// # Errors
    ///
    /// If one cannot be unlinked; it and those behind it are found at the next start.
    pub(crate) fn unlink(self) -> Result<(), StorageError> {
        let dir = self.shared.dir();
        if !self.bases.is_empty() {
            // Offsets begin again in a directory without segments: the newest must be there on the
            // disk before the oldest goes.
            let failed = |error| StorageError::new("fsync", &dir, error);
            whole_file::sync_directory(&dir).map_err(failed)?;
        }
        for base in self.bases {
            Kind::ALL.into_iter().try_for_each(|kind| unlink(&kind.path(&dir, base)))?;
        }
        Ok(())
    }
}

impl Log {
    /// Takes segments out of the log that are too old at `now`, in ms since 1970, or too many, as
    /// far as they end before offset `visible` or there: what consumers have not seen stays.
    /// Before, [`LogReader::learn_times`] has to be asked.
    ///
    /// # Errors
    ///
    /// If all are too old, and no new segment can be made.
    pub(crate) fn retain(&mut self, now: i64, visible: i64) -> Result<Retained, StorageError> {
        self.producers.expire(now, PRODUCER_AGE);
        let expired = self.expired(now);
        let segments = self.shared.segments().len();
        if expired == segments && self.active_size() > 0 && self.shared.end() <= visible {
            self.roll()?;
        }
        let count = expired.max(self.too_many());
        let start = {
            let segments = self.shared.segments();
            let last = segments.len() - 1;
            let seen = segments.partition_point(|segment| segment.base <= visible);
            segments[count.min(last).min(seen.saturating_sub(1))].base
        };
        self.shared.raise_start(start);
        Ok(self.shared.drop_before(start))
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
}

impl LogReader {
    /// Has `rename` give the directory of the log the name `to`.
    ///
    /// # Errors
    ///
    /// Those of `rename`.
    pub(crate) fn rename(
        &self,
        to: &Path,
        rename: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.shared.rename(to, rename)
    }

    /// Deletes records before offset `before`: they cannot be read from now on, also after a start,
    /// and segments that hold nothing else are unlinked. The offset at which the log starts by
    /// then. Consumers have to have seen them.
    ///
    /// # Errors
    ///
    /// If there is no such offset, or the new start cannot be made durable.
    pub(crate) fn delete_records(&self, before: i64) -> Result<i64, ReadError> {
        let shared = &self.shared;
        let (start, end) = (shared.start(), shared.end());
        if before < 0 || before > end {
            return Err(ReadError::OutOfRange { offset: before, start, end });
        }
        {
            let _alone = shared.start_file.lock().unwrap_or_else(PoisonError::into_inner);
            if before <= shared.start() {
                return Ok(shared.start());
            }
            let dir = shared.dir();
            let path = dir.join(START_FILE);
            whole_file::replace(&path, format!("{before}\n").as_bytes())
                .map_err(|error| StorageError::new("write", &path, error))?;
            shared.raise_start(before);
        }
        shared.drop_before(before).unlink()?;
        Ok(before)
    }

    /// Finds out how old segments are that were closed by an earlier process.
    ///
    /// # Errors
    ///
    /// If a file cannot be looked at.
    pub(crate) fn learn_times(&self) -> Result<(), StorageError> {
        let unknown: Vec<i64> = {
            let segments = self.shared.segments();
            let is_unknown = |segment: &&Segment| segment.times.latest().is_none();
            let closed = segments.iter().rev().skip(1);
            closed.filter(is_unknown).map(|segment| segment.base).collect()
        };
        for base in unknown {
            let time = match saved_time(&self.shared.dir(), base) {
                // It was deleted meanwhile.
                Err(error) if error.is_missing() => continue,
                time => time?,
            };
            let mut segments = self.shared.segments_mut();
            if let Ok(at) = segments.binary_search_by_key(&base, |segment| segment.base) {
                segments[at].times.push(time, 0);
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Takes segments out of the log that end before `offset` or there; never the last.
    fn drop_before(self: &Arc<Self>, offset: i64) -> Retained {
        let dropped: Vec<Segment> = {
            let mut segments = self.segments_mut();
            let count = segments.iter().skip(1).take_while(|next| next.base <= offset).count();
            segments.drain(..count).collect()
        };
        dropped.iter().for_each(|segment| self.files.forget(segment.key));
        Retained {
            segments: dropped.len(),
            bytes: dropped.iter().map(|segment| u64::from(segment.size)).sum(),
            shared: Arc::clone(self),
            bases: dropped.iter().map(|segment| segment.base).collect(),
        }
    }
}

/// The latest time of a closed segment, as its time index says, or else when it was written.
fn saved_time(dir: &Path, base: i64) -> Result<i64, StorageError> {
    let bytes = fs::read(Kind::TimeIndex.path(dir, base)).unwrap_or_default();
    let last = bytes.last_chunk::<TIME_ENTRY_BYTES>();
    let entry = last.and_then(|last| index_file::decode_times(last).ok()?.first().copied());
    if let Some(entry) = entry.filter(|entry| entry.time > 0) {
        return Ok(entry.time);
    }
    let path = Kind::Log.path(dir, base);
    let failed = |error| StorageError::new("look at", &path, error);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
    modified.map(millis_of).map_err(failed)
}

/// Unlinks a file that may be gone.
pub(super) fn unlink(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::new("delete", path, error))
        }
        _ => Ok(()),
    }
}
