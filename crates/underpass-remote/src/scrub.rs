//! Looks whether the disk still has what came.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use underpass_client::{Interrupt, Woken};

use crate::entry::Entry;
use crate::fill::read_all;
use crate::store::Store;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Whole objects that were read.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those whose bytes were not what had come: they are removed, and come anew when they are
    /// asked for.
    pub damaged: u64,
}

impl Store {
    /// Reads all whole objects, at most this many bytes a second, and removes those that are
    /// damaged. For a thread that may wait; ends early when it is interrupted.
    pub fn scrub(&self, bytes_per_s: u64, interrupt: &Interrupt) -> Scrubbed {
        let mut scrubbed = Scrubbed::default();
        let began = Instant::now();
        for entry in self.entries().into_iter().filter(|entry| entry.is_whole()) {
            let is_intact = is_intact(&entry, |bytes| {
                scrubbed.bytes += bytes;
                let due =
                    Duration::from_secs_f64(scrubbed.bytes as f64 / bytes_per_s.max(1) as f64);
                matches!(interrupt.wait(&[], Some(began + due)), Ok(Woken::Due))
            });
            match is_intact {
                Ok(Some(true)) => scrubbed.entries += 1,
                Ok(None) => break,
                // Removed while it was read.
                Err(_) if entry.is_removed() => {}
                Ok(Some(false)) | Err(_) => {
                    tracing::warn!("{}: its bytes on the disk are damaged: removed", entry.key());
                    scrubbed.damaged += 1;
                    entry.leave(None);
                }
            }
        }
        scrubbed
    }
}

/// Whether all pieces are what came; `None` if it may not read on.
fn is_intact(
    entry: &Arc<Entry>,
    mut may_read_on: impl FnMut(u64) -> bool,
) -> io::Result<Option<bool>> {
    let Some(meta) = entry.name().read()? else { return Ok(Some(false)) };
    let file = File::open(entry.name().data())?;
    for piece in meta.there.pieces() {
        let mut bytes = vec![0; usize::try_from(piece.len).expect("a cell")];
        read_all(file.as_fd(), &mut bytes, piece.start)?;
        if crc32c::crc32c(&bytes) != piece.crc32c {
            return Ok(Some(false));
        }
        if !may_read_on(u64::from(piece.len)) {
            return Ok(None);
        }
    }
    Ok(Some(true))
}
