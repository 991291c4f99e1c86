//! Segment files that are open, the least recently used of which gives way.
//!
//! A file that is closed here stays open for those who hold it: a send, a flush.
//!
//! Source: getrlimit(2), `RLIMIT_NOFILE`; open(2), EMFILE, ENFILE.
#![expect(dead_code, reason = "the log calls it")]

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use rustix::io::Errno;

/// What a file is called here. Its path may be another file's later, and its key never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileKey(u64);

impl FileKey {
    /// One that no other file has.
    pub(crate) fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Files that are open.
pub(crate) struct OpenFiles {
    files: Mutex<LruCache<FileKey, Arc<File>>>,
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFiles").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

impl OpenFiles {
    /// Keeps up to `most` files open.
    #[must_use]
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self { files: Mutex::new(LruCache::new(most)) }
    }

    /// The file `key`, if it is open.
    pub(crate) fn opened(&self, key: FileKey) -> Option<Arc<File>> {
        self.lock().get(&key).map(Arc::clone)
    }

    /// Opens the file `key`, which is at `path`.
    ///
    /// # Errors
    ///
    /// Those of open(2). Where the limit on open files is the cause, others were closed first.
    pub(crate) fn open(&self, key: FileKey, path: &Path) -> io::Result<Arc<File>> {
        let file = Arc::new(self.with_room(|| File::options().read(true).write(true).open(path))?);
        self.keep(key, Arc::clone(&file));
        Ok(file)
    }

    /// Keeps a file that was just opened.
    pub(crate) fn keep(&self, key: FileKey, file: Arc<File>) {
        let given_way = self.lock().push(key, file);
        // close(2) is not for the lock.
        drop(given_way);
    }

    /// Closes a file: it was deleted.
    pub(crate) fn forget(&self, key: FileKey) {
        let file = self.lock().pop(&key);
        drop(file);
    }

    /// Opens something, and once more after files were closed if there were too many.
    pub(crate) fn with_room<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_too_many(&error) => {
                self.close_all();
                open()
            }
            opened => opened,
        }
    }

    fn close_all(&self) {
        let mut files = self.lock();
        let closed: Vec<_> = std::iter::from_fn(|| files.pop_lru()).collect();
        drop(files);
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<FileKey, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_too_many(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
