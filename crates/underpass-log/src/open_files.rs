//! Segment files that are open, the least recently used of which gives way.
//!
//! A file that is closed here stays open for those who hold it: a send, a flush. The indexes of
//! closed segments are kept in the same way, up to [`INDEX_BYTES_MAX`].
//!
//! Source: getrlimit(2), `RLIMIT_NOFILE`; open(2), EMFILE, ENFILE.

use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use lru::LruCache;
use rustix::io::Errno;
use underpass::Residency;

use crate::log::Index;

/// Memory for the indexes of closed segments: those of 5 GiB of small batches.
const INDEX_BYTES_MAX: usize = 16 << 20;

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

/// A file that is open, and what is known of its pages.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    residency: OnceLock<Arc<Residency>>,
}

impl OpenFile {
    /// For those who send from it.
    pub(crate) fn residency(&self) -> &Arc<Residency> {
        self.residency.get_or_init(|| Arc::new(Residency::new(0..u64::MAX)))
    }
}

impl From<File> for OpenFile {
    fn from(file: File) -> Self {
        Self { file, residency: OnceLock::new() }
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// Files that are open.
pub(crate) struct OpenFiles {
    files: Mutex<LruCache<FileKey, Arc<OpenFile>>>,
    /// How many are held open, for a flush.
    held: AtomicUsize,
    held_max: usize,
    indexes: Mutex<Indexes>,
}

/// A file that was written to, which is open until it is durable.
#[derive(Debug)]
pub(crate) struct Held {
    file: Arc<OpenFile>,
    files: Arc<OpenFiles>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.files.held.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Held {
    /// The file, for as long as someone has it.
    pub(crate) fn open_file(&self) -> Arc<OpenFile> {
        Arc::clone(&self.file)
    }
}

impl Deref for Held {
    type Target = OpenFile;

    fn deref(&self) -> &OpenFile {
        &self.file
    }
}

/// Indexes of closed segments.
struct Indexes {
    cache: LruCache<FileKey, Arc<Index>>,
    bytes: usize,
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFiles").field("open", &self.lock().len()).finish_non_exhaustive()
    }
}

impl OpenFiles {
    /// Keeps up to `most` files open.
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        let indexes = Indexes { cache: LruCache::unbounded(), bytes: 0 };
        // Not `LruCache::new`, which allocates for as many as there may ever be.
        let mut files = LruCache::unbounded();
        files.resize(most);
        Self {
            files: Mutex::new(files),
            held: AtomicUsize::new(0),
            held_max: usize::MAX,
            indexes: Mutex::new(indexes),
        }
    }

    /// Is crowded where `most` are held.
    pub(crate) fn crowded_at(self, most: usize) -> Self {
        Self { held_max: most, ..self }
    }

    /// Holds a file open, whatever else is opened.
    pub(crate) fn hold(self: &Arc<Self>, file: Arc<OpenFile>) -> Held {
        self.held.fetch_add(1, Ordering::AcqRel);
        Held { file, files: Arc::clone(self) }
    }

    /// Whether what is held may leave too few descriptors for others.
    pub(crate) fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Acquire) >= self.held_max
    }

    /// The file `key`, if it is open.
    pub(crate) fn opened(&self, key: FileKey) -> Option<Arc<OpenFile>> {
        self.lock().get(&key).map(Arc::clone)
    }

    /// Opens the file `key`, which is at `path`.
    ///
    /// # Errors
    ///
    /// Those of open(2). Where the limit on open files is the cause, others were closed first.
    pub(crate) fn open(&self, key: FileKey, path: &Path) -> io::Result<Arc<OpenFile>> {
        let file = self.with_room(|| File::options().read(true).write(true).open(path))?;
        let file = Arc::new(OpenFile::from(file));
        self.keep(key, Arc::clone(&file));
        Ok(file)
    }

    /// Keeps a file that was just opened.
    pub(crate) fn keep(&self, key: FileKey, file: Arc<OpenFile>) {
        let given_way = self.lock().push(key, file);
        // close(2) is not for the lock.
        drop(given_way);
    }

    /// The index of the closed segment `key`, if it is in memory.
    pub(crate) fn index(&self, key: FileKey) -> Option<Arc<Index>> {
        self.lock_indexes().cache.get(&key).map(Arc::clone)
    }

    /// Keeps the index of a closed segment.
    pub(crate) fn keep_index(&self, key: FileKey, index: Arc<Index>) {
        let mut given_way = Vec::new();
        let mut indexes = self.lock_indexes();
        indexes.bytes += index.bytes();
        let before = indexes.cache.put(key, index);
        indexes.bytes -= before.as_ref().map_or(0, |before| before.bytes());
        while indexes.bytes > INDEX_BYTES_MAX
            && indexes.cache.len() > 1
            && let Some((_, oldest)) = indexes.cache.pop_lru()
        {
            indexes.bytes -= oldest.bytes();
            given_way.push(oldest);
        }
        drop(indexes);
        drop((before, given_way));
    }

    /// Closes a file: it was deleted.
    pub(crate) fn forget(&self, key: FileKey) {
        let mut indexes = self.lock_indexes();
        let index = indexes.cache.pop(&key);
        indexes.bytes -= index.as_ref().map_or(0, |index| index.bytes());
        drop(indexes);
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

    fn lock_indexes(&self) -> MutexGuard<'_, Indexes> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<FileKey, Arc<OpenFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_too_many(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::IndexEntry as Entry;

    #[test]
    fn files_are_closed_where_there_are_too_many() {
        let files = OpenFiles::new(NonZeroUsize::new(4).unwrap());
        let held = Arc::new(OpenFile::from(tempfile::tempfile().unwrap()));
        let keys = [(); 3].map(|()| FileKey::unique());
        keys.iter().for_each(|key| files.keep(*key, Arc::clone(&held)));
        assert_eq!(Arc::strong_count(&held), 4);
        let mut answers = [Err(Errno::MFILE.into()), Ok(7)].into_iter();
        assert_eq!(files.with_room(|| answers.next().unwrap()).unwrap(), 7);
        assert_eq!(Arc::strong_count(&held), 1);
        let mut answers = [Err::<(), _>(Errno::NOSPC.into())].into_iter();
        files.with_room(|| answers.next().unwrap()).unwrap_err();
    }

    #[test]
    fn as_many_as_are_held_crowd_the_others_until_one_is_let_go() {
        let files = Arc::new(OpenFiles::new(NonZeroUsize::MIN).crowded_at(2));
        let hold = || files.hold(Arc::new(OpenFile::from(tempfile::tempfile().unwrap())));
        let first = hold();
        assert!(!files.is_crowded());
        let _second = hold();
        assert!(files.is_crowded());
        drop(first);
        assert!(!files.is_crowded());
    }

    #[test]
    fn the_file_that_was_used_longest_ago_gives_way() {
        let files = OpenFiles::new(NonZeroUsize::new(2).unwrap());
        let file = Arc::new(OpenFile::from(tempfile::tempfile().unwrap()));
        let [a, b, c] = [(); 3].map(|()| FileKey::unique());
        files.keep(a, Arc::clone(&file));
        files.keep(b, Arc::clone(&file));
        assert!(files.opened(a).is_some());
        files.keep(c, Arc::clone(&file));
        assert_eq!([a, b, c].map(|key| files.opened(key).is_some()), [true, false, true]);
        files.forget(a);
        assert!(files.opened(a).is_none());
    }

    #[test]
    fn a_file_that_was_opened_stays_open_until_it_is_forgotten() {
        let files = OpenFiles::new(NonZeroUsize::new(2).unwrap());
        let (key, at) = (FileKey::unique(), tempfile::NamedTempFile::new().unwrap());
        let opened = files.open(key, at.path()).unwrap();
        assert!(Arc::ptr_eq(&opened, &files.opened(key).unwrap()));
        files.forget(key);
        assert_eq!(Arc::strong_count(&opened), 1);
    }

    #[test]
    fn the_indexes_that_were_used_longest_ago_give_way_when_all_are_too_large() {
        let files = OpenFiles::new(NonZeroUsize::MIN);
        let entry = Entry { first: 0, last: 0, position: 0 };
        let of = |bytes: usize| Arc::new(Index::sealed(vec![entry; bytes / size_of::<Entry>()]));
        // There is room for two of them.
        let large = || of(INDEX_BYTES_MAX / 5 * 2);
        let keys @ [a, b, c, d] = [(); 4].map(|()| FileKey::unique());
        let are_there = |keys: &[FileKey]| -> Vec<bool> {
            keys.iter().map(|key| files.index(*key).is_some()).collect()
        };
        files.keep_index(a, large());
        files.keep_index(b, large());
        assert!(files.index(a).is_some());
        files.keep_index(c, large());
        assert_eq!(are_there(&[b, a, c]), [false, true, true]);
        // One that is made again, or whose file is gone, takes no more room.
        files.keep_index(c, large());
        assert_eq!(are_there(&[a, c]), [true, true]);
        files.forget(a);
        files.keep_index(d, large());
        assert_eq!(are_there(&[c, d]), [true, true]);
        files.keep_index(b, of(INDEX_BYTES_MAX + size_of::<Entry>()));
        assert_eq!(are_there(&keys), [false, true, false, false]);
    }
}
