//! io_uring: `SEND_ZC` and `SPLICE`, one operation at a time.
//!
//! The kernel uses an operation's descriptors until its completion, so a call here returns only
//! then: the one loop in this crate waits on through signals. What `SEND_ZC` sends from is read
//! for longer, until a second completion, the notification; the ring owns that memory until
//! then. A ring that is dropped with notifications outstanding leaks their memory, since nothing
//! else learns when the kernel releases it: wait with [`Ring::wait`] first.
//!
//! Containers often forbid io_uring (`EPERM`), and `kernel.io_uring_disabled` may.
//!
//! Source: io_uring_enter(2), `IORING_OP_SEND_ZC` (6.0; its usage report 6.2) and
//! `IORING_OP_SPLICE` (5.7);
//! io_uring_prep_send_zc(3), NOTES.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use bytes::Bytes;
use io_uring::squeue::Entry;
use io_uring::{IoUring, cqueue, opcode, types::Fd};
use rustix::io::Errno;

use crate::map::Map;

/// linux/io_uring.h: the flag that asks, and the bit that answers, whether bytes were copied.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
const NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// Entries of the submission queue. One is in use at a time; notifications take none.
const ENTRIES: u32 = 4;

/// Memory to send from.
#[derive(Debug, Clone)]
pub enum Memory {
    /// All of these bytes.
    Bytes(Bytes),
    /// Part of a window of a file.
    Map(Arc<Map>, Range<usize>),
}

impl Memory {
    fn parts(&self) -> Result<(*const u8, usize), Errno> {
        match self {
            Self::Bytes(bytes) => Ok((bytes.as_ptr(), bytes.len())),
            Self::Map(map, range) => {
                map.part(range.clone()).map(|(start, len)| (start.cast(), len))
            }
        }
    }
}

/// A send whose memory the kernel has let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Its bytes.
    pub bytes: u64,
    /// Whether the kernel copied them after all.
    pub copied: bool,
}

/// A ring, and the memory that it sends from.
pub struct Ring {
    ring: IoUring,
    next: u64,
    held: VecDeque<Held>,
    released: VecDeque<Released>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    bytes: u64,
    memory: Memory,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Ring {
    /// Makes a ring.
    ///
    /// # Errors
    ///
    /// `ENOSYS` and `EPERM` where io_uring is not available, `EMFILE`, `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        let ring = IoUring::new(ENTRIES).map_err(|error| errno_of(&error))?;
        Ok(Self { ring, next: 0, held: VecDeque::new(), released: VecDeque::new() })
    }

    /// Sends memory without copying it, with the flags `MSG_NOSIGNAL`, `MSG_DONTWAIT` and, as
    /// asked, `MSG_MORE`. Returns the count, which may be short.
    ///
    /// # Errors
    ///
    /// Those of send(2); `EINVAL` before Linux 6.2; `EOPNOTSUPP` for sockets that cannot.
    pub fn send_zc(
        &mut self,
        socket: BorrowedFd<'_>,
        memory: Memory,
        more: bool,
    ) -> Result<u64, Errno> {
        let (start, len) = memory.parts()?;
        let len = u32::try_from(len).map_err(|_| Errno::INVAL)?;
        let more = if more { libc::MSG_MORE } else { 0 };
        let entry = opcode::SendZc::new(Fd(socket.as_raw_fd()), start, len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | more)
            .zc_flags(SEND_ZC_REPORT_USAGE)
            .build();
        // Held before the kernel sees it, and let go in `take` at the earliest.
        self.held.push_back(Held { number: self.next, bytes: 0, memory });
        self.submit(entry)
    }

