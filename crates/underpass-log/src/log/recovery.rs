//! Recovering a log after an end that was not orderly.
//!
//! Everything before the latest snapshot of producers that is named for a segment was durable when
//! that was written. Each batch behind it is compared with its checksum. At the first that is
//! not whole the log ends: what was acknowledged is before it, because fdatasync(2) of that segment
//! and of all before it came first.
//!
//! A page that the kernel could not write may be in the page cache still, and be taken for written
//! (fsync(2), EIO). So what is cached and clean is dropped before it is read, and what was read is
//! made durable before the log opens.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::epochs::Epochs;
use super::error::StorageError;
use super::names::Kind;
use super::open::{Cut, Found, Recovery, fill, saved_epochs, sealed};
use super::segment::{SIZE_MAX, Segment};
use super::state::Contents;
use super::sync;
use super::walk::{Walk, WalkFault};
use crate::producers::Producers;
use crate::whole_file;

/// Finds out what is in the files of `dir`, and cuts off what is not whole.
pub(super) fn recover(
    dir: &Path,
    found: &Found,
    saved: Option<i64>,
) -> Result<(Contents, Recovery), StorageError> {
    let mut scan = Scan::new(dir, found);
    let from = scan.begin(found);
    for (base, size) in &found.segments[..from] {
        scan.segments.extend(sealed(*base, *size));
    }
    let unsynced = &found.segments[from..];
    for (base, size) in unsynced {
        scan.segment(*base, *size)?;
    }
    let recovered = scan.finish(found, saved)?;
    // Of those that were looked at, the name of the first is durable, and those of others need not
    // be. What was removed may come back until the epoch is written down, before an append.
    if recovered.1.cut.is_some() || unsynced.len() > 1 {
        whole_file::sync_directory(dir).map_err(|error| StorageError::new("sync", dir, error))?;
    }
    Ok(recovered)
}

/// A recovery under way.
struct Scan<'a> {
    dir: &'a Path,
    segments: Vec<Segment>,
    /// The offset behind the last batch.
    end: i64,
    epochs: Epochs,
    /// The epoch of the last batch.
    epoch: i32,
    /// The latest there can be: its start was made durable before its first batch was written.
    epoch_max: i32,
    producers: Producers,
    recovery: Recovery,
}

impl<'a> Scan<'a> {
    fn new(dir: &'a Path, found: &Found) -> Self {
        Self {
            dir,
            segments: Vec::with_capacity(found.segments.len()),
            end: found.segments.first().map_or(0, |(base, _)| *base),
            epochs: Epochs::default(),
            epoch: -1,
            epoch_max: i32::MAX,
            producers: Producers::new(),
            recovery: Recovery { is_recovered: true, ..Recovery::default() },
        }
    }

    /// Which segment is the first that has to be looked at.
    fn begin(&mut self, found: &Found) -> usize {
        // Without them the batches have to say who led when.
        let Some(epochs) = saved_epochs(self.dir) else { return 0 };
        self.epoch_max = epochs.latest().unwrap_or(i32::MAX);
        self.epochs = epochs;
        for base in found.snapshots.iter().rev() {
            let at = found.segments.binary_search_by_key(base, |(base, _)| *base);
            let bytes = fs::read(Kind::Producers.path(self.dir, *base)).unwrap_or_default();
            if let (Ok(at), Ok(producers)) = (at, Producers::decode(&bytes)) {
                (self.producers, self.end) = (producers, *base);
                return at;
            }
        }
        0
    }

