//! What the writes of a stream did, for those who tell their operators.

use std::time::Duration;

use rustix::io::Errno;

use crate::outgoing::Wrote;

/// How the bytes of a stream left, and what they waited for.
///
/// Counted, not estimated. Of a stream whose records the kernel encrypts, the bytes by reference
/// are those that it took from the page cache by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sent {
    /// Bytes of files that the kernel was given by reference.
    pub referenced: u64,
    /// All others: memory, and what was read of files.
    pub copied: u64,
    /// How often bytes of a file had to be fetched from the disk first.
    pub cold_waits: u64,
    /// How long that took, together.
    pub cold_time: Duration,
    /// How often the kernel took no reference, so that bytes were copied.
    pub fallbacks: u64,
    /// What it answered the last time.
    pub errno: Option<Errno>,
}

impl Sent {
    /// Bytes that left.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.referenced + self.copied
    }

    pub(crate) fn note(&mut self, wrote: &Wrote) {
        self.referenced += wrote.referenced as u64;
        self.copied += (wrote.bytes - wrote.referenced) as u64;
        self.fallbacks += u64::from(wrote.refused.is_some());
        self.errno = wrote.refused.or(self.errno);
    }
}
