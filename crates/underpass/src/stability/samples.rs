//! A few bytes of a file as they were sent, to tell a file that was appended to from one that was
//! written anew and became longer.
//!
//! A sample is read right after its bytes were sent, so from the page cache: it costs no wait
//! for a disk. One that cannot be read at once is left out.
//!
//! Source: readv(2), `RWF_NOWAIT`.

use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{Errno, ReadWriteFlags};

/// The most samples of a range; a bit of `taken` for each.
const SAMPLES_MAX: u64 = 8;

/// The least distance between two samples.
const SPACING_BYTES_MIN: u64 = 64 * 1024;

const SAMPLE_BYTES: usize = 32;

/// Samples of a range, at equal distances, the first at its start.
#[derive(Debug)]
pub(super) struct Samples {
    range: Range<u64>,
    /// Which ones there are.
    taken: AtomicU8,
    kept: Mutex<Vec<Sample>>,
}

#[derive(Debug)]
struct Sample {
    at: u64,
    bytes: [u8; SAMPLE_BYTES],
    len: usize,
}

impl Samples {
    pub(super) fn new(range: Range<u64>) -> Self {
        Self { range, taken: AtomicU8::new(0), kept: Mutex::default() }
    }

    /// Takes the samples that start within `sent`, those that there are already left out.
    pub(super) fn take(&self, file: BorrowedFd<'_>, sent: &Range<u64>) {
        let len = self.range.end.saturating_sub(self.range.start);
        let count = (len / SPACING_BYTES_MIN).clamp(1, SAMPLES_MAX);
        for (bit, at) in (0..count).map(|i| (1_u8 << i, self.range.start + len / count * i)) {
            if sent.contains(&at) && self.taken.load(Ordering::Relaxed) & bit == 0 {
                let whole = usize::try_from(self.range.end - at).unwrap_or(usize::MAX);
                let mut bytes = [0; SAMPLE_BYTES];
                let wanted = &mut bytes[..whole.min(SAMPLE_BYTES)];
                if let Some(len @ 1..) = read_at_once(file, at, wanted) {
                    self.taken.fetch_or(bit, Ordering::Relaxed);
                    self.lock().push(Sample { at, bytes, len });
                }
            }
        }
    }

    /// Whether the file still has what was sampled.
    pub(super) fn are_unchanged(&self, file: BorrowedFd<'_>) -> bool {
        self.lock().iter().all(|sample| {
            let mut now = [0; SAMPLE_BYTES];
            let was = &sample.bytes[..sample.len];
            read_at_once(file, sample.at, &mut now[..sample.len])
                .is_none_or(|len| &now[..len] == was)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what is in the page cache; `None` if the disk would have to be waited for.
fn read_at_once(file: BorrowedFd<'_>, at: u64, into: &mut [u8]) -> Option<usize> {
    let mut read = |flags| rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], at, flags);
    match read(ReadWriteFlags::NOWAIT) {
        // Memory file systems have no NOWAIT and no disk.
        Err(Errno::OPNOTSUPP) => read(ReadWriteFlags::empty()).ok(),
        answer => answer.ok(),
    }
}