    /// Moves up to `len` bytes between a pipe and another descriptor, with `SPLICE_F_NONBLOCK`
    /// for the pipe. An offset means a file.
    ///
    /// # Errors
    ///
    /// Those of splice(2).
    pub fn splice(
        &mut self,
        (from, from_at): (BorrowedFd<'_>, Option<u64>),
        (to, to_at): (BorrowedFd<'_>, Option<u64>),
        len: u32,
        more: bool,
    ) -> Result<u64, Errno> {
        let offset = |at: Option<u64>| at.map_or(Ok(-1), i64::try_from).map_err(|_| Errno::INVAL);
        let more = if more { libc::SPLICE_F_MORE } else { 0 };
        let (from_at, to_at) = (offset(from_at)?, offset(to_at)?);
        let (from, to) = (Fd(from.as_raw_fd()), Fd(to.as_raw_fd()));
        let entry = opcode::Splice::new(from, from_at, to, to_at, len)
            .flags(libc::SPLICE_F_NONBLOCK | more)
            .build();
        self.submit(entry)
    }

    /// The next send that the kernel is done with, of those already announced.
    pub fn released(&mut self) -> Option<Released> {
        self.take(None);
        self.released.pop_front()
    }

    /// Whether the kernel still reads memory of this ring.
    #[must_use]
    pub fn holds_memory(&self) -> bool {
        !self.held.is_empty()
    }

    /// Waits for the next completion or a signal.
    ///
    /// # Errors
    ///
    /// `EINTR`; others of io_uring_enter(2) say that the ring is broken.
    pub fn wait(&mut self) -> Result<(), Errno> {
        self.ring.submit_and_wait(1).map(drop).map_err(|error| errno_of(&error))
    }

    /// Submits an operation and waits for its completion.
    fn submit(&mut self, entry: Entry) -> Result<u64, Errno> {
        let number = self.next;
        self.next += 1;
        let entry = entry.user_data(number);
        // SAFETY: io_uring_enter(2): what the entry points to must stay until its completions.
        // Descriptors are borrowed until this function returns, which is after the first; memory
        // is in `held` until the notification.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| Errno::BUSY)?;
        loop {
            match self.wait() {
                Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
                Err(errno) => return Err(errno),
            }
            if let Some(result) = self.take(Some(number)) {
                let answer = u32::try_from(result).map(u64::from);
                return answer.map_err(|_| Errno::from_raw_os_error(-result));
            }
        }
    }

    /// Books the completions that are there; returns the answer to operation `number`.
    fn take(&mut self, number: Option<u64>) -> Option<i32> {
        let mut answer = None;
        for completion in self.ring.completion() {
            let (of, flags) = (completion.user_data(), completion.flags());
            let index = self.held.iter().position(|held| held.number == of);
            if cqueue::notif(flags) {
                if let Some(held) = index.and_then(|index| self.held.remove(index)) {
                    let copied = completion.result().cast_unsigned() & NOTIF_USAGE_ZC_COPIED != 0;
                    self.released.push_back(Released { bytes: held.bytes, copied });
                }
                continue;
            }
            if Some(of) == number {
                answer = Some(completion.result());
            }
            match index.and_then(|index| self.held.get_mut(index).map(|held| (index, held))) {
                Some((_, held)) if cqueue::more(flags) => {
                    held.bytes = u64::try_from(completion.result()).unwrap_or(0);
                }
                // No notification will follow: the kernel has not kept the memory.
                Some((index, _)) => drop(self.held.remove(index)),
                None => {}
            }
        }
        answer
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for held in self.held.drain(..) {
            std::mem::forget(held.memory);
        }
    }
}

/// The ring itself can be polled: it is readable when a completion is there.
impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn memory_is_held_until_its_notification_which_says_that_loopback_copied() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut ring = Ring::new().unwrap();
        let bytes = Bytes::from(vec![7; 10_000]);
        let n = ring.send_zc(socket.as_fd(), Memory::Bytes(bytes.clone()), false).unwrap();
        let mut got = vec![0; usize::try_from(n).unwrap()];
        peer.read_exact(&mut got).unwrap();
        let released = loop {
            match ring.released() {
                Some(released) => break released,
                None => ring.wait().unwrap(),
            }
        };
        assert_eq!(released, Released { bytes: n, copied: true });
        assert!(!ring.holds_memory() && bytes.is_unique());
        assert_eq!(got, vec![7; 10_000]);
    }

    #[test]
    fn a_full_socket_is_eagain_and_holds_nothing_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        let mut ring = Ring::new().unwrap();
        let bytes = Bytes::from(vec![7; 1 << 20]);
        let errno = loop {
            if let Err(errno) = ring.send_zc(socket.as_fd(), Memory::Bytes(bytes.clone()), false) {
                break errno;
            }
        };
        assert_eq!(errno, Errno::AGAIN);
        let (unix, _peer) = UnixStream::pair().unwrap();
        let answer = ring.send_zc(unix.as_fd(), Memory::Bytes(bytes), false);
        assert_eq!(answer, Err(Errno::OPNOTSUPP));
    }

    #[test]
    fn a_splice_moves_from_the_offset_and_an_empty_pipe_is_eagain() {
        let mut ring = Ring::new().unwrap();
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"0123456789", 0).unwrap();
        let (mut read, write) = std::io::pipe().unwrap();
        let from = (file.as_fd(), Some(3));
        assert_eq!(ring.splice(from, (write.as_fd(), None), 4, false), Ok(4));
        let mut got = [0; 4];
        read.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"3456");
        let (unix, _peer) = UnixStream::pair().unwrap();
        let answer = ring.splice((read.as_fd(), None), (unix.as_fd(), None), 4, false);
        assert_eq!(answer, Err(Errno::AGAIN));
    }
}
