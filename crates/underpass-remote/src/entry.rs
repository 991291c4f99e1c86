//! An object as a store has it: its key, what the origin said of it, and its files.
//!
//! No descriptor is open while it is not read.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;

use crate::directory::{self, Name};
use crate::error::ObjectError;
use crate::extents::Extents;
use crate::fill::Fill;
use crate::head::Head;
use crate::key::Key;
use crate::meta::{About, Meta};
use crate::object::{Ask, Object};
use crate::origin::Origin;
use crate::plan::OriginFacts;
use crate::store::Store;
use crate::turn;

/// One generation of an object in a store.
pub struct Entry {
    key: Key,
    generation: u64,
    len: u64,
    name: Name,
    head: Mutex<Arc<Head>>,
    is_whole: AtomicBool,
    /// Its files are gone, or will be.
    is_removed: AtomicBool,
    object: Mutex<Weak<Object>>,
    /// Held while its meta file is written, by threads that may wait.
    writing: Mutex<()>,
    /// When it was last used, by the store's count.
    pub(crate) used: AtomicU64,
    space: Space,
    store: Weak<Store>,
}

/// Bytes of the disk that an object has, as long as somebody has it open too.
struct Space {
    all: Arc<Spaces>,
    own: Mutex<(u64, bool)>,
}

/// Bytes of the disk that all objects of a store have.
#[derive(Debug, Default)]
pub(crate) struct Spaces {
    pub(crate) bytes: AtomicU64,
    /// Those of them that come back when the last reader leaves.
    pub(crate) leaving: AtomicU64,
    /// Content that came from origins, by fills.
    pub(crate) received: AtomicU64,
}

impl Space {
    fn change(&self, bytes: Option<u64>, leaves: bool) {
        let mut own = lock(&self.own);
        let (old, old_leaving) = *own;
        let (new, leaving) = (bytes.unwrap_or(old), leaves || old_leaving);
        *own = (new, leaving);
        let leaving_bytes = |bytes, is_leaving| if is_leaving { bytes } else { 0 };
        let (old_leaving, leaving) = (leaving_bytes(old, old_leaving), leaving_bytes(new, leaving));
        // Wraps, and the sums are right.
        self.all.bytes.fetch_add(new.wrapping_sub(old), Ordering::Relaxed);
        self.all.leaving.fetch_add(leaving.wrapping_sub(old_leaving), Ordering::Relaxed);
        drop(own);
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.change(Some(0), false);
    }
}

/// Where the bytes of an object come from.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) entry: Arc<Entry>,
    pub(crate) origin: Arc<Origin>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What an entry is made of.
pub(crate) struct Parts {
    pub(crate) key: Key,
    pub(crate) about: About,
    pub(crate) name: Name,
    pub(crate) disk: u64,
    pub(crate) store: (Weak<Store>, Arc<Spaces>),
}

