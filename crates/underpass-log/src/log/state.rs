//! What both halves of a log share.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::StorageError;
use super::segment::Segment;
use crate::open_files::{FileKey, OpenFiles};

/// A log, as its readers see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) files: Arc<OpenFiles>,
    start: AtomicI64,
    end: AtomicI64,
    segments: RwLock<Vec<Segment>>,
}

impl Shared {
    pub(crate) fn new(
        dir: PathBuf,
        files: Arc<OpenFiles>,
        segments: Vec<Segment>,
        start: i64,
        end: i64,
    ) -> Self {
        let (start, end) = (AtomicI64::new(start), AtomicI64::new(end));
        Self { dir, files, start, end, segments: RwLock::new(segments) }
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

    pub(crate) fn set_start(&self, start: i64) {
        self.start.store(start, Ordering::Release);
    }

    /// The segments, never without one, in the order of their offsets.
    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Vec<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments_mut(&self) -> RwLockWriteGuard<'_, Vec<Segment>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn active_path(&self) -> PathBuf {
        self.segments().last().map_or_else(PathBuf::new, |active| active.path(&self.dir))
    }

    /// The file of the segment that starts at `base`.
    pub(crate) fn file(&self, key: FileKey, base: i64) -> Result<Arc<File>, StorageError> {
        if let Some(file) = self.files.opened(key) {
            return Ok(file);
        }
        let path = super::names::Kind::Log.path(&self.dir, base);
        self.files.open(key, &path).map_err(|error| StorageError::new("open", &path, error))
    }
}
