//! Which objects make room for others.
//!
//! Whole files are unlinked, those first that were not used for longest. It is done in the
//! background: no request waits for it.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::Store;

/// How far it is.
#[derive(Debug, Default)]
pub(crate) struct Evicting {
    /// Bytes for which there was no room.
    wanted: AtomicU64,
    /// Bytes that were given back.
    pub(crate) given: AtomicU64,
    is_under_way: AtomicBool,
}

impl Store {
    /// Bytes that the disk has free.
    pub(crate) fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.directory.path()).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Removes what was not used for longest, in the background, if there is too much.
    pub(crate) fn make_room(&self) {
        if self.too_much() == 0 || self.evicting.is_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = Weak::clone(&self.own);
        let is_begun = self.spawn(move |_| {
            if let Some(store) = own.upgrade() {
                store.evict();
                store.evicting.is_under_way.store(false, Ordering::Release);
            }
        });
        if !is_begun {
            self.evicting.is_under_way.store(false, Ordering::Release);
        }
    }

    /// The same, so that there is room for this many more.
    pub(crate) fn make_room_for(&self, bytes: u64) {
        self.evicting.wanted.fetch_max(bytes, Ordering::Relaxed);
        self.make_room();
    }

    /// How many bytes are to be given back, down to 80 % of what it may have: if it has more than
    /// 90 %, or the disk has less than what is left free. What readers still have open is on its
    /// way already.
    fn too_much(&self) -> u64 {
        let leaving = self.spaces.leaving.load(Ordering::Relaxed);
        let bytes = self.spaces.bytes.load(Ordering::Relaxed).saturating_sub(leaving);
        let max = self.options().bytes_max;
        let above = if bytes > max / 10 * 9 { bytes - max / 10 * 8 } else { 0 };
        let free = self.free().unwrap_or(u64::MAX).saturating_add(leaving);
        let wanted =
            self.options().free_min.saturating_add(self.evicting.wanted.load(Ordering::Relaxed));
        above.max(wanted.saturating_sub(free))
    }

    fn evict(&self) {
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.used.load(Ordering::Relaxed));
        let (mut wanted, mut given) = (self.too_much(), 0);
        self.evicting.wanted.store(0, Ordering::Relaxed);
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
        self.evicting.given.fetch_add(given, Ordering::Relaxed);
        if given > 0 {
            tracing::debug!("{given} bytes of the cache were given back");
        }
    }
}