impl Entry {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { key, about, name, disk, store: (store, all) } = parts;
        let space = Space { all, own: Mutex::default() };
        space.change(Some(disk), false);
        Arc::new(Self {
            key,
            generation: about.generation,
            len: about.head.len,
            name,
            head: Mutex::new(Arc::new(about.head)),
            is_whole: AtomicBool::new(about.is_whole),
            is_removed: AtomicBool::new(false),
            object: Mutex::default(),
            writing: Mutex::default(),
            used: AtomicU64::new(0),
            space,
            store,
        })
    }

    /// What it is known by.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Tells it from others that are or were under its key.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What the origin said of it: the same `Arc` until [`Store::refresh`].
    pub fn head(&self) -> Arc<Head> {
        Arc::clone(&lock(&self.head))
    }

    /// Whether all of it is there, on the disk, and what the origin said that it is. From then on
    /// nothing is written to its file.
    pub fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    /// Whether the store has it no more: replaced, removed, or without room. Readers who have
    /// opened it still read it.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::SeqCst)
    }

    /// Its bytes, for a reader. What is missing is asked for at `origin`, whose key it has. It may
    /// read the disk, so it is for a thread that may wait.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Disk`] if its file cannot be opened.
    pub fn object(self: &Arc<Self>, origin: &Arc<Origin>) -> Result<Arc<Object>, ObjectError> {
        loop {
            if let Some(object) = self.open_object() {
                return Ok(object);
            }
            let was_whole = self.is_whole();
            // Without the lock: others ask whether it is filled, or remove it, and do not wait.
            let object = self.make_object(origin)?;
            let mut known = lock(&self.object);
            if let Some(first) = known.upgrade() {
                return Ok(first);
            }
            // Nothing is written to the file of one that became whole meanwhile.
            if was_whole == self.is_whole() {
                *known = Arc::downgrade(&object);
                return Ok(object);
            }
        }
    }

    /// The same, if that waits for no disk. Otherwise a thread that may wait is to ask.
    pub fn object_at_once(self: &Arc<Self>, origin: &Arc<Origin>) -> Option<Arc<Object>> {
        let open = self.open_object();
        if open.is_some() || !self.is_whole() {
            return open;
        }
        let file = self.name.open_cached()?;
        let object = Object::whole(file, self.len, self.upstream(origin));
        let mut known = lock(&self.object);
        let first = known.upgrade();
        if first.is_none() {
            *known = Arc::downgrade(&object);
        }
        Some(first.unwrap_or(object))
    }

    fn open_object(&self) -> Option<Arc<Object>> {
        lock(&self.object).upgrade()
    }

    fn make_object(self: &Arc<Self>, origin: &Arc<Origin>) -> Result<Arc<Object>, ObjectError> {
        let disk =
            |error: io::Error| ObjectError::Disk(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let file = self.name.open().map_err(|error| {
            // Somebody has removed its file: it is to be asked for anew.
            if let Some(store) = self.store.upgrade() {
                store.forget(self);
            }
            disk(error)
        })?;
        let upstream = self.upstream(origin);
        let object = if self.is_whole() {
            Object::whole(file.into(), self.len, upstream)
        } else {
            let meta = self.name.read().map_err(disk)?;
            let mut unproved = meta.map_or_else(|| Extents::none(self.len), |meta| meta.there);
            let head = self.head();
            if head.strong().is_none() {
                // It could not be told whether the rest is of the same.
                unproved = Extents::none(self.len);
            }
            Object::of_entry(file.into(), unproved, self.facts(&head), (self.asking(), upstream))
        };
        Ok(object)
    }

    /// The object of a new entry, and the fill of the range that is asked for already.
    pub(crate) fn begin(
        self: &Arc<Self>,
        file: std::fs::File,
        origin: &Arc<Origin>,
        first: Range<u64>,
    ) -> Fill {
        let facts = self.facts(&self.head());
        let (ask, upstream) = (self.asking(), self.upstream(origin));
        let object = Object::of_entry(file.into(), Extents::none(self.len), facts, (ask, upstream));
        *lock(&self.object) = Arc::downgrade(&object);
        object.begin(first)
    }

    fn facts(&self, head: &Head) -> OriginFacts {
        let fills_max = self.store.upgrade().map_or(1, |store| store.options().fills_an_object);
        OriginFacts { has_ranges: head.has_ranges(), fills_max, ..OriginFacts::UNKNOWN }
    }

    fn upstream(self: &Arc<Self>, origin: &Arc<Origin>) -> Upstream {
        Upstream { entry: Arc::clone(self), origin: Arc::clone(origin) }
    }

    /// Lets a thread ask for a fill's bytes.
    fn asking(&self) -> Box<Ask> {
        let store = self.store.clone();
        Box::new(move |mut fill| {
            // What it says if no thread takes it.
            fill.fail(Some(ObjectError::Busy));
            if let Some(store) = store.upgrade() {
                store.take_turn(turn::length(&fill.range()), fill);
            }
        })
    }

    /// The store has it no more. Readers who need bytes that are missing fail if that is `why`;
    /// without one they have them yet.
    ///
    /// It waits for no thread that writes: who has written its meta looks whether it was removed.
    pub(crate) fn remove(&self, why: Option<ObjectError>) {
        if !self.is_removed.swap(true, Ordering::SeqCst) {
            self.space.change(None, true);
            directory::remove(&self.name);
        }
        let object = self.open_object();
        if let (Some(object), Some(why)) = (object.filter(|object| !object.is_whole()), why) {
            object.cut(why);
        }
    }

    /// Takes itself out of the store.
    pub(crate) fn leave(self: &Arc<Self>, why: Option<ObjectError>) {
        if let Some(store) = self.store.upgrade() {
            store.forget(self);
        }
        self.remove(why);
    }

    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.store.upgrade()
    }

    /// Whether somebody fills it.
    pub(crate) fn is_filling(&self) -> bool {
        let object = self.open_object();
        object.is_some_and(|object| !object.state().fills.is_empty())
    }

    /// This much of an answer's content came.
    pub(crate) fn count_received(&self, bytes: u64) {
        self.space.all.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) const fn name(&self) -> &Name {
        &self.name
    }

    /// How many bytes of the disk it had when that was looked at last.
    pub(crate) fn disk(&self) -> u64 {
        lock(&self.space.own).0
    }

    /// Looks how many bytes of the disk it has by now.
    pub(crate) fn measure(&self, file: BorrowedFd<'_>) {
        if let Ok(stat) = rustix::fs::fstat(file.as_fd()) {
            self.space.change(Some(u64::try_from(stat.st_blocks).unwrap_or(0) * 512), false);
        }
    }

    fn about(&self, is_whole: bool) -> About {
        let (url, generation) = (self.key.to_string(), self.generation);
        About { url, generation, is_whole, head: Head::clone(&self.head()) }
    }

    /// Writes what there is of it.
    pub(crate) fn keep(&self, object: &Object) -> io::Result<()> {
        let writing = lock(&self.writing);
        self.measure(object.file());
        // Another fill may have proved that it is whole.
        if self.is_whole() {
            return Ok(());
        }
        let written = self.write(&Meta { about: self.about(false), there: object.kept() }, false);
        drop(writing);
        written
    }

    /// All bytes came, and are what the origin said: they and their meta go to the disk.
    pub(crate) fn finish(&self, object: &Object) -> io::Result<()> {
        let writing = lock(&self.writing);
        if self.is_removed() || self.is_whole() {
            return Ok(());
        }
        rustix::fs::fdatasync(object.file())?;
        self.write(&Meta { about: self.about(true), there: object.kept() }, true)?;
        self.measure(object.file());
        self.is_whole.store(true, Ordering::Release);
        drop(writing);
        Ok(())
    }

    fn write(&self, meta: &Meta, is_synced: bool) -> io::Result<()> {
        if self.is_removed() {
            return Ok(());
        }
        let written = self.name.write(meta, is_synced);
        if self.is_removed() {
            directory::remove(&self.name);
        }
        written
    }

    /// Takes another head for the same bytes.
    pub(crate) fn refresh(&self, head: Head) -> io::Result<()> {
        let head = Head { len: self.len, ..head };
        *lock(&self.head) = Arc::new(head);
        let object = self.open_object();
        let writing = lock(&self.writing);
        let there = match object.filter(|_| !self.is_whole()) {
            Some(object) => object.kept(),
            None => match self.name.read()? {
                Some(meta) => meta.there,
                None => return Ok(()),
            },
        };
        let written = self.write(&Meta { about: self.about(self.is_whole()), there }, false);
        drop(writing);
        written
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
