//! Objects of origins in one directory.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use underpass_client::{Interrupt, Timeouts};

use crate::directory::Directory;
use crate::entry::{Entry, Parts};
use crate::error::{ObjectError, StoreError};
use crate::fill::Fill;
use crate::head::Head;
use crate::key::Key;
use crate::meta::About;
use crate::origin::Origin;
use crate::threads::Threads;

/// An object larger than this part of the store is not kept.
const PART_OF_STORE: u64 = 4;

/// Those that are open in this process.
static OPEN: Mutex<Vec<Weak<Store>>> = Mutex::new(Vec::new());

/// How a store is kept.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Where.
    pub directory: PathBuf,
    /// The most bytes of the disk that it has.
    pub bytes_max: u64,
    /// Bytes of the disk that are left free.
    pub free_min: u64,
    /// The most requests to origins at a time, and the most threads.
    pub fills_max: usize,
    /// The most of them for one object.
    pub fills_an_object: usize,
    /// How long an origin may do nothing.
    pub timeouts: Timeouts,
}

impl StoreOptions {
    /// Those of a store in this directory that may have this many bytes.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, bytes_max: u64) -> Self {
        let time = Some(Duration::from_secs(30));
        Self {
            directory: directory.into(),
            bytes_max,
            free_min: 0,
            fills_max: 32,
            fills_an_object: 4,
            timeouts: Timeouts { idle: time, connect: time },
        }
    }
}

/// What there is of a store, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// Objects, whole and in part.
    pub entries: u64,
    /// Bytes of the disk that they have, with those that are removed and still read.
    pub bytes: u64,
    /// Threads that ask origins.
    pub threads: usize,
    /// Requests that wait for a thread.
    pub queued: usize,
    /// Bytes of the disk that were given back to make room.
    pub evicted_bytes: u64,
}

/// Objects of origins in one directory.
pub struct Store {
    options: StoreOptions,
    directory: Directory,
    state: Mutex<State>,
    bytes: Arc<AtomicU64>,
    evicted: AtomicU64,
    is_evicting: AtomicBool,
    threads: Threads,
    own: Weak<Self>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Arc<Entry>>,
    generations: u64,
    uses: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Store {
    /// The store in a directory, with what earlier processes left there. The same store, with the
    /// options that it has, if this process has it open.
    ///
    /// # Errors
    ///
    /// If the directory cannot be used, or is another process's.
    pub fn open(options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|store| store.strong_count() > 0);
        let path = std::fs::canonicalize(&options.directory).ok();
        let known = open.iter().filter_map(Weak::upgrade);
        for store in known {
            if path.as_deref() == Some(store.directory.path()) {
                return Ok(store);
            }
        }
        let directory = Directory::open(&options.directory)?;
        let store = Arc::new_cyclic(|own| Self {
            threads: Threads::new(options.fills_max, options.timeouts),
            options,
            directory,
            state: Mutex::default(),
            bytes: Arc::default(),
            evicted: AtomicU64::new(0),
            is_evicting: AtomicBool::new(false),
            own: Weak::clone(own),
        });
        store.load()?;
        open.push(Arc::downgrade(&store));
        drop(open);
        Ok(store)
    }

    fn load(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io {
            action: "read",
            path: self.directory.path().to_owned(),
            source,
        };
        let mut found = self.directory.objects().map_err(failed)?;
        found.sort_by_key(|found| found.meta.about.generation);
        for found in found {
            let about = found.meta.about;
            let Ok(key) = Key::new(about.url.clone()) else { continue };
            let mut state = self.state();
            state.generations = state.generations.max(about.generation);
            let entry = self.entry(key, about, found.disk);
            let older = state.entries.insert(entry.key().clone(), entry);
            drop(state);
            if let Some(older) = older {
                older.remove(None);
            }
        }
        Ok(())
    }

    fn entry(&self, key: Key, about: About, disk: u64) -> Arc<Entry> {
        let name = self.directory.name(&key, about.generation);
        let store = (Weak::clone(&self.own), Arc::clone(&self.bytes));
        Entry::new(Parts { key, about, name, disk, store })
    }

