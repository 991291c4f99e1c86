//! Open files, kept by path and shared: one descriptor and one mapping for all who send them.
//!
//! An entry is trusted for a short time after its path was last looked up, so that a file asked
//! for ten thousand times a second is opened ten times a second; one asked for now and then is
//! looked up each time. A replaced file is thus seen within that time, and a response that
//! still sends the old one sends it whole. What changed in place is for [`Stability`] to notice.
//!
//! [`Stability`]: crate::Stability

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use rustix::time::{ClockId, clock_gettime};

use crate::file_bytes::MapError;
use crate::stability::Stamp;

/// Values made of open files, by path; the least recently used goes when it is full.
///
/// `T` is what the file is to its user: [`FileBytes`](crate::FileBytes), or something that
/// holds one. Paths are bytes and are compared as such.
#[derive(Debug)]
pub struct FileCache<T> {
    entries: Mutex<LruCache<Box<[u8]>, Entry<T>>>,
    fresh_for: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    value: Arc<T>,
    identity: Identity,
    /// When the path was last seen to lead to this file.
    seen: Duration,
}

/// Two equal ones are the same file with the same content, as far as fstat(2) can tell.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    stamp: Stamp,
    ctime: (i64, u64),
}

impl From<&rustix::fs::Stat> for Identity {
    fn from(stat: &rustix::fs::Stat) -> Self {
        let (device, inode, stamp) = (stat.st_dev, stat.st_ino, Stamp::from(stat));
        Self { device, inode, stamp, ctime: (stat.st_ctime, stat.st_ctime_nsec) }
    }
}

impl<T> FileCache<T> {
    /// A cache of at most `capacity` files, each trusted for `fresh_for` after a look-up; the
    /// clock ticks every 1 to 10 ms.
    #[must_use]
    pub fn new(capacity: NonZeroUsize, fresh_for: Duration) -> Self {
        Self { entries: Mutex::new(LruCache::new(capacity)), fresh_for }
    }

    /// The value for `path`, if its entry is fresh. Makes no system call.
    #[must_use]
    pub fn fresh(&self, path: &[u8]) -> Option<Arc<T>> {
        let now = coarse_now();
        let mut entries = self.lock();
        let entry = entries.get(path)?;
        (now.saturating_sub(entry.seen) < self.fresh_for).then(|| Arc::clone(&entry.value))
    }

    /// The value for `path`, which was just opened as `file`.
    ///
    /// If the cache holds a value of the very same file, unchanged, that value is returned and
    /// `file` is closed; else `make` makes one, which takes the place of the old.
    ///
    /// # Errors
    ///
    /// Those of `make`, and [`MapError::Call`] of fstat(2) on `file`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::{num::NonZeroUsize, time::Duration};
    /// # use underpass::{FileBytes, FileCache, MapError, Stability};
    /// # fn main() -> std::io::Result<()> {
    /// let cache = FileCache::new(NonZeroUsize::new(1_000).unwrap(), Duration::from_millis(100));
    /// let file = std::fs::File::open("large.bin")?;
    /// let map = |file| FileBytes::map(file, .., Stability::Guard);
    /// let bytes = cache.refresh(b"large.bin", file.into(), map)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn refresh<E: From<MapError>>(
        &self,
        path: &[u8],
        file: OwnedFd,
        make: impl FnOnce(OwnedFd) -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let stat = rustix::fs::fstat(&file).map_err(|errno| {
            let (call, offset, end) = ("fstat", 0, 0);
            MapError::Call { call, offset, end, errno }
        })?;
        let identity = Identity::from(&stat);
        let seen = coarse_now();
        if let Some(entry) = self.lock().get_mut(path)
            && entry.identity == identity
        {
            entry.seen = seen;
            return Ok(Arc::clone(&entry.value));
        }
        let value = Arc::new(make(file)?);
        let entry = Entry { value: Arc::clone(&value), identity, seen };
        // What it replaces may be the last reference to a mapping: dropped without the lock.
        let old = self.lock().push(path.into(), entry);
        drop(old);
        Ok(value)
    }

    /// Forgets `path`, whose value turned out to be useless.
    pub fn forget(&self, path: &[u8]) {
        let old = self.lock().pop(path);
        drop(old);
    }

    /// Forgets the half that was used least recently, for want of descriptors, mappings or memory,
    /// and says how many files that were. What is being sent is closed when it is sent.
    pub fn give_way(&self) -> usize {
        let mut entries = self.lock();
        let many = entries.len().div_ceil(2);
        let old: Vec<_> = (0..many).map_while(|_| entries.pop_lru()).collect();
        // Without the lock: each may be a mapping that goes.
        drop(entries);
        old.len()
    }

    /// Files held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Box<[u8]>, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time since boot, read without a system call and without the cost of the precise clock.
fn coarse_now() -> Duration {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::File;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn cache(capacity: usize, fresh_for: Duration) -> FileCache<u32> {
        FileCache::new(NonZeroUsize::new(capacity).unwrap(), fresh_for)
    }

    fn refresh(cache: &FileCache<u32>, path: &std::path::Path, made: &Cell<u32>) -> u32 {
        let file = File::open(path).unwrap().into();
        let make = |_| {
            made.set(made.get() + 1);
            Ok::<_, MapError>(made.get())
        };
        *cache.refresh(path.as_os_str().as_encoded_bytes(), file, make).unwrap()
    }

    #[test]
    fn an_unchanged_file_is_made_once_and_a_replaced_or_changed_one_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let (cache, made) = (cache(4, LONG), Cell::new(0));
        std::fs::write(&path, b"one").unwrap();
        assert_eq!(refresh(&cache, &path, &made), 1);
        assert_eq!(refresh(&cache, &path, &made), 1, "the same file");
        std::fs::write(&other, b"one").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(refresh(&cache, &path, &made), 2, "replaced by rename");
        underpass_testkit::wait::until_file_times_move();
        std::fs::write(&path, b"two").unwrap();
        assert_eq!(refresh(&cache, &path, &made), 3, "written in place");
    }

    #[test]
    fn an_entry_is_fresh_for_its_time_only_and_the_oldest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let made = Cell::new(0);
        let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
        let stale = cache(4, Duration::ZERO);
        let kept = cache(2, LONG);
        for path in &paths {
            std::fs::write(path, b"x").unwrap();
            refresh(&stale, path, &made);
            refresh(&kept, path, &made);
        }
        let key = |i: usize| paths[i].as_os_str().as_encoded_bytes();
        assert_eq!(stale.fresh(key(2)), None);
        assert_eq!((kept.fresh(key(0)), kept.len()), (None, 2));
        assert!(kept.fresh(key(1)).is_some() && kept.fresh(key(2)).is_some());
        kept.forget(key(2));
        assert_eq!(kept.fresh(key(2)), None);
    }

    #[test]
    fn the_half_that_was_used_least_recently_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, made) = (cache(5, LONG), Cell::new(0));
        let paths = ["a", "b", "c", "d", "e"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::write(path, b"x").unwrap();
            refresh(&cache, path, &made);
        }
        let is_kept = |i: usize| cache.fresh(paths[i].as_os_str().as_encoded_bytes()).is_some();
        assert!(is_kept(0), "and used just now");
        assert_eq!(cache.give_way(), 3);
        assert_eq!([1, 2, 3, 4, 0].map(is_kept), [false, false, false, true, true]);
        assert_eq!([cache.give_way(), cache.give_way(), cache.give_way()], [1, 1, 0]);
    }
}
