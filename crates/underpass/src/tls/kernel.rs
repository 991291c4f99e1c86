//! Records that the kernel makes and reads, and what the peer says between its content.
//!
//! splice(2) answers `EINVAL` at a record that is not content, and read(2) `EIO`. Their 0 stands
//! for an end without close_notify and for a record without content alike; recvmsg(2) tells the
//! two apart by the record's type: at the end there is none.
//!
//! Source: Documentation/networking/tls.rst, "Receiving TLS control messages".

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use underpass_sys::tls::{self, CONTENT, RECORD_BYTES_MAX, Version};

use super::error::TlsError;
use super::inbound::{ALERT, CLOSE_NOTIFY, Inbound, WARNING};
use super::records::Halt;
use crate::error::ErrorKind;

/// Records that one key of AES-GCM may encrypt: RFC 8446 §5.5 allows 2^24.5. ChaCha20-Poly1305
/// has no limit that a connection reaches; it gets the same.
const SEND_RECORDS_MAX: u64 = 1 << 24;

/// A connection's state outside the kernel, shared by its stream and its transfers.
#[derive(Debug, Clone)]
pub(crate) struct Kernel(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inbound: Mutex<Inbound>,
    /// Records that this end has sent, at most.
    sent: AtomicU64,
}

/// What is next on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Content, of which there may be none.
    Content,
    /// Something that was not content, and has been taken.
    Passed,
    /// Nothing yet.
    Nothing,
    /// The end that the peer declared.
    End,
}

impl Kernel {
    pub(super) fn new(version: Version) -> Self {
        let inbound = Mutex::new(Inbound::new(version));
        Self(Arc::new(Shared { inbound, sent: AtomicU64::new(0) }))
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.0.inbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.inbound().is_ended
    }

    /// The answer that a stream of content alone would have given.
    pub(super) fn past(
        &self,
        socket: BorrowedFd<'_>,
        answer: Result<u64, Errno>,
    ) -> Result<Result<u64, Errno>, ErrorKind> {
        if !matches!(answer, Ok(0) | Err(Errno::INVAL | Errno::IO)) {
            return Ok(answer);
        }
        match self.next(socket) {
            // Behind a record without content.
            Ok(Next::Content) if answer == Ok(0) => Ok(Err(Errno::INTR)),
            Ok(Next::Content) => Ok(answer),
            Ok(Next::Passed) => Ok(Err(Errno::INTR)),
            Ok(Next::Nothing) => Ok(Err(Errno::AGAIN)),
            Ok(Next::End) => Ok(Ok(0)),
            Err(Halt::Tls(error)) => Err(ErrorKind::Tls(error)),
            Err(Halt::Call(errno)) => Ok(Err(errno)),
            Err(Halt::Rustls(_)) => Ok(Err(Errno::IO)),
        }
    }

    /// Takes the next record if it is not content.
    fn next(&self, socket: BorrowedFd<'_>) -> Result<Next, Halt> {
        if self.is_ended() {
            return Ok(Next::End);
        }
        match tls::receive(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Ok(Next::Nothing),
            Err(Errno::INTR) => return Ok(Next::Passed),
            Err(errno) => return Err(Halt::Call(errno)),
            Ok(seen) => match Given::of(seen)? {
                Given::Content(_) | Given::Empty => return Ok(Next::Content),
                Given::Other(..) => {}
            },
        }
        let mut bytes = [0; 4096];
        match tls::receive(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => Ok(Next::Passed),
            Err(errno) => Err(Halt::Call(errno)),
            Ok((n, kind)) => {
                self.inbound().take(kind.unwrap_or(CONTENT), &bytes[..n])?;
                Ok(if self.is_ended() { Next::End } else { Next::Passed })
            }
        }
    }

    pub(super) fn receive(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        if into.is_empty() || self.is_ended() {
            return Ok(0);
        }
        match Given::of(tls::receive(socket, into, RecvFlags::DONTWAIT)?)? {
            Given::Content(n) => return Ok(n),
            Given::Empty => {}
            Given::Other(kind, n) => self.inbound().take(kind, &into[..n])?,
        }
        // The caller asks again, and other tasks get their turn: a peer may send nothing else.
        if self.is_ended() { Ok(0) } else { Err(Errno::INTR.into()) }
    }

    pub(super) fn peek(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        while !into.is_empty() && !self.is_ended() {
            match Given::of(tls::receive(socket, into, flags)?)? {
                Given::Content(n) => return Ok(n),
                // Peeked at it stays, and no call is sure to take it and nothing else.
                Given::Empty => return Err(TlsError::Record(CONTENT).into()),
                Given::Other(..) => {
                    self.next(socket)?;
                }
            }
        }
        Ok(0)
    }

    /// Whether a record is next, which a read without room for its type would not say of all.
    pub(super) fn has_unread(&self, socket: BorrowedFd<'_>) -> bool {
        let seen = tls::receive(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !self.is_ended() && seen.is_ok_and(|seen| Given::of(seen).is_ok())
    }

    pub(super) fn close_notify(&self, socket: BorrowedFd<'_>) -> Result<(), Halt> {
        tls::send_record(socket, ALERT, &[WARNING, CLOSE_NOTIFY])?;
        Ok(())
    }

    /// Whether the key may encrypt more.
    pub(super) fn may_send(&self) -> Result<(), TlsError> {
        if self.0.sent.load(Ordering::Relaxed) < SEND_RECORDS_MAX {
            return Ok(());
        }
        Err(TlsError::KeyUsedUp)
    }

    /// Counts the records of one call that sent this many bytes.
    pub(super) fn note_sent(&self, bytes: usize) {
        let records = bytes.div_ceil(RECORD_BYTES_MAX) as u64;
        self.0.sent.fetch_add(records.max(1), Ordering::Relaxed);
    }
}

/// What recvmsg(2) gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// This many bytes of content.
    Content(usize),
    /// A record without content, behind which something else or the end comes.
    Empty,
    /// This many bytes of a record of this type.
    Other(u8, usize),
}

impl Given {
    fn of((n, kind): (usize, Option<u8>)) -> Result<Self, TlsError> {
        match (n, kind) {
            (0, None) => Err(TlsError::CutShort),
            (0, Some(CONTENT)) => Ok(Self::Empty),
            (0, Some(kind)) => Err(TlsError::Record(kind)),
            (n, None | Some(CONTENT)) => Ok(Self::Content(n)),
            (n, Some(kind)) => Ok(Self::Other(kind, n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_seals_a_bounded_number_of_records() {
        let kernel = Kernel::new(Version::Tls13);
        // 2^24 - 1 records: full ones, one that is not, one of an empty write.
        kernel.note_sent(((1 << 24) - 4) * RECORD_BYTES_MAX);
        kernel.note_sent(RECORD_BYTES_MAX + 1);
        kernel.note_sent(0);
        assert_eq!(kernel.may_send(), Ok(()));
        kernel.note_sent(1);
        assert_eq!(kernel.may_send(), Err(TlsError::KeyUsedUp));
    }
}
