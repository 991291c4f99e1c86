//! Opening a log that is on the disk.
//!
//! After an orderly end its indexes and its producers were written, and nothing is read but what
//! follows the last entry of the last segment's index. Otherwise, and wherever a file is not as an
//! orderly end leaves it, the log is recovered.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::epochs::{self, Epochs};
use super::error::StorageError;
use super::index::{self, Index};
use super::index_file;
use super::look::read_all;
use super::names::Kind;
use super::segment::Segment;
use super::state::Contents;
use super::sync;
use super::times::{self, Times};
use super::walk::{Checksums, Walk, WalkFault};
use super::{Log, LogConfig, recovery};
use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::open_files::OpenFiles;
use crate::producers::Producers;
use crate::whole_file;

/// The file with the first offset that may be read, where records were deleted before it.
pub(super) const START_FILE: &str = "log-start-offset";

/// The largest last segment that is walked over for want of entries: those would start behind the
/// first 4 KiB, and a batch may be large.
const UNINDEXED_MAX: u64 = 1 << 20;

/// How a log was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// By [`Log::close`].
    Clean,
    /// Anyhow.
    Unclean,
}

/// What opening a log took.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    /// Whether batches had to be compared with their checksums.
    pub(crate) is_recovered: bool,
    /// The epoch that starts: consumers may have seen batches of the one before that are lost.
    pub(crate) epoch: i32,
    pub(crate) scanned_bytes: u64,
    /// What was cut off.
    pub(crate) cut: Option<Cut>,
}

impl Recovery {
    /// What its user should know.
    pub(crate) fn told(&self) -> Option<impl fmt::Display> {
        self.cut.as_ref()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, position, bytes, why } = self;
        write!(f, "cut {bytes} bytes off {} at byte {position}: {why}", path.display())
    }
}

/// The end of a log that was not whole.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) path: PathBuf,
    /// Where the first bad byte's batch starts.
    pub(crate) position: u64,
    /// Bytes that are gone, with those of later segments.
    pub(crate) bytes: u64,
    pub(crate) why: WalkFault,
}

/// The files of a log.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The first offset of each segment, and the size of its file, in the order of offsets.
    pub(super) segments: Vec<(i64, u64)>,
    /// The offsets for which there are snapshots of producers, in their order.
    pub(super) snapshots: Vec<i64>,
}

impl Log {
    /// Opens the log in `dir`.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or what is left to do cannot be done.
    pub(crate) fn open(
        dir: &Path,
        config: Arc<LogConfig>,
        files: Arc<OpenFiles>,
        start: Start,
    ) -> Result<(Self, Recovery), StorageError> {
        let found = find(dir)?;
        let saved = saved_start(dir)?;
        if start == Start::Clean
            && let Some(contents) = closed(dir, &found, saved)?
        {
            let mut log = Self::with(dir, config, files, contents);
            log.closed = Some(log.shared.end());
            return Ok((log, Recovery::default()));
        }
        let (contents, recovery) = recovery::recover(dir, &found, saved)?;
        let mut log = Self::with(dir, config, files, contents);
        if log.shared.active_path().metadata().is_err() {
            log.make_active_file()?;
            let synced = whole_file::sync_directory(dir);
            synced.map_err(|error| StorageError::new("sync", dir, error))?;
        }
        log.begin_epoch(recovery.epoch);
        Ok((log, recovery))
    }

    /// Leaves the log so that the next start is quick, and everything in it durable.
    ///
    /// # Errors
    ///
    /// If something could not be made durable or written. The next start has to recover the log.
    pub(crate) fn close(&mut self) -> Result<(), StorageError> {
        self.give_back()?;
        // A clean start continues with the epoch that is written down, and there must be no other.
        self.save_epoch()?;
        let end = self
            .unsynced()
            .run()
            .map_err(|error| StorageError::new("sync", &self.shared.dir(), error))?;
        if self.closed == Some(end) {
            return Ok(());
        }
        let dir = self.shared.dir();
        if let Some(active) = self.shared.segments_mut().last_mut()
            && let Some(index) = &active.index
        {
            active.times.enter();
            sync::write_indexes(&dir, active.base, index, active.times.entries());
        }
        let snapshot = Kind::Producers.path(&dir, end);
        let written = if self.producers.len() > 0 {
            whole_file::replace(&snapshot, &self.producers.encode())
        } else if snapshot.exists() {
            fs::remove_file(&snapshot)
        } else {
            Ok(())
        };
        written.map_err(|error| StorageError::new("write", &snapshot, error))?;
        self.closed = Some(end);
        Ok(())
    }
}

/// What is in a directory.
pub(super) fn find(dir: &Path) -> Result<Found, StorageError> {
    let failed = |error| StorageError::new("list", dir, error);
    let mut found = Found::default();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        match name.to_str().and_then(Kind::parse) {
            Some((Kind::Log, base)) => {
                let size = entry.metadata().map_err(failed)?.len();
                found.segments.push((base, size));
            }
            Some((Kind::Producers, base)) => found.snapshots.push(base),
            Some((Kind::Index | Kind::TimeIndex, _)) | None => {}
        }
    }
    found.segments.sort_unstable();
    found.snapshots.sort_unstable();
    Ok(found)
}

