//! Look-ups by time. Batches are read for them, and the records of one: a disk may be waited for.
//!
//! Source: `LogSegment.findOffsetByTimestamp`, `UnifiedLog.fetchOffsetByTimestamp`; KIP-734.

use std::fs::{self, File};
use std::sync::Arc;

use super::error::{ReadError, StorageError};
use super::index::Place;
use super::look::read_all;
use super::names::Kind;
use super::reader::LogReader;
use super::segment::Segment;
use super::times;
use super::walk::{Checksums, Walk};
use super::{index_file, load};
use crate::batch::BatchHeader;
use crate::open_files::{FileKey, OpenFile};
use crate::records::{self, Contents, Records};

/// An offset, and the time of its record in ms since 1970.
pub(crate) type Timed = (i64, i64);

/// A segment as it was when a look-up began.
#[derive(Debug, Clone, Copy)]
struct Part {
    key: FileKey,
    base: i64,
    size: u32,
}

impl LogReader {
    /// The first record before offset `visible` that is of `time` or later.
    ///
    /// # Errors
    ///
    /// [`ReadError`], but not that an offset is out of range.
    pub(crate) fn find_time(&self, time: i64, visible: i64) -> Result<Option<Timed>, ReadError> {
        for part in self.parts(visible) {
            let (latest, before) = self.times(&part, |entry| entry.time < time);
            if latest.is_some_and(|latest| latest.time < time) {
                continue;
            }
            if let Some(found) = self.find_in(&part, before, time, visible)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first of the latest records before offset `visible`.
    ///
    /// # Errors
    ///
    /// As [`Self::find_time`].
    pub(crate) fn max_time(&self, visible: i64) -> Result<Option<Timed>, ReadError> {
        let mut latest: Option<i64> = None;
        for part in self.parts(visible) {
            let found = self.latest_in(&part, visible)?;
            latest = latest.max(found);
        }
        latest.map_or(Ok(None), |time| self.find_time(time, visible))
    }

    /// The segments that have something before `visible`.
    fn parts(&self, visible: i64) -> Vec<Part> {
        let segments = self.shared.segments();
        let seen = segments.iter().take_while(|segment| segment.base < visible);
        seen.map(|&Segment { key, base, size, .. }| Part { key, base, size }).collect()
    }

    /// The latest time of a segment, if it is known, and the last entry of those that `is_before`
    /// is true of.
    fn times(
        &self,
        part: &Part,
        is_before: impl Fn(&times::Entry) -> bool,
    ) -> (Option<times::Entry>, Option<times::Entry>) {
        let last = |entries: &[times::Entry]| {
            let behind = entries.partition_point(&is_before);
            behind.checked_sub(1).map(|at| entries[at])
        };
        {
            let segments = self.shared.segments();
            let at = segments.binary_search_by_key(&part.base, |segment| segment.base);
            if let Some(active) = at.ok().map(|at| &segments[at])
                && active.index.is_some()
            {
                return (active.times.latest(), last(active.times.entries()));
            }
        }
        let bytes = {
            let dir = self.shared.dir();
            fs::read(Kind::TimeIndex.path(&dir, part.base)).unwrap_or_default()
        };
        let entries = index_file::decode_times(&bytes).unwrap_or_default();
        (entries.last().copied(), last(&entries))
    }

    /// The first record of a segment that is of `time` or later. No batch up to that of the entry
    /// `before` is.
    fn find_in(
        &self,
        part: &Part,
        before: Option<times::Entry>,
        time: i64,
        visible: i64,
    ) -> Result<Option<Timed>, ReadError> {
        let start = self.shared.start();
        self.walk_from(part, before, visible, |file, position, header| {
            if header.max_timestamp < time || header.last_offset() < start {
                return Ok(None);
            }
            self.find_record(part, file, position, header, time, start)
        })
    }

    /// The latest time before offset `visible` in a segment.
    fn latest_in(&self, part: &Part, visible: i64) -> Result<Option<i64>, ReadError> {
        let start = self.shared.start();
        let (_, seen) = self.times(part, |entry| part.base + i64::from(entry.offset) < visible);
        // An entry is about a batch before itself, which may be before the start of the log.
        let known = seen.filter(|_| part.base >= start);
        let mut latest = known.map(|entry| entry.time);
        self.walk_from(part, known, visible, |file, position, header| {
            if header.base_offset >= start {
                latest = latest.max(Some(header.max_timestamp));
            } else if header.last_offset() >= start {
                // The latest of its records may be before the start.
                let bytes = self.batch(part, file, position, header)?;
                latest = latest.max(latest_record(header, &bytes, start));
            }
            Ok(None::<()>)
        })?;
        Ok(latest)
    }

    /// Walks over the batches behind that of an entry, up to `visible`, until `each` has something.
    fn walk_from<T>(
        &self,
        part: &Part,
        entry: Option<times::Entry>,
        visible: i64,
        mut each: impl FnMut(&File, u64, &BatchHeader) -> Result<Option<T>, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        let Some(file) = self.part_file(part)? else { return Ok(None) };
        let position = entry.map_or(Ok(0), |entry| self.position(part, entry.offset))?;
        let mut walk = Walk::new(&file, part.size.into(), position.into(), part.base);
        loop {
            match walk.next(Checksums::Trust) {
                Ok(Some((_, header))) if header.base_offset >= visible => return Ok(None),
                Ok(Some((position, header))) => {
                    if let Some(found) = each(&file, position, &header)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None) => return Ok(None),
                Err(fault) => {
                    return Err(load::damaged(&self.shared, part.base, walk.position(), fault));
                }
            }
        }
    }

    /// The file of a segment, unless retention has deleted it.
    fn part_file(&self, part: &Part) -> Result<Option<Arc<OpenFile>>, ReadError> {
        match self.shared.file(part.key, part.base) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_missing() && part.base < self.shared.start() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A place in front of the batch that has an offset, and behind most of those before it.
    fn position(&self, part: &Part, offset: u32) -> Result<u32, ReadError> {
        let place = {
            let segments = self.shared.segments();
            let at = segments.binary_search_by_key(&part.base, |segment| segment.base);
            let known = at.ok().and_then(|at| self.index(&segments[at]));
            known.map(|index| index.find(offset))
        };
        let place = match place {
            Some(place) => place,
            None => load::index(&self.shared, part.key, part.base, part.size)?.find(offset),
        };
        Ok(match place {
            Place::At(position) | Place::From { position, .. } => position,
        })
    }

    /// The first record of a batch from offset `from` on that is of `time` or later.
    fn find_record(
        &self,
        part: &Part,
        file: &File,
        position: u64,
        header: &BatchHeader,
        time: i64,
        from: i64,
    ) -> Result<Option<Timed>, ReadError> {
        let bytes = self.batch(part, file, position, header)?;
        match records::find_time(header, &bytes, time, from) {
            Ok(found) => Ok(found),
            Err(fault) => {
                // A consumer that starts with the batch finds what there is to find.
                let base = part.base;
                tracing::debug!("segment {base}, the batch at byte {position}: {fault}");
                Ok(Some((header.base_offset.max(from), header.max_timestamp)))
            }
        }
    }

    fn batch(
        &self,
        part: &Part,
        file: &File,
        position: u64,
        header: &BatchHeader,
    ) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; header.size()];
        read_all(file, &mut bytes, position).map_err(|errno| {
            StorageError::new("read", &Kind::Log.path(&self.shared.dir(), part.base), errno)
        })?;
        Ok(bytes)
    }
}

/// The latest time of a batch's records from offset `from` on, as far as they can be read.
fn latest_record(header: &BatchHeader, bytes: &[u8], from: i64) -> Option<i64> {
    let records = Records::of(header, bytes, Contents::PassOver).ok()?;
    let whole = records.map_while(Result::ok);
    whole.filter(|record| record.offset >= from).map(|record| record.timestamp).max()
}
