//! What stopped a call on a TLS socket: the record that is next, if it is no content.
//!
//! splice(2) answers `EINVAL` there and read(2) `EIO`; and 0 stands for an end without close_notify
//! as well as for records of no content, which recvmsg(2) tells apart by a type: at the end there
//! is none.
//!
//! Source: Documentation/networking/tls.rst, "Receiving TLS control messages".

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use underpass_sys::tls::{self, CONTENT, Version};

use super::error::TlsError;
use super::inbound::Inbound;
use crate::error::ErrorKind;

/// What a connection's peer has said beside content; one for the connection, whoever reads it.
#[derive(Debug, Clone)]
pub(crate) struct Records(Arc<Mutex<Inbound>>);

/// What is next on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Content, of which there may be none.
    Content,
    /// Something that was no content, and has been taken.
    Passed,
    /// Nothing yet.
    Nothing,
    /// The end that the peer declared.
    End,
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    Tls(TlsError),
    Call(Errno),
}

impl From<TlsError> for Halt {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<Halt> for io::Error {
    fn from(broken: Halt) -> Self {
        match broken {
            Halt::Tls(error) => error.into(),
            Halt::Call(errno) => errno.into(),
        }
    }
}

impl Records {
    pub(super) fn new(version: Version) -> Self {
        Self(Arc::new(Mutex::new(Inbound::new(version))))
    }

    fn inbound(&self) -> MutexGuard<'_, Inbound> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the peer has said that no content follows.
    pub(crate) fn is_ended(&self) -> bool {
        self.inbound().is_ended
    }

    /// The answer that a stream of content alone would have given.
    pub(crate) fn past(
        &self,
        socket: BorrowedFd<'_>,
        answer: Result<u64, Errno>,
    ) -> Result<Result<u64, Errno>, ErrorKind> {
        if !matches!(answer, Ok(0) | Err(Errno::INVAL | Errno::IO)) {
            return Ok(answer);
        }
        match self.turn(socket) {
            // Behind a record without content.
            Ok(Turn::Content) if answer == Ok(0) => Ok(Err(Errno::INTR)),
            Ok(Turn::Content) => Ok(answer),
            Ok(Turn::Passed) => Ok(Err(Errno::INTR)),
            Ok(Turn::Nothing) => Ok(Err(Errno::AGAIN)),
            Ok(Turn::End) => Ok(Ok(0)),
            Err(Halt::Tls(error)) => Err(ErrorKind::Tls(error)),
            Err(Halt::Call(errno)) => Ok(Err(errno)),
        }
    }

    /// Takes the next record if it is not content.
    pub(super) fn turn(&self, socket: BorrowedFd<'_>) -> Result<Turn, Halt> {
        if self.is_ended() {
            return Ok(Turn::End);
        }
        match tls::receive(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Ok(Turn::Nothing),
            Err(Errno::INTR) => return Ok(Turn::Passed),
            Err(errno) => return Err(Halt::Call(errno)),
            Ok(seen) => match Given::of(seen)? {
                Given::Content(_) | Given::Empty => return Ok(Turn::Content),
                Given::Other(..) => {}
            },
        }
        let mut bytes = [0; 4096];
        match tls::receive(socket, &mut bytes, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => Ok(Turn::Passed),
            Err(errno) => Err(Halt::Call(errno)),
            Ok((n, kind)) => {
                self.take(kind.unwrap_or(CONTENT), &bytes[..n])?;
                Ok(if self.is_ended() { Turn::End } else { Turn::Passed })
            }
        }
    }

    /// Takes bytes that are no content.
    pub(super) fn take(&self, kind: u8, bytes: &[u8]) -> Result<(), TlsError> {
        self.inbound().take(kind, bytes)
    }
}

/// What recvmsg(2) gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// So many bytes of content.
    Content(usize),
    /// A record of content that has none, behind which something else or the end comes.
    Empty,
    /// So many bytes of a record of this type.
    Other(u8, usize),
}

impl Given {
    pub(super) fn of((n, kind): (usize, Option<u8>)) -> Result<Self, TlsError> {
        match (n, kind) {
            (0, None) => Err(TlsError::CutShort),
            (0, Some(CONTENT)) => Ok(Self::Empty),
            (0, Some(kind)) => Err(TlsError::Record(kind)),
            (n, None | Some(CONTENT)) => Ok(Self::Content(n)),
            (n, Some(kind)) => Ok(Self::Other(kind, n)),
        }
    }
}
