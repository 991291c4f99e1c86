//! Zero-copy sends that the kernel is not done with.
//!
//! `MSG_ZEROCOPY` makes the kernel read memory after send(2) has returned, so what was sent is
//! kept here until its completion says otherwise. The numbers in completions count all such sends
//! of a socket, whatever made them; the count is therefore kept by socket (by its cookie, which
//! the kernel never gives twice) and begins when the option is switched on. A socket on which
//! other code switched it on cannot be used: its count is unknown.
//!
//! A transfer that is dropped while the kernel still reads its memory leaves that memory and
//! a duplicate of the socket to a thread that waits for the completions. Until then the peer sees
//! no end of stream, even if every other descriptor is closed. There are at most
//! [`HOLDERS_MAX`] transfers and threads that hold memory; beyond them the method is refused.
//!
//! Pages of a mapping need no keeping: the kernel holds references to them, and no one can put
//! other bytes there by allocating memory.
//!
//! Source: Documentation/networking/msg_zerocopy.rst; socket(7), `SO_COOKIE`.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::Bytes;
use lru::LruCache;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use underpass_sys::zerocopy::{self, Completion};

/// Transfers and threads that may hold memory for the kernel at a time.
const HOLDERS_MAX: usize = 64;

/// Sockets whose count is remembered between transfers.
const SOCKETS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Sends in a row that the kernel copied after all, before the method is refused.
pub(crate) const COPIED_MAX: u32 = 8;

/// Completions read in a step; what is left is read in the next.
const REAP_MAX: usize = 32;

static HOLDERS: AtomicUsize = AtomicUsize::new(0);
static NEXT_OWNER: AtomicU64 = AtomicU64::new(0);
static SOCKETS: LazyLock<Mutex<LruCache<u64, Arc<Mutex<Sends>>>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(SOCKETS_MAX)));

/// The zero-copy sends of one socket.
#[derive(Debug, Default)]
struct Sends {
    /// The number of the oldest that is kept.
    oldest: u32,
    /// That one and those after it, without gaps.
    sent: VecDeque<Sent>,
    copied_in_a_row: u32,
}

#[derive(Debug)]
struct Sent {
    owner: u64,
    bytes: u64,
    memory: Option<Bytes>,
    done: bool,
}

/// Bytes whose completions were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reaped {
    pub(crate) done: u64,
    pub(crate) copied: u64,
}

impl Sends {
    fn push(&mut self, owner: u64, bytes: u64, memory: Option<Bytes>) {
        self.sent.push_back(Sent { owner, bytes, memory, done: false });
    }

    /// Books a completion; counts the bytes of `owner` alone.
    fn complete(&mut self, completion: Completion, owner: u64) -> Reaped {
        let Completion { first, last, copied } = completion;
        let mut reaped = Reaped::default();
        let (oldest, len) = (self.oldest, last.wrapping_sub(first));
        let numbers = (0_u32..).map(|n| oldest.wrapping_add(n));
        let in_range = |number: u32| number.wrapping_sub(first) <= len;
        for (_, sent) in numbers.zip(&mut self.sent).filter(|(n, sent)| in_range(*n) && !sent.done)
        {
            sent.done = true;
            sent.memory = None;
            self.copied_in_a_row = if copied { self.copied_in_a_row.saturating_add(1) } else { 0 };
            if sent.owner == owner {
                reaped.done += sent.bytes;
                reaped.copied += if copied { sent.bytes } else { 0 };
            }
        }
        while self.sent.pop_front_if(|sent| sent.done).is_some() {
            self.oldest = self.oldest.wrapping_add(1);
        }
        reaped
    }

    fn holds_memory_of(&self, owner: u64) -> bool {
        self.sent.iter().any(|sent| sent.owner == owner && sent.memory.is_some())
    }
}

/// One transfer's share in a socket's zero-copy sends.
#[derive(Debug)]
pub(crate) struct ZeroCopy {
    sends: Arc<Mutex<Sends>>,
    owner: u64,
    /// Keeps the error queue within reach after the caller has closed the socket.
    socket: OwnedFd,
    _place: Place,
}