/// The first offset that may be read, if it was moved.
fn saved_start(dir: &Path) -> Result<Option<i64>, StorageError> {
    let path = dir.join(START_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::new("read", &path, error)),
    }
}

/// The epochs, if their file is there and whole.
pub(super) fn saved_epochs(dir: &Path) -> Option<Epochs> {
    let text = fs::read_to_string(dir.join(epochs::FILE)).ok()?;
    Epochs::decode(&text).ok()
}

/// The contents of a log that was closed in order; `None` if it was not.
fn closed(dir: &Path, found: &Found, saved: Option<i64>) -> Result<Option<Contents>, StorageError> {
    let Some(((base, size), before)) = found.segments.split_last() else { return Ok(None) };
    let (Some(epochs), Some((active, end))) = (saved_epochs(dir), resumed(dir, *base, *size)?)
    else {
        return Ok(None);
    };
    let sealed: Option<Vec<_>> = before.iter().map(|(base, size)| sealed(*base, *size)).collect();
    let (Some(mut segments), Some(producers)) = (sealed, saved_producers(dir, found, end)) else {
        return Ok(None);
    };
    segments.push(active);
    let start = saved.unwrap_or(0).max(segments[0].base);
    let contents = Contents { segments, start, end, epochs, producers };
    Ok((start <= end).then_some(contents))
}

/// The producers as they were at `end`; without a snapshot there were none.
fn saved_producers(dir: &Path, found: &Found, end: i64) -> Option<Producers> {
    if found.snapshots.binary_search(&end).is_err() {
        return Some(Producers::new());
    }
    let bytes = fs::read(Kind::Producers.path(dir, end)).ok()?;
    Producers::decode(&bytes).ok()
}

/// A segment that was closed, about which nothing is read before it is asked for; `None` if it is
/// larger than one can be.
pub(super) fn sealed(base: i64, size: u64) -> Option<Segment> {
    let size = u32::try_from(size).ok()?;
    Some(Segment { size, index: None, ..Segment::new(base) })
}

/// The last segment, with its index from its file, and the offset behind it; `None` if the files do
/// not fit one another.
fn resumed(dir: &Path, base: i64, size: u64) -> Result<Option<(Segment, i64)>, StorageError> {
    let mut segment = Segment::new(base);
    if size == 0 {
        return Ok(Some((segment, base)));
    }
    let Some((entries, times)) = saved_indexes(dir, base) else { return Ok(None) };
    let last = entries.last().copied();
    if last.map_or(size > UNINDEXED_MAX, |last| u64::from(last.position) >= size) {
        return Ok(None);
    }
    let path = segment.path(dir);
    let file = fs::File::open(&path).map_err(|error| StorageError::new("open", &path, error))?;
    if let Some(last) = last {
        let mut first = [0; HEADER_BYTES];
        read_all(&file, &mut first, 0).map_err(|errno| StorageError::new("read", &path, errno))?;
        segment.first_time = BatchHeader::parse(&first).ok().map(|first| first.max_timestamp);
        segment.size = last.position;
        segment.index = Some(Index::resumed(entries));
        segment.times = Times::resumed(times);
    }
    let mut walk = Walk::new(&file, size, segment.size.into(), base);
    let filled = fill(&mut segment, &mut walk, |_| Ok(()));
    if let Err(WalkFault::Read(errno)) = filled {
        return Err(StorageError::new("read", &path, errno));
    }
    let index = segment.index.as_ref().map(Index::entries).unwrap_or_default();
    let has_last = last.is_none_or(|last| index.iter().any(|entry| entry.last == last.last));
    segment.note_end(walk.offset());
    Ok((filled.is_ok() && has_last).then_some((segment, walk.offset())))
}

/// The entries of a segment's two index files, which are not there if they would be empty.
fn saved_indexes(dir: &Path, base: i64) -> Option<(Vec<index::Entry>, Vec<times::Entry>)> {
    let index = index_file::decode(&read_or_empty(&Kind::Index.path(dir, base))?).ok()?;
    let times = index_file::decode_times(&read_or_empty(&Kind::TimeIndex.path(dir, base))?).ok()?;
    (index.is_empty() || !times.is_empty()).then_some((index, times))
}

fn read_or_empty(path: &Path) -> Option<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => (error.kind() == io::ErrorKind::NotFound).then(Vec::new),
    }
}

/// Pushes all batches of a walk.
pub(super) fn fill(
    segment: &mut Segment,
    walk: &mut Walk<'_>,
    mut each: impl FnMut(&BatchHeader) -> Result<(), WalkFault>,
) -> Result<(), WalkFault> {
    while let Some((position, header)) = walk.next(Checksums::Compare)? {
        if let Err(fault) = each(&header) {
            walk.step_back(position, header.base_offset);
            return Err(fault);
        }
        segment.push(&header);
    }
    Ok(())
}
