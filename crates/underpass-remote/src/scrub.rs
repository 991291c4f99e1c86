//! Looks whether the disk still has what came.
//!
//! It is slow on purpose, reads what others do not need, and leaves the page cache as it was: bytes
//! that were in it stay, and those that it had to read do not. What is in the page cache is looked
//! at there, so a disk that has lost it is seen when it is cold.
//!
//! Source: readv(2), `RWF_NOWAIT`; posix_fadvise(2).

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags};
use underpass_client::{Interrupt, Woken};

use crate::entry::Entry;
use crate::fill::read_all;
use crate::store::Store;

/// What is read at a time.
const STEP_BYTES: usize = 256 << 10;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Whole objects that were read.
    pub entries: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Objects whose bytes were not what had come: they are removed, and come anew when they are
    /// asked for.
    pub damaged: u64,
}

/// When the next bytes may be read.
struct Pace<'a> {
    bytes_per_s: u64,
    due: Instant,
    interrupt: &'a Interrupt,
}

impl Pace<'_> {
    /// Waits until as many bytes more may be read; `false` if none may any more.
    fn wait(&mut self, bytes: u64) -> bool {
        let time = bytes as f64 / self.bytes_per_s.max(1) as f64;
        // Time that a slow disk took is not made up for.
        self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(time.min(3600.0));
        matches!(self.interrupt.wait(&[], Some(self.due)), Ok(Woken::Due))
    }
}

impl Store {
    /// Reads all whole objects, one after the other, at most this many bytes a second, and removes
    /// those that are damaged. For a thread that may wait; ends early when it is interrupted. How
    /// far it is, is in [`Store::facts`].
    pub fn scrub(&self, bytes_per_s: u64, interrupt: &Interrupt) -> Scrubbed {
        let before = self.facts().scrubbed;
        let mut pace = Pace { bytes_per_s, due: Instant::now(), interrupt };
        for entry in self.entries().into_iter().filter(|entry| entry.is_whole()) {
            let read = |bytes| {
                self.count_scrubbed(|all| all.bytes += bytes);
                pace.wait(bytes)
            };
            match is_intact(&entry, read) {
                Ok(Some(true)) => self.count_scrubbed(|all| all.entries += 1),
                Ok(None) => break,
                // Removed while it was read.
                _ if entry.is_removed() => {}
                Err(error) if !is_damage(&error) => {
                    tracing::warn!("{}: it was not looked at: {error}", entry.key());
                }
                Ok(Some(false)) | Err(_) => {
                    tracing::warn!("{}: its bytes on the disk are damaged: removed", entry.key());
                    self.count_scrubbed(|all| all.damaged += 1);
                    entry.leave(None);
                }
            }
        }
        let now = self.facts().scrubbed;
        Scrubbed {
            entries: now.entries - before.entries,
            bytes: now.bytes - before.bytes,
            damaged: now.damaged - before.damaged,
        }
    }

    fn count_scrubbed(&self, change: impl FnOnce(&mut Scrubbed)) {
        change(&mut self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether an error says that bytes are lost, and not that this process may not look.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN))
}

/// Whether all pieces are what came; `None` if it may not read on.
fn is_intact(
    entry: &Arc<Entry>,
    mut may_read_on: impl FnMut(u64) -> bool,
) -> io::Result<Option<bool>> {
    let Some(meta) = entry.name().read()? else { return Ok(Some(false)) };
    let file = File::open(entry.name().data())?;
    // Reading ahead would make warm what is to be left cold.
    fadvise(&file, 0, None, Advice::Random)?;
    let mut buffer = vec![0; STEP_BYTES];
    for piece in meta.there.pieces() {
        let (mut at, mut sum) = (piece.start, 0);
        while at < piece.end() {
            let len = usize::try_from(piece.end() - at).unwrap_or(usize::MAX).min(STEP_BYTES);
            let was_cold = is_cold(&file, at);
            read_all(file.as_fd(), &mut buffer[..len], at)?;
            if was_cold {
                fadvise(&file, at, NonZeroU64::new(len as u64), Advice::DontNeed)?;
            }
            sum = crc32c::crc32c_append(sum, &buffer[..len]);
            at += len as u64;
            if !may_read_on(len as u64) {
                return Ok(None);
            }
        }
        if sum != piece.crc32c {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}

/// Whether the byte at `at` is on the disk alone.
fn is_cold(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) == Err(Errno::AGAIN)
}

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
