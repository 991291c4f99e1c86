//! How bytes left, and what they waited for: of a response, or of all.

use std::ops::AddAssign;
use std::time::Duration;

use underpass::{Errno, Sent};

/// The ways out, as metrics and log name them: from memory, from the page cache by reference, and
/// encrypted, by the kernel or in this process.
pub(crate) const METHODS: [&str; 4] = ["copy", "sendfile", "ktls", "rustls"];

const COPY: usize = 0;
const SENDFILE: usize = 1;

/// Who encrypts, as a place among the [`METHODS`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Encrypted {
    ByKernel = 2,
    ByRustls = 3,
}

/// What one write, or several, did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// By method.
    pub(crate) bytes: [u64; METHODS.len()],
    pub(crate) cold_waits: u64,
    pub(crate) cold_time: Duration,
    /// Times the kernel took no reference, and what it answered the last time.
    pub(crate) fallbacks: u64,
    pub(crate) errno: Option<Errno>,
}

impl Account {
    /// What a stream did. Who encrypts has all of the bytes.
    pub(crate) fn of(sent: &Sent, encrypted: Option<Encrypted>) -> Self {
        let mut bytes = [0; METHODS.len()];
        match encrypted {
            Some(by) => bytes[by as usize] = sent.bytes(),
            None => (bytes[COPY], bytes[SENDFILE]) = (sent.copied, sent.referenced),
        }
        let Sent { cold_waits, cold_time, fallbacks, errno, .. } = *sent;
        Self { bytes, cold_waits, cold_time, fallbacks, errno }
    }

    /// One fetch from a disk.
    pub(crate) fn of_disk(time: Duration) -> Self {
        Self { cold_waits: 1, cold_time: time, ..Self::default() }
    }

    /// These bytes from memory.
    pub(crate) fn of_memory(n: usize, encrypted: Option<Encrypted>) -> Self {
        let mut account = Self::default();
        account.bytes[encrypted.map_or(COPY, |by| by as usize)] = n as u64;
        account
    }
}

impl AddAssign<&Self> for Account {
    fn add_assign(&mut self, more: &Self) {
        for (bytes, more) in self.bytes.iter_mut().zip(more.bytes) {
            *bytes += more;
        }
        self.cold_waits += more.cold_waits;
        self.cold_time += more.cold_time;
        self.fallbacks += more.fallbacks;
        self.errno = more.errno.or(self.errno);
    }
}
