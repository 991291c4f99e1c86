//! What is kept with a file that is sent: its policy about changes, and what it was at first.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::io::Errno;
use underpass_sys::lease;
use underpass_sys::region::Region;

use crate::file_bytes::MapError;
use crate::residency::Residency;
use crate::stability::{Baseline, Change, Stability, Stamp};

/// Kept with a region, for code that finds it by address, and with a file that is not mapped.
#[derive(Debug)]
pub(crate) struct Note {
    /// No other note of this process has or had it.
    pub(crate) number: u64,
    pub(crate) stability: Stability,
    pub(crate) residency: Residency,
    /// The file at first.
    baseline: Baseline,
    /// A dup of the file's descriptor, holding the read lease.
    lease: Option<OwnedFd>,
    has_changed: AtomicBool,
}

static COUNT: AtomicU64 = AtomicU64::new(0);

impl Note {
    /// Starts to watch `range` of a file that has this stamp; for a lease, takes it.
    pub(crate) fn take(
        file: &OwnedFd,
        range: Range<u64>,
        stamp: Stamp,
        stability: Stability,
    ) -> Result<Self, MapError> {
        let Range { start: offset, end } = range;
        let failed = |call| move |errno| MapError::Call { call, offset, end, errno };
        let lease = match stability {
            Stability::Lease => {
                let held = file.try_clone().map_err(|_| failed("dup")(Errno::MFILE))?;
                lease::take(held.as_fd()).map_err(failed("fcntl(F_SETLEASE)"))?;
                Some(held)
            }
            Stability::None | Stability::Guard | Stability::Copy => None,
        };
        let residency = Residency::new(range.clone());
        let (baseline, has_changed) = (Baseline::new(stamp, range), AtomicBool::new(false));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let note = Self { number, stability, residency, baseline, lease, has_changed };
        note.note_sent(file.as_fd(), &(offset..end.min(offset + 1)));
        Ok(note)
    }

    pub(crate) fn of(region: &Region) -> Option<&Self> {
        region.note().downcast_ref()
    }

    /// Whether the policy still vouches for the bytes: asked before the last ones are released.
    pub(crate) fn vouches(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        let change = match (self.stability, &self.lease) {
            (Stability::None, _) => Change::Nothing,
            (Stability::Guard | Stability::Copy, _) => self.baseline.change(file)?,
            (Stability::Lease, Some(file)) if lease::is_held(file.as_fd())? => Change::Nothing,
            (Stability::Lease, _) => Change::Written,
        };
        if change != Change::Nothing {
            self.note_change();
        }
        Ok(matches!(change, Change::Nothing | Change::Grown))
    }

    /// Remembers a few of the bytes `sent`, which are offsets in the file.
    pub(crate) fn note_sent(&self, file: BorrowedFd<'_>, sent: &Range<u64>) {
        if matches!(self.stability, Stability::Guard | Stability::Copy) {
            self.baseline.note_sent(file, sent);
        }
    }

    /// Notes that the file is not what it was at first.
    pub(crate) fn note_change(&self) {
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// Whether such a change was noted.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Relaxed)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(file) = &self.lease {
            // A refusal means that the kernel broke the lease by force: it is gone either way.
            lease::release(file.as_fd()).unwrap_or_default();
        }
    }
}
