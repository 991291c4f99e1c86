//! Checksums of files as a zip has them, which take a read of each.
//!
//! They are remembered, so that a download that is resumed does not begin with reading all that
//! came before it.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use lru::LruCache;

use super::walk::Member;

/// Some 4 MB of them.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

const PIECE_BYTES: usize = 64 * 1024;

/// By state and size of the file.
#[derive(Debug)]
pub(super) struct Checksums(Mutex<LruCache<(u64, u64), u32>>);

impl Default for Checksums {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT_MAX)))
    }
}

impl Checksums {
    /// That of a member, which is read only if it is not known.
    pub(super) fn of(
        &self,
        member: &Member,
        read: impl FnOnce() -> io::Result<u32>,
    ) -> io::Result<u32> {
        let key = (member.state, member.size);
        let known = self.lock().get(&key).copied();
        if let Some(known) = known {
            return Ok(known);
        }
        let crc = read()?;
        self.lock().put(key, crc);
        Ok(crc)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<(u64, u64), u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The checksum of the first `len` bytes of a file, which are all that it should have.
pub(super) fn read(file: &File, len: u64) -> io::Result<u32> {
    let (mut hasher, mut at, mut piece) = (Hasher::new(), 0, vec![0; PIECE_BYTES]);
    while at < len {
        let wanted = usize::try_from(len - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        file.read_exact_at(&mut piece[..wanted], at)?;
        hasher.update(&piece[..wanted]);
        at += wanted as u64;
    }
    Ok(hasher.finalize())
}