    pub(crate) const fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// What is kept under a key; it is used by that.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let mut state = self.state();
        state.uses += 1;
        let uses = state.uses;
        let entry = state.entries.get(key).cloned()?;
        drop(state);
        entry.used.store(uses, Ordering::Relaxed);
        Some(entry)
    }

    /// A new generation under a key, of the head of an answer. The fill continues with the content
    /// of that answer, which is `first` of the object. What was under the key is replaced: its
    /// readers who miss bytes fail, and those of a whole one read on.
    ///
    /// It makes a file, so it is for a thread that may wait.
    ///
    /// # Errors
    ///
    /// If the object is too large, or there is no room for it: such an answer is to be relayed.
    pub fn insert(
        &self,
        key: &Key,
        origin: &Arc<Origin>,
        head: Head,
        first: Range<u64>,
    ) -> Result<(Arc<Entry>, Fill), StoreError> {
        let (len, max) = (head.len, self.options.bytes_max / PART_OF_STORE);
        if len > max {
            return Err(StoreError::TooLarge { len, max });
        }
        if origin.path(key).is_none() {
            return Err(StoreError::OtherOrigin(key.to_string()));
        }
        let no_room = || StoreError::NoRoom { path: self.directory.path().to_owned(), len };
        if self.free().is_some_and(|free| free < len.saturating_add(self.options.free_min)) {
            self.make_room();
            return Err(no_room());
        }
        let mut state = self.state();
        state.generations += 1;
        state.uses += 1;
        let (generation, uses) = (state.generations, state.uses);
        drop(state);
        let url = key.to_string();
        let entry = self.entry(key.clone(), About { url, generation, is_whole: false, head }, 0);
        entry.used.store(uses, Ordering::Relaxed);
        let file = entry.name().create(len).map_err(|source| {
            if is_full(&source) {
                return no_room();
            }
            StoreError::Io { action: "make", path: entry.name().data(), source }
        })?;
        let first = first.start.min(len)..first.end.min(len);
        let fill = entry.begin(file, origin, first);
        let older = self.state().entries.insert(key.clone(), Arc::clone(&entry));
        if let Some(older) = older {
            older.remove(Some(ObjectError::Replaced));
        }
        Ok((entry, fill))
    }

    /// The origin said that what is kept is still so: the head is replaced, and the bytes stay.
    /// It writes a file, so it is for a thread that may wait.
    pub fn refresh(&self, entry: &Entry, head: Head) {
        if let Err(error) = entry.refresh(head) {
            tracing::warn!("{}: its new head is not written: {error}", entry.key());
        }
    }

    /// Removes what is under a key; whether there was something. Those who read it read on.
    pub fn purge(&self, key: &Key) -> bool {
        let entry = self.state().entries.remove(key);
        entry.as_ref().inspect(|entry| entry.remove(None)).is_some()
    }

    /// Takes out an entry, if it is still the one under its key.
    pub(crate) fn forget(&self, entry: &Arc<Entry>) {
        let mut state = self.state();
        if state.entries.get(entry.key()).is_some_and(|known| Arc::ptr_eq(known, entry)) {
            state.entries.remove(entry.key());
        }
    }

    /// Lets a thread that may wait do this; `false` if as many wait for one as may: then the job is
    /// dropped.
    pub fn spawn(&self, job: impl FnOnce(&Interrupt) + Send + 'static) -> bool {
        self.threads.spawn(Box::new(job))
    }

    /// What there is of it.
    pub fn facts(&self) -> StoreFacts {
        let (threads, queued) = self.threads.counts();
        StoreFacts {
            entries: self.state().entries.len() as u64,
            bytes: self.bytes.load(Ordering::Relaxed),
            threads,
            queued,
            evicted_bytes: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// Ends all requests to origins, and waits until what came of them is written. Not for a job
    /// of [`Store::spawn`] to call.
    pub fn close(&self) {
        self.threads.close();
    }

    /// Bytes that the disk has free.
    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.directory.path()).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Removes what was not used for longest, in the background, if there is too much.
    pub(crate) fn make_room(&self) {
        if self.too_much() == 0 || self.is_evicting.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Weak::clone(&self.own);
        let is_begun = self.spawn(move |_| {
            if let Some(store) = own.upgrade() {
                store.evict();
                store.is_evicting.store(false, Ordering::Release);
            }
        });
        if !is_begun {
            self.is_evicting.store(false, Ordering::Release);
        }
    }

    /// How many bytes are to be given back: above 90 % of what it may have, or of the disk below
    /// what is left free, down to 80 %.
    fn too_much(&self) -> u64 {
        let (bytes, max) = (self.bytes.load(Ordering::Relaxed), self.options.bytes_max);
        let free = self.free().unwrap_or(u64::MAX);
        let above = if bytes > max / 10 * 9 { bytes - max / 10 * 8 } else { 0 };
        above.max(self.options.free_min.saturating_sub(free))
    }

    fn evict(&self) {
        let mut entries: Vec<_> = self.state().entries.values().cloned().collect();
        entries.sort_by_key(|entry| entry.used.load(Ordering::Relaxed));
        let (mut wanted, mut given) = (self.too_much(), 0);
        for entry in entries {
            if wanted == 0 {
                break;
            }
            // The files of those who read it have their bytes until they leave.
            if entry.is_filling() {
                continue;
            }
            let disk = entry.disk();
            self.forget(&entry);
            entry.remove(None);
            given += disk;
            wanted = wanted.saturating_sub(disk);
        }
        self.evicted.fetch_add(given, Ordering::Relaxed);
        if given > 0 {
            tracing::debug!("{given} bytes of the cache were given back");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.threads.end();
    }
}

/// The disk has no room, or not for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