    /// Takes what is whole of the next segment.
    fn segment(&mut self, base: i64, size: u64) -> Result<(), StorageError> {
        // A segment starts where the one before ended. One that does not was written after bytes
        // that are lost.
        if base != self.end || self.recovery.cut.is_some() {
            return self.remove(base, size);
        }
        self.close_last();
        let mut segment = Segment::new(base);
        let path = segment.path(self.dir);
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|error| StorageError::new("open", &path, error))?;
        fadvise(&file, 0, None, Advice::DontNeed)
            .map_err(|errno| StorageError::new("drop from memory", &path, errno))?;
        let mut walk = Walk::new(&file, size.min(SIZE_MAX), 0, base);
        let whole = self.walk(&mut segment, &mut walk);
        self.recovery.scanned_bytes += walk.position();
        match whole {
            Err(WalkFault::Read(errno)) => return Err(StorageError::new("read", &path, errno)),
            Err(why) => self.cut(&file, &path, walk.position(), size, why)?,
            Ok(()) => {}
        }
        if size > 0 {
            file.sync_all().map_err(|error| StorageError::new("sync", &path, error))?;
        }
        self.end = walk.offset();
        segment.note_end(self.end);
        self.segments.push(segment);
        Ok(())
    }

    fn walk(&mut self, segment: &mut Segment, walk: &mut Walk<'_>) -> Result<(), WalkFault> {
        fill(segment, walk, |batch| {
            let epoch = batch.leader_epoch;
            if !(self.epoch..=self.epoch_max).contains(&epoch) {
                let (least, most) = (self.epoch, self.epoch_max);
                return Err(WalkFault::Epoch { found: epoch, least, most });
            }
            self.epoch = epoch;
            self.epochs.begin(epoch, batch.base_offset);
            self.producers.record(batch, batch.max_timestamp);
            self.producers.commit();
            Ok(())
        })
    }

    /// Closes the segment before: its index files are written anew.
    fn close_last(&mut self) {
        if let Some(last) = self.segments.last_mut()
            && let Some(index) = last.index.take()
        {
            last.times.enter();
            sync::write_indexes(self.dir, last.base, &index, last.times.entries());
        }
    }

    fn cut(
        &mut self,
        file: &File,
        path: &Path,
        position: u64,
        size: u64,
        why: WalkFault,
    ) -> Result<(), StorageError> {
        file.set_len(position).map_err(|error| StorageError::new("cut", path, error))?;
        let (path, bytes) = (path.to_owned(), size - position);
        self.recovery.cut = Some(Cut { path, position, bytes, why });
        Ok(())
    }

    /// Removes a segment behind the end.
    fn remove(&mut self, base: i64, size: u64) -> Result<(), StorageError> {
        for kind in [Kind::Index, Kind::TimeIndex, Kind::Producers, Kind::Log] {
            self.remove_file(kind, base)?;
        }
        let path = Kind::Log.path(self.dir, base);
        let cut = self.recovery.cut.get_or_insert(Cut {
            path,
            position: 0,
            bytes: 0,
            why: WalkFault::Missing { first: self.end, found: base },
        });
        cut.bytes += size;
        Ok(())
    }

    fn remove_file(&self, kind: Kind, base: i64) -> Result<(), StorageError> {
        let path = kind.path(self.dir, base);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::new("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    fn finish(
        mut self,
        found: &Found,
        saved: Option<i64>,
    ) -> Result<(Contents, Recovery), StorageError> {
        // What is said of the last segment is older than it is, and what is said of offsets behind
        // the end will be wrong.
        if let Some(last) = self.segments.last() {
            self.remove_file(Kind::Index, last.base)?;
            self.remove_file(Kind::TimeIndex, last.base)?;
        }
        let is_base = |base: i64| self.segments.iter().any(|segment| segment.base == base);
        for stale in found.snapshots.iter().filter(|base| !is_base(**base)) {
            self.remove_file(Kind::Producers, *stale)?;
        }
        self.recovery.epoch = self.epochs.latest().map_or(0, |epoch| epoch.saturating_add(1));
        self.epochs.truncate(self.end);
        let contents = self.contents(saved)?;
        Ok((contents, self.recovery))
    }

    /// What there is by now.
    fn contents(&mut self, saved: Option<i64>) -> Result<Contents, StorageError> {
        let segments = std::mem::take(&mut self.segments);
        let epochs = std::mem::take(&mut self.epochs);
        let least = saved.unwrap_or(0);
        let Some(first) = segments.first().filter(|_| least <= self.end) else {
            // All of it was deleted before, by a start of the log behind it.
            for segment in segments {
                Kind::ALL.iter().try_for_each(|kind| self.remove_file(*kind, segment.base))?;
            }
            return Ok(Contents { epochs, ..Contents::empty(least) });
        };
        let start = least.max(first.base);
        let producers = std::mem::replace(&mut self.producers, Producers::new());
        Ok(Contents { segments, start, end: self.end, epochs, producers })
    }
}
