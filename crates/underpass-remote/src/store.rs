//! Objects of origins in one directory.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use underpass_client::{Interrupt, Timeouts};

use crate::collect::Collect;
use crate::directory::Directory;
use crate::entry::{Entry, Parts, Spaces};
use crate::error::{ObjectError, StoreError};
use crate::evict::Evicting;
use crate::fill::Fill;
use crate::head::Head;
use crate::key::Key;
use crate::meta::About;
use crate::origin::Origin;
use crate::scrub::Scrubbed;
use crate::tags::Tags;
use crate::threads::{Length, Threads};

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
    /// The most fills of more than 1 MiB at a time, each with a thread. For all else there are 32
    /// more.
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
    /// Content that came from origins into objects since it was opened.
    pub received_bytes: u64,
    /// What [`Store::scrub`] has found since it was opened, with one that is under way.
    pub scrubbed: Scrubbed,
}

/// Objects of origins in one directory.
pub struct Store {
    options: StoreOptions,
    pub(crate) directory: Directory,
    state: Mutex<State>,
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) evicting: Evicting,
    threads: Threads,
    /// By all that have looked since it was opened.
    pub(crate) scrubbed: Mutex<Scrubbed>,
    pub(crate) tags: Tags,
    pub(crate) own: Weak<Self>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Arc<Entry>>,
    generations: u64,
    uses: u64,
}

impl State {
    /// A generation that no file of this directory has, and a use.
    fn begin(&mut self) -> (u64, u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(0);
        self.generations = now.max(self.generations + 1);
        self.uses += 1;
        (self.generations, self.uses)
    }
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
            spaces: Arc::default(),
            evicting: Evicting::default(),
            scrubbed: Mutex::default(),
            tags: Tags::default(),
            own: Weak::clone(own),
        });
        store.load()?;
        store.make_room();
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
        found.sort_by_key(|found| found.about.generation);
        for found in found {
            let about = found.about;
            let Ok(key) = Key::new(about.url.clone()) else { continue };
            let mut state = self.state();
            state.generations = state.generations.max(about.generation);
            state.uses += 1;
            let uses = state.uses;
            let entry = self.entry(key, about, found.disk);
            entry.used.store(uses, Ordering::Relaxed);
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
        let store = (Weak::clone(&self.own), Arc::clone(&self.spaces));
        Entry::new(Parts { key, about, name, disk, store })
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.state().entries.values().cloned().collect()
    }

    /// How it is kept: as it was opened first.
    pub const fn options(&self) -> &StoreOptions {
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
        let (len, max) = (head.len, self.len_max());
        if len > max {
            return Err(StoreError::TooLarge { len, max });
        }
        if origin.path(key).is_none() {
            return Err(StoreError::OtherOrigin(key.to_string()));
        }
        let no_room = || StoreError::NoRoom { path: self.directory.path().to_owned(), len };
        if self.free().is_some_and(|free| free < len.saturating_add(self.options.free_min)) {
            self.make_room_for(len);
            return Err(no_room());
        }
        let mut head = head;
        if first != (0..len) && !first.is_empty() {
            // It is of what came, and not of the whole.
            head.fields.retain(|(name, _)| name != "content-md5");
        }
        let (generation, uses) = self.state().begin();
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

    /// A new generation under a key, of an answer whose length is not known: what of its content is
    /// given to [`Collect`] is kept when it has ended. Until then what is under the key stays.
    ///
    /// It makes a file, so it is for a thread that may wait.
    ///
    /// # Errors
    ///
    /// If there is no room.
    pub fn collect(&self, key: &Key, head: Head) -> Result<Collect, StoreError> {
        let failed = |source| StoreError::Io {
            action: "make a file in",
            path: self.directory.path().to_owned(),
            source,
        };
        let own = self.own.upgrade().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let (generation, _) = self.state().begin();
        let about = About { url: key.to_string(), generation, is_whole: false, head };
        let name = self.directory.name(key, generation);
        Collect::new(own, (key.clone(), name), about).map_err(failed)
    }

    /// Takes an object that is whole, and on the disk.
    pub(crate) fn adopt(&self, key: Key, about: About, disk: u64) {
        let entry = self.entry(key, about, disk);
        let mut state = self.state();
        state.uses += 1;
        entry.used.store(state.uses, Ordering::Relaxed);
        let older = state.entries.insert(entry.key().clone(), entry);
        drop(state);
        if let Some(older) = older {
            older.remove(Some(ObjectError::Replaced));
        }
        self.make_room();
    }

    /// The most bytes of an object.
    pub(crate) const fn len_max(&self) -> u64 {
        self.options.bytes_max / PART_OF_STORE
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
    /// dropped. A fill that it runs does not keep the thread from others for long.
    pub fn spawn(&self, job: impl FnOnce(&Interrupt) + Send + 'static) -> bool {
        self.threads.spawn(Length::Short, Box::new(job))
    }

    /// Lets a thread ask for a fill's bytes.
    pub(crate) fn take_turn(&self, length: Length, fill: Fill) {
        self.threads.spawn(length, Box::new(move |interrupt| fill.ask(interrupt)));
    }

    pub(crate) const fn threads(&self) -> &Threads {
        &self.threads
    }

    /// What there is of it.
    pub fn facts(&self) -> StoreFacts {
        let (threads, queued) = self.threads.counts();
        StoreFacts {
            entries: self.state().entries.len() as u64,
            bytes: self.spaces.bytes.load(Ordering::Relaxed),
            threads,
            queued,
            evicted_bytes: self.evicting.given.load(Ordering::Relaxed),
            received_bytes: self.spaces.received.load(Ordering::Relaxed),
            scrubbed: *self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Ends all requests to origins, and waits until what came of them is written. Not for a job
    /// of [`Store::spawn`] to call.
    pub fn close(&self) {
        self.threads.close();
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
