//! Who makes and reads a connection's records; no call here waits.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

use super::error::TlsError;
use super::kernel::Kernel;
use super::user_space::UserSpace;
use crate::error::ErrorKind;

/// The records of a connection, shared by its stream and its transfers.
#[derive(Debug, Clone)]
pub(crate) enum Records {
    Kernel(Kernel),
    UserSpace(UserSpace),
}

/// Why a call did nothing.
#[derive(Debug)]
pub(super) enum Halt {
    Tls(TlsError),
    Call(Errno),
    Rustls(rustls::Error),
}

impl From<TlsError> for Halt {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<Errno> for Halt {
    fn from(errno: Errno) -> Self {
        Self::Call(errno)
    }
}

impl From<rustls::Error> for Halt {
    fn from(error: rustls::Error) -> Self {
        if let rustls::Error::AlertReceived(alert) = error {
            return Self::Tls(TlsError::Alert(alert.into()));
        }
        Self::Rustls(error)
    }
}

impl From<Halt> for io::Error {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Tls(error) => error.into(),
            Halt::Call(errno) => errno.into(),
            Halt::Rustls(error) => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

impl Records {
    pub(crate) const fn is_in_kernel(&self) -> bool {
        matches!(self, Self::Kernel(_))
    }

    /// Whether the peer has said that no content follows, as far as the kernel cannot know.
    pub(crate) fn is_ended(&self) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.is_ended(),
            Self::UserSpace(_) => false,
        }
    }

    /// [`Self::receive`] as a read(2) of a transfer; [`Self::past`] knows what is behind its errno.
    pub(crate) fn read(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<u64, Errno> {
        match self {
            Self::Kernel(kernel) if kernel.is_ended() => Ok(0),
            Self::Kernel(_) => rustix::io::read(socket, into).map(|n| n as u64),
            Self::UserSpace(rustls) => rustls.read(socket, into),
        }
    }

    /// [`Self::send`] in the same way.
    pub(crate) fn write(
        &self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<u64, Errno> {
        match self {
            Self::Kernel(_) => rustix::io::writev(socket, slices).map(|n| n as u64),
            Self::UserSpace(rustls) => rustls.write(socket, slices),
        }
    }

    /// [`Self::flush`] in the same way.
    pub(crate) fn finish(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        match self {
            Self::Kernel(_) => Ok(()),
            Self::UserSpace(rustls) => rustls.finish(socket),
        }
    }

    /// The answer that a stream of content alone would have given to a call.
    pub(crate) fn past(
        &self,
        socket: BorrowedFd<'_>,
        answer: Result<u64, Errno>,
    ) -> Result<Result<u64, Errno>, ErrorKind> {
        match self {
            Self::Kernel(kernel) => kernel.past(socket, answer),
            Self::UserSpace(rustls) => rustls.past(answer),
        }
    }

    /// Content, or 0 at the peer's close_notify.
    pub(super) fn receive(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        match self {
            Self::Kernel(kernel) => kernel.receive(socket, into),
            Self::UserSpace(rustls) => rustls.receive(socket, into),
        }
    }

    /// Content that [`Self::receive`] will take: some of it, or all there is.
    pub(super) fn peek(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        match self {
            Self::Kernel(kernel) => kernel.peek(socket, into),
            Self::UserSpace(rustls) => rustls.peek(socket, into),
        }
    }

    /// Whether there is something to be read, content or not. Takes nothing out of the socket.
    pub(super) fn has_unread(&self, socket: BorrowedFd<'_>) -> bool {
        match self {
            Self::Kernel(kernel) => kernel.has_unread(socket),
            Self::UserSpace(rustls) => rustls.has_unread(socket),
        }
    }

    /// Sends content, as much as there is room for.
    pub(super) fn send(
        &self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<usize, Halt> {
        let kernel = match self {
            Self::Kernel(kernel) => kernel,
            Self::UserSpace(rustls) => return rustls.send(socket, slices),
        };
        kernel.may_send()?;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut nothing = SendAncillaryBuffer::default();
        let n = rustix::net::sendmsg(socket, slices, &mut nothing, flags)?;
        kernel.note_sent(n);
        Ok(n)
    }

    /// Gives the socket what [`Self::send`] took and the socket did not.
    pub(super) fn flush(&self, socket: BorrowedFd<'_>) -> Result<(), Halt> {
        match self {
            Self::Kernel(_) => Ok(()),
            Self::UserSpace(rustls) => Ok(rustls.finish(socket)?),
        }
    }

    /// Tells the peer that no more content comes.
    pub(super) fn close_notify(&self, socket: BorrowedFd<'_>) -> Result<(), Halt> {
        match self {
            Self::Kernel(kernel) => kernel.close_notify(socket),
            Self::UserSpace(rustls) => rustls.close_notify(socket),
        }
    }
}