impl ZeroCopy {
    /// Makes a socket ready.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` where the socket has no such option, or where its completions are already
    /// counted elsewhere; `ENOBUFS` if too many transfers hold memory for the kernel; `EMFILE`.
    pub(crate) fn open(socket: BorrowedFd<'_>) -> Result<Self, Errno> {
        let place = Place::take()?;
        let cookie = rustix::net::sockopt::socket_cookie(socket)?;
        let mut sockets = lock(&SOCKETS);
        let sends = match sockets.get(&cookie) {
            Some(sends) => Arc::clone(sends),
            None if zerocopy::is_enabled(socket)? => return Err(Errno::OPNOTSUPP),
            None => {
                zerocopy::enable(socket)?;
                let sends = Arc::default();
                sockets.put(cookie, Arc::clone(&sends));
                sends
            }
        };
        drop(sockets);
        let socket = rustix::io::fcntl_dupfd_cloexec(socket, 0)?;
        let owner = NEXT_OWNER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { sends, owner, socket, _place: place })
    }

    /// Whether the kernel has copied too often for another attempt.
    pub(crate) fn is_futile(&self) -> bool {
        lock(&self.sends).copied_in_a_row >= COPIED_MAX
    }

    /// Makes a zero-copy send and keeps its memory.
    ///
    /// # Errors
    ///
    /// Those of `send`, which made no number used up.
    pub(crate) fn send(
        &self,
        memory: Option<Bytes>,
        send: impl FnOnce() -> Result<u64, Errno>,
    ) -> Result<u64, Errno> {
        // Locked over the call, so that numbers are given in the order of the kernel's.
        let mut sends = lock(&self.sends);
        let n = send()?;
        if n > 0 {
            sends.push(self.owner, n, memory);
        }
        Ok(n)
    }

    /// Reads completions that are there.
    pub(crate) fn reap(&self) -> Reaped {
        let mut sends = lock(&self.sends);
        let mut total = Reaped::default();
        for _ in 0..REAP_MAX {
            match zerocopy::completion(self.socket.as_fd()) {
                Ok(Some(completion)) => {
                    let Reaped { done, copied } = sends.complete(completion, self.owner);
                    total.done += done;
                    total.copied += copied;
                }
                // Another kind of message: it was for other code, and is gone.
                Ok(None) => {}
                // EAGAIN, or a socket whose next send will say what ails it.
                Err(_) => break,
            }
        }
        total
    }

    fn holds_memory(&self) -> bool {
        lock(&self.sends).holds_memory_of(self.owner)
    }

    /// Waits until the kernel has let go of everything this transfer sent from memory.
    fn linger(self) {
        while self.holds_memory() {
            let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
            let polled = rustix::event::poll(&mut fds, None);
            let [fd] = fds;
            self.reap();
            // A connection that has ended on both sides reports POLLHUP for ever, while the last
            // completions are still to come from a device.
            if polled.is_err() || !fd.revents().contains(PollFlags::ERR) {
                thread::park_timeout(LINGER_PAUSE);
            }
        }
    }

    /// Lets go, leaving to a thread what the kernel still reads.
    pub(crate) fn close(self) {
        self.reap();
        if !self.holds_memory() {
            return;
        }
        linger(self, Self::linger);
    }
}

/// Runs `wait` for what still holds memory, on a separate thread.
pub(crate) fn linger<T: Send + 'static>(holder: T, wait: impl FnOnce(T) + Send + 'static) {
    let holder = Arc::new(Mutex::new(Some(holder)));
    let theirs = Arc::clone(&holder);
    let builder = thread::Builder::new().name("underpass-linger".into());
    let started = builder.stack_size(LINGER_STACK).spawn(move || {
        let taken = lock(&theirs).take();
        if let Some(holder) = taken {
            wait(holder);
        }
    });
    if started.is_err() {
        // No thread is available: the memory is never freed, nor its place given back, so that the
        // number of these is bounded too.
        std::mem::forget(holder);
    }
}

const LINGER_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
const LINGER_STACK: usize = 64 * 1024;

/// One of the [`HOLDERS_MAX`].
#[derive(Debug)]
pub(crate) struct Place;

impl Place {
    pub(crate) fn take() -> Result<Self, Errno> {
        let next = |taken| (taken < HOLDERS_MAX).then_some(taken + 1);
        let taken = HOLDERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(|_| Self).map_err(|_| Errno::NOBUFS)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        HOLDERS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, last: u32, copied: bool) -> Completion {
        Completion { first, last, copied }
    }

    fn three_from(oldest: u32) -> Sends {
        let mut sends = Sends { oldest, ..Sends::default() };
        for bytes in [1, 10, 100] {
            sends.push(7, bytes, Some(Bytes::from_static(b"kept")));
        }
        sends
    }

    #[test]
    fn ranges_may_come_out_of_order_and_wrap() {
        let mut sends = three_from(u32::MAX);
        assert_eq!(sends.complete(range(1, 1, false), 7), Reaped { done: 100, copied: 0 });
        assert!(sends.holds_memory_of(7) && sends.sent.len() == 3);
        assert_eq!(sends.complete(range(u32::MAX, 0, true), 7), Reaped { done: 11, copied: 11 });
        assert!(sends.sent.is_empty() && !sends.holds_memory_of(7));
        assert_eq!(sends.oldest, 2);
    }

    #[test]
    fn a_completion_counts_once_and_for_its_owner_and_frees_the_memory_in_any_case() {
        let mut sends = three_from(5);
        assert_eq!(sends.complete(range(5, 6, true), 8), Reaped::default());
        assert_eq!(sends.complete(range(5, 7, false), 7), Reaped { done: 100, copied: 0 });
        assert!(!sends.holds_memory_of(7));
    }

    #[test]
    fn numbers_that_were_never_given_free_nothing() {
        let mut sends = three_from(5);
        for (first, last) in [(8, 9), (0, 4), (4, 4), (u32::MAX, u32::MAX)] {
            assert_eq!(sends.complete(range(first, last, false), 7), Reaped::default());
        }
        assert_eq!(sends.sent.len(), 3);
    }

    #[test]
    fn copies_in_a_row_are_counted_from_the_last_real_one() {
        let mut sends = three_from(0);
        sends.complete(range(0, 1, true), 7);
        assert_eq!(sends.copied_in_a_row, 2);
        sends.complete(range(2, 2, false), 7);
        assert_eq!(sends.copied_in_a_row, 0);
    }
}
