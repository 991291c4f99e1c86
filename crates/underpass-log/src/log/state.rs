//! What both halves of a log share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::epochs::Epochs;
use super::error::StorageError;
use super::names::Kind;
use super::segment::Segment;
use crate::open_files::{FileKey, OpenFile, OpenFiles};
use crate::producers::Producers;

impl Drop for Shared {
    fn drop(&mut self) {
        for segment in self.segments.get_mut().unwrap_or_else(PoisonError::into_inner) {
            self.files.forget(segment.key);
        }
    }
}

/// A log, as its readers see it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where the files are. Held while a path in it is used: when its topic is deleted the
    /// directory gets another name, and the name may be another's soon.
    dir: RwLock<PathBuf>,
    pub(crate) files: Arc<OpenFiles>,
    start: AtomicI64,
    end: AtomicI64,
    segments: RwLock<Vec<Segment>>,
    epochs: RwLock<Epochs>,
    /// Held while the file with the start of the log is replaced.
    pub(super) start_file: Mutex<()>,
}

/// What is in the files of a log.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) segments: Vec<Segment>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) epochs: Epochs,
    pub(super) producers: Producers,
}

impl Contents {
    /// Those of a log without batches, whose first will have offset `end`.
    pub(super) fn empty(end: i64) -> Self {
        Self {
            segments: vec![Segment::new(end)],
            start: end,
            end,
            epochs: Epochs::default(),
            producers: Producers::new(),
        }
    }
}

impl Shared {
    /// The producers are for the writer alone.
    pub(super) fn new(
        dir: PathBuf,
        files: Arc<OpenFiles>,
        contents: Contents,
    ) -> (Self, Producers) {
        let Contents { segments, start, end, epochs, producers } = contents;
        let (start, end) = (AtomicI64::new(start), AtomicI64::new(end));
        let dir = RwLock::new(dir);
        let (segments, epochs) = (RwLock::new(segments), RwLock::new(epochs));
        let start_file = Mutex::default();
        (Self { dir, files, start, end, segments, epochs, start_file }, producers)
    }

    /// The first offset that may be read.
    pub(crate) fn start(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// The offset behind the last one.
    pub(crate) fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Shows what is in the segments by now.
    pub(crate) fn set_end(&self, end: i64) {
        self.end.store(end, Ordering::Release);
    }

    /// Has reads before `start` be out of range.
    pub(super) fn raise_start(&self, start: i64) {
        self.start.fetch_max(start, Ordering::AcqRel);
    }

    /// The segments, never without one, in the order of their offsets.
    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Vec<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments_mut(&self) -> RwLockWriteGuard<'_, Vec<Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn epochs(&self) -> RwLockReadGuard<'_, Epochs> {
        self.epochs.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn epochs_mut(&self) -> RwLockWriteGuard<'_, Epochs> {
        self.epochs.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory. It keeps its name while it is held, so it is not to be held twice.
    pub(super) fn dir(&self) -> RwLockReadGuard<'_, PathBuf> {
        self.dir.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `rename` give the directory the name `to`.
    pub(super) fn rename(
        &self,
        to: &Path,
        rename: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut dir = self.dir.write().unwrap_or_else(PoisonError::into_inner);
        rename()?;
        to.clone_into(&mut dir);
        Ok(())
    }

    /// The path of the last segment's file.
    pub(super) fn active_path(&self) -> PathBuf {
        let base = self.segments().last().map_or(0, |active| active.base);
        Kind::Log.path(&self.dir(), base)
    }

    /// The file of the segment that starts at `base`.
    pub(crate) fn file(&self, key: FileKey, base: i64) -> Result<Arc<OpenFile>, StorageError> {
        if let Some(file) = self.files.opened(key) {
            return Ok(file);
        }
        let dir = self.dir();
        let path = Kind::Log.path(&dir, base);
        self.files.open(key, &path).map_err(|error| StorageError::new("open", &path, error))
    }
}
